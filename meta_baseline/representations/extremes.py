"""The images that drive a channel most and least, where in them, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from meta_baseline.activations import LayerActivations
from meta_baseline.datasets import Stimuli, StimulusDataset
from meta_baseline.stimuli.canvas import shrink, to_grey

NUM_EACH = 4
PICTURE_SIDE = 48
_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class LayerExtremes:
    """The most and the least driving images of every channel of one layer.

    An image drives a channel as much as the channel's largest value at the image's sampled foreground positions (all
    of them where a map has no more); a unit without positions, as much as its value.

    Attributes:
        network, role: of the layer.
        map_shape: (C, H, W) or (U,).
        top, least: images, the most (the least) driving first; -1 where there are no more.
        top_values, least_values: how much they drive it; NaN where there are no more.
        top_cells: row and column of the cell with that value; -1 for a unit without positions.
        num_lowest: images that drive it as little as the least one: where many do, ``least`` are the first of equals.
    """

    network: str
    role: str
    map_shape: tuple[int, ...]
    top: Int[ndarray, "C K"]
    top_values: Float[ndarray, "C K"]
    top_cells: Int[ndarray, "C K 2"]
    least: Int[ndarray, "C K"]
    least_values: Float[ndarray, "C K"]
    num_lowest: Int[ndarray, " C"]


@dataclass(frozen=True, kw_only=True)
class ShownChannel:
    """One channel whose extremes are drawn: its number, why it was chosen, and the pictures (top first, then least)."""

    network: str
    role: str
    channel: int
    why: str
    pictures: UInt8[ndarray, "K2 S S"]


def find_extremes(layer: LayerActivations, *, network: str) -> LayerExtremes | None:
    """Extremes of every channel; None for a convolution of which no positions were kept."""
    if not len(layer.positions):
        return None
    num_images, channels = layer.pooled.shape
    shape = (channels, min(NUM_EACH, num_images))
    top, least = np.full(shape, -1), np.full(shape, -1)
    top_values, least_values = np.full(shape, np.nan), np.full(shape, np.nan)
    cells = np.full((*shape, 2), -1)
    lowest = np.zeros(channels, dtype=np.int64)
    rows = np.flatnonzero(layer.position_foreground)
    images, starts = np.unique(layer.position_image[rows], return_index=True)
    if not len(rows):
        return None
    for first in range(0, channels, _BLOCK):
        block = slice(first, min(first + _BLOCK, channels))
        values = layer.positions[rows, block]
        driven = np.maximum.reduceat(values, starts, axis=0)
        # Stable, so that among equals the first image comes first.
        up = np.argsort(driven, axis=0, kind="stable")
        down = np.argsort(-driven, axis=0, kind="stable")
        count = min(shape[1], len(images))
        for place, channel in enumerate(range(block.start, block.stop)):
            best, worst = down[:count, place], up[:count, place]
            top[channel, :count], least[channel, :count] = images[best], images[worst]
            top_values[channel, :count], least_values[channel, :count] = driven[best, place], driven[worst, place]
            lowest[channel] = int((driven[:, place] == driven[worst[0], place]).sum())
            for k, image in enumerate(best):
                inside = slice(starts[image], starts[image + 1] if image + 1 < len(starts) else len(rows))
                row = rows[inside][values[inside, place].argmax()]
                cells[channel, k] = layer.position_row[row], layer.position_column[row]
    return LayerExtremes(
        network=network,
        role=layer.role,
        map_shape=layer.map_shape,
        top=top,
        top_values=top_values,
        top_cells=cells,
        least=least,
        least_values=least_values,
        num_lowest=lowest,
    )


def show_channels(
    extremes: LayerExtremes, chosen: Sequence[tuple[int, str]], stimuli: Stimuli
) -> tuple[ShownChannel, ...]:
    """Pictures of the extremes of the chosen channels, each given with the reason; grey, white where there is none."""
    dataset = StimulusDataset(stimuli)
    shown: list[ShownChannel] = []
    for channel, why in chosen:
        numbers = np.concatenate([extremes.top[channel], extremes.least[channel]])
        pictures = np.full((len(numbers), PICTURE_SIDE, PICTURE_SIDE), 255, dtype=np.uint8)
        known = np.flatnonzero(numbers >= 0)
        for place, (image, _, _) in zip(known, dataset.__getitems__(numbers[known].tolist())):
            pictures[place] = shrink(to_grey(image.numpy()), PICTURE_SIDE)
        shown.append(
            ShownChannel(network=extremes.network, role=extremes.role, channel=int(channel), why=why, pictures=pictures)
        )
    return tuple(shown)
