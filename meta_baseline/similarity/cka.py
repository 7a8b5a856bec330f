"""Linear centred kernel alignment: debiased, biased, and with the part of a confound taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.similarity.gram import centre, centre_unbiased, check_size, unit_geometry


def unbiased_hsic(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Unbiased estimate of the squared Frobenius norm of the cross-covariance of the two layers.

    The estimator of Song et al. 2012 (JMLR 13:1393), in the form of an inner product of U-centred matrices (Székely &
    Rizzo 2014). It is negative as often as positive where the layers are independent.
    """
    n = check_size(first)
    return float(np.vdot(centre_unbiased(first), centre_unbiased(second))) / (n * (n - 3))


def debiased_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Debiased linear centred kernel alignment: 1 for the same geometry, about 0 for independent ones.

    Invariant to rotation, to the order of units and to isotropic scaling of either layer (Kornblith et al. 2019,
    arXiv:1905.00414). Being the cosine of two U-centred matrices it lies in [-1, 1]; the population value lies in
    [0, 1], so a negative one is 0 with sampling error. NaN where a layer is constant.
    """
    return float(cka_matrix([first], [second])[0, 0])


def cka_matrix(
    first: Sequence[Float[ndarray, "N N"]], second: Sequence[Float[ndarray, "N N"]]
) -> Float[ndarray, "L1 L2"]:
    """Debiased CKA of every layer of ``first`` with every one of ``second``."""
    return align(*(np.stack([unit_geometry(gram) for gram in grams]) for grams in (first, second)))


def align(first: Float[ndarray, "L1 NN"], second: Float[ndarray, "L2 NN"]) -> Float[ndarray, "L1 L2"]:
    """Debiased CKA of layers given by their ``unit_geometry``."""
    return np.clip((first @ second.T).astype(np.float64), -1.0, 1.0)


def biased_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Linear CKA as first published, in [0, 1]; near 1 for any two layers that are wide beside N.

    Kornblith et al. 2019; its bias: Murphy et al. 2024, arXiv:2405.01012. NaN where a layer is constant.
    """
    a, b = centre(first), centre(second)
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size > 0 else math.nan


def partial_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], confound: Float[ndarray, "N N"]) -> float:
    """Debiased CKA of what is left of both geometries when the part along ``confound``'s is projected out.

    Early layers look alike because the images look alike. Regressing both similarity matrices on that of the inputs
    takes this out (Cui et al. 2022, arXiv:2202.00095); done on U-centred matrices, where it is an orthogonal
    projection, it is the partial distance correlation of Székely & Rizzo 2014 (section 4.2) with linear kernels.
    Only what is proportional to the input geometry goes; a layer that weighs the pixels differently keeps the rest.
    """
    pairs = ((first, second), (first, confound), (second, confound))
    return partial_out(*(debiased_cka(*pair) for pair in pairs))


def partial_out(cross: float, with_first: float, with_second: float) -> float:
    """``partial_cka`` from the three debiased CKAs: of the two layers, and of each with the confound."""
    return float(partial_correlation(*(np.array([value]) for value in (cross, with_first, with_second)))[0])


def partial_correlation(
    cross: Float[ndarray, ...], with_first: Float[ndarray, ...], with_second: Float[ndarray, ...]
) -> Float[ndarray, ...]:
    """Partial correlations from those of two things with each other and of each with a third; shapes broadcast."""
    left = (1 - with_first**2) * (1 - with_second**2)
    # A layer whose geometry is the confound's has nothing left to compare.
    return (cross - with_first * with_second) / np.sqrt(np.where(left > 1e-12, left, np.nan))
