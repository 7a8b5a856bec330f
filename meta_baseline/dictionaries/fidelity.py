"""How well codes rebuild activations: variance explained on held-out positions, sparsity, dead and dense atoms.

The fraction of variance explained (FVE) is pooled over channels and judged against the best constant, the channel
mean of the very positions that are measured (of the foreground alone where only the foreground is measured, so that
telling ink from blank paper earns nothing there):

    FVE = 1 - sum ||x - reconstruction||^2 / sum ||x - mean||^2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

DENSE = 0.5
"""An atom that is active at more than this share of positions is no sparse feature."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """A dictionary on positions that it was not trained on.

    Attributes:
        fve, fve_foreground: fraction of variance explained, at all positions and at those with ink; NaN where the
            activations are constant.
        l0: mean number of active atoms per position.
        dead_fraction: atoms that are active at none of the positions.
        dense_fraction: atoms that are active at more than half of them.
    """

    fve: float
    fve_foreground: float
    l0: float
    dead_fraction: float
    dense_fraction: float


def measure_fidelity(
    samples: Float[ndarray, "M C"],
    reconstructions: Float[ndarray, "M C"],
    codes: Float[ndarray, "M A"],
    *,
    foreground: Bool[ndarray, " M"] | None = None,
) -> Fidelity:
    """Fidelity of ``reconstructions`` to ``samples``; without ``foreground`` all positions count as such."""
    errors = squared_distances(samples, reconstructions)
    inked = np.ones(len(samples), dtype=bool) if foreground is None else foreground
    active = codes > 0
    rate = active.mean(axis=0)
    return Fidelity(
        fve=explained(errors, samples),
        fve_foreground=explained(errors[inked], samples[inked]),
        l0=float(active.sum(axis=1).mean()),
        dead_fraction=float((rate == 0).mean()),
        dense_fraction=float((rate > DENSE).mean()),
    )


def squared_distances(samples: Float[ndarray, "M C"], others: Float[ndarray, "M C"]) -> Float[ndarray, " M"]:
    """||x - y||^2 of each row, in float64."""
    return np.square(samples - others).sum(axis=1, dtype=np.float64)


def explained(errors: Float[ndarray, " M"], samples: Float[ndarray, "M C"]) -> float:
    """1 - sum of errors / sum of squared deviations from the samples' own mean; NaN for constant samples."""
    total = float(deviations(samples).sum())
    return 1 - float(errors.sum()) / total if total > 0 else float("nan")


def deviations(samples: Float[ndarray, "M C"]) -> Float[ndarray, " M"]:
    """Squared distance of each row from the mean row."""
    if len(samples) == 0:
        return np.zeros(0)
    mean = samples.mean(axis=0, dtype=np.float64).astype(samples.dtype)
    squared = squared_distances(samples, mean[None])
    # What is left of a constant in float32 is rounding, not variance.
    rounding = np.finfo(np.float32).eps * float(np.abs(mean).max(initial=0.0))
    return np.where(squared > samples.shape[1] * rounding**2, squared, 0.0)


def principal_axes(samples: Float[ndarray, "M C"]) -> Float[ndarray, "C C"]:
    """Principal axes as rows, largest variance first."""
    centred = samples - samples.mean(axis=0, dtype=np.float64).astype(samples.dtype)
    covariance = (centred.T @ centred).astype(np.float64)
    return np.linalg.eigh(covariance)[1].T[::-1]


def reconstruct_by_pca(
    samples: Float[ndarray, "M C"],
    *,
    axes: Float[ndarray, "C C"],
    mean: Float[ndarray, " C"],
    num_components: int,
) -> Float[ndarray, "M C"]:
    """The samples projected on the first ``num_components`` axes through ``mean``: as many numbers as L0 allows."""
    basis = axes[:num_components].astype(samples.dtype)
    return mean + (samples - mean) @ basis.T @ basis


def draw_gaussian_twin(samples: Float32[ndarray, "M C"], rng: np.random.Generator) -> Float32[ndarray, "M C"]:
    """As many vectors from the Gaussian with the samples' mean and covariance.

    Choosing the best k of many directions explains more than k fixed ones on *any* data, so a dictionary that beats PCA
    shows nothing yet. What it explains beyond the same dictionary of the twin is structure beyond the covariance.
    """
    mean = samples.mean(axis=0, dtype=np.float64)
    centred = (samples - mean.astype(np.float32)).astype(np.float32)
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(samples))
    coordinates = rng.standard_normal(samples.shape, dtype=np.float32) * np.sqrt(np.maximum(variances, 0))
    return (coordinates.astype(np.float32) @ axes.T.astype(np.float32) + mean).astype(np.float32)


def bootstrap_fve(
    errors: Float[ndarray, " M"],
    samples: Float[ndarray, "M C"],
    image: Int[ndarray, " M"],
    weights: Float[ndarray, "R N"],
) -> Float[ndarray, " R"]:
    """FVE with whole images resampled; ``weights[r, n]`` says how often resample r holds image n.

    Both networks given the same weights are resampled together. The dictionary and the mean stay as they are: the
    interval speaks of other images, not of other dictionaries.
    """
    num_images = weights.shape[1]
    unexplained = np.bincount(image, weights=errors, minlength=num_images)
    total = np.bincount(image, weights=deviations(samples), minlength=num_images)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (weights @ unexplained) / (weights @ total)


def draw_image_weights(num_images: int, num_resamples: int, rng: np.random.Generator) -> Float[ndarray, "R N"]:
    """How often each image is drawn in each bootstrap resample of all of them."""
    return rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=num_resamples).astype(np.float64)
