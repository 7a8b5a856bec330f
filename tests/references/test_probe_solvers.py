"""The probes' solvers against scikit-learn's, at tolerances tighter than any number we report."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from meta_baseline.probes.classifier import fit_classifier
from meta_baseline.probes.eigenbasis import rotate
from meta_baseline.probes.logistic import solve_logistic
from meta_baseline.probes.ridge import fit_ridge
from meta_baseline.probes.scores import measure_auc

WIDTHS = pytest.mark.parametrize("num_features", [12, 400], ids=["narrow", "wide"])


def make_data(num_features: int, num_images: int = 160):
    """Correlated, badly scaled, partly dead features, and a label that they half know."""
    rng = np.random.default_rng(num_features)
    mixed = rng.normal(size=(num_images, 8)) @ rng.normal(size=(8, num_features))
    features = np.maximum(mixed + rng.normal(size=mixed.shape), 0) * 10.0 ** rng.integers(-3, 4, num_features)
    features[:, 3] = 0.0
    labels = (mixed[:, 0] + 2.0 * rng.normal(size=num_images) > 0).astype(float)
    train = np.arange(num_images) % 4 != 0
    return features.astype(np.float32), labels, train


def scale(features, train):
    """Training and test features by scikit-learn's scaler, the test's held to the range of the training's."""
    inside = np.clip(features.astype(np.float64), features[train].min(axis=0), features[train].max(axis=0))
    scaler = StandardScaler().fit(inside[train])
    return scaler.transform(inside[train]), scaler.transform(inside[~train])


def reference(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=20000)


@WIDTHS
@pytest.mark.parametrize("penalty", [0.1, 10.0, 1000.0])
def test_logistic_probabilities_are_those_of_scikit_learn(num_features: int, penalty: float):
    features, labels, train = make_data(num_features)
    basis = rotate(features, train)
    column = labels[train][:, None]
    ours = solve_logistic(basis.train, basis.eigenvalues, column, np.ones_like(column), np.array([penalty]))
    scaled, scaled_test = scale(features, train)
    theirs = reference(penalty).fit(scaled, labels[train])
    probability = 1 / (1 + np.exp(-(basis.test @ ours.weights[:, 0] + ours.intercepts[0])))
    expected = theirs.predict_proba(scaled_test)[:, 1]
    assert ours.converged.all()
    np.testing.assert_allclose(probability, expected, atol=1e-4)


def test_every_column_of_a_batch_is_its_own_problem():
    features, labels, train = make_data(400)
    basis = rotate(features, train)
    rng = np.random.default_rng(0)
    outcomes = np.stack([labels[train], (rng.random(train.sum()) < 0.4).astype(float)], axis=1)
    rows = (rng.random(outcomes.shape) < 0.7).astype(float)
    penalties = np.array([300.0, 20.0])
    ours = solve_logistic(basis.train, basis.eigenvalues, outcomes, rows, penalties)
    for column in range(2):
        kept = rows[:, column] == 1
        theirs = reference(penalties[column]).fit(basis.train[kept], outcomes[kept, column])
        logits = basis.test @ ours.weights[:, column] + ours.intercepts[column]
        np.testing.assert_allclose(logits, theirs.decision_function(basis.test), atol=1e-3)


def test_a_fit_that_runs_out_of_iterations_says_so():
    features, labels, train = make_data(400)
    basis = rotate(features, train)
    column = labels[train][:, None]
    stopped = solve_logistic(
        basis.train, basis.eigenvalues, column, np.ones_like(column), np.array([0.1]), max_iterations=2
    )
    assert not stopped.converged.any()


@WIDTHS
def test_ridge_predictions_are_those_of_scikit_learn(num_features: int):
    features, labels, train = make_data(num_features)
    basis = rotate(features, train)
    targets = np.stack([features[:, 0], labels, features[:, 1] - features[:, 5]], axis=1)
    fit = fit_ridge(basis, targets[train], np.arange(train.sum()) % 3, np.array([25.0]))
    scaled, scaled_test = scale(features, train)
    expected = Ridge(alpha=25.0).fit(scaled, targets[train]).predict(scaled_test)
    np.testing.assert_allclose(fit.predictions, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@WIDTHS
def test_ridge_without_refits_chooses_the_penalty_that_refits_would(num_features: int):
    features, labels, train = make_data(num_features)
    basis = rotate(features, train)
    rng = np.random.default_rng(1)
    targets = np.stack([features[train, 0], labels[train], rng.normal(size=train.sum())], axis=1)
    folds, penalties = rng.integers(0, 4, train.sum()), np.logspace(-1, 4, 12)
    errors = np.zeros((len(penalties), 3))
    for place, penalty in enumerate(penalties):
        for fold in range(4):
            refit = Ridge(alpha=penalty).fit(basis.train[folds != fold], targets[folds != fold])
            errors[place] += ((refit.predict(basis.train[folds == fold]) - targets[folds == fold]) ** 2).sum(axis=0)
    assert (fit_ridge(basis, targets, folds, penalties).chosen == errors.argmin(axis=0)).all()


def test_the_classifier_chooses_the_penalty_that_a_grid_search_would():
    features, labels, train = make_data(400)
    basis = rotate(features, train)
    outcomes, folds, penalties = labels[train], np.arange(train.sum()) % 4, np.logspace(0, 5, 6)
    left_out = np.zeros((len(penalties), train.sum()))
    for place, penalty in enumerate(penalties):
        for fold in range(4):
            fitted = reference(penalty).fit(basis.train[folds != fold], outcomes[folds != fold])
            left_out[place, folds == fold] = fitted.predict_proba(basis.train[folds == fold])[:, 1]
    losses = [log_loss(outcomes, row) for row in left_out]
    fit = fit_classifier(basis, outcomes[:, None], folds, penalties)
    assert fit.chosen[0] == int(np.argmin(losses))
    logit = np.log(left_out[fit.chosen[0]] / (1 - left_out[fit.chosen[0]]))
    np.testing.assert_allclose(fit.left_out_logits[:, 0], logit, atol=0.02)


def test_auc_is_that_of_scikit_learn_inside_a_fold_and_never_across():
    rng = np.random.default_rng(0)
    truth, logits = rng.random(200) < 0.4, np.round(rng.normal(size=200), 1)
    folds = np.arange(200) % 2
    assert measure_auc(logits, truth, np.zeros(200, dtype=int)) == pytest.approx(roc_auc_score(truth, logits))
    shifted = measure_auc(logits + 100 * folds, truth, folds)
    assert shifted == pytest.approx(measure_auc(logits, truth, folds))
