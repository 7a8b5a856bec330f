"""Exports made chunk by chunk, by any number of processes, beginning where an earlier run was stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meta_baseline.stimuli.generation import run_in_order
from meta_baseline.stimuli.partial import PartialOutput, end_with_parent
from meta_baseline.stimuli.stimulus_set import Columns, ImageSet


class Export(Protocol):
    """A file, or a folder of files, that is made of chunks; ``assemble`` gets them in their order."""

    @property
    def stimuli(self) -> ImageSet:
        """What is drawn."""
        ...

    @property
    def images_per_item(self) -> int:
        """Images that one number of a chunk stands for."""
        ...

    @property
    def target(self) -> Path:
        """Where it lies in the output folder."""
        ...

    @property
    def title(self) -> str:
        """What it is, in words."""
        ...

    def list_chunks(self) -> list[range]:
        """Numbers of images, or of episodes, in slices."""
        ...

    def make_chunk(self, chunk: range, output: Path) -> Columns:
        """What is to be kept of a slice; files of its own go to ``output``."""
        ...

    def is_whole(self, chunk: range, columns: Columns, output: Path) -> bool:
        """Whether the files of a slice are as they were when ``columns`` was kept."""
        ...

    def assemble(self, chunks: Iterable[Columns], output: Path) -> None:
        """Write what belongs to all slices together."""
        ...


@dataclass(frozen=True, kw_only=True)
class Production:
    """One export on its way: where it is made, and the numbers of the chunks that are missing."""

    export: Export
    partial: PartialOutput
    missing: tuple[int, ...]

    @property
    def num_images(self) -> int:
        """Images of the whole export."""
        return sum(map(len, self.export.list_chunks())) * self.export.images_per_item

    @property
    def num_missing(self) -> int:
        """Images that are still to be drawn."""
        chunks = self.export.list_chunks()
        return sum(len(chunks[number]) for number in self.missing) * self.export.images_per_item


def start_production(export: Export, output_dir: Path, key: str) -> Production:
    """Take stock of what an earlier run with the same key has left."""
    partial = PartialOutput.beside(output_dir / export.target)
    partial.start(key)
    missing: list[int] = []
    for number, chunk in enumerate(export.list_chunks()):
        columns = partial.find(number)
        if columns is None or not export.is_whole(chunk, columns, partial.output):
            missing.append(number)
    return Production(export=export, partial=partial, missing=tuple(missing))


def produce(productions: Sequence[Production], *, workers: int) -> Iterator[Production | None]:
    """Make what is missing, one export after the other; yields once per image, with the production once it is whole.

    A production comes when all its chunks are there and its output is assembled: ready to be moved into place.
    """
    chunks = [one.export.list_chunks() for one in productions]
    jobs = [
        (one.export, one.partial, number, ranges[number])
        for one, ranges in zip(productions, chunks)
        for number in one.missing
    ]
    tasks = tuple({one.export.stimuli.task: one.export.stimuli.about for one in productions}.values())
    made = run_in_order(_make_chunk, jobs, workers=workers, tasks=tasks)
    try:
        for one, ranges in zip(productions, chunks):
            for to_come in reversed(range(len(one.missing))):
                num_images = next(made) * one.export.images_per_item
                # The last image comes with the production, so that as much is counted as was announced.
                for _ in range(num_images if to_come else num_images - 1):
                    yield None
            one.partial.check_room()
            one.export.assemble((one.partial.read(number) for number in range(len(ranges))), one.partial.output)
            yield one
    finally:
        made.close()  # pyright: ignore[reportAttributeAccessIssue]


def _make_chunk(job: tuple[Export, PartialOutput, int, range]) -> int:
    end_with_parent()
    export, partial, number, chunk = job
    partial.keep(number, export.make_chunk(chunk, partial.output))
    return len(chunk)
