"""Planted arms: what was put in is found, nothing is found where nothing was, and one seed claims nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import RECIPE, TASKS, make_task_images
from torch import Tensor

from meta_baseline.figures.arms import draw_arm_accuracy
from meta_baseline.models import ConvNet, Preprocessing, architecture_of, build_network
from meta_baseline.results import load_result, save_result
from meta_baseline.tables.arms import summarise_arms, tabulate_arms
from meta_baseline.training.answers import AdaptationTest, answer_queries
from meta_baseline.training.arm_accuracy import Arm, ArmAccuracy, ArmsTest, measure_arm
from meta_baseline.training.arms_outcome import ArmsOutcome, contrast_arms
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.own_rate import find_own_rate, find_own_rates

TEST = ArmsTest(steps=(0, 1), supports=(4, 12), num_queries=60, rate_factors=(1.0, 3.0), num_tuning_queries=8)


class Oracle(ConvNet):
    """Right on a share of the images; the second square lies on the right and is large where both are the same."""

    share = 1.0

    def forward(self, images: Tensor) -> Tensor:
        right = (images[:, 0, :, 8:].sum(dim=(1, 2)) > 10).float() * 2 - 1
        wrong = torch.arange(len(images)) >= self.share * len(images)
        signs = torch.where(wrong, -right, right)
        return signs[:, None] + 0.0 * self.classifier.bias


def oracle(share: float) -> Arm:
    network = Oracle(RECIPE.build_architecture())
    network.share = share
    return Arm(network=network)


class Fragile(Oracle):
    """An oracle whose bias scales its answers: a large step overshoots and turns all of them round."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1 - self.classifier.bias**2)


def measure(arms: dict[int, dict[str, Arm]]) -> ArmsOutcome:
    accuracies = {
        seed: {
            name: measure_arm(
                arm,
                make_task_images(TEST.images_per_task, seed=seed + 1),
                trained_tasks=TASKS,
                seed=seed,
                test=TEST,
            )
            for name, arm in named.items()
        }
        for seed, named in arms.items()
    }
    return contrast_arms(accuracies, trained_tasks=TASKS, test=TEST)


def test_a_planted_advantage_is_found_with_its_size_and_sign() -> None:
    shares = {"meta": 1.0, "matched": 0.8, "baseline": 0.8}
    outcome = measure(
        {seed: {name: oracle(share - 0.05 * (seed % 2)) for name, share in shares.items()} for seed in range(6)}
    )
    by_name = {(c.first, c.second, c.group, c.steps): c for c in outcome.contrasts}
    advantage = by_name["meta", "matched", "trained", 0]
    assert advantage.mean == pytest.approx(0.2, abs=0.03)
    assert by_name["matched", "baseline", "trained", 0].mean == 0.0
    first, *_ = [finding.sentence for finding in outcome.findings]
    assert "meta is more accurate" in first and "by seed: " in first
    assert advantage.p_value == 2 / 2**6
    assert all(finding.beyond_control for finding in outcome.findings if "Meta minus" in finding.sentence)
    assert [check.verdict for check in outcome.checks if check.code == "training.learned"] == ["pass"]


def test_no_advantage_is_claimed_where_none_was_planted() -> None:
    rng = np.random.default_rng(5)
    noise = rng.uniform(-0.1, 0.1, size=(6, 3))
    names = ("meta", "matched", "baseline")
    outcome = measure({seed: {name: oracle(0.8 + noise[seed, m]) for m, name in enumerate(names)} for seed in range(6)})
    assert not any(finding.beyond_control for finding in outcome.findings)
    tested = [contrast for contrast in outcome.contrasts if contrast.p_value is not None]
    assert len(tested) == 4 and all(
        contrast.first == "meta" for contrast in tested
    )  # as trained; one step is not in the family


def test_three_seeds_are_described_and_nothing_is_claimed() -> None:
    outcome = measure({seed: {"meta": oracle(1.0), "matched": oracle(0.8)} for seed in range(3)})
    assert any("meta is ahead in all 3 seeds" in finding.sentence for finding in outcome.findings)
    assert all(finding.beyond_control is None for finding in outcome.findings)


def test_one_seed_claims_nothing_about_learning_rules() -> None:
    outcome = measure({0: {"meta": oracle(1.0), "matched": oracle(0.7), "baseline": oracle(0.7)}})
    assert all("one seed says nothing about the learning rules" in finding.sentence for finding in outcome.findings)
    assert all(estimate.low is None for estimate in outcome.estimates)
    assert any(check.code == "training.seeds" for check in outcome.checks)


def test_an_arm_that_has_not_learned_forbids_the_comparison() -> None:
    outcome = measure({s: {"meta": oracle(1.0), "baseline": oracle(0.5)} for s in range(2)})
    failed = [check for check in outcome.checks if check.verdict == "fail"]
    assert {check.code for check in failed} == {"training.learned"}
    assert all("not comparable" in finding.sentence for finding in outcome.findings)
    assert not any(finding.beyond_control for finding in outcome.findings)


