"""Stimuli as files: PNG images in the layout of the SVRT generator, with ``latents.csv`` beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, shrink
from meta_baseline.stimuli.generation import (
    CHUNK_SIZE,
    Progress,
    Split,
    assign_identity,
    check_options,
    generate_image,
    run_in_order,
)
from meta_baseline.stimuli.registry import PROBLEMS, get_task
from meta_baseline.stimuli.scene import Latents
from meta_baseline.stimuli.task import Task

LATENTS_FILE = "latents.csv"

_Row = dict[str, str | float | int]
_Job = tuple[str, int, Split, int | None, int, Path, int, int]


def name_folder(task: Task) -> str:
    """``results_problem_<number>`` for an SVRT problem, ``results_<task>`` for another task."""
    number = next((number for number, problem in PROBLEMS.items() if problem.name == task.name), None)
    return f"results_{task.name}" if number is None else f"results_problem_{number}"


def name_image(label: int, index: int) -> str:
    """``sample_<class>_<index>.png``, the index with at least four digits."""
    return f"sample_{label}_{index:04d}.png"


def write_svrt_folder(
    folder: str | Path,
    task: str | Task,
    *,
    num_images: int,
    seed: int,
    split: Split = "test",
    image_size: int = CANVAS_SIZE,
    identities: int | None = None,
    workers: int = 1,
    progress: Progress = lambda items, **_: items,
) -> pd.DataFrame:
    """Write the images of ``generate_dataset`` as 8-bit RGB PNG files, and their latents, into an existing folder.

    The bytes depend on everything but the number of workers. Latents are in px of the 128 px canvas whatever the image
    size; ``file`` names the image, and seed, split, label, index and identity are what makes it again.

    Returns:
        What ``latents.csv`` holds, one row per image.

    Raises:
        UsageError: for an unknown task, or a number or size that makes no sense.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_options(num_images=num_images, image_size=image_size, seed=seed, identities=identities, workers=workers)
    folder = Path(folder)
    jobs: list[_Job] = [
        (task.name, seed, split, identities, image_size, folder, start, min(start + CHUNK_SIZE, num_images))
        for start in range(0, num_images, CHUNK_SIZE)
    ]
    chunks = run_in_order(_write_chunk, jobs, workers=workers, tasks=(task,))
    rows = [row for chunk in progress(chunks, desc=f"{task.name}, {split}", total=len(jobs)) for row in chunk]
    table = pd.DataFrame(rows)
    table.to_csv(folder / LATENTS_FILE, index=False, float_format="%.6g", lineterminator="\n")
    return table


def _write_chunk(job: _Job) -> list[_Row]:
    name, seed, split, identities, image_size, folder, start, stop = job
    task = get_task(name)
    return list(_write_images(task, seed, split, identities, image_size, folder, range(start, stop)))


def _write_images(
    task: Task, seed: int, split: Split, identities: int | None, image_size: int, folder: Path, indices: range
) -> Iterator[_Row]:
    for index in indices:
        label = index % 2
        stimulus = generate_image(task, label, seed, index, assign_identity(index, identities), split=split)
        file = name_image(label, index)
        (folder / file).write_bytes(_encode_png(shrink(stimulus.image, image_size)))
        key: Latents = {"label": label, "identity": stimulus.identity, "seed": seed, "index": index}
        yield {"file": file, **key, **stimulus.latents}


def _encode_png(image: NDArray[np.uint8]) -> bytes:
    code = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
    # Runs of equal pixels are all there is to compress in line drawings, and finding them is quick.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, data = cv2.imencode(".png", cv2.cvtColor(image, code), options)
    return data.tobytes()
