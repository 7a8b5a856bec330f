"""The angle between two layers after the best rotation of one onto the other."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.similarity.gram import centre


def procrustes_distance(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Angle in radians, 0 to pi/2, between the two layers after the best rotation of one onto the other.

    arccos(|X'Y|_* / (|X|_F |Y|_F)), a metric (Williams et al. 2021, arXiv:2110.14739). Not debiased: the angle
    shrinks when layers are wide beside N, so judge it against a control of the same N and widths. NaN where a layer
    is constant.
    """
    return procrustes_angle(unit_scores(first), unit_scores(second))


def unit_scores(gram: Float[ndarray, "N N"]) -> Float[ndarray, "N r"]:
    """The layer on its principal axes, scaled to Frobenius norm 1: as good as the units themselves, but small.

    Axes without variance, up to rounding, are left out; none is left of a constant layer.
    """
    values, vectors = np.linalg.eigh(centre(np.asarray(gram, dtype=np.float64)))
    total = float(np.abs(values).sum())
    kept = values > len(values) * np.finfo(np.float64).eps * max(total, 1e-300)
    # A constant layer has rounding errors of its mean for a Gram matrix.
    if not total > 1e-12 * len(values) * float(np.abs(gram).max()):
        kept[:] = False
    scores = vectors[:, kept] * np.sqrt(values[kept])
    return scores / (float(np.linalg.norm(scores)) or 1.0)


def procrustes_angle(first: Float[ndarray, "N r1"], second: Float[ndarray, "N r2"]) -> float:
    """``procrustes_distance`` of two layers given by their ``unit_scores``; those of one layer serve many pairs."""
    if first.shape[1] == 0 or second.shape[1] == 0:
        return math.nan
    nuclear = float(np.linalg.svd(first.T @ second, compute_uv=False).sum())
    return math.acos(min(max(nuclear, -1.0), 1.0))
