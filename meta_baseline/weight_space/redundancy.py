"""How much the units of a layer repeat each other: cosines of their weights, and the dimension of their cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FEWEST_POINTS = 20
"""Units below which a ratio of neighbour distances says nothing about a dimension."""

DISCARDED = 0.1
"""Share of the largest ratios that are left out of the fit, as Facco et al. do."""


@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """Pairwise cosines of a layer's units; those without weights are left out.

    Attributes:
        mean_cosine: mean absolute cosine over all pairs; about sqrt(2 / (pi D)) for random units of D weights.
        nearest_cosine: mean over units of the largest cosine with another unit; 1 where every unit has a copy.
        dimension: of the cloud of units, by ``two_nearest_dimension``.
    """

    mean_cosine: float
    nearest_cosine: float
    dimension: float


def measure_redundancy(matrix: Float[np.ndarray, "C D"]) -> Redundancy:
    """Cosines and dimension of the rows, from one Gram matrix."""
    rows = matrix.astype(np.float32, copy=False)
    gram = rows @ rows.T
    sizes = np.sqrt(np.diag(gram))
    alive = sizes > 1e-6 * max(float(sizes.max()), 1e-30)
    count = int(alive.sum())
    if count < 2:
        return Redundancy(mean_cosine=float("nan"), nearest_cosine=float("nan"), dimension=float("nan"))
    if count < len(rows):
        gram, sizes = gram[np.ix_(alive, alive)], sizes[alive]
    cosines = np.clip(gram / sizes[:, None] / sizes[None, :], -1.0, 1.0)
    np.fill_diagonal(cosines, 0.0)
    mean = float(np.abs(cosines).sum(dtype=np.float64)) / (count * (count - 1))
    np.fill_diagonal(cosines, -1.0)
    squares = np.square(sizes)[:, None] + np.square(sizes)[None, :] - 2 * gram
    np.fill_diagonal(squares, np.inf)
    # Float32 products leave distances of rounding size between equal units.
    squares[squares < 1e-6 * float(np.mean(sizes**2))] = 0.0
    return Redundancy(
        mean_cosine=mean,
        nearest_cosine=float(cosines.max(axis=1).mean(dtype=np.float64)),
        dimension=two_nearest_dimension(np.sqrt(squares)),
    )


def two_nearest_dimension(distances: Float[np.ndarray, "N N"]) -> float:
    """Intrinsic dimension from the ratio of each point's two nearest distances, infinite on the diagonal.

    The slope through 0 of -log(1 - F) on log ratio, the largest tenth left out (Facco, d'Errico, Rodriguez & Laio 2017,
    doi:10.1038/s41598-017-11873-y, section "TWO-NN"). Copies of a point are left out; NaN for few points.
    """
    if len(distances) < FEWEST_POINTS:
        return float("nan")
    first, second = np.partition(distances, 1, axis=1)[:, :2].T.astype(np.float64)
    distinct = first > 0
    if distinct.sum() < FEWEST_POINTS:
        return float("nan")
    ratios = np.sort(np.log(second[distinct] / first[distinct]))
    kept = int(len(ratios) * (1 - DISCARDED))
    heights = -np.log1p(-np.arange(1, kept + 1) / len(ratios))
    squares = float(ratios[:kept] @ ratios[:kept])
    return float(ratios[:kept] @ heights) / squares if squares > 0 else float("nan")
