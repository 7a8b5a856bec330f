"""Singular values of a layer's weights, one row per unit, and what they say of its rank."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.linalg import eigsh


def singular_values(matrix: Float[np.ndarray, "C D"]) -> Float[np.ndarray, " R"]:
    """In falling order, by the eigenvalues of the smaller Gram matrix.

    That is many times faster for long matrices and exact to about 1e-8 of the largest; smaller values are set to zero.
    """
    wide = matrix.astype(np.float64) if matrix.shape[0] <= matrix.shape[1] else matrix.T.astype(np.float64)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(wide @ wide.T)[::-1], 0.0, None))
    return np.where(values > 1e-7 * values[0], values, 0.0)


def stable_rank(spectrum: Float[np.ndarray, " R"]) -> float:
    """Sum of squared singular values over the largest one (Rudelson & Vershynin 2007, doi:10.1145/1255443.1255449)."""
    return float(np.sum(spectrum**2) / spectrum[0] ** 2) if spectrum[0] > 0 else float("nan")


def effective_rank(spectrum: Float[np.ndarray, " R"]) -> float:
    """Exponential of the entropy of the normalised singular values (Roy & Vetterli 2007, EUSIPCO, definition 1)."""
    shares = spectrum[spectrum > 0] / spectrum.sum() if spectrum[0] > 0 else spectrum[:0]
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else float("nan")


def random_edge(matrix: Float[np.ndarray, "C D"]) -> float:
    """Largest singular value to which a random matrix of this size and scale tends (Marchenko & Pastur 1967)."""
    return root_mean_square(matrix) * float(np.sqrt(matrix.shape[0]) + np.sqrt(matrix.shape[1]))


def root_mean_square(values: Float[np.ndarray, ...]) -> float:
    """Of all entries."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


NUM_SHUFFLES = 5
"""Shuffles whose largest singular value makes the edge; a random matrix passes it with its first in one of six."""

_MANY, _FEWER_SHUFFLES = 1_000_000, 1
# The edge of so many weights hardly varies, and one singular value more or less is a small share.

_SMALL = 64


def participation_ratio(spectrum: Float[np.ndarray, " R"]) -> float:
    """How many directions share the variance: (sum of squares)^2 / sum of fourth powers; n for n equal values.

    (Bell & Dean 1970, doi:10.1039/DF9705000055; of the eigenvalues of the Gram matrix.)
    """
    variances = spectrum**2
    total = float(np.sum(variances**2))
    return float(np.sum(variances)) ** 2 / total if total > 0 else float("nan")


def shuffled_edge(matrix: Float[np.ndarray, "C D"]) -> float:
    """Largest singular value of the layer's own weights in random places, the highest of ``NUM_SHUFFLES`` shuffles.

    Unlike the edge of Marchenko & Pastur it is right for few units and for weights with heavy tails. Weights are sorted
    before they are shuffled, so that the edge does not depend on the order of units.
    """
    entries = np.sort(matrix.astype(np.float32, copy=False).reshape(-1))
    order = _random_order(entries.size)
    edges: list[float] = []
    for _ in range(NUM_SHUFFLES if entries.size <= _MANY else _FEWER_SHUFFLES):
        entries = entries[order]
        edges.append(largest_singular_value(entries.reshape(matrix.shape)))
    return max(edges)


@lru_cache(maxsize=16)
def _random_order(size: int) -> Int[np.ndarray, " P"]:
    """One order per size: drawing one takes ten times as long as using it, and networks have layers of one size."""
    return np.random.default_rng(0).permutation(size).astype(np.uint32)


def largest_singular_value(matrix: Float[np.ndarray, "C D"]) -> float:
    """To about 1e-4 of itself, by Lanczos iteration on the smaller Gram matrix where that is large."""
    if min(matrix.shape) <= _SMALL or not matrix.any():
        return float(singular_values(matrix)[0])
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    start = np.ones(len(gram), dtype=gram.dtype)
    found = eigsh(gram, k=1, tol=1e-4, ncv=40, v0=start, return_eigenvectors=False)  # pyright: ignore[reportArgumentType]
    return float(np.sqrt(found[0]))


def share_beyond(spectrum: Float[np.ndarray, " R"], edge: float) -> float:
    """Share of the singular values that lie above ``edge``; NaN where there is nothing to shuffle."""
    return float(np.mean(spectrum > edge * (1 + 1e-6))) if spectrum[0] > 0 else float("nan")
