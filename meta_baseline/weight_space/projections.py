"""Principal components of the units of two networks together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh


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
