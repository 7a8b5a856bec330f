"""Images of a folder as a training pool and as images to be tested on, in place of freshly generated ones.

Every image is used once here too: a run needs as many as its budget. Splits keep their meaning: "train" is trained on,
"val" watched, "test" answered in the evaluation, and no task is trained on images that it is tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from meta_baseline.datasets import read_grey_images, read_stimuli
from meta_baseline.errors import StimulusError
from meta_baseline.stimuli.pool import write_pool
from meta_baseline.training.evaluation_stimuli import TaskImages

Progress = Callable[..., Iterable[Any]]


def write_pool_from_disk(
    data_dir: str | Path,
    tasks: Sequence[str],
    num_images: int,
    image_size: int,
    folder: Path,
    *,
    split: str,
    seed: int,
    progress: Progress = lambda items, **_: items,
) -> None:
    """Write ``num_images`` images of a split of ``data_dir`` to ``folder``, as ``generate_pool`` lays them out.

    Args:
        data_dir: holds a set for each task, in any format of docs/formats.md.
        tasks: by name; they share the images equally.
        num_images: of all tasks together, half of each task's of either class.
        image_size: px; images are averaged down to it.
        folder: of the pool.
        split: "train", "val" or "test".
        seed: draws which images are used, and their order.
        progress: as ``progress(tasks, desc=...)``.

    Raises:
        StimulusError: a task or its split is not there, or has too few images.
        EnvironmentProblem: the folder cannot be written.
    """
    pairs, extra = divmod(num_images // 2, len(tasks))
    counts = [2 * (pairs + (number < extra)) for number in range(len(tasks))]
    places = progress(list(zip(tasks, counts)), desc=f"{split} images")
    parts = (_read(data_dir, task, count, image_size, split, seed)[0] for task, count in places)
    record = {"seed": seed, "split": split, "data_dir": str(data_dir)}
    write_pool(folder, tuple(tasks), counts, image_size, parts, record)


def read_task_images(
    data_dir: str | Path, tasks: Sequence[str], *, images_per_task: int, image_size: int, seed: int
) -> tuple[TaskImages, ...]:
    """Images of the test split of every task, to judge trained networks on; as ``generate_task_images``.

    Raises:
        StimulusError: a task or its test split is not there, or has too few images.
    """
    return tuple(
        TaskImages(task=task, images=images, labels=labels)
        for task in tasks
        for images, labels in (_read(data_dir, task, images_per_task, image_size, "test", seed),)
    )


def _read(
    data_dir: str | Path, task: str, count: int, image_size: int, split: str, seed: int
) -> tuple[UInt8[ndarray, "N H W"], Int64[ndarray, " N"]]:
    """Images and labels of one task; labels alternate, 0 first."""
    stimuli = read_stimuli(data_dir, task=task, split=split, max_images=count, seed=seed)
    by_label = [np.flatnonzero(stimuli.labels == label) for label in (0, 1)]
    found = min(len(rows) for rows in by_label)
    if found < count // 2:
        raise StimulusError(
            f"{data_dir} has {found} usable images of one class of {task}, {split} split; this run needs {count // 2} "
            "of each, because each is used once. Use fewer with --num-images or --num-queries, or add images."
        )
    if min(stimuli.image_shape) < image_size or len(set(stimuli.image_shape)) > 1:
        height, width = stimuli.image_shape
        raise StimulusError(
            f"Images of {task} in {data_dir} have {width} x {height} px; training at {image_size} px needs squares of "
            f"at least that. Choose --image-size {min(stimuli.image_shape)} or less."
        )
    order = np.stack(by_label, axis=1).ravel()
    return read_grey_images(stimuli, image_size)[order], stimuli.labels[order]
