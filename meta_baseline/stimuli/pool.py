"""The training pool: many small grey images in one memory-mapped file, with their labels and tasks.

A folder of ``images.npy`` (uint8 [N, H, W], white 255, opened as a memory map), ``labels.npy`` (uint8 [N], 1 = same),
``task_ids.npy`` (uint8 [N], index into the tasks) and ``pool.json``, which is written last: without it the pool is not
complete. The images of one task lie together and alternate between the classes, so that an episode of one task is a
draw from one slice and a mixed batch a draw from the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_baseline.errors import EnvironmentProblem, InputError, UsageError
from meta_baseline.stimuli.canvas import shrink, to_grey
from meta_baseline.stimuli.generation import (
    CHUNK_SIZE,
    Progress,
    Split,
    check_options,
    draw_images,
    run_in_order,
)
from meta_baseline.stimuli.registry import get_task

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TrainingPool:
    """Images of several tasks, those of one task together.

    Attributes:
        images: uint8 [N, H, W], grey, white 255; a read-only memory map.
        labels: uint8 [N], 1 = same.
        task_ids: uint8 [N], index into ``tasks``.
        tasks: names of the tasks, in the order of their images.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    task_ids: NDArray[np.uint8]
    tasks: tuple[str, ...]

    def task_slice(self, task: str) -> slice:
        """Where the images of a task lie.

        Raises:
            UsageError: when the pool holds no such task.
        """
        if task not in self.tasks:
            raise UsageError(f"No task {task!r} in this pool. Tasks: {', '.join(self.tasks)}.")
        number = self.tasks.index(task)
        start, stop = np.searchsorted(self.task_ids, (number, number + 1))
        return slice(int(start), int(stop))


def generate_pool(
    tasks: Sequence[str],
    num_images: int,
    image_size: int,
    seed: int,
    path: str | Path,
    workers: int = 1,
    progress: Progress = lambda items, **_: items,
    *,
    split: Split = "train",
) -> TrainingPool:
    """Write a pool of ``num_images`` images to the folder ``path`` and open it.

    The images are those of ``generate_dataset`` at the same seed and split, made grey and averaged down to
    ``image_size`` px; the bytes do not depend on the number of workers. Tasks share the images equally (the first ones
    have one pair more where it does not come out even), and half of each task is "same".

    Args:
        progress: called as ``progress(chunks, desc=..., total=...)``, e.g. ``tqdm.tqdm``.

    Raises:
        UsageError: for an unknown or repeated task, or a number or size that makes no sense.
        EnvironmentProblem: when the folder cannot be written.
    """
    check_options(num_images=num_images, image_size=image_size, seed=seed, identities=None, workers=workers)
    names = tuple(tasks)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"Cannot make a pool of the tasks {', '.join(names) or '(none)'}. Name each task once.")
    if num_images < 2 * len(names):
        raise UsageError(f"Cannot spread {num_images} images over {len(names)} tasks. Each needs at least two.")
    known = tuple(get_task(name) for name in names)
    pairs, extra = divmod(num_images // 2, len(names))
    counts = [2 * (pairs + (number < extra)) for number in range(len(names))]
    jobs = [
        (name, seed, split, image_size, start, min(start + CHUNK_SIZE, count))
        for name, count in zip(names, counts)
        for start in range(0, count, CHUNK_SIZE)
    ]
    chunks = progress(
        run_in_order(_generate_chunk, jobs, workers=workers, tasks=known), desc="training images", total=len(jobs)
    )
    write_pool(Path(path), names, counts, image_size, chunks, {"seed": seed, "split": split})
    return open_pool(path)


def write_pool(
    folder: Path,
    tasks: tuple[str, ...],
    counts: Sequence[int],
    image_size: int,
    chunks: Iterable[NDArray[np.uint8]],
    record: dict[str, Any],
) -> None:
    """Write images to a folder that ``open_pool`` opens.

    Args:
        folder: made if it is not there.
        tasks: in the order of their images.
        counts: images of each task; even, and alternating between the classes, 0 first.
        image_size: px.
        chunks: uint8 [n, H, W] each, one after the other all images.
        record: where they come from.

    Raises:
        EnvironmentProblem: when the folder cannot be written.
    """
    num_images = sum(counts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pool.json").unlink(missing_ok=True)
        with (folder / "images.npy").open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (num_images, image_size, image_size)}
            np.lib.format.write_array_header_1_0(stream, header)
            for chunk in chunks:
                stream.write(chunk.data)
        np.save(folder / "labels.npy", np.concatenate([np.arange(count) % 2 for count in counts]).astype(np.uint8))
        np.save(folder / "task_ids.npy", np.repeat(np.arange(len(tasks)), counts).astype(np.uint8))
        known = {"format": _FORMAT, "tasks": tasks, "num_images": num_images, "image_size": image_size}
        (folder / "pool.json").write_text(json.dumps(known | record) + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot write the training images to {folder}: {error.strerror}. Choose another folder or make room."
        ) from error


def open_pool(path: str | Path) -> TrainingPool:
    """Open a pool that ``generate_pool`` wrote; the images stay on disk.

    Raises:
        InputError: when the folder holds no complete pool.
    """
    folder = Path(path)
    try:
        record = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        task_ids = np.load(folder / "task_ids.npy", allow_pickle=False)
        tasks = tuple(str(name) for name in record["tasks"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"No complete training pool in {folder}: {error}. Generate it again.") from error
    if not (len(images) == len(labels) == len(task_ids) == record.get("num_images")):
        raise InputError(f"The files of the training pool in {folder} do not fit together. Generate it again.")
    return TrainingPool(images=images, labels=labels, task_ids=task_ids, tasks=tasks)


def _generate_chunk(job: tuple[str, int, Split, int, int, int]) -> NDArray[np.uint8]:
    name, seed, split, image_size, start, stop = job
    task = get_task(name)
    indices = np.arange(start, stop)
    images = draw_images(task, indices % 2, indices, seed, split=split).images
    return np.stack([shrink(to_grey(image), image_size) for image in images])
