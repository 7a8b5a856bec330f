"""The few largest eigenvalues of large Gram matrices, and the leading planes of many resamples of one at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

_SMALL = 256
"""Matrices up to this size are solved directly."""

_MOST_STEPS = 120
_ENOUGH = 3e-3
# Residual of a plane relative to its eigenvalue; the resamples differ from each other by a hundred times as much.


def leading_eigenpairs(
    matrix: Float[np.ndarray, "M M"], num: int
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "M k"]]:
    """The largest eigenvalues of a symmetric matrix, in rising order, with vectors; by Lanczos where it is large."""
    size = len(matrix)
    if size > _SMALL and 2 * num < size and matrix.any():
        start = np.linspace(-1, 2, size, dtype=matrix.dtype)
        try:
            return eigsh(matrix, k=num, tol=1e-5, ncv=40, v0=start)  # pyright: ignore[reportReturnType, reportArgumentType]
        except ArpackNoConvergence:  # many equal eigenvalues
            pass
    return eigh(matrix, subset_by_index=(max(size - num, 0), size - 1))  # pyright: ignore[reportReturnType]


def leading_planes(
    gram: Float[np.ndarray, "M M"], weights: Float[np.ndarray, "R M"]
) -> tuple[Float[np.ndarray, "R M 2"], Float[np.ndarray, "R 2"]]:
    """The two leading eigenvectors and values of the weighted, centred Gram matrix, for every row of weights.

    Large matrices are neither weighted nor centred: Lanczos iterations with full reorthogonalisation (Golub & Van Loan
    2013, Matrix Computations, section 10.3) run for all weights at once, each step one product with the Gram matrix.
    """
    roots, shares = np.sqrt(weights), weights / weights.sum(axis=1, keepdims=True)
    if len(gram) <= _SMALL:
        found = [leading_eigenpairs(_weigh_and_centre(gram, *row), 2) for row in zip(roots, shares)]
        values, vectors = np.array([pair[0] for pair in found]), np.array([pair[1] for pair in found])
    else:

        def multiply(vectors: Float[np.ndarray, "R M"]) -> Float[np.ndarray, "R M"]:
            moved = roots * vectors
            moved = (moved - shares * moved.sum(axis=1, keepdims=True)) @ gram
            return roots * (moved - np.sum(shares * moved, axis=1, keepdims=True))

        values, vectors = _iterate(multiply, roots * np.linspace(-1, 2, len(gram), dtype=gram.dtype))
    least = 1e-12 * np.maximum(weights @ np.diag(gram), 1e-30)
    return vectors, np.maximum(values, least[:, None])


def _weigh_and_centre(
    gram: Float[np.ndarray, "M M"], roots: Float[np.ndarray, " M"], shares: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M M"]:
    means = gram @ shares
    return (gram - means[:, None] - means[None, :] + shares @ means) * (roots[:, None] * roots[None, :])


def _iterate(
    multiply: Callable[[Float[np.ndarray, "R M"]], Float[np.ndarray, "R M"]], start: Float[np.ndarray, "R M"]
) -> tuple[Float[np.ndarray, "R 2"], Float[np.ndarray, "R M 2"]]:
    """Lanczos for R symmetric operators at a time, until the two leading pairs of all have a small residual."""
    num, size = start.shape
    most = min(_MOST_STEPS, size)
    basis = np.zeros((num, most, size), dtype=start.dtype)
    projected = np.zeros((num, most, most))
    vector = start / np.linalg.norm(start, axis=1, keepdims=True)
    values, weights, steps = np.zeros((num, 2)), np.zeros((num, 1, 2)), 0
    while steps < most:
        basis[:, steps] = vector
        known = basis[:, : steps + 1]
        following = multiply(vector)[:, :, None]
        for _ in range(2):  # twice is enough (Parlett 1998, The Symmetric Eigenvalue Problem, section 6.9)
            inner = known @ following
            following = following - known.transpose(0, 2, 1) @ inner
            projected[:, : steps + 1, steps] += inner[:, :, 0]
        sizes = np.linalg.norm(following[:, :, 0], axis=1)
        steps += 1
        if steps % 8 == 0 or steps == most:
            spectrum, inside = np.linalg.eigh(projected[:, :steps, :steps], UPLO="U")
            values, weights = spectrum[:, -2:], inside[:, :, -2:]
            left = sizes[:, None] * np.abs(weights[:, -1])
            if np.all(left <= _ENOUGH * np.abs(values)):
                break
        # An operator whose directions are exhausted goes on with zeros.
        vector = following[:, :, 0] / np.where(sizes > 0, sizes, 1.0)[:, None]
    return values, basis[:, :steps].transpose(0, 2, 1) @ weights.astype(start.dtype)
