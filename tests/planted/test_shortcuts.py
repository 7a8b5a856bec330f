"""A leak that is there is named, one that is not is not, and chance is called a leak as often as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from meta_baseline.datasets import read_stimuli
from meta_baseline.datasets.auc import estimate_auc
from meta_baseline.datasets.shortcuts import (
    FEATURES,
    ShortcutAudit,
    audit_shortcuts,
    check_shortcuts,
    check_stimuli_shortcuts,
    describe_audit,
    measure_shortcuts,
    tabulate_shortcuts,
)
from meta_baseline.stimuli import generate_dataset, write_svrt_folder


def measure(task: str, num_images: int = 600) -> tuple[pd.DataFrame, np.ndarray]:
    images, labels, _ = generate_dataset(task, num_images=num_images, seed=5)
    return pd.DataFrame([measure_shortcuts(image) for image in images]), labels


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def audit(features: pd.DataFrame, labels: np.ndarray) -> ShortcutAudit:
    done = audit_shortcuts(features, labels)
    assert done is not None
    return done


@pytest.fixture(scope="module")
def regular() -> tuple[pd.DataFrame, np.ndarray]:
    return measure("regular")


def test_the_pieces_of_scrambled_are_named_as_a_leak():
    done = audit(*measure("scrambled"))
    table = tabulate_shortcuts(done).set_index("feature")
    assert table.loc["num_components", "auc"] == 0.0 and table.loc["num_components", "leaky"]
    assert table.loc["whole image, together", "auc"] == 1.0
    single, together = describe_audit(done)
    assert single.verdict == "warn" and "leaky" in single.sentence and "num_components (AUC 0.00" in single.sentence
    assert together.verdict == "warn"


def test_no_single_feature_gives_regular_away_but_the_sizes_of_both_objects_together_do(
    regular: tuple[pd.DataFrame, np.ndarray],
):
    done = audit(*regular)
    assert not any(one.is_leaky for one in done.single) and not done.together.is_leaky
    assert done.with_sizes.auc.auc > 0.8
    single, together = describe_audit(done)
    assert (single.verdict, together.verdict) == ("pass", "note")
    assert "comparing sizes alone" in together.sentence


@pytest.mark.parametrize(("moved", "feature"), [(0, "margin_left"), (1, "margin_top")])
def test_a_planted_difference_of_place_is_found_in_its_margin(moved: int, feature: str):
    rng = np.random.default_rng(1)
    rows = []
    for index in range(400):
        image = np.full((64, 64), 255, np.uint8)
        corner = rng.integers(4, 40, size=2)
        corner[moved] += 8 * (index % 2)
        image[corner[1] : corner[1] + 10, corner[0] : corner[0] + 10] = 0
        rows.append(measure_shortcuts(image))
    done = audit(pd.DataFrame(rows), np.arange(400) % 2)
    leaky = {one.feature for one in done.single if one.is_leaky}
    assert feature in leaky and leaky <= {feature, feature.replace("left", "right").replace("top", "bottom")}


def test_shuffled_labels_are_called_a_leak_at_the_nominal_rate(regular: tuple[pd.DataFrame, np.ndarray]):
    features = regular[0].to_numpy(dtype=np.float64)
    rng = np.random.default_rng(0)
    any_after_holm, each = 0, []
    for _ in range(300):
        labels = rng.permutation(np.arange(len(features)) % 2)
        p_values = np.array([estimate_auc(column, labels).p_value for column in features.T])
        any_after_holm += p_values.min() * len(FEATURES) < 0.05
        each.extend(p_values[[0, 3, 8]] < 0.05)
    assert any_after_holm / 300 < 0.09
    assert 0.03 < np.mean(each) < 0.07


def test_shuffled_labels_are_not_predicted_by_all_features_together(regular: tuple[pd.DataFrame, np.ndarray]):
    rng = np.random.default_rng(0)
    shuffled = [audit(regular[0], rng.permutation(regular[1])) for _ in range(6)]
    combined = [one for done in shuffled for one in (done.together, done.with_sizes)]
    assert not any(one.is_leaky for one in combined)
    assert sum(one.auc.p_value < 0.05 for one in combined) <= 2
    assert abs(np.mean([one.auc.auc for one in combined]) - 0.5) < 0.03


def test_the_area_is_that_of_scikit_learn_and_its_variance_that_of_all_pairs():
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.repeat([0, 1], (40, 70)))
    for values in (rng.normal(size=110) + labels, rng.integers(0, 4, size=110).astype(float)):
        estimate = estimate_auc(values, labels)
        assert estimate.auc == pytest.approx(roc_auc_score(labels, values))
        ones, zeros = values[labels == 1], values[labels == 0]
        wins = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
        variance = wins.mean(axis=1).var(ddof=1) / 70 + wins.mean(axis=0).var(ddof=1) / 40
        assert estimate.error**2 == pytest.approx(variance)


def test_the_interval_holds_the_true_area_as_often_as_it_says():
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 2
    draws = [estimate_auc(rng.normal(size=200) + labels, labels) for _ in range(400)]
    truth = 0.76025  # Phi(1 / sqrt 2)
    assert 0.92 < np.mean([one.low < truth < one.high for one in draws]) < 0.98


@pytest.mark.parametrize("shared", [True, False])
def test_the_error_over_groups_is_that_of_resampled_groups(shared: bool):
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(60), 8)
    labels = np.tile([0, 1], 240) if shared else groups % 2
    values = rng.normal(size=60)[groups] + 0.7 * rng.normal(size=480) + 0.5 * labels
    by_groups, by_images = estimate_auc(values, labels, groups).error, estimate_auc(values, labels).error
    resampled = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in rng.integers(0, 60, size=60)])
        resampled.append(roc_auc_score(labels[rows], values[rows]))
    assert by_groups == pytest.approx(np.std(resampled), rel=0.15)
    assert (by_groups < by_images) == shared


def test_a_single_identity_says_nothing_about_others():
    rng = np.random.default_rng(0)
    labels, groups = np.arange(40) % 2, np.zeros(40, np.int64)
    estimate = estimate_auc(rng.normal(size=40) + 5 * labels, labels, groups)
    assert estimate.auc > 0.95
    assert (estimate.low, estimate.high, estimate.p_value) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("num_groups", [1, 2, 5, 10])
def test_few_identities_are_audited_without_a_verdict_from_one(
    num_groups: int, regular: tuple[pd.DataFrame, np.ndarray]
):
    features, labels = regular
    groups = np.arange(len(labels)) // 2 % num_groups
    audit = audit_shortcuts(features, labels, groups)
    assert all(0.0 <= one.auc.low <= one.auc.auc <= one.auc.high <= 1.0 for one in (*audit.single, audit.together))
    assert num_groups > 1 or not any(one.is_leaky for one in (*audit.single, audit.together))


def test_images_on_disk_are_audited_in_every_format(tmp_path: Path):
    write_svrt_folder(make_folder(tmp_path / "png" / "test"), "scrambled", num_images=200, seed=0)
    images, labels, _ = generate_dataset("scrambled", num_images=200, seed=0)
    np.savez(make_folder(tmp_path / "npz") / "scrambled.npz", images=images, labels=labels)
    for folder in ("png", "npz"):
        single, _ = check_stimuli_shortcuts(read_stimuli(tmp_path / folder))
        assert single.verdict == "warn" and "num_components" in single.sentence


def test_a_few_images_are_not_judged():
    features = pd.DataFrame(np.zeros((98, len(FEATURES))), columns=FEATURES)
    assert check_shortcuts(features, np.arange(98) % 2) == ()


def test_blank_images_have_features_too():
    blank = measure_shortcuts(np.full((30, 50), 255, np.uint8))
    assert blank["margin_left"] == blank["margin_right"] == 50 and blank["margin_top"] == 30
    assert blank["ink"] == blank["num_components"] == blank["smallest_component"] == 0
