"""Stimuli as files: PNG images in the layout of the SVRT generator, with ``latents.csv`` beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.generation import CHUNK_SIZE, Progress, Split, check_options, run_in_order
from meta_baseline.stimuli.partial import digest_files
from meta_baseline.stimuli.png import encode_png
from meta_baseline.stimuli.registry import PROBLEMS, get_task
from meta_baseline.stimuli.stimulus_set import Columns, ImageSet, StimulusSet, join_columns
from meta_baseline.stimuli.task import Task

LATENTS_FILE = "latents.csv"

_DIGEST = "files_sha256"


@dataclass(frozen=True, kw_only=True)
class PngFolder:
    """``results_problem_1/test/sample_<class>_<index>.png`` and ``latents.csv``, one row per image.

    PNG files are 8-bit RGB. Latents are in px of the 128 px canvas whatever the image size; ``file`` names the image,
    and seed, split, label, index and identity are what makes it again.
    """

    stimuli: ImageSet
    num_images: int

    images_per_item = 1

    @property
    def target(self) -> Path:
        """Where it lies in the output folder."""
        pairs = self.stimuli.name.removeprefix(self.stimuli.task)
        return Path(name_folder(self.stimuli.about) + pairs) / self.stimuli.split

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.num_images} images of {self.stimuli.name}, half of each class, with {LATENTS_FILE}"

    def list_chunks(self) -> list[range]:
        """Image numbers in slices."""
        return slice_range(self.num_images, CHUNK_SIZE)

    def make_chunk(self, chunk: range, output: Path) -> Columns:
        """Write the images of a slice and give back its rows, with a digest of the files."""
        output.mkdir(parents=True, exist_ok=True)
        images, columns = self.stimuli.draw(chunk)
        digest = hashlib.sha256()
        for path, image in zip(self._list_paths(chunk, output), images):
            data = encode_png(image)
            digest.update(data)
            path.write_bytes(data)
        return columns | {_DIGEST: np.array(digest.hexdigest())}

    def is_whole(self, chunk: range, columns: Columns, output: Path) -> bool:
        """Whether the files of a slice are still those that were written."""
        return digest_files(self._list_paths(chunk, output)) == str(columns[_DIGEST])

    def assemble(self, chunks: Iterable[Columns], output: Path) -> None:
        """Write the table."""
        rows = [{name: values for name, values in chunk.items() if name != _DIGEST} for chunk in chunks]
        _write_table(join_columns(rows), output)

    def _list_paths(self, chunk: range, folder: Path) -> list[Path]:
        return [folder / name_image(self.stimuli.label(index), index) for index in chunk]


def name_folder(task: Task) -> str:
    """``results_problem_<number>`` for an SVRT problem, ``results_<task>`` for another task."""
    number = next((number for number, problem in PROBLEMS.items() if problem.name == task.name), None)
    return f"results_{task.name}" if number is None else f"results_problem_{number}"


def name_image(label: int, index: int) -> str:
    """``sample_<class>_<index>.png``, the index with at least four digits."""
    return f"sample_{label}_{index:04d}.png"


def slice_range(number: int, size: int) -> list[range]:
    """0 to ``number`` - 1 in slices of ``size``."""
    return [range(start, min(start + size, number)) for start in range(0, number, size)]


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
    """Write the images of ``generate_dataset`` as a ``PngFolder`` into an existing folder, in one go.

    The bytes depend on everything but the number of workers.

    Returns:
        What ``latents.csv`` holds, one row per image.

    Raises:
        UsageError: for an unknown task, or a number or size that makes no sense.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_options(num_images=num_images, image_size=image_size, seed=seed, identities=identities, workers=workers)
    stimuli = StimulusSet(task=task.name, seed=seed, split=split, image_size=image_size, identities=identities)
    export = PngFolder(stimuli=stimuli, num_images=num_images)
    jobs = export.list_chunks()
    chunks = run_in_order(partial(_make_rows, export, Path(folder)), jobs, workers=workers, tasks=(task,))
    made = list(progress(chunks, desc=f"{task.name}, {split}", total=len(jobs)))
    return _write_table(join_columns(made), Path(folder))


def _make_rows(export: PngFolder, folder: Path, chunk: range) -> Columns:
    columns = export.make_chunk(chunk, folder)
    del columns[_DIGEST]
    return columns


def _write_table(columns: Columns, folder: Path) -> pd.DataFrame:
    files = [name_image(*key) for key in zip(columns["label"].tolist(), columns["index"].tolist())]
    table = pd.DataFrame({"file": files, **columns})
    table.to_csv(folder / LATENTS_FILE, index=False, float_format="%.6g", lineterminator="\n")
    return table
