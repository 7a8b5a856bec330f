"""Canonical correlations, where there are images enough for them to mean something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.similarity.gram import centre, check_size

IMAGES_PER_DIMENSION = 10


@dataclass(frozen=True, kw_only=True)
class CanonicalCorrelation:
    """Agreement of two layers up to any invertible linear map of either.

    Attributes:
        mean: mean canonical correlation, in [0, 1].
        mean_square: mean squared one, the share of the smaller layer's variance, all directions counting the same,
            that the larger one gives linearly.
        chance: of ``mean_square`` for independent layers, the larger number of dimensions / (N - 1).
        adjusted: (mean_square - chance) / (1 - chance): 0 for independent layers, 1 for equal ones.
        num_dimensions: of the first and of the second layer.
        explained: share of each layer's variance in these dimensions.
    """

    mean: float
    mean_square: float
    chance: float
    adjusted: float
    num_dimensions: tuple[int, int]
    explained: tuple[float, float]


def canonical_correlation(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], *, explained: float = 1.0
) -> CanonicalCorrelation:
    """Canonical correlations of two layers, from their Gram matrices; refused where N is under ten times d.

    Any two layers with d >= N dimensions correlate perfectly, and long before that chance is most of what is found:
    hence the bound, and the mean under independence beside the value (Kornblith et al. 2019, arXiv:1905.00414). With
    ``explained`` below 1 only the leading principal components of each layer are compared, which is SVCCA (Raghu et
    al. 2017, arXiv:1706.05806).

    Args:
        first, second: Gram matrices.
        explained: share of a layer's variance that its components have to give, in (0, 1].

    Raises:
        UsageError: when a layer is constant, or N is under 10 d; the message names both.
    """
    n = check_size(first)
    if not 0 < explained <= 1:
        raise UsageError(f"Components cannot explain {explained} of a layer's variance. Choose a share in (0, 1].")
    axes, shares = zip(*(_leading_axes(gram, explained) for gram in (first, second)))
    dimensions = tuple(axis.shape[1] for axis in axes)
    if min(dimensions) == 0:
        raise UsageError("A constant layer has no canonical correlations. Leave it out.")
    if n < IMAGES_PER_DIMENSION * max(dimensions):
        raise UsageError(
            f"Canonical correlations of layers of {dimensions[0]} and {dimensions[1]} dimensions need "
            f"{IMAGES_PER_DIMENSION * max(dimensions)} images, ten per dimension; found {n}. "
            "Use more images, or keep fewer components with a smaller explained."
        )
    correlations = np.clip(np.linalg.svd(axes[0].T @ axes[1], compute_uv=False), 0.0, 1.0)
    mean_square = float((correlations**2).mean())
    chance = max(dimensions) / (n - 1)
    return CanonicalCorrelation(
        mean=float(correlations.mean()),
        mean_square=mean_square,
        chance=chance,
        adjusted=(mean_square - chance) / (1 - chance),
        num_dimensions=(dimensions[0], dimensions[1]),
        explained=(shares[0], shares[1]),
    )


def _leading_axes(gram: Float[ndarray, "N N"], explained: float) -> tuple[Float[ndarray, "N d"], float]:
    values, vectors = np.linalg.eigh(centre(np.asarray(gram, dtype=np.float64)))
    values, vectors = values[::-1], vectors[:, ::-1]
    # The square root of a variance at this bound is 1e-6 of the largest: float32 activations hold no more.
    rank = int((values > 1e-12 * max(float(values[0]), float(np.abs(gram).max()), 1e-300)).sum())
    shares = np.cumsum(values[:rank]) / max(float(values[:rank].sum()), 1e-300)
    count = rank if explained == 1 else min(int(np.searchsorted(shares, explained - 1e-12)) + 1, rank)
    return vectors[:, :count], float(shares[count - 1]) if count else 0.0
