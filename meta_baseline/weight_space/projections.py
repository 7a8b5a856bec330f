"""Principal components of the units of two networks together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meta_baseline.weight_space.leading import leading_eigenpairs, leading_planes


def principal_axes(
    matrix: Float[np.ndarray, "C D"], num_axes: int
) -> tuple[Float[np.ndarray, "D k"], Float[np.ndarray, " k"]]:
    """The leading principal axes of a matrix whose rows are already centred, and the fraction of variance on each.

    Sign rule: the entry of largest magnitude of every axis is positive. Fewer axes come back where the rank is smaller.
    Computed in the precision of the matrix; single precision is enough for weights that were stored in it.
    """
    rows = matrix
    total = float(np.sum(np.square(rows, dtype=np.float64)))
    tall = rows.shape[0] > rows.shape[1]
    variances, vectors = leading_eigenpairs(rows.T @ rows if tall else rows @ rows.T, num_axes)
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
    joint = np.concatenate([meta, baseline])
    joint -= centre.astype(joint.dtype)
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


def share_on_two_axes(first: Float[np.ndarray, "C D"], second: Float[np.ndarray, "C D"]) -> float:
    """Fraction of the variance of the rows of two matrices of one size that two axes fitted to them reach."""
    rows = np.concatenate([first, second])
    rows -= rows.mean(axis=0)
    total = float(np.sum(np.square(rows, dtype=np.float64)))
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    return float(leading_eigenpairs(gram, 2)[0].sum()) / total if total > 0 else float("nan")


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
    num, both = len(meta), len(rows)
    counts = rng.multinomial(num, np.full(num, 1 / num), size=num_resamples).astype(np.float32)
    weights = np.concatenate([np.ones((1, both), dtype=np.float32), np.concatenate([counts, counts], axis=1)])
    vectors, spreads = leading_planes(gram, weights)
    # Inner products of rows around the mean of all with its two axes, and around a resample's mean with that one's.
    crossed = gram @ ((vectors[0] - vectors[0].mean(axis=0)) / np.sqrt(spreads[0]))
    means = weights @ crossed / weights.sum(axis=1, keepdims=True)
    stability = np.zeros(num_resamples)
    for i in range(1, num_resamples + 1):
        left = vectors[i] * np.sqrt(weights[i])[:, None] / np.sqrt(spreads[i])
        stability[i - 1] = float(np.square(left.T @ (crossed - means[i])).sum()) / 2
    return np.clip(stability, 0.0, 1.0)
