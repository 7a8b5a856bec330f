"""Images from (seed, split, task, index): each one alone, in any order, by any worker, with the same bytes.

Every image has a random generator of its own, keyed by these four numbers. Image ``index`` has label ``index % 2``.
With ``identities=K`` there are K shape identities: what the task calls its identity is drawn from a generator keyed
by the identity, the rest from the image's own, and image ``index`` has identity ``(index // 2) % K``, so that every
identity appears equally often in both classes. Without it every image is its own identity.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from meta_baseline.errors import EnvironmentProblem, UsageError
from meta_baseline.stimuli.canvas import CANVAS_SIZE, shrink
from meta_baseline.stimuli.draws import derive_keys
from meta_baseline.stimuli.figures import Batch
from meta_baseline.stimuli.registry import get_task
from meta_baseline.stimuli.scene import Latents
from meta_baseline.stimuli.task import Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

CHUNK_SIZE = 256
MIN_IMAGE_SIZE = 8

_IMAGE_STREAM, _IDENTITY_STREAM = 0, 1

Result = TypeVar("Result")
Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One image with everything that is known about it.

    Attributes:
        image: uint8, grey [128, 128] or, for coloured tasks, RGB [128, 128, 3]; white 255.
        label: 1 = same, 0 = different.
        latents: as ``scene.read_latents`` gives them.
        identity: shape identity; the image's index when identities do not repeat.
    """

    image: NDArray[np.uint8]
    label: int
    latents: Latents
    identity: int


def generate_image(
    task: str | Task, label: int, seed: int, index: int, identity: int | None = None, *, split: Split = "train"
) -> Stimulus:
    """One stimulus; the same arguments give the same pixels.

    Args:
        task: a task or its name.
        label: 1 for same, 0 for different.
        seed, index, split: what keys the image's random generator.
        identity: shape identity to show; None for shapes of the image's own.
        split: part of the key, so that splits share neither images nor identities.
    """
    task = get_task(task) if isinstance(task, str) else task
    shown = index if identity is None else identity
    batch = draw_images(task, [label], [index], seed, None if identity is None else [identity], split=split)
    latents = {name: values[0].item() for name, values in batch.latents().items()}
    return Stimulus(image=batch.images[0], label=label, latents=latents, identity=shown)


def draw_images(
    task: Task,
    labels: ArrayLike,
    indices: ArrayLike,
    seed: int,
    identities: ArrayLike | None = None,
    *,
    split: Split,
) -> Batch:
    """Many images at once [N], those of ``generate_image``."""
    part = SPLITS.index(split)
    keys = derive_keys(seed, (part, task.code, _IMAGE_STREAM), np.asarray(indices))
    if identities is None:
        return task.draw_batch(keys, np.asarray(labels))
    identity_keys = derive_keys(seed, (part, task.code, _IDENTITY_STREAM), np.asarray(identities))
    return task.draw_batch(keys, np.asarray(labels), identity_keys)


def assign_identity(index: int, identities: int | None) -> int | None:
    """The identity of image ``index`` among K, or None when identities do not repeat."""
    return None if identities is None else (index // 2) % identities


def generate_dataset(
    task: str | Task,
    *,
    num_images: int,
    seed: int,
    image_size: int = CANVAS_SIZE,
    identities: int | None = None,
    split: Split = "train",
    workers: int = 1,
    progress: Progress = lambda items, **_: items,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], pd.DataFrame]:
    """Images 0 to ``num_images - 1`` of a task, alternating between the classes.

    Args:
        progress: called as ``progress(chunks, desc=..., total=...)``, e.g. ``tqdm.tqdm``.

    Returns:
        images uint8 [N, H, W] or [N, H, W, 3], labels [N] (1 = same), and latents with one row per image: identity
        first; positions and sizes in px of the 128 px canvas whatever the image size.

    Raises:
        UsageError: for an unknown task, or a number or size that makes no sense.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_options(num_images=num_images, image_size=image_size, seed=seed, identities=identities, workers=workers)
    jobs = [
        (task.name, seed, split, identities, image_size, start, min(start + CHUNK_SIZE, num_images))
        for start in range(0, num_images, CHUNK_SIZE)
    ]
    shape = (num_images, image_size, image_size, 3) if task.colour else (num_images, image_size, image_size)
    images, tables = np.empty(shape, np.uint8), []
    chunks = run_in_order(_generate_chunk, jobs, workers=workers, tasks=(task,))
    # The chunks come first in the zip, so that they are exhausted and the workers gone when the loop ends.
    for (pixels, latents), job in progress(zip(chunks, jobs), desc=task.name, total=len(jobs)):
        images[job[-2] : job[-1]] = pixels
        tables.append(latents)
    return images, np.arange(num_images) % 2, pd.concat(tables, ignore_index=True)


def check_options(*, num_images: int, image_size: int, seed: int, identities: int | None, workers: int) -> None:
    """Refuse numbers that no data set can be made from.

    Raises:
        UsageError: naming the number and what it may be.
    """
    if num_images < 2 or num_images % 2:
        raise UsageError(f"Cannot generate {num_images} images. Choose an even number: half of them are 'same'.")
    if not MIN_IMAGE_SIZE <= image_size <= CANVAS_SIZE:
        raise UsageError(f"Cannot generate images of {image_size} px. Choose {MIN_IMAGE_SIZE} to {CANVAS_SIZE}.")
    if seed < 0:
        raise UsageError(f"Cannot generate images from seed {seed}. Choose 0 or a positive whole number.")
    if identities is not None and not 1 <= identities <= num_images // 2:
        raise UsageError(
            f"Cannot show {identities} identities in {num_images} images. Choose 1 to {num_images // 2}, "
            "so that each one appears in both classes."
        )
    if workers < 1:
        raise UsageError(f"Cannot generate with {workers} workers. Choose 1 or more.")


def run_in_order(
    function: Callable[[Any], Result], jobs: list[Any], *, workers: int, tasks: tuple[Task, ...]
) -> Iterator[Result]:
    """Results of ``function`` over ``jobs``, in their order, from this process or from several.

    Worker processes are started afresh rather than forked, because forking a process that has threads can hang.

    Raises:
        EnvironmentProblem: when a worker dies, as it does when memory runs out.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    prepare_tasks(tasks)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver"), initializer=_start_worker) as pool:
        try:
            yield from pool.map(function, jobs)
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "A process that generates images was ended from outside, perhaps for memory. Use fewer workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def prepare_tasks(tasks: Iterable[Task]) -> None:
    """Draw one image of each task that compiles code, so that workers find the compiled code on disk."""
    for task in tasks:
        if task.needs_compilation:
            for label in (0, 1):
                draw_images(task, [label], [0], 0, split="train")


def _generate_chunk(
    job: tuple[str, int, Split, int | None, int, int, int],
) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    name, seed, split, identities, image_size, start, stop = job
    task = get_task(name)
    indices = np.arange(start, stop)
    shown = None if identities is None else (indices // 2) % identities
    batch = draw_images(task, indices % 2, indices, seed, shown, split=split)
    table = pd.DataFrame({"identity": indices if shown is None else shown, **batch.latents()})
    return np.stack([shrink(image, image_size) for image in batch.images]), table


def _start_worker() -> None:
    # An interrupt reaches the whole process group; only the parent answers it, by ending its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
