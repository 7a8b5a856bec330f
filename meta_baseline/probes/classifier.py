"""The L2 logistic probe of many binary targets, each with the penalty that predicts left-out folds best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.probes.eigenbasis import EigenBasis
from meta_baseline.probes.logistic import solve_logistic


@dataclass(frozen=True, kw_only=True)
class ClassifierFit:
    """What the probe of every target says.

    Attributes:
        test_logits: of the test images, from the fit to all training images.
        left_out_logits: of the training images, each from a fit without its fold, at the chosen penalty.
        chosen: place of the penalty on the grid.
        num_unconverged: solutions that stopped before the tolerance.
    """

    test_logits: Float[ndarray, "N2 B"]
    left_out_logits: Float[ndarray, "N1 B"]
    chosen: Int[ndarray, " B"]
    num_unconverged: int


def fit_classifier(
    basis: EigenBasis,
    outcomes: Float[ndarray, "N1 B"],
    folds: Int[ndarray, " N1"],
    penalties: Float[ndarray, " V"],
) -> ClassifierFit:
    """Choose each target's penalty by the cross-entropy on left-out folds, refit on all training images, predict.

    Where a training part has one class only there is no optimum (the intercept runs away); its images are then
    predicted at the training rate, one image of each class added.

    Args:
        basis: of the training images.
        outcomes: 0 or 1.
        folds: which fold each image belongs to; images of one group share a fold.
        penalties: the grid, on the scale of the summed cross-entropy in nats; ``C = 1 / penalty`` in scikit-learn.
    """
    names = np.unique(folds)
    num_targets = outcomes.shape[1]
    left_out = (folds[None, :] == names[:, None]).astype(np.float64)
    # Columns run over targets, then folds, then penalties.
    shape = (num_targets, len(names), len(penalties))
    target, fold, place = (axis.ravel() for axis in np.indices(shape))
    rows = 1.0 - left_out[fold].T
    solutions, unconverged = _solve(basis, outcomes[:, target], rows, penalties[place], tolerance=1e-2)
    logits = basis.train @ solutions[:-1] + solutions[-1]
    losses = (np.logaddexp(0.0, logits) - outcomes[:, target] * logits) * (1.0 - rows)
    chosen = losses.sum(axis=0).reshape(shape).sum(axis=1).argmin(axis=1)
    of_chosen = np.ravel_multi_index(
        (np.arange(num_targets)[:, None], np.arange(len(names)), np.asarray(chosen)[:, None]), shape
    )
    left_out_logits = (logits[:, of_chosen] * left_out.T[:, None, :]).sum(axis=2)
    # The mean of the folds' solutions is close to the solution for all of them.
    start = solutions[:, of_chosen].mean(axis=2)
    final, more = _solve(basis, outcomes, np.ones_like(outcomes), penalties[chosen], tolerance=1e-4, start=start)
    return ClassifierFit(
        test_logits=basis.test @ final[:-1] + final[-1],
        left_out_logits=left_out_logits,
        chosen=chosen,
        num_unconverged=unconverged + more,
    )


def _solve(
    basis: EigenBasis,
    outcomes: ndarray,
    rows: ndarray,
    penalties: ndarray,
    *,
    tolerance: float,
    start: ndarray | None = None,
) -> tuple[Float[ndarray, "Q1 B"], int]:
    """Weights with the intercept as last row, and how many columns did not converge."""
    ones, total = (outcomes * rows).sum(axis=0), rows.sum(axis=0)
    both = (ones > 0) & (ones < total)
    answer = np.zeros((basis.train.shape[1] + 1, outcomes.shape[1]))
    answer[-1] = np.log((ones + 1) / (total - ones + 1))
    # A layer whose units are all dead leaves the intercept, whose optimum is the training rate.
    if not basis.train.shape[1]:
        answer[-1, both] = np.log(ones[both] / (total - ones)[both])
    elif both.any():
        solved = solve_logistic(
            basis.train,
            basis.eigenvalues,
            outcomes[:, both],
            rows[:, both],
            penalties[both],
            tolerance=tolerance,
            start=None if start is None else (start[:-1, both], start[-1, both]),
        )
        answer[:-1, both], answer[-1, both] = solved.weights, solved.intercepts
        return answer, int((~solved.converged).sum())
    return answer, 0
