"""CKA from batches, for more images than an N x N matrix can hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.similarity.gram import FEWEST_IMAGES, centre_unbiased, gram_matrix, upper_triangle


class MinibatchCKA:
    """Layer-by-layer CKA of two networks, added up over batches of the same images.

    Each of the three unbiased HSIC is averaged over the batches before their ratio is taken, so the batch size changes
    the noise of the result but not what it estimates (Nguyen et al. 2021, arXiv:2010.15327). Only pairs of
    images within a batch are compared: it needs more images than ``debiased_cka`` for the same precision. Memory does
    not depend on the number of batches.
    """

    def __init__(self) -> None:
        self._sums: tuple[Float[ndarray, "L1 L2"], Float[ndarray, " L1"], Float[ndarray, " L2"]] | None = None

    def update(self, first: Sequence[Float[ndarray, "n U1"]], second: Sequence[Float[ndarray, "n U2"]]) -> None:
        """Add a batch: the layers of both networks, each as features of the same n images in the same order.

        Raises:
            UsageError: when a batch has fewer than 4 images, or the layers differ in theirs.
        """
        counts = {len(layer) for layer in (*first, *second)}
        if len(counts) != 1 or min(counts) < FEWEST_IMAGES:
            raise UsageError(
                f"A batch needs at least {FEWEST_IMAGES} images, the same in all layers; found {sorted(counts)}. "
                "Use a larger batch size, and drop a last batch that is too small."
            )
        n = counts.pop()
        a, b = (
            np.stack([centre_unbiased(gram_matrix(layer)).ravel()[upper_triangle(n)] for layer in layers])
            for layers in (first, second)
        )
        scale = 2 / (n * (n - 3))
        new = (a @ b.T * scale, (a**2).sum(axis=1) * scale, (b**2).sum(axis=1) * scale)
        if self._sums is None:
            self._sums = new
            return
        cross, own_first, own_second = self._sums
        self._sums = (cross + new[0], own_first + new[1], own_second + new[2])

    def result(self) -> Float[ndarray, "L1 L2"]:
        """CKA of every layer of the first network with every one of the second; NaN where a layer is constant.

        Raises:
            UsageError: when no batch was added.
        """
        if self._sums is None:
            raise UsageError("No batch was added. Call update() for each batch first.")
        cross, first, second = self._sums
        product = first[:, None] * second
        return cross / np.sqrt(np.where(product > 0, product, np.nan))


def minibatch_cka(
    first: Float[ndarray, "N U1"],
    second: Float[ndarray, "N U2"],
    *,
    batch_size: int,
    rng: np.random.Generator,
) -> float:
    """CKA of two layers from batches of images drawn without replacement; the images left over are not used.

    Args:
        first, second: features of the same images.
        batch_size: images in each batch, at least 4.
        rng: shuffles the images first: in their own order a batch may hold one class.
    """
    n = len(first)
    if not FEWEST_IMAGES <= batch_size <= n:
        raise UsageError(f"A batch size of {batch_size} does not fit {n} images. Choose one from 4 to {n}.")
    order = rng.permutation(n)
    total = MinibatchCKA()
    for start in range(0, n - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        total.update([first[batch]], [second[batch]])
    return float(total.result()[0, 0])
