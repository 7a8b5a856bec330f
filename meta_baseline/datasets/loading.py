"""Stimuli as batches: decoded one by one as they are needed, always in the same order."""

from __future__ import annotations

import os

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meta_baseline.datasets.images import UnreadableImage, read_image
from meta_baseline.datasets.reading import Stimuli
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.stimuli.canvas import shrink, to_grey

MIN_IMAGES_FOR_WORKERS = 2000
"""Below this, starting worker processes takes longer than decoding the images."""


class StimulusDataset(Dataset[tuple[Tensor, int, int]]):
    """Images of ``stimuli`` as (uint8 tensor [H, W, 3], label, index)."""

    def __init__(self, stimuli: Stimuli) -> None:
        self._paths = stimuli.paths
        self._labels = stimuli.labels.tolist()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "H W 3"], int, int]:
        path = self._paths[index]
        try:
            image = read_image(path)
        except UnreadableImage as error:
            raise StimulusError(f"{path} could be read a moment ago, but not now: {error}. Run again.") from error
        return torch.from_numpy(image), self._labels[index], index


def build_loader(stimuli: Stimuli, batch_size: int, num_workers: int) -> DataLoader[tuple[Tensor, int, int]]:
    """Batches (images uint8 [N, H, W, 3], labels int64 [N], indices int64 [N]) in the order of ``stimuli``.

    Args:
        num_workers: decoding processes; no more than there are cores, and none for a small number of images.

    Raises:
        UsageError: for a batch size under 1 or a negative number of workers.
    """
    if batch_size < 1:
        raise UsageError(f"Batches of {batch_size} images do not exist. Choose 1 or more with --batch-size.")
    if num_workers < 0:
        raise UsageError(f"Cannot load with {num_workers} workers. Choose 0 or more with --num-workers.")
    workers = min(num_workers, _count_cores()) if len(stimuli.paths) >= MIN_IMAGES_FOR_WORKERS else 0
    return DataLoader(
        StimulusDataset(stimuli),
        batch_size=batch_size,
        shuffle=False,
        num_workers=workers,
        # Started afresh: forking a process that already runs threads can hang.
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
    )


def read_grey_images(stimuli: Stimuli, size: int) -> UInt8[ndarray, "N size size"]:
    """Every image in grey (white 255) at ``size`` px, for drawing what a feature responds to; N * size^2 bytes."""
    dataset = StimulusDataset(stimuli)
    images = np.empty((len(dataset), size, size), dtype=np.uint8)
    for index in range(len(dataset)):
        images[index] = shrink(to_grey(dataset[index][0].numpy()), size)
    return images


def _count_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
