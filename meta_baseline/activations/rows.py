"""Arrays that come batch by batch: kept in memory, or written to a file and mapped back when all rows are there."""

from __future__ import annotations

import math
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike

from meta_baseline.errors import EnvironmentProblem


class Rows:
    """An array [M, ...] of which the rows are appended in order, at most ``most`` of them.

    Args:
        most: rows that may come.
        shape: of one row.
        dtype: of the values.
        path: the file to write to; None keeps the rows in memory. A file costs no memory, however many rows come.
    """

    def __init__(self, most: int, shape: tuple[int, ...], dtype: DTypeLike, path: Path | None = None) -> None:
        self._shape, self._dtype, self._path = shape, np.dtype(dtype), path
        self._count = 0
        self._file: RawIOBase | None = None
        # Pages that no row is written to are never resident, so asking for the most possible costs nothing.
        self._kept = np.empty((most if path is None else 0, *shape), dtype=dtype)
        if path is not None:
            self._file = path.open("wb", buffering=0)

    def append(self, rows: ndarray) -> None:
        """Add rows [m, ...].

        Raises:
            EnvironmentProblem: when they cannot be written.
        """
        first, self._count = self._count, self._count + len(rows)
        if self._file is None:
            self._kept[first : self._count] = rows
            return
        try:
            write_all(self._file, np.ascontiguousarray(rows, dtype=self._dtype))
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def finish(self) -> ndarray:
        """All rows; those of a file are read when they are looked at, and changes of them stay in memory."""
        if self._file is None or self._path is None:
            return self._kept[: self._count]
        self._file.close()
        return map_array(self._path, self._dtype, (self._count, *self._shape))


def write_all(file: RawIOBase | BinaryIO, array: ndarray) -> None:
    """Write the bytes of a contiguous array to an unbuffered file, which may take them in parts."""
    data = memoryview(array.data).cast("B") if array.size else memoryview(b"")
    while len(data):
        data = data[file.write(data) or 0 :]


def map_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> ndarray:
    """The array whose bytes a file holds; pages of it are read when they are looked at."""
    if math.prod(shape) == 0:
        return np.zeros(shape, dtype=dtype)
    # "c": a page that somebody changes becomes theirs, and torch takes the array without a warning.
    return np.memmap(path, dtype=dtype, mode="c", shape=shape)


def cannot_write(path: Path | None, error: OSError) -> EnvironmentProblem:
    """What to tell the user when activations do not fit on the disk."""
    return EnvironmentProblem(
        f"Cannot write activations to {path}: {error.strerror}. Free some space there, or use fewer images."
    )
