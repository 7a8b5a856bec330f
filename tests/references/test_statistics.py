"""Every statistic against scipy, a closed form, or the definition spelled out by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from meta_baseline.errors import UsageError
from meta_baseline.statistics import (
    adjust_benjamini_hochberg,
    adjust_holm,
    bootstrap_interval,
    hedges_g,
    max_t_sign_flips,
    mean_interval,
    permutation_test,
    sign_flip_test,
    smallest_p_value,
    welch_interval,
    wilson_interval,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_exact_sign_flip_test_agrees_with_scipy(rng):
    differences = rng.normal(0.4, 1.0, size=9)
    ours = sign_flip_test(differences)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert ours.exact
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    np.testing.assert_allclose(np.sort(ours.null), np.sort(theirs.null_distribution), atol=1e-12)


@pytest.mark.parametrize("sizes", [(5, 5), (3, 6)])
def test_exact_permutation_test_agrees_with_scipy(rng, sizes):
    meta, baseline = rng.normal(1, 1, sizes[0]), rng.normal(0, 2, sizes[1])
    ours = permutation_test(meta, baseline)
    theirs = stats.permutation_test(
        (meta, baseline),
        lambda x, y, axis: np.abs(x.mean(axis) - y.mean(axis)),
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert ours.exact and len(ours.null) == math.comb(sum(sizes), sizes[0])
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sampled_sign_flips_agree_with_all_of_them(rng):
    differences = rng.normal(0.3, 1.0, size=18)
    result = sign_flip_test(differences, rng=rng, num_resamples=20_000)
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    assert not result.exact
    assert result.p_value == pytest.approx(np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9), abs=0.01)


def test_sampled_permutations_agree_with_the_exact_test(rng):
    meta, baseline = rng.normal(0.8, 1, 11), rng.normal(0, 1, 11)
    sampled = permutation_test(meta, baseline, rng=rng, num_resamples=20_000)
    pooled = np.concatenate([meta, baseline])
    sums = np.array([sum(c) for c in itertools.combinations(pooled.tolist(), 11)])
    exact = np.mean(np.abs(2 * sums - pooled.sum()) >= abs(2 * meta.sum() - pooled.sum()) - 1e-9)
    assert not sampled.exact
    assert sampled.p_value == pytest.approx(exact, abs=0.01)


def test_smallest_p_values_are_reached_by_the_most_extreme_outcome():
    for num in (2, 5, 6):
        assert sign_flip_test(np.arange(1.0, num + 1)).p_value == pytest.approx(smallest_p_value(num))
    for sizes in ((3, 3), (4, 4), (3, 5)):
        far = permutation_test(100 + np.arange(sizes[0], dtype=float) ** 2, -np.arange(sizes[1], dtype=float))
        assert far.p_value == pytest.approx(smallest_p_value(*sizes))
    assert smallest_p_value(5) > 0.05 > smallest_p_value(6)
    assert smallest_p_value(3, 3) == pytest.approx(0.1)
    assert smallest_p_value(4, 4) < 0.05


def test_no_effect_is_reported_at_the_nominal_rate(rng):
    # With 6 pairs only 1/32 can be reached below .05: the test must realise exactly that.
    flips = [sign_flip_test(rng.standard_normal(6)).p_value <= 0.05 for _ in range(1500)]
    labels = [permutation_test(rng.standard_normal(5), rng.standard_normal(5)).p_value <= 0.05 for _ in range(600)]
    assert np.mean(flips) == pytest.approx(1 / 32, abs=0.015)
    assert np.mean(labels) == pytest.approx(0.048, abs=0.025)


@pytest.mark.parametrize(("successes", "num"), [(0, 10), (3, 10), (10, 10), (871, 1000)])
def test_wilson_interval_agrees_with_scipy(successes, num):
    theirs = stats.binomtest(successes, num).proportion_ci(0.9, method="wilson")
    ours = wilson_interval(successes, num, level=0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_welch_and_student_intervals_agree_with_scipy(rng):
    meta, baseline = rng.normal(1, 1, 6), rng.normal(0, 5, 4)
    theirs = stats.ttest_ind(meta, baseline, equal_var=False).confidence_interval(0.95)
    ours = welch_interval(meta, baseline)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    theirs = stats.ttest_1samp(meta, 0).confidence_interval(0.9)
    ours = mean_interval(meta, level=0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_bootstrap_interval_agrees_with_all_resamples_enumerated(rng):
    sample = rng.exponential(size=6)
    draws = np.array(list(itertools.product(sample.tolist(), repeat=6)))
    draws = draws[np.ptp(draws, axis=1) > 0]
    t = (draws.mean(1) - sample.mean()) / (draws.std(1, ddof=1) / math.sqrt(6))
    error = sample.std(ddof=1) / math.sqrt(6)
    lower, upper = np.quantile(t, [0.1, 0.9])
    ours = bootstrap_interval(sample, rng=rng, level=0.8, num_resamples=100_000)
    assert ours.low == pytest.approx(sample.mean() - upper * error, rel=0.03)
    assert ours.high == pytest.approx(sample.mean() - lower * error, rel=0.03)


def test_bootstrap_interval_covers_a_skewed_mean_where_the_percentile_interval_does_not(rng):
    ours, percentile = [], []
    for _ in range(300):
        sample = rng.exponential(size=8)
        interval = bootstrap_interval(sample, rng=rng, num_resamples=499)
        ours.append(interval.low <= 1 <= interval.high)
        means = rng.choice(sample, size=(499, 8)).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        percentile.append(low <= 1 <= high)
    assert np.mean(ours) > 0.90 > np.mean(percentile)


def test_hedges_g_is_unbiased_and_cohens_d_is_not(rng):
    pairs = rng.normal(0, 1, (4000, 2, 4)) + np.array([0.8, 0.0])[None, :, None]
    values = [hedges_g(meta, baseline) for meta, baseline in pairs]
    d = [(a.mean() - b.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2) for a, b in pairs]
    assert np.mean(values) == pytest.approx(0.8, abs=0.04)
    assert np.mean(d) > 0.87
    # Hedges' usual approximation of the same correction, good to three figures at 10 degrees of freedom.
    meta, baseline = rng.normal(1, 1, 6), rng.normal(0, 1, 6)
    cohen = (meta.mean() - baseline.mean()) / math.sqrt((meta.var(ddof=1) + baseline.var(ddof=1)) / 2)
    assert hedges_g(meta, baseline) == pytest.approx(cohen * (1 - 3 / (4 * 10 - 1)), rel=1e-3)


def test_holm_is_the_closed_test_procedure_on_bonferroni(rng):
    for _ in range(20):
        p = rng.random(5) ** 2
        subsets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
        closed = [max(min(1.0, len(s) * min(p[list(s)])) for s in subsets if i in s) for i in range(5)]
        np.testing.assert_allclose(adjust_holm(p), closed, atol=1e-12)


def test_benjamini_hochberg_agrees_with_scipy(rng):
    p = rng.random(40) ** 3
    np.testing.assert_allclose(adjust_benjamini_hochberg(p), stats.false_discovery_control(p), atol=1e-12)


def test_corrections_do_not_depend_on_the_order_of_the_tests(rng):
    p = rng.random(12)
    order = rng.permutation(12)
    for adjust in (adjust_holm, adjust_benjamini_hochberg):
        np.testing.assert_allclose(adjust(p[order]), adjust(p)[order])


def test_runs_that_cannot_be_tested_are_refused_with_what_was_found(rng):
    with pytest.raises(UsageError, match=r"at least 2 runs; found shape \(1,\)"):
        sign_flip_test(np.array([1.0]))
    with pytest.raises(UsageError, match="meta holds a value that is not finite: nan"):
        permutation_test(np.array([1.0, np.nan]), np.zeros(3))
    with pytest.raises(UsageError, match="pass rng"):
        sign_flip_test(rng.standard_normal(30))
    with pytest.raises(UsageError, match="found 3 of 2"):
        wilson_interval(3, 2)
    with pytest.raises(UsageError, match="at least 4 runs; found 3"):
        bootstrap_interval(np.arange(3.0), rng=rng)


def test_a_family_of_one_is_the_plain_sign_flip_test(rng):
    for _ in range(20):
        differences = rng.standard_normal(7) + 0.5
        assert max_t_sign_flips(differences[:, None])[0] == pytest.approx(sign_flip_test(differences).p_value)


def test_max_t_keeps_the_chance_of_any_false_rejection_in_a_dependent_family(rng):
    mixing = rng.standard_normal((8, 8))
    false = [(max_t_sign_flips(rng.standard_normal((6, 8)) @ mixing) <= 0.05).any() for _ in range(1500)]
    assert 0.015 < np.mean(false) < 0.05  # of the 32 levels that six pairs have, 1/32 is the last below .05


def test_max_t_finds_the_cell_that_was_moved_and_no_other(rng):
    found = np.zeros(5)
    for _ in range(100):
        differences = rng.standard_normal((10, 5))
        differences[:, 3] += 2.5
        found += max_t_sign_flips(differences) <= 0.05
    assert found[3] > 95 and found[[0, 1, 2, 4]].max() < 12
