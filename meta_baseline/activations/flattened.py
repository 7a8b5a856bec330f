"""Gram matrices of whole maps, exact, within a bound of memory.

Two images in different batches have to be multiplied with each other, so the maps of all images are needed at once.
They are kept while they fit, and spilled to a temporary file otherwise; the products are then added up over blocks of
units, each block centred over images and multiplied in float64. So neither the width of a layer matters to the memory
that is needed, nor a mean a thousand times larger than the sd to the result.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from meta_baseline.activations.rows import cannot_write, write_all

MAX_MEMORY = 2 * 1024**3
"""Bytes of maps that are kept in memory at most."""

_BLOCK_BYTES = 24 * 1024**2


class MemoryBudget:
    """Bytes that several layers share."""

    def __init__(self, num_bytes: int) -> None:
        self.left = num_bytes

    def take(self, num_bytes: int) -> bool:
        """Take so many bytes; False, and nothing is taken, where there are not so many left."""
        if num_bytes > self.left:
            return False
        self.left -= num_bytes
        return True


def flatten_maps(maps: Float[Tensor, "n ..."]) -> Float[Tensor, "n U"]:
    """One row per image, channels last: the order in which maps lie in memory, and a Gram matrix asks for no order."""
    return (maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps).flatten(1)


class FlattenedMaps:
    """The flattened maps [N, U] of one layer, appended batch by batch, until their Gram matrix is made.

    Args:
        num_images: N.
        num_units: U.
        budget: where the memory comes from; what does not fit goes to a file without a name, gone with this process.
        spill_dir: folder of that file; None is the system's folder for temporary files.
    """

    def __init__(self, num_images: int, num_units: int, budget: MemoryBudget, spill_dir: Path | None = None) -> None:
        self._num_units, self._num_images, self._count = num_units, num_images, 0
        self._kept: Float32[ndarray, "N U"] | None = None
        self._file: BinaryIO | None = None
        if budget.take(num_images * num_units * 4):
            self._kept = np.empty((num_images, num_units), dtype=np.float32)
        else:
            self._file = tempfile.TemporaryFile(dir=spill_dir, buffering=0)  # noqa: SIM115 (closed by finish)

    @property
    def is_spilled(self) -> bool:
        """True when the maps are in a file."""
        return self._file is not None

    def append(self, maps: Float32[ndarray, "n U"]) -> None:
        """Add the maps of the next images.

        Raises:
            EnvironmentProblem: when they cannot be written.
        """
        first, self._count = self._count, self._count + len(maps)
        if self._kept is not None:
            self._kept[first : self._count] = maps
            return
        assert self._file is not None
        try:
            write_all(self._file, np.ascontiguousarray(maps, dtype=np.float32))
        except OSError as error:
            raise cannot_write(Path(tempfile.gettempdir()), error) from error

    def finish(self) -> Float[ndarray, "N N"]:
        """Inner products of all pairs of the images that came, after their mean was taken off; the maps are dropped."""
        n = self._count
        width = max(_BLOCK_BYTES // (8 * max(n, 1)), 64)
        gram = np.zeros((n, n))
        for start in range(0, self._num_units, width):
            block = self._read(start, min(start + width, self._num_units)).astype(np.float64)
            block -= block.mean(axis=0)
            gram += block @ block.T
        self._kept = None
        if self._file is not None:
            self._file.close()
        return gram

    def _read(self, start: int, end: int) -> Float32[ndarray, "N u"]:
        if self._kept is not None:
            return self._kept[: self._count, start:end]
        assert self._file is not None
        block = np.empty((self._count, end - start), dtype=np.float32)
        for row in range(self._count):
            got = os.preadv(self._file.fileno(), [block[row]], (row * self._num_units + start) * 4)
            assert got == block[row].nbytes, "a spilled map is read as it was written"
        return block
