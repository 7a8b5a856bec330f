"""Worlds in which we know what a layer holds: probes find it there, nowhere else, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from probe_worlds import make_stores

from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.folds import deal_groups, permute_labels
from meta_baseline.probes.layer import ProbePlan, probe_layer
from meta_baseline.probes.mlp import MlpOptions
from meta_baseline.probing import ProbeOptions, compare_probes

FAST = ProbeOptions(num_permutations=19, mlp=None, workers=1)


@pytest.fixture(scope="module")
def label_in_one_layer():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    latents = pd.DataFrame({"x1": rng.normal(size=400), "rotation1": rng.uniform(0, 360, 400)})
    phase = np.deg2rad(latents["rotation1"].to_numpy())[:, None]

    def network(strength: float) -> dict[str, np.ndarray]:
        layers = {name: rng.normal(size=(400, 40)) for name in ("conv1", "conv2", "conv3")}
        layers["conv1"][:, :1] += 2 * latents[["x1"]].to_numpy()
        layers["conv2"][:, :10] += strength * (2 * labels - 1)[:, None]
        layers["conv3"][:, :2] += 3 * np.concatenate([np.cos(phase + 1), np.sin(phase + 1)], axis=1)
        return layers

    names = {"meta": 0.6, "baseline": 0.25, "untrained 1": 0.0, "untrained 2": 0.0, "untrained 3": 0.0}
    features = {name: network(strength) for name, strength in names.items()}
    stores = make_stores(features, labels=labels, latents=latents, pixels=rng.normal(size=(400, 20)))
    return compare_probes(stores, rng=np.random.default_rng(1), options=FAST)


def test_a_planted_label_is_found_in_its_layer_and_nowhere_else(label_in_one_layer):
    result = label_in_one_layer
    assert result.scores.score[0, 1, 0] > 0.9
    assert result.scores.bits[0, 1, 0] > 0.5 and result.scores.auc[0, 1, 0] > 0.95
    empty = np.ones(result.scores.score.shape[:2], dtype=bool)
    empty[:2, 1] = False
    assert (result.scores.low[empty][:, 0] < 0.5).mean() > 0.8
    assert (result.scores.score[empty][:, 0] < 0.57).all()
    assert abs(result.scores.bits[empty][:, 0]).max() < 0.03
    assert (result.null.p_value[:2] == 1 / 20).all()


def test_planted_latents_are_found_in_their_layers_and_nowhere_else(label_in_one_layer):
    result = label_in_one_layer
    assert result.targets == ("label", "x1", "rotation1") and result.kinds[2] == "circular"
    r_squared = result.scores.score[:, :, 1:]
    assert (r_squared[:, 0, 0] > 0.7).all() and (r_squared[:, 2, 1] > 0.75).all()
    assert r_squared[:, 1:, 0].max() < 0.05 and r_squared[:, :2, 1].max() < 0.05


def test_a_planted_difference_is_found_in_its_layer_and_said_first(label_in_one_layer):
    result = label_in_one_layer
    differences = result.differences
    assert differences.joint_low[1, 0] > 0
    assert (differences.joint_low[[0, 2], 0] < 0).all() and (differences.joint_high[[0, 2], 0] > 0).all()
    strongest = max(result.findings, key=lambda finding: finding.importance)
    assert strongest.importance == 0.7
    assert strongest.sentence.startswith("On the label the two networks differ most in conv2: accuracy 0.9")
    assert "untrained networks reach 0.5" in strongest.sentence
    verdicts = {check.code: check.verdict for check in result.checks}
    assert verdicts["probe.untrained"] == verdicts["probe.pixels"] == verdicts["probe.null"] == "pass"
    assert verdicts["probe.control_task"] == "note"


def test_where_nothing_is_planted_the_report_says_so():
    rng = np.random.default_rng(3)
    names = ("meta", "baseline", "untrained 1", "untrained 2", "untrained 3")
    features = {name: {role: rng.normal(size=(240, 20)) for role in ("conv1", "conv2")} for name in names}
    stores = make_stores(features, labels=np.arange(240) % 2, pixels=rng.normal(size=(240, 20)))
    result = compare_probes(stores, rng=np.random.default_rng(1), options=FAST)
    verdicts = {check.code: check.verdict for check in result.checks}
    assert verdicts["probe.untrained"] == verdicts["probe.pixels"] == verdicts["probe.null"] == "warn"
    assert "do not differ beyond their controls" in result.findings[1].sentence
    assert result.findings[1].importance == 0.4


def test_an_interaction_is_invisible_to_the_linear_probe_and_found_by_the_perceptron():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(600, 8)) * 0.8 ** np.arange(8)
    labels = hidden[:, 0] * hidden[:, 1] > 0
    plan = ProbePlan(
        folds=np.arange(600) % 5,
        binary=labels[:, None].astype(float),
        continuous=np.zeros((600, 0)),
        mlp=MlpOptions(num_components=(8,)),
    )
    readout = probe_layer(hidden @ rng.normal(size=(8, 60)) + 0.05 * rng.normal(size=(600, 60)), plan, seed=0)
    assert readout.mlp_logits is not None
    assert abs(np.mean((readout.logits[:, 0] > 0) == labels) - 0.5) < 0.07
    assert np.mean((readout.mlp_logits > 0) == labels) > 0.85


def test_the_perceptron_adds_nothing_where_all_is_linear():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 30))
    labels = features[:, 0] + rng.normal(size=600) > 0
    plan = ProbePlan(
        folds=np.arange(600) % 5,
        binary=labels[:, None].astype(float),
        continuous=np.zeros((600, 0)),
        mlp=MlpOptions(),
    )
    readout = probe_layer(features, plan, seed=0)
    assert readout.mlp_logits is not None
    assert np.mean((readout.mlp_logits > 0) == labels) == pytest.approx(
        np.mean((readout.logits[:, 0] > 0) == labels), abs=0.02
    )


def test_remembering_identities_helps_the_control_task_and_not_the_label():
    """Features that are the identity and nothing else; the label is a coin thrown once per identity."""
    rng = np.random.default_rng(0)
    groups = np.arange(600) // 10
    labels = rng.permutation(np.arange(60) % 2)[groups]
    memory = rng.normal(size=(60, 80))[groups] + 0.1 * rng.normal(size=(600, 80))
    stores = make_stores(
        {name: {"conv1": memory} for name in ("meta", "baseline", "untrained 1")}, labels=labels, groups=groups
    )
    result = compare_probes(stores, rng=np.random.default_rng(1), options=FAST)
    assert result.control.split == "within identities"
    assert result.control.control_accuracy[0, 0] > 0.95 and result.control.task_accuracy[0, 0] > 0.95
    assert abs(result.control.selectivity[0, 0]) < 0.05
    assert result.scores.low[0, 0, 0] < 0.5 < result.scores.high[0, 0, 0]
    checks = {check.code: check for check in result.checks}
    assert checks["probe.control_task"].verdict == "warn"
    assert checks["probe.identities"].verdict == "pass"
    assert result.null.p_value[0] > 0.05


def test_a_label_that_is_more_than_identity_is_selective():
    rng = np.random.default_rng(0)
    groups, labels = np.arange(600) // 10, np.arange(600) % 2
    features = rng.normal(size=(600, 20)) + 0.8 * (2 * labels - 1)[:, None]
    stores = make_stores(
        {name: {"conv1": features} for name in ("meta", "baseline", "untrained 1")}, labels=labels, groups=groups
    )
    result = compare_probes(stores, rng=np.random.default_rng(1), options=FAST)
    assert result.control.low[0, 0] > 0.3
    assert next(check for check in result.checks if check.code == "probe.control_task").verdict == "pass"


def make_world(seed: int, *, strength: float, num_groups: int, group_size: int):
    """A label per image that is known to one of eight features; images of one identity are alike in all of them."""
    rng = np.random.default_rng([7, seed])
    num = num_groups * group_size
    groups, labels = np.arange(num) // group_size, rng.permutation(np.arange(num) % 2)
    features = np.repeat(rng.normal(size=(num_groups, 8)), group_size, axis=0) + 0.5 * rng.normal(size=(num, 8))
    features[:, 0] += strength * (2 * labels - 1)
    folds = deal_groups(labels, groups, 5, rng)
    permuted = permute_labels(labels, groups, folds, 19, rng)
    plan = ProbePlan(
        folds=folds,
        binary=labels[:, None].astype(float),
        continuous=np.zeros((num, 0)),
        permuted_labels=permuted,
    )
    return features, plan, groups, rng


@pytest.mark.parametrize(("num_groups", "group_size"), [(50, 2), (100, 1)])
def test_without_information_probes_are_at_chance_and_p_values_keep_their_level(num_groups: int, group_size: int):
    accuracies, p_values = [], []
    for seed in range(100):
        features, plan, _, _ = make_world(seed, strength=0.0, num_groups=num_groups, group_size=group_size)
        readout = probe_layer(features, plan, seed=0)
        assert readout.null_correct is not None and readout.ridge_correct is not None
        accuracies.append(np.mean((readout.logits > 0) == (plan.binary > 0.5)))
        p_values.append((1 + np.sum(readout.null_correct >= readout.ridge_correct - 1e-12)) / 20)
    assert abs(np.mean(accuracies) - 0.5) < 0.02
    # Binomial(100, .1) exceeds 19 with probability .002, Binomial(100, .5) lies outside 35..65 as rarely.
    assert np.sum(np.array(p_values) <= 0.1) <= 19
    assert 35 <= np.sum(np.array(p_values) <= 0.5) <= 65


def test_intervals_cover_the_accuracy_of_other_worlds_of_the_same_kind():
    values, lows, highs = [], [], []
    for seed in range(100):
        features, plan, groups, rng = make_world(seed, strength=0.8, num_groups=60, group_size=2)
        plan = replace(plan, permuted_labels=None)
        correct = (probe_layer(features, plan, seed=0).logits > 0) == (plan.binary > 0.5)
        boot = GroupBootstrap.over(groups, rng, 1000)
        resamples = boot.resample_ratio(correct.astype(float), np.ones_like(plan.binary))
        low, high = boot.proportion_interval(correct.mean(axis=0), resamples)
        values.append(correct.mean()), lows.append(low[0]), highs.append(high[0])
    covered = np.mean((np.array(lows) <= np.mean(values)) & (np.mean(values) <= np.array(highs)))
    assert 0.89 <= covered <= 1.0
