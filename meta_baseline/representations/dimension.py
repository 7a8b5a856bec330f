"""How many dimensions the cloud of images has nearby, in one layer: the TwoNN estimate with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import t

from meta_baseline.representations.shuffles import jackknife_error

DISCARDED = 0.1
"""Share of the largest ratios that are left out, as the authors advise."""

_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class LocalDimension:
    """The TwoNN dimension of a cloud of images.

    Attributes:
        value, low, high: with a 95 % interval over images or, where they repeat, shape identities (jackknife over
            parts, neighbours kept). NaN from fewer than 20 images, or where all ratios are 1.
        at_half: the same with every other image left out, a mean of two: an estimate that grows much when images are
            taken away is one of noise, or of too few images.
    """

    value: float
    low: float
    high: float
    at_half: float


def measure_local_dimension(gram: Float[ndarray, "N N"], parts: Int[ndarray, " N"]) -> LocalDimension:
    """TwoNN of a layer from the Gram matrix of its images; ``parts`` are left out in turn for the interval."""
    ratios = neighbour_ratios(gram)
    value = fit_dimension(ratios)
    left_out = np.array([fit_dimension(ratios[parts != part]) for part in np.unique(parts)])
    low, high = math.nan, math.nan
    if len(left_out) > 2 and np.isfinite(left_out).all() and math.isfinite(value):
        half = float(t.ppf(0.975, len(left_out) - 1) * jackknife_error(left_out))
        low, high = max(value - half, 0.0), value + half
    halves = [fit_dimension(neighbour_ratios(gram[start::2, start::2])) for start in (0, 1)]
    return LocalDimension(value=value, low=low, high=high, at_half=float(np.mean(halves)))


def neighbour_ratios(gram: Float[ndarray, "N N"]) -> Float[ndarray, " N"]:
    """Distance of each image to its second neighbour over that to its first; NaN where the first is at no distance."""
    n = len(gram)
    if n < 3:
        return np.full(n, np.nan)
    diagonal = np.diagonal(gram)
    squares = diagonal[:, None] + diagonal - 2 * gram
    np.fill_diagonal(squares, np.inf)
    nearest = np.partition(squares, 1, axis=1)[:, :2]
    # Equal images differ by rounding; such a distance says nothing of the dimension.
    apart = nearest[:, 0] > 1e-10 * float(diagonal.max())
    return np.where(apart, np.sqrt(np.divide(nearest[:, 1], nearest[:, 0], where=apart, out=np.ones(n))), np.nan)


def fit_dimension(ratios: Float[ndarray, " N"]) -> float:
    """Slope through the origin of -log(1 - F) over log of the ratio, without the largest tenth of the ratios.

    Facco, d'Errico, Rodriguez & Laio 2017 (Scientific Reports 7:12140, doi:10.1038/s41598-017-11873-y), section
    "Methods": where density is constant up to the second neighbour, the ratio has the distribution 1 - r^-d.
    """
    known = np.sort(ratios[np.isfinite(ratios)])
    n = len(known)
    if n < _FEWEST:
        return math.nan
    kept = int(n * (1 - DISCARDED))
    x = np.log(known[:kept])
    y = -np.log1p(-np.arange(1, kept + 1) / n)
    size = float(x @ x)
    return float(x @ y) / size if size > 0 else math.nan
