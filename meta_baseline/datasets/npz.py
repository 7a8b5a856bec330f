"""Images in a NumPy archive: images uint8 [N, H, W] or [N, H, W, 3 or 4], labels [N], latent_<name> [N], identity [N].

Arrays that are stored as they are (``np.savez``) stay on disk and are read where they are needed; compressed ones are
unpacked into memory as a whole, up to ``MAX_COMPRESSED_BYTES``. Nothing is ever unpickled.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped
from numpy import ndarray
from numpy.lib import format as npy

from meta_baseline.datasets.images import MAX_SIDE, UnreadableImage, as_rgb
from meta_baseline.datasets.latents import number_identities
from meta_baseline.datasets.sources import OpenedSet, Pixels
from meta_baseline.errors import StimulusError

MAX_COMPRESSED_BYTES = 2 * 2**30
MAX_IMAGES = 2_000_000
_MAX_MEMBERS = 1000
_LATENT = "latent_"
_LABELS_FROM = "the array labels, where 1 is class 1"
_DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    KeyError,
    SyntaxError,
    MemoryError,
    zlib.error,
    zipfile.BadZipFile,
    tokenize.TokenError,
)
"""What ``zipfile`` and NumPy raise on a file that is damaged."""


class NpzImages:
    """Images of one archive by position; those on disk are mapped for one request at a time, so that none stay."""

    decodes = False

    def __init__(self, path: Path, images: Shaped[ndarray, "N H W ..."]) -> None:
        self._path = path
        self._length = len(images)
        self._images = None if isinstance(images, np.memmap) else images

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_images": None}

    def __len__(self) -> int:
        return self._length

    def read(self, positions: Sequence[int]) -> list[Pixels | UnreadableImage]:
        """Copy these images out of the array."""
        images = self._open()
        return [as_rgb(np.array(images[position])) for position in positions]

    def look(self, positions: Sequence[int]) -> list[tuple[Pixels | UnreadableImage, str]]:
        """The same; nothing was changed that the check of the whole set does not say."""
        return [(image, "") for image in self.read(positions)]

    def locate(self, position: int) -> Path:
        """The archive."""
        return self._path

    def _open(self) -> Shaped[ndarray, "N H W ..."]:
        if self._images is not None:
            return self._images
        try:
            with zipfile.ZipFile(self._path) as archive:
                images = _read_array(archive, self._path, "images")
                _check_images(images)
        except _DAMAGE as error:
            raise StimulusError(f"{self._path} cannot be read any more. Copy or write the file again.") from error
        if len(images) != self._length:
            raise StimulusError(f"{self._path} changed while it was read. Run again.")
        self._images = None if isinstance(images, np.memmap) else images
        return images

    def name(self, position: int) -> str:
        """The archive's name and the position."""
        return f"{self._path.name}#{position}"


def open_npz(path: Path, *, split: str, splits: tuple[str, ...]) -> OpenedSet:
    """The images of a NumPy archive with their labels, and latents and identities where it has them.

    Raises:
        StimulusError: when the archive is damaged or does not hold such arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()[:_MAX_MEMBERS]]
            if missing := {"images", "labels"} - set(names):
                found = ", ".join(repr(name[:40]) for name in names[:5])
                raise ValueError(f"it has no array {min(missing)!r}; found: {found}")
            images = _read_array(archive, path, "images")
            _check_images(images)
            columns = {name: _read_column(archive, path, name, len(images)) for name in names if _is_column(name)}
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise StimulusError(f"{path} cannot be used: {reason}. docs/formats.md shows what can be read.") from error
    labels, identities = columns.pop("labels"), columns.pop("identity", None)
    latents = pd.DataFrame({name.removeprefix(_LATENT): column for name, column in columns.items()})
    return OpenedSet(
        source=NpzImages(path, images),
        labels=labels,
        place=path,
        split=split,
        splits=splits,
        labels_from=_LABELS_FROM,
        latents=None if latents.empty else latents,
        identities=None if identities is None or not np.isfinite(identities).all() else number_identities(identities),
    )


def _is_column(name: str) -> bool:
    return name in ("labels", "identity") or name.startswith(_LATENT)


def _check_images(images: ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)):
        raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 [N, H, W] or [N, H, W, 3 or 4]")
    if len(images) > MAX_IMAGES or not all(0 < side <= MAX_SIDE for side in images.shape[1:3]):
        raise ValueError(f"images have shape {images.shape}; at most {MAX_IMAGES} of {MAX_SIDE} px a side are read")


def _read_column(archive: zipfile.ZipFile, path: Path, name: str, length: int) -> ndarray:
    column = _read_array(archive, path, name)
    if column.shape != (length,) or column.dtype.kind not in "iufb":
        raise ValueError(f"{name} is {column.dtype} {column.shape}, not one number for each of {length} images")
    return np.array(column, dtype=np.float64)


def _read_array(archive: zipfile.ZipFile, path: Path, name: str) -> ndarray:
    """An array of the archive: mapped into memory when it is stored as it is, else unpacked."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is written in version {version} of the npy format")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        try:
            shape, fortran, dtype = read_header(stream)
        except ValueError as error:
            raise ValueError(f"the header of {name} is damaged or too long") from error
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        begin = stream.tell()
        order = "F" if fortran else "C"
        if dtype.hasobject or any(side < 0 for side in shape) or size != member.file_size - begin:
            raise ValueError(f"{name} is {dtype} {shape}, which is not what {member.file_size} bytes hold")
        if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1 and size:
            return np.memmap(path, dtype, "r", _find_data(path, member) + begin, shape, order)
        if size > MAX_COMPRESSED_BYTES:
            gib = MAX_COMPRESSED_BYTES // 2**30
            raise ValueError(f"{name} is compressed and larger than {gib} GiB; write it with np.savez")
        return np.frombuffer(stream.read(size), dtype).reshape(shape, order=order)


def _find_data(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose last two fields are lengths (APPNOTE 4.3.7)."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
    if len(lengths) < 4:
        raise ValueError("it is truncated")
    return member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
