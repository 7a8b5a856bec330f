"""The images of a run: those to train on and those to watch, drawn or read once for a recipe, found again if kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from meta_baseline.stimuli import TrainingPool, generate_pool, open_pool
from meta_baseline.training.disk_images import write_pool_from_disk
from meta_baseline.training.recipe import Recipe

VALIDATION_IMAGES = 128
"""Of each task, trained or held out; enough to tell 70 from 80 %, and quick to go through again and again."""
_SUBFOLDER = "validation"


def prepare_pool(
    recipe: Recipe,
    folder: Path,
    *,
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda items, **_: items,
) -> TrainingPool:
    """The training images of a recipe: those in ``folder`` if they are these, else made there."""
    return _prepare(folder, recipe, recipe.tasks, recipe.pool_size, "train", workers, progress)


def prepare_validation(
    recipe: Recipe,
    folder: Path,
    *,
    per_task: int = VALIDATION_IMAGES,
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda items, **_: items,
) -> TrainingPool:
    """Images of trained and held-out tasks that are never trained on; beside the training images in ``folder``."""
    tasks = recipe.tasks + recipe.held_out
    return _prepare(folder / _SUBFOLDER, recipe, tasks, per_task * len(tasks), "val", workers, progress)


def remove_pool(folder: Path) -> None:
    """Remove the files of a pool and of the validation images beside it, and the folders that are then empty."""
    for part in (folder / _SUBFOLDER, folder):
        for name in ("pool.json", "images.npy", "labels.npy", "task_ids.npy"):
            (part / name).unlink(missing_ok=True)
        if part.is_dir() and not any(part.iterdir()):
            part.rmdir()


def _prepare(
    folder: Path,
    recipe: Recipe,
    tasks: tuple[str, ...],
    num_images: int,
    split: Any,
    workers: int,
    progress: Callable[..., Iterable[Any]],
) -> TrainingPool:
    wanted = {
        "tasks": list(tasks),
        "num_images": num_images,
        "image_size": recipe.image_size,
        "seed": recipe.seed,
        "split": split,
        "data_dir": recipe.data_dir,
    }
    if _holds(folder, wanted):
        return open_pool(folder)
    if recipe.data_dir is not None:
        size, seed = recipe.image_size, recipe.seed
        write_pool_from_disk(
            recipe.data_dir, tasks, num_images, size, folder, split=split, seed=seed, progress=progress
        )
    else:
        generate_pool(tasks, num_images, recipe.image_size, recipe.seed, folder, workers, progress, split=split)
    return open_pool(folder)


def _holds(folder: Path, wanted: dict[str, Any]) -> bool:
    try:
        record = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(record.get(name) == value for name, value in wanted.items())
