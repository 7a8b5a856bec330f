"""Stimuli as batches: decoded as they are needed, always in the same order; and as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meta_baseline.commits import hash_file, hash_values
from meta_baseline.cores import count_cores
from meta_baseline.datasets.images import UnreadableImage
from meta_baseline.datasets.reading import Stimuli
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.stimuli.canvas import shrink, to_grey

MIN_IMAGES_FOR_WORKERS = 20_000
"""Below this, starting worker processes (3 s) takes longer than decoding the images (6000 a second)."""

_AT_A_TIME = 64


class StimulusDataset(Dataset[tuple[Tensor, int, int]]):
    """Images of ``stimuli`` as (uint8 tensor [H, W, 3], label, index)."""

    def __init__(self, stimuli: Stimuli) -> None:
        self._source, self._positions = stimuli.images
        self._labels = stimuli.labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "H W 3"], int, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[UInt8[Tensor, "H W 3"], int, int]]:
        """Several images at once, which is faster where a file holds many."""
        images = self._source.read([int(self._positions[index]) for index in indices])
        return [(self._use(image, index), int(self._labels[index]), index) for image, index in zip(images, indices)]

    def _use(self, image: ndarray | UnreadableImage, index: int) -> UInt8[Tensor, "H W 3"]:
        if isinstance(image, UnreadableImage):
            position = int(self._positions[index])
            place = self._source.locate(position)
            name = place if place.name == self._source.name(position) else f"{place} (image {position})"
            raise StimulusError(f"{name} could be read a moment ago, but not now: {image}. Run again.")
        return torch.from_numpy(image if image.flags.writeable else image.copy())


def build_loader(stimuli: Stimuli, batch_size: int, num_workers: int) -> DataLoader[tuple[Tensor, int, int]]:
    """Batches (images uint8 [N, H, W, 3], labels int64 [N], indices int64 [N]) in the order of ``stimuli``.

    Args:
        num_workers: decoding processes; no more than there are cores, and none for a small number of images or where
            there is nothing to decode.

    Raises:
        UsageError: for a batch size under 1 or a negative number of workers.
    """
    if batch_size < 1:
        raise UsageError(f"Batches of {batch_size} images do not exist. Choose 1 or more with --batch-size.")
    if num_workers < 0:
        raise UsageError(f"Cannot load with {num_workers} workers. Choose 0 or more with --num-workers.")
    dataset = StimulusDataset(stimuli)
    pays = len(dataset) >= MIN_IMAGES_FOR_WORKERS and stimuli.images[0].decodes
    workers = min(num_workers, count_cores()) if pays else 0
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=False,
        collate_fn=_collate,
        num_workers=workers,
        # Started afresh: forking a process that already runs threads can hang.
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
    )


def _collate(samples: list[tuple[Tensor, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """One batch; stacked by NumPy, because torch does this in threads that wait for each other on a busy machine."""
    images, labels, indices = zip(*samples)
    stacked = torch.from_numpy(np.stack([image.numpy() for image in images]))
    return stacked, torch.tensor(labels), torch.tensor(indices)


def read_grey_images(stimuli: Stimuli, size: int) -> UInt8[ndarray, "N size size"]:
    """Every image in grey (white 255) at ``size`` px, for drawing what a feature responds to; N * size^2 bytes."""
    dataset = StimulusDataset(stimuli)
    images = np.empty((len(dataset), size, size), dtype=np.uint8)
    for start in range(0, len(dataset), _AT_A_TIME):
        for image, _, index in dataset.__getitems__(range(start, min(start + _AT_A_TIME, len(dataset)))):
            images[index] = shrink(to_grey(image.numpy()), size)
    return images


def hash_stimuli(stimuli: Stimuli) -> str:
    """SHA-256 of everything that results depend on: the bytes of every file, which images of it, labels and latents."""
    files = [(path.name, hash_file(path)) for path in dict.fromkeys(stimuli.paths)]
    values = stimuli.latents.to_numpy(dtype=np.float64)
    arrays = [stimuli.labels, stimuli.groups, values]
    if stimuli.positions is not None:
        arrays.append(stimuli.positions)
    digests = [hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in arrays]
    return hash_values(files, [str(name) for name in stimuli.latents.columns], digests)
