"""Fresh images to judge trained networks on: the test split, which shares no image with any training pool."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from meta_baseline.stimuli import generate_pool


@dataclass(frozen=True, kw_only=True)
class TaskImages:
    """Images of one task in grey, white 255, with labels 1 = same."""

    task: str
    images: UInt8[ndarray, "N H W"]
    labels: Int64[ndarray, " N"]


def set_apart(images: TaskImages, num: int) -> tuple[TaskImages, TaskImages]:
    """The first ``num`` images and the rest, as many of one label as of the other in both."""
    by_label = [np.flatnonzero(images.labels == label) for label in (0, 1)]
    rows = [np.sort(np.concatenate(part)) for part in zip(*((of[: num // 2], of[num // 2 :]) for of in by_label))]
    first, rest = (TaskImages(task=images.task, images=images.images[r], labels=images.labels[r]) for r in rows)
    return first, rest


def generate_task_images(
    tasks: Sequence[str],
    *,
    images_per_task: int,
    image_size: int,
    seed: int,
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> tuple[TaskImages, ...]:
    """Test images of every task, made exactly as the training pool is.

    Args:
        tasks: by name.
        images_per_task: queries and support sets together; half of them "same".
        image_size: px.
        seed: of the images; the split alone keeps them apart from training images of the same seed.
        workers: processes that draw.
        progress: as for ``generate_pool``.
    """
    count = images_per_task * len(tasks)
    with tempfile.TemporaryDirectory(prefix="meta_baseline_") as folder:
        pool = generate_pool(tasks, count, image_size, seed, Path(folder), workers, progress, split="test")
        return tuple(
            TaskImages(
                task=task,
                images=np.array(pool.images[pool.task_slice(task)]),
                labels=pool.labels[pool.task_slice(task)].astype(np.int64),
            )
            for task in tasks
        )
