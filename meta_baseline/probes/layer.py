"""One layer's readout: every probe of every target, on images that had no part in training or choosing it.

``probe_layer`` is the unit of work: a pure function of arrays and a seed, so that layers and networks can run in any
order and in any process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.probes.classifier import fit_classifier
from meta_baseline.probes.eigenbasis import EigenBasis, rotate
from meta_baseline.probes.mlp import MlpOptions, fit_mlp
from meta_baseline.probes.ridge import fit_ridge

PENALTIES = np.logspace(-2, 4, 9)
"""The grid, in units of the mean squared norm of a standardised image: from almost none to all but the mean."""


@dataclass(frozen=True, kw_only=True)
class ProbePlan:
    """What is asked of every layer, and on which splits.

    Attributes:
        folds: outer fold of every image; whole groups.
        binary: targets of the logistic probe, the label first.
        continuous: targets of the ridge probe.
        control_folds: folds under which task and control are compared; ``folds`` itself where identities never repeat.
        control_labels: of the control task.
        permuted_labels: for the null of the label; no columns when none is wanted.
        mlp: options of the non-linear probe of the label, None when it is not wanted.
    """

    folds: Int[ndarray, " N"]
    binary: Float[ndarray, "N B"]
    continuous: Float[ndarray, "N T"]
    control_folds: Int[ndarray, " N"] | None = None
    control_labels: Int[ndarray, " N"] | None = None
    permuted_labels: Int[ndarray, "N R"] | None = None
    mlp: MlpOptions | None = None


@dataclass(frozen=True, kw_only=True)
class LayerReadout:
    """Out-of-fold predictions for every image; fields that the plan did not ask for are None.

    Attributes:
        logits, base_logits: of the logistic probe, and of the constant predictor at the training rate.
        predictions, base_predictions: of the ridge probe, and the training means.
        control_logits: of the label and of the control task under the control split.
        mlp_logits: of the label by linear probe plus perceptron.
        ridge_correct: fraction of labels that the ridge classifier gets right (see ``null_correct``).
        null_correct: the same for permuted labels. The null uses least squares on 0 and 1 instead of logistic
            regression because all permutations are then one closed form; observed and permuted labels go through the
            same procedure, so the comparison is exact.
        num_unconverged: logistic fits that stopped before the tolerance.
    """

    logits: Float[ndarray, "N B"]
    base_logits: Float[ndarray, "N B"]
    predictions: Float[ndarray, "N T"]
    base_predictions: Float[ndarray, "N T"]
    control_logits: Float[ndarray, "N 2"] | None = None
    mlp_logits: Float[ndarray, " N"] | None = None
    ridge_correct: float | None = None
    null_correct: Float[ndarray, " R"] | None = None
    num_unconverged: int = 0


def probe_layer(features: Float[ndarray, "N D"], plan: ProbePlan, *, seed: int) -> LayerReadout:
    """Read every target of the plan out of one layer.

    Each outer fold in turn is tested; the others are standardised and rotated once, choose the penalties among
    themselves, and train the final probes.

    Args:
        features: any finite numbers, one row per image.
        plan: see ``ProbePlan``.
        seed: of the perceptron's initialisation.
    """
    num_images, num_binary = plan.binary.shape
    num_continuous = plan.continuous.shape[1]
    permuted = plan.permuted_labels if plan.permuted_labels is not None else np.zeros((num_images, 0))
    labels = plan.binary[:, :1]
    ridge_targets = np.concatenate([plan.continuous, labels, permuted], axis=1)
    control = _control_columns(plan)
    same_split = plan.control_folds is plan.folds
    binary = np.concatenate([plan.binary, control[:, 1:]], axis=1) if same_split else plan.binary

    logits = np.empty(binary.shape)
    base_logits = np.empty(binary.shape)
    predictions = np.empty(ridge_targets.shape)
    base_predictions = np.empty(plan.continuous.shape)
    mlp_logits = np.empty(num_images) if plan.mlp is not None else None
    num_unconverged = 0
    for fold in np.unique(plan.folds):
        test = plan.folds == fold
        basis, inner = rotate(features, ~test), plan.folds[~test]
        fit = fit_classifier(basis, binary[~test], inner, _penalties(basis))
        logits[test] = fit.test_logits
        base_logits[test] = _log_odds(binary[~test])
        num_unconverged += fit.num_unconverged
        predictions[test] = fit_ridge(basis, ridge_targets[~test], inner, _penalties(basis)).predictions
        base_predictions[test] = plan.continuous[~test].mean(axis=0)
        if mlp_logits is not None:
            mlp_logits[test] = fit_mlp(
                basis,
                labels[~test, 0],
                inner,
                fit.left_out_logits[:, 0],
                fit.test_logits[:, 0],
                seed=seed,
                options=plan.mlp,
            )
    control_logits = None
    if same_split:
        control_logits = logits[:, [0, num_binary]]
    elif plan.control_folds is not None:
        control_logits, more = _probe_control(features, control, plan.control_folds)
        num_unconverged += more
    correct = ((predictions[:, num_continuous:] > 0.5) == (ridge_targets[:, num_continuous:] > 0.5)).mean(axis=0)
    return LayerReadout(
        logits=logits[:, :num_binary],
        base_logits=base_logits[:, :num_binary],
        predictions=predictions[:, :num_continuous],
        base_predictions=base_predictions,
        control_logits=control_logits,
        mlp_logits=mlp_logits,
        ridge_correct=float(correct[0]),
        null_correct=correct[1:] if plan.permuted_labels is not None else None,
        num_unconverged=num_unconverged,
    )


def _probe_control(
    features: ndarray, columns: Float[ndarray, "N 2"], folds: Int[ndarray, " N"]
) -> tuple[Float[ndarray, "N 2"], int]:
    logits = np.empty(columns.shape)
    num_unconverged = 0
    for fold in np.unique(folds):
        test = folds == fold
        basis = rotate(features, ~test)
        fit = fit_classifier(basis, columns[~test], folds[~test], _penalties(basis))
        logits[test] = fit.test_logits
        num_unconverged += fit.num_unconverged
    return logits, num_unconverged


def _control_columns(plan: ProbePlan) -> Float[ndarray, "N 2"]:
    control = plan.control_labels if plan.control_labels is not None else np.zeros(len(plan.folds))
    return np.stack([plan.binary[:, 0], control], axis=1).astype(np.float64)


def _penalties(basis: EigenBasis) -> Float[ndarray, " V"]:
    return PENALTIES * max(basis.mean_square, 1e-12)


def _log_odds(outcomes: Float[ndarray, "N B"]) -> Float[ndarray, " B"]:
    """Of the training rate; one image of each class is added where there is only one class."""
    ones = outcomes.sum(axis=0)
    pseudo = ((ones == 0) | (ones == len(outcomes))).astype(np.float64)
    return np.log((ones + pseudo) / (len(outcomes) - ones + pseudo))
