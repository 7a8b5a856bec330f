"""What a run leaves on disk: checkpoints that say how they came about, and the state from which it can go on.

Every file appears whole or not at all, so a run that is killed, or that finds the disk full, leaves the last good ones.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from meta_baseline import __version__
from meta_baseline.checkpoint_metadata import TrainingValue
from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.commits import write_atomic
from meta_baseline.errors import EnvironmentProblem, InputError, OutputFolderError, UsageError
from meta_baseline.models import ConvNet
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.agreement import find_difference
from meta_baseline.training.guards import spread_rows
from meta_baseline.training.learners import StepOutcome
from meta_baseline.training.learnt_adaptation import LearntAdaptation, write_adaptation
from meta_baseline.training.optimiser import Optimiser
from meta_baseline.training.recipe import ADAPTING, Recipe, encode_recipe

INITIAL, BEST, LAST = "initial.safetensors", "best.safetensors", "last.safetensors"
METRICS, STATE = "metrics.jsonl", "state.safetensors"
_KEY, _NETWORK, _LEARNT, _OPTIMISER, _RANDOM = "meta_baseline_state", "network", "learnt", "optimiser", "random"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run is, besides its tensors.

    Attributes:
        step: steps taken.
        images: seen so far.
        window: steps since the last line of metrics.jsonl.
        metrics_bytes: length of metrics.jsonl.
        best: highest validation accuracy so far; None before the first.
    """

    step: int = 0
    images: int = 0
    window: tuple[StepOutcome, ...] = ()
    metrics_bytes: int = 0
    best: float | None = None


def snapshot_name(images: int) -> str:
    """File name of the checkpoint after this many images."""
    return f"images-{images:07d}.safetensors"


def save_network(path: Path, network: ConvNet, learnt: LearntAdaptation, recipe: Recipe, images: int) -> None:
    """Write a checkpoint that says how it was trained, and what was learned beside the weights.

    Raises:
        UsageError: a weight is no longer finite; the last good checkpoint is left as it is.
    """
    _check_finite(network, recipe, images)
    training: dict[str, TrainingValue] = {
        "algorithm": recipe.algorithm,
        "seed": recipe.seed,
        "tasks": ",".join(recipe.tasks),
        "held_out": ",".join(recipe.held_out),
        "num_images": images,
        "initial": INITIAL,
        "norm_mode": recipe.norm,
        "data": f"{recipe.data_dir or 'generated'}, train split, seed {recipe.seed}, {recipe.pool_size} images",
        "augmentation": recipe.augmentation,
        "precision": recipe.precision,
        "versions": (f"meta_baseline {__version__}", f"torch {torch.__version__}", f"numpy {np.__version__}",
                     f"python {platform.python_version()}"),
    }  # fmt: skip
    if recipe.faults:
        training["faults"] = recipe.faults
    if recipe.algorithm == "matched":
        training["twin"] = recipe.twin
    if recipe.algorithm != "baseline":
        training["support_sizes"] = tuple(map(str, recipe.episodes.support_sizes))
        training["query"] = recipe.episodes.query_size
    if recipe.acting in ADAPTING:
        inner_loop = recipe.inner_loop_at(1.0)
        training |= {
            "inner_steps": inner_loop.num_steps,
            "inner_learning_rate": inner_loop.learning_rate,
            "first_order": inner_loop.first_order,
            "adapted": inner_loop.adapted,
        }
        for name in ("learn_inner_rates", "multi_step_fraction", "first_order_fraction"):
            if value := getattr(recipe, name):
                training[name] = value
    write_checkpoint(path, network, training=training)
    write_adaptation(path, learnt)


def is_finished(folder: Path) -> bool:
    """Whether the run in ``folder`` came to its end: its last checkpoint is there and no state to go on from."""
    return (folder / LAST).exists() and not (folder / STATE).exists()


def identify_images(pool: TrainingPool) -> str:
    """SHA-256 of the labels, the tasks and some images of a pool: whether two pools are the same one."""
    rows = spread_rows(len(pool.labels))
    digest = hashlib.sha256(pool.labels.tobytes() + pool.task_ids.tobytes())
    digest.update(np.ascontiguousarray(pool.images[rows]).tobytes())
    return digest.hexdigest()


def write_state(
    folder: Path,
    recipe: Recipe,
    images: str,
    network: ConvNet,
    learnt: LearntAdaptation,
    optimiser: Optimiser,
    position: Position,
) -> None:
    """Write everything that the next step depends on; ``images`` identifies the pool.

    Raises:
        UsageError: a weight is no longer finite; the last good state is left as it is.
    """
    _check_finite(network, recipe, position.images)
    groups = {_NETWORK: network.state_dict(), _LEARNT: learnt.tensors(), _OPTIMISER: optimiser.tensors()}
    tensors = {f"{group}/{name}": value for group, named in groups.items() for name, value in named.items()}
    tensors |= {f"{_RANDOM}/{name}": value for name, value in _random_states().items()}
    whole = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    text = json.dumps({"recipe": encode_recipe(recipe), "pool": images, "position": asdict(position)})
    write_atomic(folder / STATE, save(whole, metadata={_KEY: text}))


def read_state(
    folder: Path, recipe: Recipe, images: str, network: ConvNet, learnt: LearntAdaptation, optimiser: Optimiser
) -> Position | None:
    """Put everything back as it was when the state was written; None when there is no state.

    Raises:
        OutputFolderError: the state is of another recipe or of other images.
        InputError: the file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            record = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if difference := find_difference(record["recipe"], recipe):
            raise OutputFolderError(
                f"{path} is the state of a run with other settings ({difference}). "
                "Use the settings of that run, or another folder."
            )
        if record["pool"] != images:
            raise OutputFolderError(
                f"{path} is the state of a run on other images. Use the images of that run, or another folder."
            )
        position = _decode_position(record["position"])
        named = _grouped(tensors)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                value.copy_(named[_NETWORK][name])
        learnt.load(named.get(_LEARNT, {}))
        optimiser.load(named.get(_OPTIMISER, {}))
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        if isinstance(error, OutputFolderError):
            raise
        line = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is damaged ({line}). Remove it to begin this run anew.") from error
    torch.set_rng_state(named[_RANDOM]["cpu"])
    if "cuda" in named[_RANDOM]:
        torch.cuda.set_rng_state(named[_RANDOM]["cuda"])
    return position


@contextmanager
def explaining_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into one line; what was written whole before stays."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot write to {folder}: {error.strerror or error}. What was saved before is intact: free some space "
            "and run the same command again, or choose another folder with --output-dir."
        ) from error


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _check_finite(network: ConvNet, recipe: Recipe, images: int) -> None:
    for name, value in network.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise UsageError(
                f"{name} is no longer finite after {images} images of {recipe.algorithm} training; checkpoints up to "
                f"there are intact. Use a smaller --outer-lr than {recipe.learning_rate}."
            )


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value
    return groups


def _decode_position(values: dict[str, Any]) -> Position:
    window = tuple(
        StepOutcome(**{**item, "by_task": tuple(tuple(counts) for counts in item["by_task"])})
        for item in values["window"]
    )
    return Position(**{**values, "window": window})
