"""What one pass of a network over the images leaves behind: plain arrays, shared by every analysis.

``LayerActivations`` is one layer of one network, ``ActivationStore`` one network, ``Stores`` the two networks of a
study with their untrained controls, the pixels and the pairing of layers. Raw maps are never kept; what is kept per
layer was reduced inside the hook (``activations.collect_store``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from meta_baseline.layers import LayerPairing

GRID = 4
"""Cells per side of the average grid; a map smaller than that keeps its own size."""

SAMPLE = 256
"""Single values kept per image and layer, always of the same units."""

SIDE = 16
"""Cells per side of the mean map; a map smaller than that keeps its own size."""


def _nothing() -> Float32[ndarray, "0 0"]:
    return np.zeros((0, 0), dtype=np.float32)


def _no_gram() -> Float[ndarray, "n n"]:
    return np.zeros((0, 0))


def _no_objects() -> Float32[ndarray, "N O C"]:
    return np.zeros((0, 0, 0), dtype=np.float32)


def _no_rows() -> Int[ndarray, " n"]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class LayerActivations:
    """One layer of one network over N images, at the point that the next layer reads (``Layer.pooled``).

    A fully connected layer has no positions: its U units stand as C channels of a map of one cell, so ``grid`` is
    ``pooled``, there is one position per image, and its row and column are -1.

    Attributes:
        role: what the layer is paired by, e.g. "conv1", "fc1", "classifier".
        name: the module whose output was recorded.
        map_shape: (C, H, W), or (U,) for a fully connected layer.
        pooled: mean over the H x W positions.
        grid: adaptive averages on a G x G grid, G = min(4, H, W), channel-major (channel, row, column).
        positions: channel vectors at M sampled positions, image by image; see ``positions.sample_positions``. None
            in convolutional layers of further untrained networks; see ``collect_stores``.
        position_image: the image (row of ``pooled``) of each sampled position.
        position_row, position_column: its cell in the map; -1 for a fully connected layer.
        position_foreground: True where the cell's input area, or that of one of its eight neighbours, holds ink.
        channel_mean, channel_sd: over all images and positions of the map, not only the sampled ones.
        channel_zero_fraction: in [0, 1], values that are exactly zero.
        channel_max: largest value; a channel is dead on these images when it is all zeros.
        sample: values of K <= 256 units (channel, row, column), drawn evenly at random once per layer and at the same
            places wherever maps have the same shape; empty where none was kept.
        gram: inner products of the flattened maps of the store's ``gram_rows``, centred over them, in float64; empty
            where none was made.
        objects: averages over the boxes of the first O <= 2 objects, where the latents say where they are; NaN for an
            object that an image does not have.
        mean_map: mean over the channels, area-averaged to h, w <= 16; empty for a fully connected layer.
    """

    role: str
    name: str
    map_shape: tuple[int, ...]
    pooled: Float32[ndarray, "N C"]
    grid: Float32[ndarray, "N CGG"]
    positions: Float32[ndarray, "M C"]
    position_image: Int[ndarray, " M"]
    position_row: Int[ndarray, " M"]
    position_column: Int[ndarray, " M"]
    position_foreground: Bool[ndarray, " M"]
    channel_mean: Float[ndarray, " C"]
    channel_sd: Float[ndarray, " C"]
    channel_zero_fraction: Float[ndarray, " C"]
    channel_max: Float[ndarray, " C"]
    sample: Float32[ndarray, "N K"] = field(default_factory=_nothing)
    gram: Float[ndarray, "n n"] = field(default_factory=_no_gram)
    objects: Float32[ndarray, "N O C"] = field(default_factory=_no_objects)
    mean_map: Float32[ndarray, "N h w"] = field(default_factory=_nothing)

    @property
    def is_convolutional(self) -> bool:
        """True when the layer has a map with positions."""
        return len(self.map_shape) == 3


@dataclass(frozen=True, kw_only=True)
class ActivationStore:
    """One network over N images.

    Attributes:
        network: "meta", "baseline", or an untrained control such as "untrained 1".
        labels: 0 or 1.
        groups: shape identity where known, else the row number; images of one group belong on one side of a split.
        latents: one row per image, numeric columns; no columns when nothing is known.
        logits: the network's outputs.
        margin: signed decision margin by the network's own rule; the decision is 1 where it is positive.
        layers: by role, in the order in which the network applies them.
        gram_rows: the images that the layers' ``gram`` are of; empty where none were made.
        notes: how the pass was made (batch-norm mode, input scaling, recalibration), each a sentence.
    """

    network: str
    labels: Int[ndarray, " N"]
    groups: Int[ndarray, " N"]
    latents: pd.DataFrame
    logits: Float32[ndarray, "N K"]
    margin: Float32[ndarray, " N"]
    layers: dict[str, LayerActivations]
    gram_rows: Int[ndarray, " n"] = field(default_factory=_no_rows)
    notes: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def num_bytes(self) -> int:
        """Memory of all arrays of all layers."""
        return sum(
            array.nbytes
            for layer in self.layers.values()
            for array in vars(layer).values()
            if isinstance(array, np.ndarray)
        )


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The two networks of a study over the same images, with everything that they are judged against.

    Untrained networks come per architecture: ``untrained_meta[i]`` has the meta network's architecture and
    ``untrained_baseline[i]`` the baseline's. Where the two architectures are the same they are the same objects.
    Own step-0 weights stand first where they are known, fresh initialisations follow.

    Attributes:
        meta, baseline: the trained networks.
        untrained_meta, untrained_baseline: at least one each, equally many.
        meta_initial, baseline_initial: the one of them with the network's own step-0 weights; None where unknown.
        pixels: the images in grey, ink = 1 and white = 0, area-averaged to 16 x 16.
        pairing: which layers correspond.
        image_paths: one per image, "" where an image has no file.
    """

    meta: ActivationStore
    baseline: ActivationStore
    untrained_meta: tuple[ActivationStore, ...]
    untrained_baseline: tuple[ActivationStore, ...]
    meta_initial: ActivationStore | None
    baseline_initial: ActivationStore | None
    pixels: Float32[ndarray, "N D"]
    pairing: LayerPairing
    image_paths: tuple[str, ...]

    @property
    def shared_initial(self) -> bool:
        """True when both networks are known to have started from the same weights."""
        return self.meta_initial is not None and self.meta_initial is self.baseline_initial

    @property
    def untrained(self) -> tuple[ActivationStore, ...]:
        """Every untrained network once: those of the meta architecture, then any others of the baseline's."""
        known = {id(store) for store in self.untrained_meta}
        return self.untrained_meta + tuple(store for store in self.untrained_baseline if id(store) not in known)

    @property
    def networks(self) -> tuple[ActivationStore, ...]:
        """Meta, baseline, then every untrained network."""
        return (self.meta, self.baseline, *self.untrained)
