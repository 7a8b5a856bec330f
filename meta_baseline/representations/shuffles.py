"""Which image takes which image's place under a null: whole shape identities change places, nothing else does."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def shuffle_groups(groups: Int[ndarray, " N"], rng: np.random.Generator) -> Int[ndarray, " N"]:
    """For each image the number of an image of the group that takes its group's place.

    With one image per group this is a permutation of the images. Inside a group the order is drawn too: were it kept,
    groups that list their images class by class would keep every image's class. Where the two groups differ in size,
    the images of the new one are gone through in a circle.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    within = np.empty(len(groups), dtype=np.int64)
    within[members] = np.arange(len(groups)) - np.repeat(starts, counts)
    taken = rng.permutation(len(counts))[inverse]
    replacing = np.lexsort((rng.random(len(groups)), inverse))
    return replacing[starts[taken] + within % counts[taken]]


def shuffle_within(
    labels: Int[ndarray, " N"], groups: Int[ndarray, " N"], rng: np.random.Generator
) -> Int[ndarray, " N"]:
    """``shuffle_groups`` inside each class: what follows from the class alone stays as it is."""
    taken = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        taken[rows] = rows[shuffle_groups(groups[rows], rng)]
    return taken


def deal_parts(groups: Int[ndarray, " N"], num_parts: int, rng: np.random.Generator) -> Int[ndarray, " N"]:
    """Part of each image, 0 to ``num_parts`` - 1: groups whole and evenly at random, for a jackknife over parts."""
    names, member = np.unique(groups, return_inverse=True)
    return rng.permutation(np.arange(len(names)) % min(num_parts, len(names)))[member]


def jackknife_error(left_out: Float[ndarray, "J ..."]) -> ndarray:
    """Standard error from the estimates with one of J parts left out (Efron & Tibshirani 1993, equation 11.5)."""
    num = len(left_out)
    return np.sqrt((num - 1) / num * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))


def bound_largest(null: Float[ndarray, "R V"], spread: Float[ndarray, " V"]) -> Float[ndarray, " V"]:
    """For each of V statistics the value that any of them exceeds in 5 % of the shuffles: max-T, each in its spread.

    Statistics in units of their own spread under the null are compared with the largest of all, so that one that
    varies much (a latent with few values) does not make the bound of the others wide (Westfall & Young 1993).

    Args:
        null: sizes of the statistics under each shuffle.
        spread: of each statistic under the null.
    """
    known = spread > 0
    if not known.any():
        return np.zeros(len(spread))
    largest = (null[:, known] / spread[known]).max(axis=1)
    return float(np.quantile(largest, 0.95)) * spread
