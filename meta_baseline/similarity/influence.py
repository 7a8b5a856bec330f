"""Which images a similarity rests on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.similarity.cka import debiased_cka
from meta_baseline.similarity.gram import centre_unbiased, check_size
from meta_baseline.similarity.jackknife import cka_leaving_out


def cka_influence(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], groups: Int[ndarray, " N"] | None = None
) -> Float[ndarray, " G"]:
    """What each image contributes to ``debiased_cka``: the CKA of all images minus that without this one.

    Positive: the image makes the layers more alike. In closed form, at the cost of one CKA (Song et al. 2012, JMLR
    13:1393, whose sums change by sums over the row that is left out). One image of thousands can carry a CKA (Davari
    et al. 2022, arXiv:2210.16156); here is which. NaN where a layer is constant.

    Args:
        first, second: Gram matrices.
        groups: leaves out images of one group together, in the order of ``numpy.unique``; None one at a time.
    """
    n = check_size(first)
    block = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    return debiased_cka(first, second) - cka_leaving_out(centre_unbiased(first), centre_unbiased(second), block)
