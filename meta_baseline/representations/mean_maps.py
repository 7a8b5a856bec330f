"""Where a layer is active on average, and where that differs between the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.activations import LayerActivations


@dataclass(frozen=True, kw_only=True)
class MeanMap:
    """The activation of one convolution by place: a mean over channels, and over the images of each class.

    Attributes:
        network, role: of the layer.
        zeros, ones: mean over the images of class 0 and of class 1, divided by the mean over all places and images, so
            that layers and networks share a scale; as they are where that mean is not positive.
        difference: class 1 minus class 0 at each place, in sds over the images of a class there.
        chance: 95 % of the largest absolute difference over all places when classes change places among the images,
            whole identities together.
    """

    network: str
    role: str
    zeros: Float[ndarray, "h w"]
    ones: Float[ndarray, "h w"]
    difference: Float[ndarray, "h w"]
    chance: float


def average_maps(
    layer: LayerActivations,
    labels: Int[ndarray, " n"],
    shuffled: Int[ndarray, "R n"],
    chosen: Int[ndarray, " n"],
    *,
    network: str,
) -> MeanMap | None:
    """Mean maps of one layer over the chosen images; None without a map, or a class of fewer than two images.

    Args:
        layer: gives the maps.
        labels: of the chosen images; ``shuffled`` the same, each row in another order.
        chosen: rows of the layer.
        network: whose layer it is.
    """
    if layer.mean_map.size == 0 or min((labels == 1).sum(), (labels != 1).sum()) < 2:
        return None
    maps = layer.mean_map[chosen]
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    mean = float(flat.mean())
    scale = mean if mean > 0 else 1.0
    difference = standardise_difference(flat, (labels == 1)[None])[0]
    null = np.abs(standardise_difference(flat, shuffled == 1)).max(axis=1)
    return MeanMap(
        network=network,
        role=layer.role,
        zeros=(flat[labels != 1].mean(axis=0) / scale).reshape(maps.shape[1:]),
        ones=(flat[labels == 1].mean(axis=0) / scale).reshape(maps.shape[1:]),
        difference=difference.reshape(maps.shape[1:]),
        chance=float(np.quantile(null, 0.95)),
    )


def standardise_difference(values: Float[ndarray, "N D"], is_one: ndarray) -> Float[ndarray, "R D"]:
    """Mean of class 1 minus mean of class 0 in sds within the classes, for each row of ``is_one`` [R, N].

    0 where nothing varies.
    """
    ones = is_one.astype(np.float64)
    num_ones = np.maximum(ones.sum(axis=1, keepdims=True), 1)
    num_zeros = np.maximum((1 - ones).sum(axis=1, keepdims=True), 1)
    centred = values - values.mean(axis=0)
    sums, squares = ones @ centred, (centred**2).sum(axis=0)
    # Centred values sum to 0, so the other class sums to the opposite.
    means = sums / num_ones, -sums / num_zeros
    within = squares - num_ones * means[0] ** 2 - num_zeros * means[1] ** 2
    spread = np.sqrt(np.maximum(within, 0) / max(len(values) - 2, 1))
    gap = means[0] - means[1]
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 1e-12 * np.abs(values).max(initial=1e-300))
