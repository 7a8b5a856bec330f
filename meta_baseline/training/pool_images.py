"""Rows of the training pool as network inputs, each turned or mirrored by its own fixed symmetry."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from meta_baseline.models import ConvNet
from meta_baseline.stimuli import TrainingPool

NUM_SYMMETRIES = 8
"""Of the square: four quarter turns, each with and without a mirror. None of them changes whether two objects match."""


class PoolImages:
    """Reads images and labels by row, ready for one network.

    The symmetry of a row is drawn once, for the whole pool, so that both arms of a pair see the same picture whatever
    the order in which they come to it.
    """

    def __init__(
        self,
        pool: TrainingPool,
        network: ConvNet,
        *,
        augmentation: np.random.Generator | None,
        device: str = "cpu",
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        self.pool = pool
        self._network = network
        self._device = device
        self._memory_format = memory_format
        rows = len(pool.labels)
        none = np.zeros(rows, dtype=np.int64)
        self._symmetries = none if augmentation is None else augmentation.integers(NUM_SYMMETRIES, size=rows)

    def read(self, rows: Int64[ndarray, " N"]) -> tuple[Float[Tensor, "N C H W"], Int64[Tensor, " N"]]:
        """Network inputs and labels of these rows, to train on."""
        labels = torch.from_numpy(self.pool.labels[rows].astype(np.int64)).to(self._device)
        return self.look_at(rows), labels

    def look_at(self, rows: Int64[ndarray, " N"]) -> Float[Tensor, "N C H W"]:
        """Network inputs alone: for guards and statistics, which know no labels."""
        pixels = apply_symmetries(self.pool.images[rows], self._symmetries[rows])
        inputs = self._network.preprocessing(torch.from_numpy(pixels).to(self._device))
        return channels_last(inputs) if self._memory_format == torch.channels_last else inputs


def channels_last(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The same images with the strides of the channels-last layout, which convolutions on a CPU are fastest in.

    ``contiguous(memory_format=...)`` leaves images of one channel as they are, because they are contiguous in both
    layouts; a convolution then guesses from its weights, and guesses wrong for adapted ones.
    """
    return images.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def apply_symmetries(images: UInt8[ndarray, "N H W"], symmetries: Int64[ndarray, " N"]) -> UInt8[ndarray, "N H W"]:
    """Each image under its symmetry of the square, 0 to 7; 0 leaves it as it is."""
    turned = images.copy()
    for symmetry in range(1, NUM_SYMMETRIES):
        chosen = symmetries == symmetry
        some = np.rot90(images[chosen], symmetry % 4, axes=(1, 2))
        turned[chosen] = some[:, :, ::-1] if symmetry >= 4 else some
    return turned
