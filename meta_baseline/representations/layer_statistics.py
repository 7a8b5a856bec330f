"""One layer of one network in a few numbers, each over the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from scipy import linalg

from meta_baseline.activations import LayerActivations

NUM_FOLDS = 5
_RIDGE = 0.1


@dataclass(frozen=True, kw_only=True)
class LayerStatistics:
    """One layer of one network, at the point that the next layer reads.

    Attributes:
        network: "meta", "baseline", "untrained 1", ...
        role: of the layer.
        map_shape: (C, H, W) or (U,).
        zero_fraction: share of exact zeros over images, channels and positions.
        num_dead: channels that are zero at every position of every image.
        num_constant: channels that never change, dead ones included.
        mean: over everything.
        sd: root mean square of the channels' sds.
        participation_ratio: effective dimensions of the 4 x 4 grid over images; see ``similarity``.
        separability: ``measure_separability`` of the classes in the channel means, with its interval.
    """

    network: str
    role: str
    map_shape: tuple[int, ...]
    zero_fraction: float
    num_dead: int
    num_constant: int
    mean: float
    sd: float
    participation_ratio: float
    separability: float
    separability_low: float
    separability_high: float

    @property
    def num_channels(self) -> int:
        """C, or U of a fully connected layer."""
        return self.map_shape[0]


def describe_layer(
    layer: LayerActivations,
    *,
    network: str,
    labels: Int[ndarray, " N"],
    folds: Int[ndarray, " N"],
    participation_ratio: float,
) -> LayerStatistics:
    """All statistics of one layer."""
    separability, low, high = measure_separability(layer.pooled, labels, folds)
    return LayerStatistics(
        network=network,
        role=layer.role,
        map_shape=layer.map_shape,
        zero_fraction=float(layer.channel_zero_fraction.mean()),
        num_dead=int((layer.channel_zero_fraction == 1.0).sum()),
        num_constant=int((layer.channel_sd == 0.0).sum()),
        mean=float(layer.channel_mean.mean()),
        sd=float(np.sqrt((layer.channel_sd**2).mean())),
        participation_ratio=participation_ratio,
        separability=separability,
        separability_low=low,
        separability_high=high,
    )


def deal_folds(labels: Int[ndarray, " N"], groups: Int[ndarray, " N"], rng: np.random.Generator) -> Int[ndarray, " N"]:
    """Fold of each image, 0 to 4: images of one group together, classes spread evenly."""
    names, member = np.unique(groups, return_inverse=True)
    share = np.bincount(member, weights=labels) / np.bincount(member)
    order = np.lexsort((rng.random(len(names)), share))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % NUM_FOLDS
    return fold[member]


def measure_separability(
    features: Float[ndarray, "N C"], labels: Int[ndarray, " N"], folds: Int[ndarray, " N"]
) -> tuple[float, float, float]:
    """Distance d' between the class means of images that were left out, in sds within a class, with its interval.

    The direction is Fisher's discriminant of the other folds (channels standardised, the covariance within classes
    with a tenth of its mean variance added to the diagonal), oriented towards class 1. Left-out images know nothing of
    it, so without a difference d' is 0 on average and as often negative as positive; measured on its own images it
    would grow with the number of channels. The 95 % interval is the large-sample one of a standardised mean
    difference (Hedges & Olkin 1985, chapter 5), over the left-out images. NaN where the layer is constant or a class
    is missing from a fold.
    """
    distances: list[float] = []
    # Centred in float64 and then kept in float32: a mean far larger than the sd cannot drown it.
    centred = (features - features.mean(axis=0, dtype=np.float64)).astype(np.float32)
    for fold in range(NUM_FOLDS):
        tested = folds == fold
        if any(
            labels[part].min(initial=1) == labels[part].max(initial=0) or part.sum() < 4 for part in (tested, ~tested)
        ):
            return math.nan, math.nan, math.nan
        direction, scale = _discriminant(centred[~tested], labels[~tested] == 1)
        if not direction.any():
            return math.nan, math.nan, math.nan
        distances.append(_distance((centred[tested] / scale) @ direction, labels[tested] == 1))
    value = float(np.mean(distances))
    ones = int(labels.sum())
    zeros = len(labels) - ones
    error = math.sqrt(1 / ones + 1 / zeros + value**2 / (2 * len(labels)))
    return value, value - 1.96 * error, value + 1.96 * error


def _discriminant(
    features: Float32[ndarray, "N C"], is_one: Bool[ndarray, " N"]
) -> tuple[Float32[ndarray, " C"], Float32[ndarray, " C"]]:
    """Fisher's direction in standardised channels, and the scale of the channels (1 where one is constant)."""
    sd = features.std(axis=0)
    # A unit that is silent in these folds has the sd of its rounding, and would be blown up in the other one.
    varies = sd > 1e-4 * np.abs(features).max(axis=0)
    scale = np.where(varies, sd, np.float32(1.0))
    values = np.where(varies, features / scale, np.float32(0.0))
    means = [values[is_one].mean(axis=0), values[~is_one].mean(axis=0)]
    within = values - np.where(is_one[:, None], *means)
    difference = means[0] - means[1]
    n, c = within.shape
    ridge = np.float32(_RIDGE) * (within**2).sum() / max(int(varies.sum()), 1)
    if ridge == 0:
        return difference, scale
    if c <= n:
        covariance = within.T @ within + ridge * np.eye(c, dtype=np.float32)
        return n * linalg.solve(covariance, difference, assume_a="pos"), scale
    # The same by the matrix inversion lemma, with an N x N system.
    gram = within @ within.T + ridge * np.eye(n, dtype=np.float32)
    inner = linalg.solve(gram, within @ difference, assume_a="pos")
    return n * (difference - within.T @ inner) / ridge, scale


def _distance(scores: Float[ndarray, " N"], is_one: Bool[ndarray, " N"]) -> float:
    first, second = scores[is_one], scores[~is_one]
    freedom = max(len(scores) - 2, 1)
    variance = (len(first) * first.var() + len(second) * second.var()) / freedom
    return float((first.mean() - second.mean()) / math.sqrt(variance)) if variance > 0 else 0.0