def test_an_arm_that_the_common_rate_harms_is_named_and_judged_at_its_own() -> None:
    def arm(own_rate: float, at_common: float, at_own: float) -> ArmAccuracy:
        accuracy = np.full((2, 2, 2, 2, 1), 0.9)
        accuracy[:, :, 1, 0], accuracy[:, :, 1, 1] = at_common, at_own
        return ArmAccuracy(
            tasks=TASKS,
            own_rates=np.full(2, own_rate),
            rules=("logit",),
            accuracy=accuracy,
            same_share=np.full(accuracy.shape, 0.5),
            majority_rate=np.full(2, 0.5),
            num_queries=np.full(2, 100),
        )

    test = replace(TEST, steps=(0, 5))
    arms = {"meta": arm(0.05, 0.92, 0.92), "matched": arm(0.005, 0.7, 0.91)}
    outcome = contrast_arms(dict.fromkeys(range(2), arms), trained_tasks=TASKS[:1], test=test)
    (check,) = [check for check in outcome.checks if check.code == "training.common_rate"]
    assert check.verdict == "warn" and "matched 20.0 points at 5 steps (own rates 0.005)" in check.sentence
    assert "meta 2" not in check.sentence
    (ends,) = [check for check in outcome.checks if check.code == "training.own_rate_at_the_end"]
    assert ends.verdict == "note" and "meta on trained tasks, the smallest in 2 of 2 seeds" in ends.sentence
    assert "matched" not in ends.sentence
    by_rate = {c.rate: c.mean for c in outcome.contrasts if c.steps == 5 and c.group == "trained" and c.support == 4}
    assert by_rate == {"own": pytest.approx(0.01), "common": pytest.approx(0.22)}
    assert any("own inner rates" in finding.sentence for finding in outcome.findings)
    assert not any("common inner rate" in finding.sentence for finding in outcome.findings)
    drawn = [line for line in draw_arm_accuracy(outcome).axes[0].lines if line.get_markerfacecolor() == "none"]
    hollow = {round(float(y), 3) for line in drawn for y in np.asarray(line.get_ydata())}
    assert hollow == {0.7}  # the common rate of the one arm whose own rate is another


def test_the_own_rate_is_the_one_at_which_adaptation_does_no_harm() -> None:
    network = Fragile(RECIPE.build_architecture())
    with torch.no_grad():
        network.classifier.bias.fill_(0.1)
    test = AdaptationTest(steps=(0, 5), num_support=12, learning_rate=1.0)
    images = make_task_images(100)[:1]
    assert find_own_rate(network, images, test=test, factors=(1e-6, 1e3), seed=0) == 1e-6


def test_trained_and_held_out_tasks_have_rates_of_their_own() -> None:
    network = Fragile(RECIPE.build_architecture())
    with torch.no_grad():
        network.classifier.bias.fill_(0.1)
    images = [*make_task_images(100)[:1], replace(make_task_images(100)[2], labels=1 - make_task_images(100)[2].labels)]
    test = AdaptationTest(steps=(0, 5), num_support=12, learning_rate=1.0)
    kept, turned = find_own_rates(network, images, TASKS, test=test, factors=(1e-6, 1e3), seed=0)
    assert (kept, turned) == (1e-6, 1e3)  # where all labels are turned round, the step that turns all answers helps


def test_tables_hold_every_arm_and_an_outcome_survives_the_disk(tmp_path: Path) -> None:
    outcome = measure({0: {"meta": oracle(1.0), "baseline": oracle(0.8)}})
    tables = tabulate_arms(outcome)
    assert len(tables["accuracy"]) == 2 * 3 * 5  # arms, tasks; as trained, or a step on either support at either rate
    assert list(summarise_arms(outcome)["as trained"].round(2)) == [1.0, 1.0, 0.8, 0.8] * 2
    save_result(outcome, tmp_path)
    assert np.array_equal(load_result(tmp_path).accuracy, outcome.accuracy)


def test_networks_of_two_logits_are_read_by_both_rules() -> None:
    architecture = architecture_of("stack4", image_size=16, num_logits=2)
    network = build_network(architecture, decision_rule="argmax")
    with torch.no_grad():
        network.classifier.bias.copy_(torch.tensor([-2.0, -1.0]))  # argmax: same; logit 1 > 0: different
    outcome = measure({0: {"meta": Arm(network=network), "baseline": Arm(network=network)}})
    assert outcome.rules == ("argmax", "logit")
    assert outcome.same_share[0, 0, 0, 0, 0, 0].tolist() == [1.0, 0.0]


def test_learned_rates_are_used_in_the_test_as_in_training() -> None:
    network = RECIPE.build_initial_network()
    assert isinstance(network.preprocessing, Preprocessing)
    images = make_task_images(40)[0]
    rows = np.arange(40)
    start = LearntAdaptation.start(network, num_steps=1, learning_rate=0.0)
    test = AdaptationTest(steps=(0, 3), num_support=20, num_draws=1, learning_rate=1.0)
    still = answer_queries(network, images, [rows[:20]], rows[20:], test=test, learnt=start)
    moved = answer_queries(network, images, [rows[:20]], rows[20:], test=test)
    assert np.array_equal(still.said(3), still.said(0))
    assert not np.array_equal(moved.said(3), moved.said(0))
