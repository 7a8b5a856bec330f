"""Images in HDF5: episodes as the published trainers write them, flattened, or an array of images with their labels.

    <task>_support<k>_<split>.h5                    support_images [E, k, H, W, 3], support_labels [E, k],
    results_problem_<N>/support<k>_<split>.h5       query_images [E, q, H, W, 3], query_labels [E, q]
    <split>.h5                                      the same without E, in groups episode_000000, ...
    any other name                                  images [N, H, W, 3], labels [N]

All shapes are read from the file. Our own episodes have ``support_latents`` and ``query_latents`` [E, k, L] besides,
with the names of the L columns. The file is parsed in a process of its own; see ``hdf5_child``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Int32
from numpy import ndarray

from meta_baseline.datasets.hdf5_process import BrokenContainer, Hdf5Description, Hdf5Process
from meta_baseline.datasets.images import UnreadableImage, as_rgb
from meta_baseline.datasets.latents import number_identities
from meta_baseline.datasets.sources import OpenedSet, Pixels
from meta_baseline.errors import StimulusError
from meta_baseline.results import Check

COMMON_SIZE = 128
"""Side in px that images of various sizes are brought to, as the published reader of naturalistic episodes does."""

_REQUEST_BYTES = 16 * 2**20
_LABELS_FROM = "the file's own labels, where 1 is class 1"
_DAMAGED = "damaged or truncated HDF5 data"


class Hdf5Images:
    """Images of one file by position: episode by episode, support before query."""

    decodes = False

    def __init__(self, path: Path, sizes: Int32[ndarray, "N 3"], process: Hdf5Process | None = None) -> None:
        self._path = path
        self._sizes = sizes
        self._process = process
        self._resize = len(np.unique(sizes[:, :2], axis=0)) > 1

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_process": None}

    def __len__(self) -> int:
        return len(self._sizes)

    def read(self, positions: Sequence[int]) -> list[Pixels | UnreadableImage]:
        """Ask the process that has the file open."""
        images: list[Pixels | UnreadableImage] = []
        for some in self._split(positions):
            try:
                found = self._start().read(some, self._sizes[some])
            except BrokenContainer as error:
                self._process = None
                raise StimulusError(f"{self._path} cannot be read: {error}. Copy or write the file again.") from error
            images.extend(UnreadableImage(_DAMAGED) if image is None else self._finish(image) for image in found)
        return images

    def look(self, positions: Sequence[int]) -> list[tuple[Pixels | UnreadableImage, str]]:
        """The same; nothing was changed that the check of the whole set does not say."""
        return [(image, "") for image in self.read(positions)]

    def locate(self, position: int) -> Path:
        """The file."""
        return self._path

    def name(self, position: int) -> str:
        """The file's name and the position."""
        return f"{self._path.name}#{position}"

    def _start(self) -> Hdf5Process:
        process = self._process or Hdf5Process(self._path)
        self._process = process
        return process

    def _split(self, positions: Sequence[int]) -> list[list[int]]:
        """Requests that are answered with a bounded number of bytes."""
        requests: list[list[int]] = [[]]
        room = _REQUEST_BYTES
        for position in map(int, positions):
            needed = int(self._sizes[position].prod())
            if requests[-1] and needed > room:
                requests.append([])
                room = _REQUEST_BYTES
            requests[-1].append(position)
            room -= needed
        return [request for request in requests if request]

    def _finish(self, image: ndarray) -> Pixels:
        pixels = as_rgb(image)
        if self._resize and pixels.shape[:2] != (COMMON_SIZE, COMMON_SIZE):
            pixels = np.asarray(cv2.resize(pixels, (COMMON_SIZE, COMMON_SIZE), interpolation=cv2.INTER_AREA))
        return pixels


def open_hdf5(path: Path, *, split: str, splits: tuple[str, ...]) -> OpenedSet:
    """The images of an HDF5 file with their labels.

    Raises:
        StimulusError: when the file is damaged, of no known layout, or would lead to other files.
    """
    process = Hdf5Process(path)
    try:
        description = process.describe()
    except BrokenContainer as error:
        process.close()
        raise StimulusError(f"{path} cannot be used: {error}. docs/formats.md shows what can be read.") from error
    latents, identities = _split_latents(description)
    return OpenedSet(
        source=Hdf5Images(path, description.sizes, process),
        labels=description.labels,
        place=path,
        split=split,
        splits=splits,
        labels_from=_LABELS_FROM,
        latents=latents,
        identities=identities,
        checks=tuple(_list_checks(description)),
    )


def _split_latents(description: Hdf5Description) -> tuple[pd.DataFrame | None, ndarray | None]:
    names = description.latent_names
    if not names or len(set(names)) < len(names):
        return None, None
    frame = pd.DataFrame(description.latents, columns=names)
    identities = frame.pop("identity").to_numpy() if "identity" in frame else None
    if identities is None or not np.isfinite(identities).all():
        return frame, None
    return frame, number_identities(identities)


def _list_checks(description: Hdf5Description) -> Iterator[Check]:
    if (description.sizes[:, 2] == 4).any():
        sentence = "Images with a fourth channel were taken for RGBA and laid on white."
        yield Check(code="data.converted", verdict="note", sentence=sentence)
    if description.layout == "images":
        return
    shown = " or ".join(" + ".join(map(str, counts)) for counts in description.counts)
    sentence = f"Episodes of {shown} images (support + query) were taken apart into single images."
    yield Check(code="data.episodes", verdict="note", sentence=sentence)
    if len(np.unique(description.sizes[:, :2], axis=0)) > 1:
        sentence = (
            f"Images of various sizes were brought to {COMMON_SIZE} x {COMMON_SIZE} px, as in the published reader."
        )
        yield Check(code="data.resized", verdict="note", sentence=sentence)
    scaling = (
        "The published trainers scale these episodes differently: vanilla training to 0..1 (unit), MAML and its "
        "baselines to -1..1 (signed), ResNets by the ImageNet mean and sd (imagenet)."
    )
    if description.layout == "groups":
        scaling = "The published trainers scale naturalistic episodes by the ImageNet mean and sd (imagenet)."
    scaling += " The checkpoint decides; where it does not know, use --meta-input-scaling and --baseline-input-scaling."
    yield Check(code="data.scaling", verdict="note", sentence=scaling)
