"""Exact principal components of a layer from its Gram matrix, however many units it has."""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import eigh

from meta_baseline.similarity.gram import centre, check_size


def principal_components(
    gram: Float[ndarray, "N N"], num_components: int
) -> tuple[Float[ndarray, "N k"], Float[ndarray, " k"]]:
    """Scores of the images on the first k principal components, and the share of variance of each; largest first.

    With K = X X' = V S^2 V' the scores are V S: the U units, of which a convolution has tens of thousands, need never
    be decomposed. The sign is such that the image farthest out on a component has a positive score there.

    Args:
        gram: of centred or uncentred features.
        num_components: k, below N.
    """
    n = check_size(gram)
    centred = centre(np.asarray(gram, dtype=np.float64))
    count = min(num_components, n)
    decomposed = eigh(centred, subset_by_index=[n - count, n - 1], check_finite=False)
    values, vectors = cast("tuple[Float[ndarray, ' k'], Float[ndarray, 'N k']]", decomposed)
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    scores = vectors * np.sqrt(values)
    farthest = scores[np.abs(scores).argmax(axis=0), np.arange(count)]
    total = float(np.trace(centred))
    return scores * np.where(farthest < 0, -1.0, 1.0), values / total if total > 0 else np.zeros(count)
