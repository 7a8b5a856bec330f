"""Ridge regression of many targets on one eigenbasis, each with its own penalty, in closed form.

Target t minimises  |y - Z w - c|^2 + penalty |w|^2  with the intercept c left unpenalised (scikit-learn's ``Ridge``
with ``alpha = penalty``). Left-out folds need no refits: for a linear smoother H the residuals of fold F under the fit
without F are (I - H_FF)^-1 r_F, with r the ordinary residuals (the block form of the leave-one-out identity; Golub,
Heath & Wahba 1979, doi:10.1080/00401706.1979.10489751, for one image).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve

from meta_baseline.probes.eigenbasis import EigenBasis


@dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """Predictions for the test images, and the place on the grid of the penalty that each target chose."""

    predictions: Float[ndarray, "N2 T"]
    chosen: Int[ndarray, " T"]


def fit_ridge(
    basis: EigenBasis,
    targets: Float[ndarray, "N1 T"],
    folds: Int[ndarray, " N1"],
    penalties: Float[ndarray, " V"],
) -> RidgeFit:
    """Choose each target's penalty by the squared error on left-out folds, refit on all training images, predict.

    Args:
        basis: of the training images.
        targets: their values.
        folds: which fold each belongs to; images of one group share a fold.
        penalties: the grid, on the scale of the summed squared error.
    """
    mean = targets.mean(axis=0)
    products = basis.train.T @ (targets - mean)
    errors = np.stack([_left_out_error(basis, targets, products, folds, penalty) for penalty in penalties])
    chosen = errors.argmin(axis=0)
    weights = products / (basis.eigenvalues[:, None] + penalties[chosen])
    return RidgeFit(predictions=mean + basis.test @ weights, chosen=chosen)


def _left_out_error(
    basis: EigenBasis, targets: ndarray, products: ndarray, folds: Int[ndarray, " N1"], penalty: float
) -> Float[ndarray, " T"]:
    shrink = 1.0 / (basis.eigenvalues + penalty)
    fitted = targets.mean(axis=0) + basis.train @ (products * shrink[:, None])
    total = np.zeros(targets.shape[1])
    for fold in np.unique(folds):
        here = folds == fold
        rows = basis.train[here] * np.sqrt(shrink)
        # The intercept contributes 1/n to every entry of H because the coordinates are centred.
        remainder = np.eye(here.sum()) - rows @ rows.T - 1.0 / len(targets)
        left_out = cho_solve(
            cho_factor(remainder, check_finite=False), targets[here] - fitted[here], check_finite=False
        )
        total += (left_out**2).sum(axis=0)
    return total
