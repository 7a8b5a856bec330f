"""How far adaptation moves the weights and the representations of each layer, and what layers say without a head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.similarity import debiased_cka, procrustes_distance


def relative_change(start: Float[ndarray, " P"], move: Float[ndarray, " P"]) -> float:
    """|theta_k - theta_0| / |theta_0|; NaN where theta_0 is nothing but zeros."""
    size = float(np.linalg.norm(start.astype(np.float64)))  # where adaptation diverges, squares overflow 32 bits
    return float(np.linalg.norm(move.astype(np.float64))) / size if size > 0 else float("nan")


def compare_geometries(before: Float[ndarray, "N N"], after: Float[ndarray, "N N"]) -> tuple[float, float]:
    """Debiased CKA and Procrustes angle of two representations of the same images; NaN where one is not finite."""
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return float("nan"), float("nan")
    return debiased_cka(before, after), procrustes_distance(before, after)


def nearest_centroid(gram: Float[ndarray, "L L"], labels: Int64[ndarray, " M"]) -> Bool[ndarray, " N"]:
    """Whether each query lies nearer to the mean of the supports labelled 1 than to that of those labelled 0.

    Squared Euclidean distances to class means, as in prototypical networks (Snell et al. 2017, arXiv:1703.05175), from
    inner products alone: |q - c|^2 = q'q - 2 mean(q's) + mean(s's).

    Args:
        gram: inner products of the M supports, then the N queries.
        labels: of the supports.
    """
    num = len(labels)
    if not np.isfinite(gram).all():  # adaptation diverged
        return np.zeros(len(gram) - num, dtype=bool)
    distances: list[Float[ndarray, " N"]] = []
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        distances.append(gram[np.ix_(own, own)].mean() - 2 * gram[num:, own].mean(axis=1))
    return distances[1] < distances[0]


def answer_without_head(gram: Float[ndarray, "L L"], labels: Int64[ndarray, " M"]) -> Bool[ndarray, " N"]:
    """Whether the supports labelled 1 attract more of a query's cosine similarity than those labelled 0.

    The test without inner loop (NIL) of Raghu et al. 2020 (arXiv:1909.09157, section 5), on equally many supports of
    both classes. Units are not centred, as there.
    """
    num = len(labels)
    if not np.isfinite(gram).all():  # adaptation diverged
        return np.zeros(len(gram) - num, dtype=bool)
    lengths = np.sqrt(np.maximum(np.diag(gram), 0.0))
    cosines = gram / np.maximum(np.outer(lengths, lengths), 1e-30)
    return cosines[num:, :num] @ (2.0 * labels - 1.0) > 0
