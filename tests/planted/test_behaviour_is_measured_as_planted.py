from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from meta_baseline.activations import ActivationStore, Stores
from meta_baseline.behaviour import BehaviourResult, measure_behaviour
from meta_baseline.layers import LayerPairing


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests look at accuracies, many times; the nulls of decisions have tests of their own."""
    monkeypatch.setattr("meta_baseline.decisions.agreement.NUM_SHUFFLES", 2)


def _store(
    network: str, labels: np.ndarray, logits: np.ndarray, *, groups: np.ndarray | None = None
) -> ActivationStore:
    return ActivationStore(
        network=network,
        labels=labels,
        groups=np.arange(len(labels)) if groups is None else groups,
        latents=pd.DataFrame(index=range(len(labels))),
        logits=logits.astype(np.float32),
        margin=logits[:, -1].astype(np.float32),
        layers={},
    )


def _measure(
    meta: np.ndarray, baseline: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> BehaviourResult:
    untrained = (_store("untrained 1", labels, np.zeros((len(labels), meta.shape[1])) - 1),)
    stores = Stores(
        meta=_store("meta", labels, meta, groups=groups),
        baseline=_store("baseline", labels, baseline, groups=groups),
        untrained_meta=untrained,
        untrained_baseline=untrained,
        meta_initial=None,
        baseline_initial=None,
        pixels=np.zeros((len(labels), 4), dtype=np.float32),
        pairing=LayerPairing(pairs=(), unpaired=()),
        image_paths=("",) * len(labels),
    )
    return measure_behaviour(stores, meta_rule="logit", baseline_rule="logit", rng=np.random.default_rng(0))


def _answers(rng: np.random.Generator, labels: np.ndarray, accuracy: float | np.ndarray) -> np.ndarray:
    right = rng.random(len(labels)) < accuracy
    return (np.where(right, labels, 1 - labels) * 2.0 - 1)[:, None]


def test_a_planted_difference_is_found_with_its_size():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 1000)
    result = _measure(_answers(rng, labels, 0.9), _answers(rng, labels, 0.7), labels)
    assert result.difference_low < 0.2 < result.difference_high
    assert result.difference_low > 0.1
    assert "meta network is more accurate" in result.findings[0].sentence


def test_no_difference_is_reported_at_the_nominal_rate():
    rng = np.random.default_rng(1)
    labels = np.tile([0, 1], 200)
    missed = 0
    for _ in range(400):
        result = _measure(_answers(rng, labels, 0.8), _answers(rng, labels, 0.8), labels)
        missed += not result.difference_low <= 0 <= result.difference_high
    assert 5 <= missed <= 35  # 5 % of 400 is 20; three binomial standard deviations either way


def test_repeated_identities_are_no_independent_images():
    """Each identity is easy for one network or the other; 20 images of it say no more about the next one."""
    rng = np.random.default_rng(4)
    labels, groups = np.tile([0, 1], 300), np.repeat(np.arange(30), 20)
    missed = {"identities": 0, "images": 0}
    for _ in range(300):
        arms = [_answers(rng, labels, rng.uniform(0.5, 1.0, 30)[groups]) for _ in range(2)]
        for unit, grouped in (("identities", groups), ("images", None)):
            result = _measure(arms[0], arms[1], labels, grouped)
            missed[unit] += not result.difference_low <= 0 <= result.difference_high
    assert 4 <= missed["identities"] <= 27  # 5 % of 300 is 15; three binomial standard deviations
    assert missed["images"] > 40


def test_a_network_that_answers_one_thing_fails_the_check_whatever_its_accuracy():
    labels = np.repeat([0, 1], [100, 300])
    constant = np.ones((400, 1))
    result = _measure(constant, _answers(np.random.default_rng(0), labels, 0.9), labels)
    assert result.networks[0].accuracy == result.majority_rate == 0.75
    assert [check.verdict for check in result.checks if check.code == "behaviour.constant_predictor"] == ["fail"]


def test_auc_agrees_with_scikit_learn_ties_included():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 300)
    margin = np.round(rng.normal(size=300) + labels, 1)
    result = _measure(margin[:, None], margin[:, None], labels)
    assert result.networks[0].auc == pytest.approx(roc_auc_score(labels, margin), abs=1e-12)


def test_a_threshold_that_training_never_touched_is_noticed():
    rng = np.random.default_rng(3)
    labels = np.tile([0, 1], 200)
    logits = np.column_stack([np.full(400, 5.0), _answers(rng, labels, 0.95)[:, 0]])
    result = _measure(logits, logits, labels)
    assert result.networks[0].accuracy > 0.9
    assert result.networks[0].other_accuracy == 0.5
    assert {check.code for check in result.checks} == {"behaviour.decision_rule"}
