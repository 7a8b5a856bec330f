"""The TFRecord files of Puebla & Bowers, read without TensorFlow.

    <task>_<split>.tfrecords        examples with image_raw (a PNG) and label (1 = same)

A record is its length (uint64), a checksum of the length, the data, and a checksum of the data; numbers are little
endian (TensorFlow, tfrecord format). One pass finds where the images are; pixels are decoded when they are asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.datasets.crc32c import masked_crc32c
from meta_baseline.datasets.images import MAX_BYTES, UnreadableImage
from meta_baseline.datasets.protobuf import BrokenMessage, read_example
from meta_baseline.datasets.sources import OpenedSet, Pixels, look_at
from meta_baseline.errors import StimulusError
from meta_baseline.results import Check

MAX_RECORD_BYTES = MAX_BYTES + 2**16
MAX_RECORDS = 2_000_000
_NUM_NAMED = 3
_LABELS_FROM = "the feature label of every record, where 1 is class 1"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class TfrecordImages:
    """PNG images inside one file, by where they begin and how long they are."""

    path: Path
    starts: Int64[ndarray, " N"]
    lengths: Int64[ndarray, " N"]
    decodes: bool = True

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, positions: Sequence[int]) -> list[Pixels | UnreadableImage]:
        """Decode these images."""
        return [image for image, _ in self.look(positions)]

    def look(self, positions: Sequence[int]) -> list[tuple[Pixels | UnreadableImage, str]]:
        """Decode these images, and say what was changed."""
        with self.path.open("rb") as stream:
            return [look_at(partial(self._read, stream, position)) for position in positions]

    def locate(self, position: int) -> Path:
        """The file."""
        return self.path

    def name(self, position: int) -> str:
        """The file's name and the position."""
        return f"{self.path.name}#{position}"

    def _read(self, stream: BinaryIO, position: int) -> bytes:
        stream.seek(int(self.starts[position]))
        return stream.read(int(self.lengths[position]))


@dataclass(frozen=True)
class _Record:
    start: int
    data: bytes
    is_whole: bool


@dataclass
class _Problems:
    """How many records could not be read, and why the first ones could not."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        self.count += 1
        if len(self.first) < _NUM_NAMED:
            self.first.append(problem)


def open_tfrecords(path: Path, *, split: str, splits: tuple[str, ...]) -> OpenedSet:
    """The images of a TFRecord file with their labels.

    Raises:
        StimulusError: when no record of it can be used.
    """
    starts: list[int] = []
    lengths: list[int] = []
    labels: list[float] = []
    problems = _Problems()
    for number, record in enumerate(_read_or_refuse(path, problems)):
        if number == MAX_RECORDS:
            problems.add(f"more than {MAX_RECORDS} records")
            break
        if not record.is_whole:
            problems.add(f"record {number}: checksum does not match")
            continue
        try:
            features = read_example(record.data)
        except BrokenMessage as error:
            problems.add(f"record {number}: {error}")
            continue
        image, label = features.get("image_raw"), features.get("label")
        if not image or not isinstance(image[0], bytes):
            problems.add(f"record {number}: no image_raw")
            continue
        starts.append(record.start + record.data.index(image[0]))
        lengths.append(len(image[0]))
        labels.append(float(label[0]) if label and isinstance(label[0], int) else np.nan)
    if not labels:
        found = problems.first[0] if problems.first else "it is empty"
        raise StimulusError(f"No image in {path} can be used ({found}). Copy or write the file again.")
    return OpenedSet(
        source=TfrecordImages(path, np.array(starts, np.int64), np.array(lengths, np.int64)),
        labels=np.array(labels),
        place=path,
        split=split,
        splits=splits,
        labels_from=_LABELS_FROM,
        checks=_list_checks(problems),
    )


def _read_or_refuse(path: Path, problems: _Problems) -> Iterator[_Record]:
    try:
        yield from _read_records(path, problems)
    except OSError as error:
        raise StimulusError(f"{path} cannot be read: {error.strerror}. Check the file and its permissions.") from error


def _read_records(path: Path, problems: _Problems) -> Iterator[_Record]:
    """Every record up to the first one whose length cannot be trusted; what is behind that is lost."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(2) == _GZIP:
            raise StimulusError(f"{path} is compressed. Unpack it first, with gunzip.")
        stream.seek(0)
        while header := stream.read(12):
            place = stream.tell()
            rest = size - place
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 0
            if len(header) < 12 or masked_crc32c(header[:8]) != struct.unpack("<I", header[8:])[0]:
                problems.add(f"nothing can be read from byte {place - len(header)} on")
                return
            if length > MAX_RECORD_BYTES or length + 4 > rest:
                problems.add(f"the file ends before a record of {length} bytes at byte {place}")
                return
            data = stream.read(length)
            checksum = stream.read(4)
            if len(data) < length or len(checksum) < 4:
                problems.add(f"the file ends before a record of {length} bytes at byte {place}")
                return
            yield _Record(place, data, masked_crc32c(data) == struct.unpack("<I", checksum)[0])


def _list_checks(problems: _Problems) -> tuple[Check, ...]:
    scaling = (
        "Puebla & Bowers standardise each of these images by its own mean and sd, which no --input-scaling here does; "
        "the checkpoint decides, and where it does not know, use --meta-input-scaling and --baseline-input-scaling."
    )
    checks = [Check(code="data.scaling", verdict="note", sentence=scaling)]
    if problems.count:
        named = "; ".join(problems.first) + ("; ..." if problems.count > _NUM_NAMED else "")
        sentence = f"{problems.count} TFRecords could not be read and were left out ({named})."
        checks.append(Check(code="data.records", verdict="warn", sentence=sentence))
    return tuple(checks)
