"""How many dimensions the cloud of images has nearby, in one layer: the TwoNN estimate with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import t

from meta_baseline.representations.shuffles import jackknife_error

DISCARDED = 0.1
"""Share of the largest ratios that are left out, as the authors advise."""

_FEWEST = 20
_NUM_PARTS = 20


@dataclass(frozen=True, kw_only=True)
class LocalDimension:
    """The TwoNN dimension of a cloud of images.

    Attributes:
        value, low, high: with a 95 % interval (jackknife over parts: of identities, or of images with their nearest,
            whichever is wider). NaN from fewer than 20 images, or where all ratios are 1.
        at_half: the same with every other image left out, a mean of two: an estimate that grows much when images are
            taken away is one of noise, or of too few images.
    """

    value: float
    low: float
    high: float
    at_half: float


def measure_local_dimension(gram: Float[ndarray, "N N"], parts: Int[ndarray, " N"]) -> LocalDimension:
    """TwoNN of a layer from the Gram matrix of its images; ``parts`` are left out in turn for the interval."""
    ratios, nearest = find_neighbours(gram)
    value = fit_dimension(ratios)
    # Images that are each other's neighbours have ratios that go together; leaving out neighbours together sees it.
    errors = [_jackknife(ratios, dealt) for dealt in (parts, _deal_neighbours(nearest))]
    half = max(errors) if np.isfinite(errors).all() else math.nan
    halves = [fit_dimension(neighbour_ratios(gram[start::2, start::2])) for start in (0, 1)]
    return LocalDimension(
        value=value,
        low=float(np.maximum(value - half, 0.0)),
        high=value + half,
        at_half=float(np.mean(halves)),
    )


def neighbour_ratios(gram: Float[ndarray, "N N"]) -> Float[ndarray, " N"]:
    """Distance of each image to its second neighbour over that to its first; NaN where the first is at no distance."""
    return find_neighbours(gram)[0]


def find_neighbours(gram: Float[ndarray, "N N"]) -> tuple[Float[ndarray, " N"], Int[ndarray, " N"]]:
    """``neighbour_ratios``, and the nearest image of each."""
    n = len(gram)
    if n < 3:
        return np.full(n, np.nan), np.zeros(n, dtype=np.int64)
    diagonal = np.diagonal(gram)
    squares = diagonal[:, None] + diagonal - 2 * gram
    np.fill_diagonal(squares, np.inf)
    two = np.argpartition(squares, 1, axis=1)[:, :2]
    first, second = np.take_along_axis(squares, two, axis=1).T
    # Equal images differ by rounding; such a distance says nothing of the dimension.
    apart = first > 1e-10 * float(diagonal.max())
    ratios = np.where(apart, np.sqrt(np.divide(second, first, where=apart, out=np.ones(n))), np.nan)
    return ratios, two[:, 0]


def _jackknife(ratios: Float[ndarray, " N"], parts: Int[ndarray, " N"]) -> float:
    """Half a 95 % interval; NaN where it cannot be made."""
    left_out = np.array([fit_dimension(ratios[parts != part]) for part in np.unique(parts)])
    if len(left_out) < 3 or not np.isfinite(left_out).all():
        return math.nan
    return float(t.ppf(0.975, len(left_out) - 1) * jackknife_error(left_out))


def _deal_neighbours(nearest: Int[ndarray, " N"]) -> Int[ndarray, " N"]:
    """Parts in which every image is together with its nearest."""
    n = len(nearest)
    links = coo_matrix((np.ones(n), (np.arange(n), nearest)), shape=(n, n))
    num, component = connected_components(links, directed=False)
    return np.random.default_rng(0).permutation(np.arange(num) % _NUM_PARTS)[component]


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
