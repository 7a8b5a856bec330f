"""The demo: stimuli, a pair of networks that differ in the learning rule alone, their accuracy, all analyses.

Five stages in one folder, each committed whole, so that the demo continues where it was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meta_baseline.checkpoints import load_network
from meta_baseline.commits import committing, hash_values, is_committed, locked
from meta_baseline.cores import count_cores
from meta_baseline.pipeline import ANALYSES, StudyResult, run_study
from meta_baseline.results import save_result
from meta_baseline.stages import Progress, hash_code
from meta_baseline.stimuli import generate_pool
from meta_baseline.stimuli.folder import write_svrt_folder
from meta_baseline.study import Study, check_output_dir
from meta_baseline.training.evaluation import evaluate_networks
from meta_baseline.training.loop import INITIAL, LAST
from meta_baseline.training.pair import train_pair
from meta_baseline.training.precision import cpu_has_bf16
from meta_baseline.training.progress import TrainingBars
from meta_baseline.training.recipes import ARMS, Recipe, demo, demo_32px, encode_recipe

ANALYSED_TASK = "irregular"
NUM_IMAGES = 1000
NUM_IDENTITIES = 50
"""Each shape comes back in 20 images, so that probes can be tested on shapes that they were not fitted on."""

_ROOMS = (
    "stimuli",
    "training",
    "models.py",
    "architectures.py",
    "episodes.py",
    "inner_loop.py",
    "linear_steps.py",
    "demo.py",
)
"""Where the numbers of the training stages come from: a change elsewhere does not train again."""


def run_demo(
    output_dir: Path, *, seed: int = 0, recipe: Recipe | None = None, progress: Progress, say: Callable[[str], None]
) -> StudyResult:
    """Run what is not there yet; the report is ``output_dir/analysis/report.html``.

    Raises:
        EnvironmentProblem: the folder cannot be written.
        OutputFolderError: another run is writing there.
    """
    check_output_dir(output_dir)
    recipe = recipe or (demo(seed) if cpu_has_bf16() else demo_32px(seed))
    key = hash_values(encode_recipe(recipe), hash_code(*_ROOMS))
    outcome, stimuli, networks = (output_dir / name for name in ("outcome", "stimuli", "networks"))
    with locked(output_dir):
        say(_describe_plan(recipe, output_dir, key))
        if not is_committed(networks, key):
            _train(recipe, output_dir, key, progress, say)
        paths = {arm: networks / arm / LAST for arm in ARMS}
        if not is_committed(outcome, key):
            with _timed("accuracy on trained and held-out tasks", say), committing(outcome, key) as folder:
                loaded = {arm: load_network(path) for arm, path in paths.items()}
                loaded["untrained"] = load_network(networks / "meta" / INITIAL)
                save_result(evaluate_networks(loaded, recipe, progress=progress), folder)
        if not is_committed(stimuli, key):
            with _timed("stimuli for the analyses", say), committing(stimuli, key) as folder:
                _write_stimuli(folder, seed, progress)
        study = Study(
            meta_model=paths["meta"],
            baseline_model=paths["baseline"],
            analyses=tuple(analysis.slug for analysis in ANALYSES),
            data_dir=stimuli,
            task=ANALYSED_TASK,
            output_dir=output_dir / "analysis",
            num_workers=0,
            num_threads=count_cores(),
            max_images=NUM_IMAGES,
            seed=seed,
            training_outcome=outcome,
            overwrite=True,
        )
        return run_study(study, argv=("meta-baseline", "demo", "--seed", str(seed)), progress=progress, say=say)


def _describe_plan(recipe: Recipe, output_dir: Path, key: str) -> str:
    if is_committed(output_dir / "networks", key):
        return f"Networks of an earlier run are in {output_dir}; continuing from there."
    return (
        f"The demo generates {recipe.pool_size:,} training images, trains a baseline and a meta-learned network "
        f"({recipe.architecture}, {recipe.image_size} px) on them side by side, and analyses both.\n"
        f"About six minutes on two cores; results go to {output_dir}. "
        "Training stays at chance for the first minute: that is normal."
    )


def _train(recipe: Recipe, output_dir: Path, key: str, progress: Progress, say: Callable[[str], None]) -> None:
    """Train both arms on one pool; the pool can be generated again and goes with the temporary folder."""
    with committing(output_dir / "networks", key) as folder:
        pool = folder / "pool"
        with _timed("training images", say):
            generate_pool(recipe.tasks, recipe.pool_size, recipe.image_size, recipe.seed, pool, count_cores(), progress)
        with _timed("two networks", say), TrainingBars(tuple(ARMS), recipe.pool_size) as bars:
            train_pair(recipe, pool, folder, report=bars.show)
        for path in sorted(pool.iterdir()):
            path.unlink()
        pool.rmdir()


def _write_stimuli(folder: Path, seed: int, progress: Progress) -> None:
    images = folder / f"results_{ANALYSED_TASK}" / "test"
    images.mkdir(parents=True)
    write_svrt_folder(
        images,
        ANALYSED_TASK,
        num_images=NUM_IMAGES,
        split="test",
        seed=seed,
        identities=NUM_IDENTITIES,
        workers=1,
        progress=progress,
    )


@contextmanager
def _timed(what: str, say: Callable[[str], None]) -> Iterator[None]:
    started = time.monotonic()
    yield
    say(f"  {what}: {time.monotonic() - started:.0f} s")
