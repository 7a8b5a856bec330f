"""How well one number tells two classes apart: the area under the ROC curve, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class AucEstimate:
    """The chance that the number is larger in an image of class 1 than in one of class 0, ties counting half.

    Attributes:
        auc: in [0, 1]; .5 where the number tells nothing.
        error: its standard error.
        low, high: its 95 % interval, cut off at 0 and 1. It has no width at an AUC of 0 or 1.
        p_value: two-sided, of an AUC of .5.
    """

    auc: float
    error: float
    low: float
    high: float
    p_value: float


def estimate_auc(
    values: Float[ndarray, " N"], labels: Int[ndarray, " N"], groups: Int[ndarray, " N"] | None = None
) -> AucEstimate:
    """The Mann-Whitney estimate of the AUC, its variance after DeLong, DeLong & Clarke-Pearson (1988,
    doi:10.2307/2531595) by midranks (Sun & Xu 2014, doi:10.1109/LSP.2014.2337313).

    Args:
        values: what is to tell the classes apart.
        labels: 0 or 1; both have to occur at least twice.
        groups: images with equal numbers belong together, e.g. show one shape identity; the variance is then that of
            Obuchowski (1997, doi:10.2307/2533958), which takes groups, not images, as independent. A class that shows
            a single group tells nothing about how groups vary: the error is infinite and the interval 0 to 1.
    """
    ones, zeros = values[labels == 1], values[labels == 0]
    ranks = rankdata(np.concatenate([ones, zeros]))
    # Of each image the share of the other class that lies on the right side of it.
    above = (ranks[: len(ones)] - rankdata(ones)) / len(zeros)
    below = 1 - (ranks[len(ones) :] - rankdata(zeros)) / len(ones)
    auc = float(above.mean())
    if groups is None or len(np.unique(groups)) == len(groups):
        variance = above.var(ddof=1) / len(ones) + below.var(ddof=1) / len(zeros)
    else:
        variance = _clustered_variance(above - auc, below - auc, groups[labels == 1], groups[labels == 0])
    return from_error(auc, sqrt(max(float(variance), 0.0)))


def from_error(auc: float, error: float) -> AucEstimate:
    """An AUC with the interval and p-value of the normal approximation."""
    normal = NormalDist()
    half = normal.inv_cdf((1 + _LEVEL) / 2) * error
    if error == 0.0:
        p_value = 1.0 if auc == 0.5 else 0.0
    else:
        p_value = 2 * normal.cdf(-abs(auc - 0.5) / error)
    return AucEstimate(auc=auc, error=error, low=max(0.0, auc - half), high=min(1.0, auc + half), p_value=p_value)


def _clustered_variance(
    above: Float[ndarray, " N1"],
    below: Float[ndarray, " N0"],
    groups_of_ones: Int[ndarray, " N1"],
    groups_of_zeros: Int[ndarray, " N0"],
) -> float:
    names, places = np.unique(np.concatenate([groups_of_ones, groups_of_zeros]), return_inverse=True)
    sums_above = np.bincount(places[: len(above)], above, minlength=len(names)) / len(above)
    sums_below = np.bincount(places[len(above) :], below, minlength=len(names)) / len(below)
    with_ones, with_zeros = len(np.unique(groups_of_ones)), len(np.unique(groups_of_zeros))
    if min(with_ones, with_zeros) < 2:
        return inf
    return float(
        sums_above @ sums_above * with_ones / (with_ones - 1)
        + sums_below @ sums_below * with_zeros / (with_zeros - 1)
        + 2 * sums_above @ sums_below * len(names) / (len(names) - 1)
    )
