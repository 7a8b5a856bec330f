"""Do two dictionaries have the same features? Atoms are matched by what they respond to, never by their directions.

Two networks trained apart have no common axes, so the cosine between atoms of their dictionaries means nothing. What
can be compared is when atoms are active: their codes are correlated over the same positions of the same images, and
the one-to-one matching with the largest sum of correlations is found (Hungarian method). The matching is made on the
training images and its correlations are measured on the held-out ones, so that choosing the best partner among
hundreds earns nothing: two unrelated dictionaries come out at zero.

Two dictionaries of the same layer of the same network do share axes. How stable they are is the mean cosine of each
atom to its most similar one under another seed (MMCS; Sharkey et al. 2022, "Taking features out of superposition").
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment


def match_by_activation(
    first: Float[ndarray, "M A1"], second: Float[ndarray, "M A2"]
) -> tuple[Int[ndarray, " P"], Int[ndarray, " P"]]:
    """Atoms of ``first`` and their partners in ``second``: one to one, among atoms that are active at all.

    P is the smaller number of active atoms; rows are the same positions (or images) in both.
    """
    alive_first, alive_second = (np.flatnonzero(np.ptp(codes, axis=0) > 0) for codes in (first, second))
    correlation = _standardise(first[:, alive_first]).T @ _standardise(second[:, alive_second])
    rows, columns = linear_sum_assignment(correlation, maximize=True)
    return alive_first[rows], alive_second[columns]


def correlate_pairs(first: Float[ndarray, "M P"], second: Float[ndarray, "M P"]) -> Float[ndarray, " P"]:
    """Pearson correlation of each column with its partner; 0 where one of the two is constant."""
    return np.einsum("mp,mp->p", _standardise(first), _standardise(second), dtype=np.float64)


def weigh_pairs(
    first: Float[ndarray, "M A1"], second: Float[ndarray, "M A2"], pairs: tuple[ndarray, ndarray]
) -> Float[ndarray, " P"]:
    """Mean share of code variance that the two atoms of each pair have in their dictionaries; sums to 1 over pairs."""
    weights = np.zeros(len(pairs[0]))
    for codes, atoms in zip((first, second), pairs):
        variance = codes.var(axis=0, dtype=np.float64)
        weights += variance[atoms] / max(float(variance.sum()), np.finfo(np.float64).tiny)
    return weights / weights.sum() if weights.sum() > 0 else weights


def mean_max_cosine(first: Float[ndarray, "A1 C"], second: Float[ndarray, "A2 C"]) -> float:
    """Mean over atoms of ``first`` of the largest cosine to any atom of ``second``; rows of norm 1."""
    return float((first @ second.T).max(axis=1).mean())


def chance_cosine(num_first: int, num_second: int, num_channels: int, rng: np.random.Generator) -> float:
    """The same between random directions: not small where there are few channels and many atoms."""
    first, second = (rng.standard_normal((count, num_channels)) for count in (num_first, num_second))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return mean_max_cosine(first, second)


def max_per_image(codes: Float[ndarray, "M A"], image: Int[ndarray, " M"], num_images: int) -> Float[ndarray, "N A"]:
    """Each atom's largest code in each image; 0 for an image without positions. ``image`` is in rising order."""
    largest = np.zeros((num_images, codes.shape[1]), dtype=codes.dtype)
    present, starts = np.unique(image, return_index=True)
    if len(present):
        largest[present] = np.maximum.reduceat(codes, starts, axis=0)
    return largest


def pair_shuffled_images(image: Int[ndarray, " M"], rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Row numbers that pair each image with another one, position by position, for the floor of a matching.

    The j-th position of an image meets the j-th of its partner; where one has more, the rest is left out. No image
    meets itself unless there is only one.
    """
    present, starts, counts = np.unique(image, return_index=True, return_counts=True)
    order = rng.permutation(len(present))
    partner = np.empty(len(present), dtype=np.int64)
    partner[order] = np.roll(order, 1)
    lengths = np.minimum(counts, counts[partner])
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + offsets, np.repeat(starts[partner], lengths) + offsets


def _standardise(codes: Float[ndarray, "M A"]) -> Float[ndarray, "M A"]:
    """Columns of mean 0 and norm 1; constant ones are all zero."""
    centred = (codes - codes.mean(axis=0, dtype=np.float64).astype(codes.dtype)) * (np.ptp(codes, axis=0) > 0)
    norm = np.linalg.norm(centred, axis=0)
    return centred / np.where(norm > 0, norm, 1.0)
