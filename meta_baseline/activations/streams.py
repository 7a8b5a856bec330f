"""The reductions of one layer, made while the network runs: maps come in batch by batch, arrays come out.

A ``LayerStream`` is fed by a forward hook. Of each batch of maps it keeps the mean, the average grid and the sampled
positions, and adds the per-channel statistics up in float64; the maps themselves are dropped when the hook returns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import DTypeLike
from torch import Tensor
from torch.nn import functional

from meta_baseline.activations.flattened import MAX_MEMORY, FlattenedMaps, MemoryBudget, flatten_maps
from meta_baseline.activations.objects import weigh_cells
from meta_baseline.activations.positions import find_foreground, sample_positions
from meta_baseline.activations.rows import Rows
from meta_baseline.activations.store import GRID, SAMPLE, SIDE, LayerActivations
from meta_baseline.errors import InputError, UsageError

_CACHED_VALUES = 2**16


class LayerStream:
    """Reduces the outputs of one module over N images to a ``LayerActivations``; see there for what is kept.

    Args:
        role, name: of the layer.
        num_images: N.
        positions_per_image: see ``positions.sample_positions``; 0 keeps none.
        rng: draws positions and units.
        boxes: of the objects in each image; see ``objects.read_boxes``.
        gram_rows: images, in order, over which the Gram matrix of whole maps is made; None makes none.
        budget: memory for their maps.
        folder: where arrays of N rows are written instead of being kept; None keeps them in memory.
    """

    def __init__(
        self,
        *,
        role: str,
        name: str,
        num_images: int,
        positions_per_image: int,
        rng: np.random.Generator,
        boxes: Float[ndarray, "N O 4"] | None = None,
        gram_rows: Int[ndarray, " n"] | None = None,
        budget: MemoryBudget | None = None,
        folder: Path | None = None,
    ) -> None:
        self.role = role
        self.name = name
        self._num_images = num_images
        self._positions_per_image = positions_per_image
        self._rng = rng
        self._num_rows = 0
        self._statistics = _ChannelStatistics()
        self._map_shape: tuple[int, ...] = ()
        self._boxes = np.zeros((num_images, 0, 4)) if boxes is None else boxes
        self._gram_rows = np.arange(0) if gram_rows is None else gram_rows
        self._budget = budget or MemoryBudget(MAX_MEMORY)
        self._folder = folder

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
        if tuple(output.shape[1:]) != self._map_shape:
            raise InputError(
                f"Layer {self.role} ({self.name}) gives values of shape {tuple(output.shape[1:])} for image "
                f"{first_row + 1} and of {self._map_shape} before. Give images of one size."
            )
        self._num_rows = end
        pooled = output if output.ndim == 2 else output.mean(dim=(2, 3))
        if not bool(torch.isfinite(pooled).all()):
            raise InputError(
                f"Layer {self.role} ({self.name}) gives values that are not finite. "
                "The checkpoint is damaged or its input scaling is wrong; check both."
            )
        self._pooled.append(_to_numpy(pooled))
        self._values.append(_to_numpy(output[(slice(None), *self._places)]))
        self._keep_whole(output, first_row)
        if output.ndim == 2:
            self._statistics.update(output)
            return
        self._statistics.update(output.permute(0, 2, 3, 1).reshape(-1, output.shape[1]))
        self._grid.append(_to_numpy(functional.adaptive_avg_pool2d(output, self._grid_shape).flatten(1)))
        self._mean_map.append(_to_numpy(functional.adaptive_avg_pool2d(output.mean(dim=1), self._sides)))
        if self._boxes.shape[1]:
            self._crop(output, first_row)
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
        pooled, channels = self._pooled.finish(), self._map_shape[0]
        return LayerActivations(
            role=self.role,
            name=self.name,
            map_shape=self._map_shape,
            pooled=pooled,
            grid=self._grid.finish() if is_map else pooled,
            positions=self._positions.finish() if is_map else pooled,
            position_image=self._image.finish() if is_map else rows,
            position_row=self._row.finish() if is_map else nowhere,
            position_column=self._column.finish() if is_map else nowhere,
            position_foreground=self._foreground.finish() if is_map else np.ones(self._num_images, dtype=bool),
            channel_mean=self._statistics.mean,
            channel_sd=self._statistics.sd,
            channel_zero_fraction=self._statistics.zero_fraction,
            channel_max=self._statistics.maximum,
            sample=self._values.finish(),
            objects=self._objects.finish() if is_map else np.zeros((self._num_images, 0, channels), dtype=np.float32),
            gram=self._whole.finish() if len(self._gram_rows) else np.zeros((0, 0)),
            mean_map=self._mean_map.finish() if is_map else np.zeros((self._num_images, 0, 0), dtype=np.float32),
        )

    def _allocate(self, map_shape: tuple[int, ...]) -> None:
        self._map_shape = map_shape
        channels = map_shape[0]
        self._pooled = self._rows("pooled", self._num_images, (channels,))
        # A spawned generator leaves the draws of positions as they are.
        num_units = int(np.prod(map_shape))
        places = self._rng.spawn(1)[0].choice(num_units, size=min(SAMPLE, num_units), replace=False)
        self._places = tuple(torch.from_numpy(axis) for axis in np.unravel_index(np.sort(places), map_shape))
        self._values = self._rows("sample", self._num_images, (len(places),))
        if len(self._gram_rows):
            self._whole = FlattenedMaps(len(self._gram_rows), num_units, self._budget, self._folder)
        if len(map_shape) == 3:
            self._grid_shape = (min(GRID, map_shape[1]), min(GRID, map_shape[2]))
            most = self._num_images * min(self._positions_per_image, map_shape[1] * map_shape[2])
            self._grid = self._rows("grid", self._num_images, (channels * self._grid_shape[0] * self._grid_shape[1],))
            self._objects = self._rows("objects", self._num_images, (self._boxes.shape[1], channels))
            self._sides = (min(SIDE, map_shape[1]), min(SIDE, map_shape[2]))
            self._mean_map = self._rows("mean_map", self._num_images, self._sides)
            self._positions = self._rows("positions", most, (channels,))
            self._image, self._row, self._column = (
                self._rows(f"position_{axis}", most, (), np.int64) for axis in ("image", "row", "column")
            )
            self._foreground = self._rows("position_foreground", most, (), np.bool_)

    def _rows(self, what: str, most: int, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Rows:
        path = None if self._folder is None else self._folder / f"{self.role}.{what}.bin"
        return Rows(most, shape, dtype, path)

    def _keep_whole(self, output: Tensor, first_row: int) -> None:
        """Keep the flattened maps of those images that a Gram matrix is made of."""
        low, high = np.searchsorted(self._gram_rows, [first_row, first_row + len(output)])
        if high > low:
            taken = torch.from_numpy(self._gram_rows[low:high] - first_row).to(output.device)
            self._whole.append(_to_numpy(flatten_maps(output[taken])))

    def _crop(self, maps: Tensor, first_row: int) -> None:
        cells = maps.permute(0, 2, 3, 1).flatten(1, 2)
        weights = weigh_cells(self._boxes[first_row : first_row + len(maps)], maps.shape[2], maps.shape[3])
        self._objects.append(_to_numpy(torch.from_numpy(weights).to(cells) @ cells))

    def _sample(self, maps: Tensor, ink: Float[Tensor, "n 1 h w"], first_row: int) -> None:
        foreground = find_foreground(ink, maps.shape[2], maps.shape[3])
        image, row, column, inked = sample_positions(foreground, self._positions_per_image, self._rng)
        index = [torch.from_numpy(array).to(maps.device) for array in (image, row, column)]
        self._positions.append(_to_numpy(maps.permute(0, 2, 3, 1)[index[0], index[1], index[2]]))
        self._image.append(image + first_row)
        self._row.append(row)
        self._column.append(column)
        self._foreground.append(inked)


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
