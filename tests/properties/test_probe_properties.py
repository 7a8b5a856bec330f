"""What probes ignore and what they notice; what folds, labels and targets promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from probe_worlds import make_stores

from meta_baseline.errors import InputError
from meta_baseline.figures.probes import FIGURES
from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.eigenbasis import rotate
from meta_baseline.probes.folds import deal_groups, deal_within_groups, draw_control_labels, permute_labels
from meta_baseline.probes.layer import ProbePlan, probe_layer
from meta_baseline.probes.logistic import solve_logistic
from meta_baseline.probes.mlp import MlpOptions
from meta_baseline.probes.ridge import fit_ridge
from meta_baseline.probes.targets import choose_targets, measure_explained
from meta_baseline.probing import ProbeOptions, compare_probes
from meta_baseline.results import load_result, save_result
from meta_baseline.statistics import wilson_interval
from meta_baseline.tables.probes import tabulate_probes

QUICK = ProbeOptions(num_permutations=9, workers=1, mlp=MlpOptions(num_components=(4,), num_steps=20))


def make_readable(num: int = 120, width: int = 30):
    rng = np.random.default_rng(3)
    labels = np.arange(num) % 2
    features = rng.normal(size=(num, width)) + 0.4 * (2 * labels - 1)[:, None] * (np.arange(width) < 5)
    return features, labels, rng


def test_units_of_measurement_do_not_change_what_a_probe_says():
    features, labels, rng = make_readable()
    plan = ProbePlan(
        folds=np.arange(120) // 2 % 5, binary=labels[:, None].astype(float), continuous=features[:, :1].copy()
    )
    changed = features * rng.uniform(0.1, 10, 30) + rng.normal(size=30)
    before, after = (probe_layer(values, plan, seed=0) for values in (features, changed))
    np.testing.assert_allclose(after.logits, before.logits, atol=1e-3)
    np.testing.assert_allclose(after.predictions, before.predictions, atol=1e-6)


def test_rotating_standardised_features_changes_nothing_but_rescaling_one_of_them_does():
    features, labels, rng = make_readable()
    train = np.arange(120) % 4 != 0
    basis = rotate(features, train)
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    turned = replace(basis, train=basis.train @ turn, test=basis.test @ turn)
    stretched = replace(basis, train=basis.train * np.r_[5.0, np.ones(29)], test=basis.test * np.r_[5.0, np.ones(29)])
    column = labels[train][:, None].astype(float)

    def logits(used):
        solved = solve_logistic(
            used.train, (used.train**2).sum(axis=0), column, np.ones_like(column), np.array([60.0]), tolerance=1e-6
        )
        return used.test @ solved.weights + solved.intercepts

    np.testing.assert_allclose(logits(turned), logits(basis), atol=1e-5)
    assert np.abs(logits(stretched) - logits(basis)).max() > 0.05


def test_the_test_images_have_no_part_in_scaling_or_rotation():
    features, _, _ = make_readable()
    train = np.arange(120) % 4 != 0
    other = features.copy()
    other[~train] *= 100.0
    np.testing.assert_array_equal(rotate(other, train).train, rotate(features, train).train)


def test_a_unit_that_only_test_images_drive_does_not_decide_the_score():
    features, labels, _ = make_readable()
    folds = np.arange(120) // 2 % 5
    latent = features[:, :3].sum(axis=1, keepdims=True)
    plan = ProbePlan(folds=folds, binary=labels[:, None].astype(float), continuous=latent)
    rare = np.zeros((120, 5))
    rare[[0, 2, 4, 6, 8], range(5)] = 1e-3  # one image of each fold drives a unit a little,
    rare[[3, 5, 7, 9, 1], range(5)] = 10.0  # and one of another fold in earnest
    before, after = (probe_layer(x, plan, seed=0) for x in (features, np.concatenate([features, rare], axis=1)))
    error, error_with_rare = (((readout.predictions - latent) ** 2).mean() for readout in (before, after))
    assert error_with_rare < error + 0.05 * latent.var()
    assert np.abs(after.logits).max() < 1.5 * np.abs(before.logits).max()


def test_dead_and_constant_units_are_left_out_and_an_empty_layer_says_the_training_rate():
    _, labels, _ = make_readable()
    empty = np.full((120, 7), 0.1, dtype=np.float32)
    plan = ProbePlan(
        folds=np.arange(120) // 2 % 5, binary=labels[:, None].astype(float), continuous=np.arange(120.0)[:, None]
    )
    readout = probe_layer(empty, plan, seed=0)
    np.testing.assert_allclose(readout.logits, readout.base_logits, atol=1e-9)
    np.testing.assert_allclose(readout.predictions, readout.base_predictions)


def test_the_wide_and_the_narrow_way_into_the_eigenbasis_agree():
    features, labels, _ = make_readable(width=30)
    train = np.arange(120) % 4 != 0
    narrow = rotate(features, train)
    wide = rotate(np.tile(features, (1, 4)), train)
    targets, folds = labels[train][:, None].astype(float), np.arange(90) % 3
    before = fit_ridge(narrow, targets, folds, np.array([10.0])).predictions
    after = fit_ridge(wide, targets, folds, np.array([40.0])).predictions
    np.testing.assert_allclose(after, before, atol=1e-8)


@pytest.mark.parametrize("kind", ["mixed labels", "one label each"])
def test_folds_keep_groups_whole_and_class_rates_equal(kind: str):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(40) * 7, 5))
    labels = rng.integers(0, 2, 200) if kind == "mixed labels" else groups // 7 % 2
    folds = deal_groups(labels, groups, 5, rng)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert max(np.bincount(folds)) <= 50 and min(np.bincount(folds)) >= 30
    rates = [labels[folds == fold].mean() for fold in range(5)]
    assert np.ptp(rates) <= (0.0 if kind == "one label each" else 0.03)


@pytest.mark.parametrize("sizes", [(90, 5, 5), (60, 1, 1, 1), (10, 10, 10, 10, 10), (3, 50, 2, 40, 1, 7)])
def test_no_fold_is_empty_however_unequal_the_groups(sizes: tuple[int, ...]):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.arange(len(groups)) % 2
    num_folds = min(5, len(sizes))
    assert set(deal_groups(labels, groups, num_folds, np.random.default_rng(0))) == set(range(num_folds))


def test_folds_within_groups_leave_companions_of_every_image_to_train_on():
    rng = np.random.default_rng(0)
    groups, labels = np.arange(200) // 5, np.arange(200) % 2
    folds = deal_within_groups(labels, groups, 3, rng)
    assert all(set(folds[groups == group]) == {0, 1, 2} for group in range(40))


def test_control_labels_are_balanced_and_belong_to_the_identity():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 4))
    control = draw_control_labels(groups)
    assert control.mean() == 0.5
    assert all(len(np.unique(control[groups == group])) == 1 for group in range(100))
    assert abs(np.corrcoef(control, groups % 2)[0, 1]) < 0.3
    assert abs(np.corrcoef(control, groups)[0, 1]) < 0.3


def test_permuted_labels_keep_the_class_counts_of_every_fold_and_the_blocks_of_every_group():
    rng = np.random.default_rng(0)
    groups = np.arange(120) // 4
    labels = (groups % 3 == 0).astype(int)
    folds = deal_groups(labels, groups, 5, rng)
    permuted = permute_labels(labels, groups, folds, 20, rng)
    for column in permuted.T:
        assert [column[folds == f].sum() for f in range(5)] == [labels[folds == f].sum() for f in range(5)]
        assert all(len(np.unique(column[groups == group])) == 1 for group in range(30))
    assert (permuted != labels[:, None]).any(axis=0).all()


def test_latents_are_chosen_by_what_they_say():
    rng = np.random.default_rng(0)
    x1 = rng.normal(size=60)
    frame = pd.DataFrame(
        {
            "identity": np.arange(60),
            "seed": np.arange(60),
            "fill": np.arange(60) % 2,
            "width1": 2 * x1 + 1,
            "x1": x1,
            "rotation1": rng.uniform(0, 360, 60),
            "line_width": np.ones(60),
            "x2": np.where(np.arange(60) == 3, np.nan, x1**2),
            "same": np.arange(60) // 30,
            "ink": rng.integers(20, 90, 60),
        }
    )
    targets, left_out = choose_targets(np.arange(60) // 30, frame)
    assert [(target.name, target.kind) for target in targets] == [
        ("label", "binary"),
        ("x1", "continuous"),
        ("rotation1", "circular"),
        ("ink", "continuous"),
        ("fill", "binary"),
    ]
    assert left_out == (
        "x2 (missing on some images)",
        "width1 (the same as x1)",
        "line_width (constant)",
        "same (the same as label)",
    )


def test_at_most_so_many_latents_are_probed():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 4)), columns=["a", "b", "c", "d"])
    targets, left_out = choose_targets(np.arange(60) % 2, frame, max_latents=2)
    assert [target.name for target in targets] == ["label", "a", "b"]
    assert left_out == ("c, d (no more than 2 are)",)


def test_a_latent_that_goes_with_the_label_is_named_with_the_share_that_the_label_explains():
    labels = np.arange(400) % 2
    frame = pd.DataFrame({"x1": np.random.default_rng(0).normal(size=400) + 2 * labels})
    targets, _ = choose_targets(labels, frame)
    share = np.corrcoef(labels, frame["x1"])[0, 1] ** 2
    assert measure_explained(targets[1], labels.astype(float)) == pytest.approx(share)


def test_intervals_over_few_groups_are_wider_than_images_alone_would_make_them():
    rng = np.random.default_rng(0)
    correct = np.repeat(rng.random(10) < 0.6, 30).astype(float)[:, None]
    by_group = GroupBootstrap.over(np.arange(300) // 30, rng)
    by_image = GroupBootstrap.over(np.arange(300), rng)
    widths = [
        np.subtract(*boot.interval(boot.resample_ratio(correct, np.ones_like(correct)))[::-1])[0]
        for boot in (by_group, by_image)
    ]
    assert widths[0] > 4 * widths[1]


def test_answers_that_are_all_right_do_not_make_a_certain_number():
    rng = np.random.default_rng(0)
    boot = GroupBootstrap.over(np.arange(300) // 10, rng)
    ones = np.ones((300, 1))
    low, high = boot.proportion_interval(np.ones(1), boot.resample_ratio(ones, ones))
    assert 0.85 < low[0] < 0.92 and high[0] == 1.0


def test_the_interval_of_an_accuracy_over_single_images_is_the_score_interval():
    rng = np.random.default_rng(0)
    correct = (np.arange(400) < 300).astype(float)[:, None]
    boot = GroupBootstrap.over(np.arange(400), rng, 20000)
    low, high = boot.proportion_interval(np.array([0.75]), boot.resample_ratio(correct, np.ones_like(correct)))
    reference = wilson_interval(300, 400)
    assert (low[0], high[0]) == pytest.approx((reference.low, reference.high), abs=2e-3)


def make_small_stores():
    rng = np.random.default_rng(1)
    labels, groups = np.arange(120) % 2, np.arange(120) // 4
    latents = pd.DataFrame({"x1": rng.normal(size=120), "rotation1": rng.uniform(0, 360, 120), "same": labels})

    def network(strength: float) -> dict[str, np.ndarray]:
        shift = strength * (2 * labels - 1)[:, None]
        return {
            "conv1": np.c_[latents["x1"], rng.normal(size=(120, 9))],
            "conv2": np.c_[rng.normal(size=(120, 12)) + shift, latents["x1"]],
        }

    names = {"meta": 1.0, "baseline": 0.3, "untrained 1": 0.0, "untrained 2": 0.0}
    features = {name: network(strength) for name, strength in names.items()}
    return make_stores(
        features, labels=labels, groups=groups, latents=latents, pixels=np.random.default_rng(2).random((120, 16))
    )


def test_the_result_does_not_depend_on_the_number_of_workers_and_survives_the_disk(tmp_path):
    stores = make_small_stores()
    for folder, workers in (("one", 1), ("two", 2)):
        options = replace(QUICK, workers=workers)
        save_result(compare_probes(stores, rng=np.random.default_rng(5), options=options), tmp_path / folder)
    for name in ("result.json", "result.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    result = load_result(tmp_path / "one")
    assert result.layers == ("conv1", "conv2")
    np.testing.assert_array_equal(result.untrained_mean("meta"), result.scores.score[2:].mean(axis=0))


def test_every_number_stands_beside_its_control_and_every_figure_and_table_is_made():
    result = compare_probes(make_small_stores(), rng=np.random.default_rng(5), options=QUICK)
    estimates = {estimate.name: estimate for estimate in result.estimates}
    assert len(estimates) == len(result.estimates)
    found = estimates["conv2.label.accuracy.meta"]
    assert found.reference_label == "untrained network, mean of 2 seeds"
    assert found.low is not None and found.high is not None and found.low < 1.0 == found.value == found.high
    assert found.n_unit == "shape identities" and found.n == 30
    assert {name for finding in result.findings for name in finding.estimates} <= estimates.keys()
    assert {check.code for check in result.checks} >= {
        "probe.num_images",
        "probe.control_task",
        "probe.null",
        "probe.pixels",
        "probe.untrained",
        "probe.convergence",
        "probe.decodable_not_used",
        "probe.one_pair",
    }
    assert all(spec.draw(result) is not None for spec in FIGURES)
    tables = tabulate_probes(result)
    assert len(tables["label"]) == 9 and set(tables) == {"label", "latents", "differences"}
    assert len(tables["latents"]) == 2 * 9


def test_a_layer_that_only_one_network_has_is_read_and_never_compared():
    stores = make_small_stores()
    extra = {**stores.baseline.layers, "fc1": stores.baseline.layers["conv2"]}
    stores = replace(stores, baseline=replace(stores.baseline, layers=extra))
    result = compare_probes(stores, rng=np.random.default_rng(5), options=QUICK)
    assert result.layers == ("conv1", "conv2", "fc1")
    assert np.isnan(result.scores.score[0, 2]).all() and np.isfinite(result.scores.score[1, 2]).all()
    assert np.isnan(result.differences.value[2]).all()
    assert all(spec.draw(result) is not None for spec in FIGURES)


def test_too_few_images_and_activations_that_are_not_finite_are_refused():
    stores = make_small_stores()
    one_class = replace(stores, meta=replace(stores.meta, labels=np.zeros(120, dtype=np.int64)))
    with pytest.raises(InputError, match="found 120 and 0 images of 30 identities"):
        compare_probes(one_class, rng=np.random.default_rng(0), options=QUICK)
    stores.baseline.layers["conv2"].grid[7, 3] = np.nan
    with pytest.raises(InputError, match="conv2 of baseline are not finite"):
        compare_probes(stores, rng=np.random.default_rng(0), options=QUICK)


def test_beyond_the_image_limit_whole_identities_are_left_out_and_a_check_says_so():
    result = compare_probes(
        make_small_stores(), rng=np.random.default_rng(5), options=replace(QUICK, max_images=90, mlp=None)
    )
    assert (result.num_images, result.num_groups, result.num_available) == (88, 22, 120)
    assert "88 images (of 120; whole identities left out" in next(
        check.sentence for check in result.checks if check.code == "probe.num_images"
    )
    assert np.isnan(result.mlp.gain).all()
