"""Planted worlds for the evaluation: what was put in is found, and where nothing was put in nothing is claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import RECIPE, TASKS, arm, make_pool, make_task_images

from meta_baseline.checkpoints import load_network
from meta_baseline.models import ConvNet
from meta_baseline.results import load_result, save_result
from meta_baseline.training.answers import AdaptationTest
from meta_baseline.training.evaluation import TrainingOutcome, measure_accuracy
from meta_baseline.training.loop import INITIAL, train
from meta_baseline.training.own_rate import RATE_FACTORS
from meta_baseline.training.verdicts import check_networks, compare_arms, find_differences

TEST = AdaptationTest(steps=(0, 2), num_support=8, num_draws=2, learning_rate=0.05, num_queries=200)


def measure(networks: dict[str, ConvNet], test: AdaptationTest = TEST) -> TrainingOutcome:
    images = make_task_images(test.images_per_task)
    return measure_accuracy(networks, images, trained_tasks=TASKS, test=test, rng=np.random.default_rng(0))


def constant_network(answer: int) -> ConvNet:
    network = RECIPE.build_initial_network()
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.fill_(1.0 if answer else -1.0)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["baseline", "fomaml"])
def test_both_algorithms_learn_an_easy_task_and_nothing_from_shuffled_labels(tmp_path: Path, algorithm: str) -> None:
    recipe = arm(algorithm, num_images=6_000, warmup_steps=20)
    learned = load_network(train(recipe, make_pool(recipe), tmp_path / "easy"))
    null = load_network(train(recipe, make_pool(recipe, shuffle_labels=True), tmp_path / "null"))
    untrained = load_network(tmp_path / "easy" / INITIAL)
    outcome = measure({"meta": learned, "baseline": null, "untrained": untrained})
    before = outcome.accuracy[:, :2, 0].mean(axis=1)
    assert before[0] > 0.95
    assert abs(before[1] - 0.5) < 0.1
    assert abs(before[2] - 0.5) < 0.15
    failed = [check for check in outcome.checks if check.verdict == "fail"]
    assert [check.code for check in failed] == ["training.learned"]
    assert "The baseline network reaches" in failed[0].sentence
    assert "not comparable" in outcome.findings[0].sentence


def test_a_network_against_itself_does_not_differ() -> None:
    network = RECIPE.build_initial_network()
    outcome = measure({"meta": network, "baseline": network})
    assert [comparison.difference for comparison in outcome.comparisons] == [0.0] * 4
    assert not any(comparison.differ for comparison in outcome.comparisons)


def test_a_constant_predictor_is_named_and_scores_the_majority_rate() -> None:
    outcome = measure({"meta": constant_network(1), "baseline": constant_network(0)}, AdaptationTest(steps=(0,)))
    assert outcome.same_share[:, :, 0].tolist() == [[1.0] * 3, [0.0] * 3]
    assert np.array_equal(outcome.accuracy[0, :, 0], outcome.majority_rate)
    sentences = [check.sentence for check in outcome.checks if check.code == "training.constant_predictor"]
    assert len(sentences) == 2
    assert sentences[0].startswith("The meta network gives one answer to nearly every image of outlines, blocks and")


def test_each_network_is_adapted_at_its_own_rate_found_on_other_images() -> None:
    network = RECIPE.build_initial_network()
    images = make_task_images(TEST.images_per_task)
    outcome = measure_accuracy(
        {"meta": network, "baseline": network, "untrained": network},
        images,
        tuning_images=make_task_images(60, seed=9),
        trained_tasks=TASKS,
        test=TEST,
        rng=np.random.default_rng(0),
    )
    meta, baseline, untrained = outcome.inner_rates
    assert np.array_equal(meta, baseline) and meta[0] == meta[1] and (untrained == TEST.learning_rate).all()
    assert all(min(abs(rate / TEST.learning_rate - factor) for factor in RATE_FACTORS) < 1e-9 for rate in meta)
    assert f"{meta[2]:g} and {meta[2]:g}" in outcome.findings[-1].sentence


def test_measuring_leaves_the_networks_as_they_were() -> None:
    network = RECIPE.build_initial_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure({"meta": network, "baseline": network})
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_outcome_survives_the_disk(tmp_path: Path) -> None:
    network = RECIPE.build_initial_network()
    outcome = measure({"meta": network, "baseline": network, "untrained": network})
    save_result(outcome, tmp_path)
    loaded = load_result(tmp_path)
    assert loaded.findings == outcome.findings
    assert np.array_equal(loaded.accuracy, outcome.accuracy)
    assert loaded.comparisons == outcome.comparisons


def test_the_interval_of_no_difference_covers_it_at_the_nominal_rate() -> None:
    rng, excluded = np.random.default_rng(0), 0
    for _ in range(1000):
        shared = rng.random(400)
        meta, baseline = ((np.where(rng.random(400) < 0.5, shared, rng.random(400)) < 0.8).astype(float) for _ in "mb")
        excluded += compare_arms([meta], [baseline], group="trained", tasks=("a",), steps=0).differ
    assert 30 <= excluded <= 72


def test_a_planted_difference_is_found_with_its_sign() -> None:
    rng = np.random.default_rng(0)
    right = [(rng.random(800) < rate).astype(float) for rate in (0.9, 0.8)]
    comparison = compare_arms([right[0]], [right[1]], group="trained", tasks=("a",), steps=0)
    (finding,) = find_differences([comparison], num_support=10, rates=(0.05, 0.05), comparable=True)
    assert comparison.low < 0.1 < comparison.high
    assert "the meta-learned network is more accurate" in finding.sentence
    assert "one pair, so no population claim" in finding.sentence


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.59, "fail"), (0.61, "pass")])
def test_an_arm_below_sixty_percent_on_its_trained_tasks_forbids_the_comparison(accuracy: float, verdict: str) -> None:
    accuracies = np.array([[accuracy, 0.1], [0.9, 0.9]])
    trained_on = np.array([True, False])
    checks = check_networks(("meta", "baseline"), ("a", "b"), trained_on, accuracies, np.full((2, 2), 0.5))
    assert next(check.verdict for check in checks if check.code == "training.learned") == verdict
