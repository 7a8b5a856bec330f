"""Stimuli as one NumPy archive: ``np.load("regular_test.npz")["images"]``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_baseline.stimuli.folder import slice_range
from meta_baseline.stimuli.generation import CHUNK_SIZE
from meta_baseline.stimuli.png import deflate
from meta_baseline.stimuli.stimulus_set import KEYS, PAIR, Columns, ImageSet, join_columns

_PIXELS = "deflated_pixels"
_COMPRESSION = 1


@dataclass(frozen=True, kw_only=True)
class ArraysFile:
    """``<task>_<split>.npz`` with these arrays, N images.

    images: uint8 [N, H, W] or, for coloured tasks, [N, H, W, 3]; white 255.
    labels: int64 [N]; 1 where the rule holds.
    identity, index: int64 [N]; with task, seed and split, scalars, they make an image again.
    pair: int64 [N], of minimal pairs alone; what they differ in is ``varied``.
    latent_<name>: [N]; positions and sizes in px of the 128 px canvas whatever the image size.
    """

    stimuli: ImageSet
    num_images: int

    images_per_item = 1

    @property
    def target(self) -> Path:
        """Where it lies in the output folder."""
        return Path(f"{self.stimuli.name}_{self.stimuli.split}.npz")

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.num_images} images of {self.stimuli.name}, half of each class, with their latents"

    def list_chunks(self) -> list[range]:
        """Image numbers in slices."""
        return slice_range(self.num_images, CHUNK_SIZE)

    def make_chunk(self, chunk: range, output: Path) -> Columns:
        """Pixels and rows of a slice."""
        images, columns = self.stimuli.draw(chunk)
        return columns | {_PIXELS: np.frombuffer(deflate(images), np.uint8)}

    def is_whole(self, chunk: range, columns: Columns, output: Path) -> bool:
        """Always: a slice has no files of its own."""
        return True

    def assemble(self, chunks: Iterable[Columns], output: Path) -> None:
        """Write the archive; only the pixels of one slice are in memory at a time."""
        size, colour = self.stimuli.image_size, self.stimuli.about.colour
        shape = (self.num_images, size, size, 3) if colour else (self.num_images, size, size)
        rows: list[Columns] = []

        def unpack() -> Iterator[bytes]:
            for chunk in chunks:
                rows.append({name: values for name, values in chunk.items() if name != _PIXELS})
                yield zlib.decompress(chunk[_PIXELS].tobytes())

        with zipfile.ZipFile(output, "w") as archive:
            _write_array(archive, "images", np.dtype(np.uint8), shape, unpack())
            for name, values in self._name_arrays(join_columns(rows)):
                _write_array(archive, name, values.dtype, values.shape, (np.ascontiguousarray(values).tobytes(),))

    def _name_arrays(self, columns: Columns) -> Iterator[tuple[str, NDArray[Any]]]:
        yield "labels", columns["label"]
        yield "identity", columns["identity"]
        yield "index", columns["index"]
        yield "seed", np.array(self.stimuli.seed)
        yield "split", np.array(self.stimuli.split)
        yield "task", np.array(self.stimuli.task)
        if self.stimuli.varied is not None:
            yield PAIR, columns[PAIR]
            yield "varied", np.array(self.stimuli.varied)
        for name, values in columns.items():
            if name not in (*KEYS, PAIR):
                yield f"latent_{name}", values


def _write_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterable[bytes]
) -> None:
    # A fixed date, so that the same stimuli are the same bytes whenever they are made.
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    entry._compresslevel = _COMPRESSION  # pyright: ignore[reportAttributeAccessIssue]
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(entry, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            stream.write(part)
