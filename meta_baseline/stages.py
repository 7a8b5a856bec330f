"""A stage: one analysis with its result, figures and tables, committed whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from meta_baseline.activations import Stores, collect_stores
from meta_baseline.commits import committing, hash_file, hash_values, is_committed
from meta_baseline.figures.style import FigureSpec, save_figure
from meta_baseline.results import Result, load_result, save_result
from meta_baseline.run_record import describe_versions
from meta_baseline.study import Study, StudyInputs, stage_rng

_NOT_NUMBERS = frozenset({"report", "commands", "console.py", "analyze_models.py", "demo.py", "__main__.py"})

ACTIVATIONS = ".activations"
"""Passes over the stimuli, in the output folder while a study is not finished: a killed one need not repeat them."""

Progress = Callable[..., Iterable[Any]]
"""``progress(iterable, desc=...)`` gives the iterable back, with or without a bar."""


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What the analyses work on; the pass over the stimuli is made at most once, and only when one asks for it."""

    study: Study
    inputs: StudyInputs
    progress: Progress

    @cached_property
    def stores(self) -> Stores:
        """Reduced activations of both networks and their untrained controls."""
        assert self.inputs.stimuli is not None, "the command line asks for --data-dir before it gets here"
        return collect_stores(
            self.inputs.meta,
            self.inputs.baseline,
            self.inputs.stimuli,
            meta_initial=self.inputs.meta_initial,
            baseline_initial=self.inputs.baseline_initial,
            num_untrained=self.study.num_untrained,
            batch_size=self.study.batch_size,
            num_workers=self.study.num_workers,
            device=self.study.device,
            rng=stage_rng(self.study, "activations"),
            progress=self.progress,
            max_memory=self.study.max_memory,
            store_dir=self.study.output_dir / ACTIVATIONS,
        )

    def forget_stores(self) -> None:
        """Let go of what the pass gave; the next analysis that asks finds it in its files."""
        self.__dict__.pop("stores", None)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis: what it asks, how it is run, and how its result is drawn and tabulated.

    ``needs_images`` says whether it looks at stimuli, ``needs_pass`` whether at the activations of a pass over them;
    ``may_be_left_out`` that ``--run-all`` does without it where there are too few images for it.
    """

    slug: str
    flag: str = ""
    title: str
    question: str
    needs_images: bool
    needs_pass: bool = False
    may_be_left_out: bool = False
    run: Callable[[Materials], Result]
    figures: tuple[FigureSpec, ...]
    tabulate: Callable[[Any], dict[str, pd.DataFrame]]


def stage_key(analysis: Analysis, study: Study, inputs: StudyInputs) -> str:
    """What the result of a stage depends on: inputs, options, libraries and code; a change of it redoes the stage."""
    options: tuple[object, ...] = (study.batch_size, study.device) if analysis.needs_images else ()
    outcome = {"training": study.training_outcome, "training_arms": study.arms_outcome}.get(analysis.slug)
    if outcome is not None:
        options = (hash_file(outcome / "result.json"),)
    versions = {name: version for name, version in describe_versions().items() if name != "git"}
    return hash_values(inputs.key, analysis.slug, options, versions, hash_code())


def run_stage(analysis: Analysis, materials: Materials) -> bool:
    """Run one analysis and commit its result, figures and tables; True when it was already there."""
    folder = materials.study.output_dir / analysis.slug
    key = stage_key(analysis, materials.study, materials.inputs)
    if is_committed(folder, key):
        return True
    result = analysis.run(materials)
    with committing(folder, key) as temporary:
        save_result(result, temporary)
        for spec in analysis.figures:
            if (figure := spec.draw(result)) is not None:
                save_figure(figure, temporary / spec.slug)
        for name, frame in analysis.tabulate(result).items():
            frame.to_csv(temporary / f"{name}.csv", index=False)
    return False


def read_stage(analysis: Analysis, study: Study, inputs: StudyInputs) -> Result | None:
    """The committed result of a stage, None where there is none that fits these inputs."""
    folder = study.output_dir / analysis.slug
    return load_result(folder) if is_committed(folder, stage_key(analysis, study, inputs)) else None


@cache
def hash_code(*rooms: str) -> str:
    """A hash of the code of these files and folders of the package; by default of all that makes results."""
    package = Path(__file__).parent
    files = [path.relative_to(package) for path in sorted(package.rglob("*.py"))]
    entering = [path for path in files if (path.parts[0] in rooms if rooms else path.parts[0] not in _NOT_NUMBERS)]
    return hash_values([(path.as_posix(), hash_file(package / path)) for path in entering])
