"""CKA with a Gaussian kernel: near images count, far ones do not."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.similarity.cka import debiased_cka, partial_cka
from meta_baseline.similarity.rsa import squared_distances

FRACTION = 0.5
"""Of the median distance, the width of the kernel."""


def rbf_gram(gram: Float[ndarray, "N N"], fraction: float = FRACTION) -> Float[ndarray, "N N"]:
    """exp(-d^2 / 2 s^2) of all pairs of images, s being ``fraction`` of the median distance d; NaN if constant.

    A width in units of the layer's own distances keeps the result from changing with the layer's scale (Kornblith et
    al. 2019, arXiv:1905.00414). Takes the linear Gram matrix.

    Raises:
        UsageError: when ``fraction`` is not above 0.
    """
    if not fraction > 0:
        raise UsageError(f"A kernel of width {fraction} times the median distance has no width. Choose one above 0.")
    squares = np.diag(gram)
    distances = np.clip(squares[:, None] + squares - 2 * gram, 0.0, None)
    median = float(np.median(np.sqrt(np.clip(squared_distances(gram), 0.0, None))))
    if not median**2 > 1e-12 * max(float(np.abs(gram).max()), 1e-300):
        return np.full_like(distances, np.nan)
    np.fill_diagonal(distances, 0.0)
    return np.exp(-distances / (2 * (fraction * median) ** 2))


def rbf_cka(
    first: Float[ndarray, "N N"],
    second: Float[ndarray, "N N"],
    *,
    confound: Float[ndarray, "N N"] | None = None,
    fraction: float = FRACTION,
) -> float:
    """Debiased CKA with Gaussian kernels, from linear Gram matrices; with a confound, its part is projected out.

    Sees local structure that linear CKA does not; 0 for independent layers at any N. NaN where a layer is constant,
    or where half of its pairs of images are at distance 0.
    """
    a, b = rbf_gram(first, fraction), rbf_gram(second, fraction)
    if not bool(np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    return debiased_cka(a, b) if confound is None else partial_cka(a, b, rbf_gram(confound, fraction))
