"""Representational similarity analysis: how alike the distances between images are in two layers.

The distances of all pairs of images are compared as vectors; the measure says by which product.

    cosine      of squared distances; their common mean counts, so it is high for any two layers
    corr        Pearson correlation of squared distances
    whitened    cosine in the metric of the sampling error of distances, which pairs with an image in common share;
                for Euclidean distances this is biased linear CKA (Diedrichsen et al. 2020, arXiv:2007.02789)
    spearman    correlation of ranks, ties at their mean rank
    rho-a       the expected Spearman correlation when ties are broken at random, so that ties win nothing
                (Schütt et al. 2023, eLife 12:e82566, doi:10.7554/eLife.82566)
"""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import special, stats

from meta_baseline.errors import UsageError
from meta_baseline.similarity.cka import biased_cka, partial_correlation
from meta_baseline.similarity.gram import check_size, upper_triangle
from meta_baseline.similarity.jackknife import FEWEST_IMAGES, LEVEL, jackknife_error, to_line
from meta_baseline.statistics import Interval

Comparison = Literal["cosine", "corr", "whitened", "spearman", "rho-a"]

MOST_BLOCKS = 24
"""Blocks of images that are left out for an interval; each costs a ranking of all distances."""


def squared_distances(gram: Float[ndarray, "N N"]) -> Float[ndarray, " D"]:
    """Squared Euclidean distances of all D = N (N - 1) / 2 pairs of images, row by row of the upper triangle."""
    squares = np.diag(gram)
    return (squares[:, None] + squares - 2 * gram).ravel()[upper_triangle(len(gram))]


def rank_distances(gram: Float[ndarray, "N N"]) -> Float[ndarray, " D"]:
    """Ranks of the Euclidean distances of all pairs of images, centred and of length 1: dot products are Spearman's."""
    ranks = _rank(gram)
    ranks = ranks - ranks.mean()
    length = float(np.linalg.norm(ranks))
    return ranks / length if length > 0 else np.full(len(ranks), np.nan)


def rank_agreement(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Spearman correlation, in [-1, 1], of the distances between images in the two layers.

    Representational similarity analysis (Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008) with Euclidean
    distances; ranks make it deaf to a few extreme images. NaN where a layer is constant.
    """
    return float(rank_distances(first) @ rank_distances(second))


def compare_distances(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], comparison: Comparison = "spearman"
) -> float:
    """Agreement of the distances between images by any of the comparisons in the module's table; NaN if constant.

    Raises:
        UsageError: when the comparison is not one of them.
    """
    if comparison not in get_args(Comparison):
        known = ", ".join(map(repr, get_args(Comparison)))
        raise UsageError(f"No comparison of distances {comparison!r}. Choose one of {known}.")
    check_size(first)
    if comparison == "whitened":
        return biased_cka(first, second)
    if comparison == "spearman":
        return rank_agreement(first, second)
    if comparison == "rho-a":
        ranks = [_rank(gram) for gram in (first, second)]
        count = len(ranks[0])
        if any(float(np.ptp(rank)) == 0 for rank in ranks):
            return math.nan
        return 12 * float(ranks[0] @ ranks[1]) / (count**3 - count) - 3 * (count + 1) / (count - 1)
    distances = [squared_distances(gram) for gram in (first, second)]
    if comparison == "corr":
        distances = [values - values.mean() for values in distances]
    lengths = [float(np.linalg.norm(values)) for values in distances]
    return float(distances[0] @ distances[1]) / (lengths[0] * lengths[1]) if min(lengths) > 0 else math.nan


def rank_interval(
    first: Float[ndarray, "N N"],
    second: Float[ndarray, "N N"],
    *,
    confound: Float[ndarray, "N N"] | None = None,
    groups: Int[ndarray, " N"] | None = None,
    level: float = LEVEL,
) -> Interval:
    """Interval of ``rank_agreement`` over images, by a jackknife that leaves out blocks of images.

    The noise of a comparison of two networks that give the same answer each time is the choice of images. The D
    distances are not D observations: each image is in N - 1 of them. So images are left out whole, in at most 24
    blocks (a bootstrap would draw images twice, at distance 0 from themselves), with the weights for unequal blocks
    of Busing et al. 1999 (doi:10.1023/A:1008800423698), and the distances of the others are ranked again.

    Args:
        first, second: Gram matrices.
        confound: a third one, whose ranks are taken out of both; the interval is that of the partial correlation.
        groups: images that belong together are left out together; None takes every image by itself.
        level: coverage.

    Raises:
        UsageError: when there are fewer than 4 groups.
    """
    n = check_size(first)
    names, group = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    if len(names) < FEWEST_IMAGES:
        raise UsageError(f"An interval over {len(names)} groups of images cannot be made. Use at least 4 groups.")
    # Groups come sorted by class or by shape; dealt out in turn, every block has some of each.
    block = group % min(MOST_BLOCKS, len(names))
    grams = [first, second, *(() if confound is None else (confound,))]

    def agree(kept: Int[ndarray, " n"]) -> float:
        ranks = [rank_distances(gram[np.ix_(kept, kept)]) for gram in grams]
        cross = float(ranks[0] @ ranks[1])
        if confound is None:
            return cross
        values = (np.array(v) for v in (cross, ranks[0] @ ranks[2], ranks[1] @ ranks[2]))
        return float(partial_correlation(*values))

    sizes = np.bincount(block)
    value = agree(np.arange(n))
    left_out = np.array([agree(np.flatnonzero(block != number)) for number in range(len(sizes))])
    unit = "images" if groups is None or len(names) == n else "groups of images"
    method = f"jackknife over {len(sizes)} blocks of {unit}"
    if not (math.isfinite(value) and bool(np.isfinite(left_out).all())):
        return Interval(low=math.nan, high=math.nan, level=level, method=method)
    spread = float(special.stdtrit(len(sizes) - 1, (1 + level) / 2)) * jackknife_error(value, left_out, sizes)
    centre = float(to_line(np.array([value]))[0])
    return Interval(low=math.tanh(centre - spread), high=math.tanh(centre + spread), level=level, method=method)


def partial_rank_agreement(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], confound: Float[ndarray, "N N"]
) -> float:
    """Spearman correlation of distances when the ranks of the confound's distances (the pixels') are held fixed."""
    ranks = [rank_distances(gram) for gram in (first, second, confound)]
    values = (np.array(ranks[i] @ ranks[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    return float(partial_correlation(*values))


def _rank(gram: Float[ndarray, "N N"]) -> Float[ndarray, " D"]:
    distances = squared_distances(gram)
    # Rounding would order distances that are equal; ten digits leave ties as ties.
    rank: Callable[..., Float[ndarray, " D"]] = stats.rankdata
    return rank(np.round(distances / (float(np.abs(distances).max()) or 1.0), 10))
