"""Gram matrices of a layer over images, centred in two ways: what every measure of similarity is made from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.errors import UsageError

FEWEST_IMAGES = 4
"""Unbiased estimates divide by N (N - 3)."""

_BLOCK = 4096


def gram_matrix(features: Float[ndarray, "N U"]) -> Float[ndarray, "N N"]:
    """Inner products of all pairs of images, in float64, after the mean image is taken off.

    Wide layers are added up in blocks of units, which takes half of the time and no copy of the whole in float64.
    """
    values = np.asarray(features)
    gram: Float[ndarray, "N N"] | None = None
    for start in range(0, max(values.shape[1], 1), _BLOCK):
        block = values[:, start : start + _BLOCK].astype(np.float64)
        block -= block.mean(axis=0)
        gram = block @ block.T if gram is None else gram + block @ block.T
    assert gram is not None
    return gram


def centre_unbiased(gram: Float[ndarray, "N N"]) -> Float[ndarray, "N N"]:
    """The U-centred matrix: zero diagonal, and every row and column sums to zero.

    What is added to all entries of a row and of the column of the same number is removed, hence also the choice of
    origin. Székely & Rizzo 2014, Annals of Statistics 42:2382, doi:10.1214/14-AOS1255, section 2.
    """
    n = check_size(gram)
    off = np.array(gram, dtype=np.float64)
    np.fill_diagonal(off, 0.0)
    rows = off.sum(axis=1)
    off -= (rows / (n - 2))[:, None]
    off -= rows / (n - 2)
    off += rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(off, 0.0)
    return off


def unit_geometry(gram: Float[ndarray, "N N"], dtype: type[np.floating] = np.float64) -> Float[ndarray, " NN"]:
    """The U-centred Gram matrix as one vector of length 1 (NaN for a constant layer): its dot products are CKAs.

    The strict upper triangle holds it all; ``dtype`` float32 halves the memory again and costs 1e-6.
    """
    vector = centre_unbiased(gram).ravel()[upper_triangle(len(gram))]
    length = float(np.linalg.norm(vector))
    scale = float(np.abs(gram).max())
    if not length > 1e-12 * scale * len(gram):
        return np.full(len(vector), np.nan, dtype=dtype)
    return (vector / length).astype(dtype)


def centre(gram: Float[ndarray, "N N"]) -> Float[ndarray, "N N"]:
    """The Gram matrix of the same features less their mean over images; as it is where that is already so."""
    rows = gram.mean(axis=1)
    if float(np.abs(rows).max()) <= 1e-13 * float(np.abs(np.diag(gram)).max()):
        return gram
    return gram - rows[:, None] - rows + rows.mean()


def check_size(gram: Float[ndarray, "N N"]) -> int:
    """The number of images.

    Raises:
        UsageError: when there are fewer than 4, or the matrix is not square.
    """
    n = len(gram)
    if gram.shape != (n, n) or n < FEWEST_IMAGES:
        raise UsageError(
            f"Similarity needs square Gram matrices of at least {FEWEST_IMAGES} images; found shape {gram.shape}. "
            "Use more images."
        )
    return n


@lru_cache(maxsize=2)
def upper_triangle(n: int) -> Int[ndarray, " D"]:
    """Places above the diagonal in a flattened [N, N] matrix, row by row."""
    return np.flatnonzero(np.triu(np.ones((n, n), dtype=bool), k=1))
