"""Do two layers put the same images next to each other?"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.similarity.gram import check_size

NUM_NEIGHBOURS = 10


def neighbour_overlap(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], num_neighbours: int = NUM_NEIGHBOURS
) -> float:
    """Share of an image's k nearest neighbours in one layer that are so in the other too, in [0, 1]; a mean.

    The mutual k-nearest-neighbour measure (Huh et al. 2024, arXiv:2405.07987). Unrelated layers share
    ``chance_overlap`` of them. NaN where a layer is constant.

    Raises:
        UsageError: when there are not more than ``num_neighbours`` + 1 images.
    """
    return overlap_of(*(mark_neighbours(gram, num_neighbours) for gram in (first, second)))


def chance_overlap(num_images: int, num_neighbours: int = NUM_NEIGHBOURS) -> float:
    """The overlap expected of two layers that have nothing to do with each other: k / (N - 1)."""
    return num_neighbours / (num_images - 1)


def mark_neighbours(gram: Float[ndarray, "N N"], num_neighbours: int = NUM_NEIGHBOURS) -> Float[ndarray, "N N"]:
    """For each image (row) its probability in [0, 1] of counting each other one among its k nearest; NaN if constant.

    1 and 0, but for images at the same distance as the k-th nearest: they share the places that are left. Broken by
    their order instead, ties would make two silent layers alike.
    """
    n = check_size(gram)
    if not 0 < num_neighbours < n - 1:
        raise UsageError(
            f"{n} images do not have {num_neighbours} nearest neighbours to choose. "
            f"Use at least {num_neighbours + 2} images, or fewer neighbours."
        )
    squares = np.diag(gram)
    distances = squares[:, None] + squares - 2 * gram
    largest = float(np.abs(distances).max())
    if not largest > 1e-12 * float(np.abs(gram).max()):
        return np.full((n, n), math.nan)
    distances = np.round(distances / largest, 10)
    np.fill_diagonal(distances, np.inf)
    edge = np.partition(distances, num_neighbours - 1, axis=1)[:, num_neighbours - 1, None]
    inside = distances < edge
    on_edge = distances == edge
    share = (num_neighbours - inside.sum(axis=1)) / on_edge.sum(axis=1)
    return inside + on_edge * share[:, None]


def overlap_of(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """``neighbour_overlap`` of two layers given by ``mark_neighbours``; those of one layer serve many pairs."""
    return float(np.vdot(first, second) / first.sum())
