"""Principal components of the units of two networks together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh


def principal_axes(
    matrix: Float[np.ndarray, "C D"], num_axes: int
) -> tuple[Float[np.ndarray, "D k"], Float[np.ndarray, " k"]]:
    """The leading principal axes of a matrix whose rows are already centred, and the fraction of variance on each.

    Sign rule: the entry of largest magnitude of every axis is positive. Fewer axes come back where the rank is smaller.
    """
    rows = matrix.astype(np.float64, copy=False)
    total = float(np.vdot(rows, rows))
    tall = rows.shape[0] > rows.shape[1]
    gram = rows.T @ rows if tall else rows @ rows.T
    size = len(gram)
    variances, vectors = eigh(gram, subset_by_index=(max(size - num_axes, 0), size - 1))
    keep = variances > 1e-12 * total
    variances, vectors = variances[keep][::-1], vectors[:, keep][:, ::-1]
    axes = vectors if tall else rows.T @ vectors / np.sqrt(variances)
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.sign(largest), variances / total if total > 0 else variances


def subspace_cosines(first: Float[np.ndarray, "D k"], second: Float[np.ndarray, "D k"]) -> Float[np.ndarray, " k"]:
    """Cosines of the principal angles between two subspaces given by orthonormal axes (Bjoerck & Golub 1973)."""
    return np.clip(np.linalg.svd(first.T @ second, compute_uv=False), 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class JointProjection:
    """The units of two layers, and of an untrained one, in one common basis.

    Attributes:
        meta, baseline, untrained: [C, 2] coordinates; the basis was fitted on meta and baseline alone.
        explained: [2] fraction of the variance of meta and baseline together on each axis.
        untrained_explained: the fraction of the untrained units' own variance on both axes together.
    """

    meta: Float[np.ndarray, "C 2"]
    baseline: Float[np.ndarray, "C 2"]
    untrained: Float[np.ndarray, "C 2"]
    explained: Float[np.ndarray, " 2"]
    untrained_explained: float


def project_jointly(
    meta: Float[np.ndarray, "C D"], baseline: Float[np.ndarray, "C D"], untrained: Float[np.ndarray, "C D"]
) -> JointProjection:
    """Principal components of the rows of two matrices in which both networks count the same.

    Rows of a network are weighted by 1 / sqrt(their number) and the centre is the mean of the two networks' means.
    """
    centre = (meta.mean(axis=0, dtype=np.float64) + baseline.mean(axis=0, dtype=np.float64)) / 2
    joint = np.concatenate([meta, baseline], dtype=np.float64)
    joint -= centre
    joint[: len(meta)] *= np.sqrt(len(baseline) / len(meta))
    axes, explained = principal_axes(joint, 2)
    own = untrained - untrained.mean(axis=0)
    missing = 2 - axes.shape[1]
    axes, explained = np.pad(axes, ((0, 0), (0, missing))), np.pad(explained, (0, missing))
    total = float(np.sum(np.square(own, dtype=np.float64)))
    return JointProjection(
        meta=meta @ axes - centre @ axes,
        baseline=baseline @ axes - centre @ axes,
        untrained=untrained @ axes - centre @ axes,
        explained=explained,
        untrained_explained=float(np.sum((own @ axes) ** 2)) / total if total > 0 else float("nan"),
    )


def bootstrap_stability(
    meta: Float[np.ndarray, "C D"], baseline: Float[np.ndarray, "C D"], *, num_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """[R] how much of the joint plane stays when matched units are drawn again with replacement.

    Each entry is the mean squared cosine of the two angles between the plane of all units and that of a resample:
    1 for a plane that does not depend on which units there are, 2 / D for a random one. All in the Gram matrix of the
    units, so that no resample touches the weights.
    """
    rows = np.concatenate([meta, baseline]).astype(np.float32)
    gram = rows @ rows.T
    num = len(meta)
    whole, spread = _leading_plane(gram, np.ones(2 * num, dtype=np.float32))
    stability = np.zeros(num_resamples)
    for i in range(num_resamples):
        counts = rng.multinomial(num, np.full(num, 1 / num)).astype(np.float32)
        weights = np.concatenate([counts, counts])
        own, own_spread = _leading_plane(gram, weights)
        # Inner products of rows around the resample's mean with rows around the mean of all.
        crossed = gram - (weights / weights.sum() @ gram)[None, :]
        crossed -= crossed.mean(axis=1, keepdims=True)
        left = own * np.sqrt(weights)[:, None] / np.sqrt(own_spread)
        stability[i] = float(np.square(left.T @ crossed @ whole / np.sqrt(spread)).sum()) / 2
    return np.clip(stability, 0.0, 1.0)


def _leading_plane(
    gram: Float[np.ndarray, "M M"], weights: Float[np.ndarray, " M"]
) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, " 2"]]:
    """The two leading eigenvectors and values of the weighted, centred Gram matrix."""
    means = gram @ (weights / weights.sum())
    centred = gram - means[:, None] - means[None, :] + weights @ means / weights.sum()
    roots = np.sqrt(weights)
    centred *= roots[:, None] * roots[None, :]
    if len(gram) <= 256:
        values, vectors = eigh(centred, subset_by_index=(len(gram) - 2, len(gram) - 1))
    else:
        start = roots / np.linalg.norm(roots) + np.linspace(-1, 1, len(gram), dtype=np.float32)
        values, vectors = eigsh(centred, k=2, tol=1e-2, ncv=24, v0=start)  # pyright: ignore[reportArgumentType]
    return vectors, np.maximum(values, 1e-12 * max(float(np.trace(centred)), 1e-30))
