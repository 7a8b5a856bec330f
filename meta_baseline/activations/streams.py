"""The reductions of one layer, made while the network runs: maps come in batch by batch, arrays come out.

A ``LayerStream`` is fed by a forward hook. Of each batch of maps it keeps the mean, the average grid and the sampled
positions, and adds the per-channel statistics up in float64; the maps themselves are dropped when the hook returns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from meta_baseline.activations.positions import find_foreground, sample_positions
from meta_baseline.activations.store import GRID, SAMPLE, SIDE, LayerActivations
from meta_baseline.errors import InputError, UsageError

_CACHED_VALUES = 2**16


class LayerStream:
    """Reduces the outputs of one module over N images to a ``LayerActivations``; see there for what is kept."""

    def __init__(
        self, *, role: str, name: str, num_images: int, positions_per_image: int, rng: np.random.Generator
    ) -> None:
        self.role = role
        self.name = name
        self._num_images = num_images
        self._positions_per_image = positions_per_image
        self._rng = rng
        self._num_rows = 0
        self._num_positions = 0
        self._statistics = _ChannelStatistics()
        self._map_shape: tuple[int, ...] = ()

    def update(self, output: Tensor, ink: Callable[[], Float[Tensor, "n 1 h w"]], last_row: int) -> None:
        """Take in the module's output for the images up to ``last_row``; ``ink`` is asked for only if there is a map.

        Raises:
            UsageError: when the output is neither [N, U] nor [N, C, H, W], or the module runs twice per image.
            InputError: when it is not finite.
        """
        if not isinstance(output, Tensor) or output.ndim not in (2, 4):
            found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise UsageError(
                f"Module {self.name!r} gives {found}; expected [N, U] or [N, C, H, W]. Choose another layer to record."
            )
        first_row, end = self._num_rows, self._num_rows + len(output)
        if end > last_row:
            raise UsageError(
                f"Module {self.name!r} runs more than once per image. Give each use in forward() a module of its own."
            )
        if not self._map_shape:
            self._allocate(tuple(output.shape[1:]))
        self._num_rows = end
        pooled = output if output.ndim == 2 else output.mean(dim=(2, 3))
        if not bool(torch.isfinite(pooled).all()):
            raise InputError(
                f"Layer {self.role} ({self.name}) gives values that are not finite. "
                "The checkpoint is damaged or its input scaling is wrong; check both."
            )
        self._pooled[first_row:end] = _to_numpy(pooled)
        self._values[first_row:end] = _to_numpy(output[(slice(None), *self._places)])
        if output.ndim == 2:
            self._statistics.update(output)
            return
        self._statistics.update(output.permute(0, 2, 3, 1).reshape(-1, output.shape[1]))
        self._grid[first_row:end] = _to_numpy(functional.adaptive_avg_pool2d(output, self._grid_shape).flatten(1))
        self._mean_map[first_row:end] = _to_numpy(functional.adaptive_avg_pool2d(output.mean(dim=1), self._sides))
        if self._positions_per_image:
            self._sample(output, ink(), first_row)

    def finish(self) -> LayerActivations:
        """The layer over all images.

        Raises:
            UsageError: when the module has not run.
        """
        if self._num_rows != self._num_images:
            raise UsageError(
                f"Module {self.name!r} of layer {self.role} did not run for {self._num_images - self._num_rows} of "
                f"{self._num_images} images. Leave the layer out, or use the module in forward()."
            )
        is_map = len(self._map_shape) == 3
        rows = np.arange(self._num_images)
        nowhere = np.full(self._num_images, -1)
        count = self._num_positions
        return LayerActivations(
            role=self.role,
            name=self.name,
            map_shape=self._map_shape,
            pooled=self._pooled,
            grid=self._grid if is_map else self._pooled,
            positions=self._positions[:count] if is_map else self._pooled,
            position_image=self._image[:count] if is_map else rows,
            position_row=self._row[:count] if is_map else nowhere,
            position_column=self._column[:count] if is_map else nowhere,
            position_foreground=self._foreground[:count] if is_map else np.ones(self._num_images, dtype=bool),
            channel_mean=self._statistics.mean,
            channel_sd=self._statistics.sd,
            channel_zero_fraction=self._statistics.zero_fraction,
            channel_max=self._statistics.maximum,
            sample=self._values,
            mean_map=self._mean_map if is_map else np.zeros((self._num_images, 0, 0), dtype=np.float32),
        )

    def _allocate(self, map_shape: tuple[int, ...]) -> None:
        self._map_shape = map_shape
        channels = map_shape[0]
        self._pooled = np.empty((self._num_images, channels), dtype=np.float32)
        # A spawned generator leaves the draws of positions as they are.
        num_units = int(np.prod(map_shape))
        places = self._rng.spawn(1)[0].choice(num_units, size=min(SAMPLE, num_units), replace=False)
        self._places = tuple(torch.from_numpy(axis) for axis in np.unravel_index(np.sort(places), map_shape))
        self._values = np.empty((self._num_images, len(places)), dtype=np.float32)
        if len(map_shape) == 3:
            self._grid_shape = (min(GRID, map_shape[1]), min(GRID, map_shape[2]))
            most = self._num_images * min(self._positions_per_image, map_shape[1] * map_shape[2])
            self._grid = np.empty((self._num_images, channels * self._grid_shape[0] * self._grid_shape[1]), np.float32)
            self._sides = (min(SIDE, map_shape[1]), min(SIDE, map_shape[2]))
            self._mean_map = np.empty((self._num_images, *self._sides), dtype=np.float32)
            # Pages that no position is written to are never resident, so asking for the most possible costs nothing.
            self._positions = np.empty((most, channels), dtype=np.float32)
            self._image, self._row, self._column = (np.empty(most, dtype=np.int64) for _ in range(3))
            self._foreground = np.empty(most, dtype=bool)

    def _sample(self, maps: Tensor, ink: Float[Tensor, "n 1 h w"], first_row: int) -> None:
        foreground = find_foreground(ink, maps.shape[2], maps.shape[3])
        image, row, column, inked = sample_positions(foreground, self._positions_per_image, self._rng)
        taken = slice(self._num_positions, self._num_positions + len(image))
        self._num_positions = taken.stop
        index = [torch.from_numpy(array).to(maps.device) for array in (image, row, column)]
        self._positions[taken] = _to_numpy(maps.permute(0, 2, 3, 1)[index[0], index[1], index[2]])
        self._image[taken] = image + first_row
        self._row[taken], self._column[taken], self._foreground[taken] = row, column, inked


class _ChannelStatistics:
    """Mean, sd, fraction of zeros and maximum per channel, added up over batches.

    Pieces of a few thousand rows are summed about their own mean in float32 and merged in float64 by the pairwise
    update of Chan, Golub & LeVeque (1983, The American Statistician 37:242-247), which does not cancel where the mean
    is large beside the sd.
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean: Float[ndarray, " C"] = np.zeros(0)
        self._squares: Float[ndarray, " C"] = np.zeros(0)
        self._zeros: Float[ndarray, " C"] = np.zeros(0)
        self.maximum: Float[ndarray, " C"] = np.zeros(0)

    def update(self, values: Float[Tensor, "M C"]) -> None:
        """Add the rows of ``values``."""
        # On a CPU, pieces that stay in its cache are twice as fast as the whole.
        rows = len(values) if values.is_cuda else max(_CACHED_VALUES // values.shape[1], 1)
        for piece in values.split(rows):
            mean = piece.mean(dim=0)
            rest = piece - mean
            # What rounding left in the mean; without it the sd of a channel far from zero would be too large.
            shift = rest.mean(dim=0).double()
            squares = rest.square_().sum(dim=0).double() - len(piece) * shift**2
            # As floats and into an old buffer, zeros are counted five times faster than as booleans.
            zeros = torch.eq(piece, 0, out=rest).sum(dim=0).double()
            parts = (mean.double() + shift, squares.clamp_(min=0), zeros, _largest(piece).double())
            self._merge(len(piece), *map(_to_numpy, parts))

    def _merge(self, count: int, mean: ndarray, squares: ndarray, zeros: ndarray, maximum: ndarray) -> None:
        if self._count == 0:
            self._count, self.mean, self._squares, self._zeros, self.maximum = count, mean, squares, zeros, maximum
            return
        shift = mean - self.mean
        total = self._count + count
        self.mean = self.mean + shift * (count / total)
        self._squares = self._squares + squares + shift**2 * (self._count * count / total)
        self._zeros = self._zeros + zeros
        self.maximum = np.maximum(self.maximum, maximum)
        self._count = total

    @property
    def sd(self) -> Float[ndarray, " C"]:
        """Population sd, divided by the number of values."""
        return np.sqrt(self._squares / max(self._count, 1))

    @property
    def zero_fraction(self) -> Float[ndarray, " C"]:
        return self._zeros / max(self._count, 1)


def _largest(values: Float[Tensor, "M C"]) -> Float[Tensor, " C"]:
    # Of few channels, finding the place of the largest value is quicker than leaving it out.
    return values.amax(dim=0) if values.shape[1] >= 32 else values.max(dim=0).values


def _to_numpy(tensor: Tensor) -> ndarray:
    return tensor.detach().cpu().numpy()
