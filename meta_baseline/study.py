"""A study: the frozen options of one run, the inputs they name, and the folder its results go to.

Everything a user can get wrong is found here, before the first expensive stage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from meta_baseline.activations.flattened import MAX_MEMORY
from meta_baseline.checkpoints import Condition, find_initial, load_network
from meta_baseline.commits import hash_file, hash_values, write_atomic
from meta_baseline.datasets import Stimuli, hash_stimuli, read_stimuli
from meta_baseline.errors import CheckpointError, EnvironmentProblem, OutputFolderError
from meta_baseline.models import ConvNet, Scaling
from meta_baseline.weight_space.checkpoint_series import list_series

CLAIM = "inputs.json"
"""The file that says whose results an output folder holds."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The resolved options of one run; ``analyses`` holds slugs of ``pipeline.ANALYSES``.

    ``num_workers`` processes read images; ``num_threads`` layers are analysed at a time. Maps that need more than
    ``max_memory`` bytes are kept in files.
    ``optional`` names those of the analyses that are left out where the images do not suffice for them.
    ``meta_seeds`` and ``baseline_seeds`` are further networks of each condition, from other seeds.
    ``training_outcome`` names a saved result of ``training.evaluation``, ``arms_outcome`` one of
    ``training.arms_outcome``; when given, the report opens with it.
    """

    meta_model: Path
    baseline_model: Path
    analyses: tuple[str, ...]
    data_dir: Path | None = None
    problem_number: int | None = None
    task: str | None = None
    split: str | None = None
    batch_size: int = 32
    output_dir: Path = Path("model_analysis_results")
    device: str = "cpu"
    num_workers: int = 4
    num_threads: int = 1
    max_images: int = 1000
    num_untrained: int = 3
    max_memory: int = MAX_MEMORY
    seed: int = 0
    meta_input_scaling: Scaling | None = None
    baseline_input_scaling: Scaling | None = None
    meta_seeds: tuple[Path, ...] = ()
    baseline_seeds: tuple[Path, ...] = ()
    optional: tuple[str, ...] = ()
    training_outcome: Path | None = None
    arms_outcome: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyInputs:
    """What a study rests on, read and checked: both networks, their step 0 where it is known, and the stimuli.

    ``meta_series`` and ``baseline_series`` are files that training left on its way; only their hashes were read.

    ``key`` changes when any of it does; results with another key are never mixed with these.
    """

    meta: ConvNet
    baseline: ConvNet
    meta_initial: ConvNet | None
    baseline_initial: ConvNet | None
    meta_seeds: tuple[ConvNet, ...]
    baseline_seeds: tuple[ConvNet, ...]
    meta_seed_initials: tuple[ConvNet, ...]
    baseline_seed_initials: tuple[ConvNet, ...]
    meta_series: tuple[tuple[int, Path], ...]
    baseline_series: tuple[tuple[int, Path], ...]
    stimuli: Stimuli | None
    hashes: dict[str, str]
    key: str


def resolve_device(requested: str, *, explicit: bool) -> str:
    """The device to use: CUDA by default means "CUDA if present"; asked for by name it has to be there.

    Raises:
        EnvironmentProblem: CUDA was asked for and is not there, or the device is unknown.
    """
    if requested.startswith("cuda") and not torch.cuda.is_available():
        if explicit:
            raise EnvironmentProblem("No CUDA device is available for --device cuda. Use --device cpu.")
        return "cpu"
    try:
        return str(torch.device(requested))
    except RuntimeError as error:
        raise EnvironmentProblem(f"Unknown device {requested!r}. Use --device cpu or --device cuda.") from error


def read_inputs(study: Study) -> StudyInputs:
    """Read and check everything the study names.

    Raises:
        CheckpointError: a checkpoint is missing, damaged, unsafe or of no known network.
        StimulusError: the data folder is missing, empty, one-sided or undecodable.
    """
    meta = load_network(study.meta_model, input_scaling=study.meta_input_scaling, condition="meta")
    baseline = load_network(study.baseline_model, input_scaling=study.baseline_input_scaling, condition="baseline")
    meta_initial = _load_initial(study.meta_model, meta)
    baseline_initial = _load_initial(study.baseline_model, baseline)
    meta_seeds = _load_seeds(study.meta_seeds, meta, study.meta_input_scaling, "meta")
    baseline_seeds = _load_seeds(study.baseline_seeds, baseline, study.baseline_input_scaling, "baseline")
    hashes = {"meta": meta.provenance.sha256, "baseline": baseline.provenance.sha256}
    for name, initial in (("meta step 0", meta_initial), ("baseline step 0", baseline_initial)):
        if initial is not None:
            hashes[name] = initial.provenance.sha256
    meta_seed_initials = _load_initials(study.meta_seeds, meta_seeds)
    baseline_seed_initials = _load_initials(study.baseline_seeds, baseline_seeds)
    for name, seeds in (
        ("meta seed", meta_seeds),
        ("baseline seed", baseline_seeds),
        ("step 0 of meta seed", meta_seed_initials),
        ("step 0 of baseline seed", baseline_seed_initials),
    ):
        hashes |= {f"{name} {number}": seed.provenance.sha256 for number, seed in enumerate(seeds, start=2)}
    meta_series, baseline_series = list_series(study.meta_model), list_series(study.baseline_model)
    for name, series in (("meta", meta_series), ("baseline", baseline_series)):
        hashes |= {f"{name} {path.name}": hash_file(path) for _, path in series}
    stimuli = None
    if study.data_dir is not None:
        stimuli = read_stimuli(
            study.data_dir,
            study.problem_number,
            task=study.task,
            split=study.split,
            max_images=study.max_images,
            seed=study.seed,
        )
        hashes["stimuli"] = hash_stimuli(stimuli)
    key = hash_values(hashes, study.seed, study.num_untrained, study.meta_input_scaling, study.baseline_input_scaling)
    return StudyInputs(
        meta=meta,
        baseline=baseline,
        meta_initial=meta_initial,
        baseline_initial=baseline_initial,
        meta_seeds=meta_seeds,
        baseline_seeds=baseline_seeds,
        meta_seed_initials=meta_seed_initials,
        baseline_seed_initials=baseline_seed_initials,
        meta_series=meta_series,
        baseline_series=baseline_series,
        stimuli=stimuli,
        hashes=hashes,
        key=key,
    )


def check_output_dir(output_dir: Path) -> None:
    """Refuse early, before anything is read, an output folder that cannot be written.

    Raises:
        EnvironmentProblem: it, or the nearest folder above it, is no folder or not writable.
    """
    existing = output_dir
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise EnvironmentProblem(f"{existing} is a file, not a folder. Choose another folder with --output-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"Cannot write to {existing}. Choose another folder with --output-dir.")


def claim_output_dir(study: Study, inputs: StudyInputs) -> None:
    """Mark the output folder as holding the results of these inputs; with ``overwrite``, move others aside first.

    Raises:
        OutputFolderError: the folder holds the results of other inputs.
    """
    folder = study.output_dir
    claim = folder / CLAIM
    text = json.dumps({"key": inputs.key, "sha256": inputs.hashes}, indent=1) + "\n"
    if claim.exists() and claim.read_text(encoding="utf-8") != text:
        if not study.overwrite:
            raise OutputFolderError(
                f"{folder} holds the results of other inputs. "
                "Choose another folder with --output-dir, or move them aside with --overwrite."
            )
        _move_aside(folder)
    if not claim.exists():
        write_atomic(claim, text)


def stage_rng(study: Study, stage: str) -> np.random.Generator:
    """An independent random generator for one stage: it does not matter which other stages ran before."""
    digest = bytes.fromhex(hash_values(study.seed, stage))
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _load_initial(path: Path, model: ConvNet) -> ConvNet | None:
    initial = find_initial(path, model)
    return None if initial is None else load_network(initial)


def _load_seeds(
    paths: Sequence[Path], first: ConvNet, scaling: Scaling | None, condition: Condition
) -> tuple[ConvNet, ...]:
    """Further networks of the condition of ``first``: another seed of the same recipe, hence the same architecture."""
    seeds: list[ConvNet] = []
    for path in paths:
        network = load_network(path, input_scaling=scaling, condition=condition)
        if network.architecture != first.architecture:
            raise CheckpointError(
                f"{path} holds {network.provenance.architecture}, {first.provenance.path} "
                f"{first.provenance.architecture}. Checkpoints named together are seeds of one recipe."
            )
        known = {other.provenance.sha256: other.provenance.path for other in (first, *seeds)}
        if network.provenance.sha256 in known:
            raise CheckpointError(
                f"{path} holds the same bytes as {known[network.provenance.sha256]}. Name each seed's checkpoint once."
            )
        seeds.append(network)
    return tuple(seeds)


def _load_initials(paths: Sequence[Path], seeds: Sequence[ConvNet]) -> tuple[ConvNet, ...]:
    """Step 0 of each further seed; none unless it is known for all."""
    initials = [_load_initial(path, network) for path, network in zip(paths, seeds)]
    known = [initial for initial in initials if initial is not None]
    return tuple(known) if len(known) == len(seeds) else ()


def _move_aside(folder: Path) -> None:
    """Move what is in ``folder`` to the first free ``<folder>.replaced-<n>``; the lock stays with this run."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    aside.mkdir()
    for item in sorted(folder.iterdir()):
        if item.name != ".lock":
            item.replace(aside / item.name)
