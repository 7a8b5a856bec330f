"""Where pixels come from: an image source gives the images of a set by position, whatever they are stored in.

    PngFiles             one PNG per image                           here
    Hdf5Images           episodes, or images, of an HDF5 file        hdf5
    TfrecordImages       examples of a TFRecord file                 tfrecords
    NpzImages            an array of a NumPy archive                 npz

A source holds no pixels. It can be pickled, so that loading processes open the file for themselves, and it can be read
from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd
from jaxtyping import Float64, Int64, UInt8
from numpy import ndarray

from meta_baseline.datasets.images import UnreadableImage, decode_png, describe_change, read_bytes
from meta_baseline.results import Check

Pixels = UInt8[ndarray, "H W 3"]


class ImageSource(Protocol):
    """Images by position, 0 to ``len(source) - 1``."""

    @property
    def decodes(self) -> bool:
        """True where reading means decoding, so that processes of their own pay."""
        ...

    def __len__(self) -> int: ...

    def read(self, positions: Sequence[int]) -> list[Pixels | UnreadableImage]:
        """The images at these positions, each one RGB pixels or the reason why there are none."""
        ...

    def look(self, positions: Sequence[int]) -> list[tuple[Pixels | UnreadableImage, str]]:
        """The same, each with what got lost or changed on the way to RGB of 8 bits; empty where nothing did."""
        ...

    def locate(self, position: int) -> Path:
        """The file that holds an image."""
        ...

    def name(self, position: int) -> str:
        """What an image is called: its file's name, with the position where a file holds several."""
        ...


@dataclass(frozen=True)
class PngFiles:
    """One PNG per image."""

    paths: tuple[Path, ...]
    decodes: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, positions: Sequence[int]) -> list[Pixels | UnreadableImage]:
        """Decode these files."""
        return [image for image, _ in self.look(positions)]

    def look(self, positions: Sequence[int]) -> list[tuple[Pixels | UnreadableImage, str]]:
        """Decode these files, and say what was changed."""
        return [look_at(partial(read_bytes, self.paths[position])) for position in positions]

    def locate(self, position: int) -> Path:
        """The image's own file."""
        return self.paths[position]

    def name(self, position: int) -> str:
        """The file's name."""
        return self.paths[position].name


@dataclass(frozen=True, kw_only=True)
class OpenedSet:
    """One split of a set as its format tells it, before any image is looked at.

    Attributes:
        source: the images, in the order in which they will stand.
        labels: as stored; NaN where there is none. Only 0 and 1 are of use.
        place: the folder or file, for messages.
        split: train, val, test, or all.
        splits: every split that is there.
        labels_from: half a sentence: where labels were found, and what is class 1 there.
        latents: what the file itself says of every image; None when it says nothing.
        identities: shape identities that the file itself gives; None when it gives none.
        checks: what the format has to say, and what was passed over.
    """

    source: ImageSource
    labels: Float64[ndarray, " N"]
    place: Path
    split: str
    splits: tuple[str, ...]
    labels_from: str
    latents: pd.DataFrame | None = None
    identities: Int64[ndarray, " N"] | None = None
    checks: tuple[Check, ...] = ()


def look_at(read: Callable[[], bytes]) -> tuple[Pixels | UnreadableImage, str]:
    """Pixels of the PNG that ``read`` gives, or why there are none; and what was changed."""
    try:
        data = read()
        return decode_png(data), describe_change(data)
    except UnreadableImage as error:
        return error, ""
