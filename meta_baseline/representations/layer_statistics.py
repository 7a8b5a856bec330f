"""One layer of one network in a few numbers, each over the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from scipy import linalg

from meta_baseline.activations import LayerActivations
from meta_baseline.representations.dimension import LocalDimension

NUM_FOLDS = 5
TAILS = 10.0 ** -np.linspace(0, 3.5, 36)
"""Shares of activations: ``LayerStatistics.quantiles`` says what value that share of them exceeds."""

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
        num_always_on: channels that are zero nowhere in any image, in a layer that has zeros; the next layer reads
            them without a threshold.
        lifetime_sparseness: of a channel over images, 0 where all images drive it equally and 1 where a single one
            does; the mean over channels that are not dead (Vinje & Gallant 2000, Science 287:1273, after Rolls &
            Tovee 1995, Journal of Neurophysiology 73:713). NaN where channel means are negative.
        population_sparseness: the same of an image over channels.
        quantiles: the value that a share ``TAILS`` of single activations exceeds, over at most 256 units that were
            drawn evenly; NaN where no sample was kept.
        mean: over everything.
        sd: root mean square of the channels' sds.
        participation_ratio: effective dimensions of the 4 x 4 grid over images; see ``similarity``.
        local_dimension: TwoNN of the same.
        separability: ``measure_separability`` of the classes in the channel means, with its interval.
    """

    network: str
    role: str
    map_shape: tuple[int, ...]
    zero_fraction: float
    num_dead: int
    num_constant: int
    num_always_on: int
    mean: float
    sd: float
    lifetime_sparseness: float
    population_sparseness: float
    quantiles: Float[ndarray, " T"]
    participation_ratio: float
    local_dimension: LocalDimension
    separability: float
    separability_low: float
    separability_high: float

    @property
    def num_channels(self) -> int:
        """C, or U of a fully connected layer."""
        return self.map_shape[0]

    @property
    def dead_fraction(self) -> float:
        """Share of channels that are dead."""
        return self.num_dead / self.num_channels

    @property
    def always_on_fraction(self) -> float:
        """Share of channels that are always on."""
        return self.num_always_on / self.num_channels

    @property
    def twonn(self) -> float:
        """The TwoNN dimension itself."""
        return self.local_dimension.value


def describe_layer(
    layer: LayerActivations,
    *,
    network: str,
    labels: Int[ndarray, " N"],
    folds: Int[ndarray, " N"],
    participation_ratio: float,
    local_dimension: LocalDimension,
) -> LayerStatistics:
    """All statistics of one layer."""
    separability, low, high = measure_separability(layer.pooled, labels, folds)
    zeros = layer.channel_zero_fraction
    means = layer.pooled.astype(np.float64)
    sampled = np.quantile(layer.sample, 1 - TAILS) if layer.sample.size else np.full(len(TAILS), np.nan)
    return LayerStatistics(
        network=network,
        role=layer.role,
        map_shape=layer.map_shape,
        zero_fraction=float(zeros.mean()),
        num_dead=int((zeros == 1.0).sum()),
        num_constant=int((layer.channel_sd == 0.0).sum()),
        num_always_on=int((zeros == 0.0).sum()) if zeros.any() else 0,
        mean=float(layer.channel_mean.mean()),
        sd=float(np.sqrt((layer.channel_sd**2).mean())),
        lifetime_sparseness=measure_sparseness(means.T),
        population_sparseness=measure_sparseness(means),
        quantiles=sampled.astype(np.float64),
        participation_ratio=participation_ratio,
        local_dimension=local_dimension,
        separability=separability,
        separability_low=low,
        separability_high=high,
    )


def measure_sparseness(rates: Float[ndarray, "M K"]) -> float:
    """Sparseness of each row, in [0, 1], the mean over rows that are not all zero; NaN with negative values.

    (1 - mean(r)^2 / mean(r^2)) / (1 - 1 / K) (Vinje & Gallant 2000).
    """
    count = rates.shape[1]
    if count < 2 or rates.min(initial=0) < 0:
        return math.nan
    squares = (rates**2).mean(axis=1)
    driven = squares > 0
    if not driven.any():
        return math.nan
    return float(((1 - rates[driven].mean(axis=1) ** 2 / squares[driven]) / (1 - 1 / count)).mean())


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
