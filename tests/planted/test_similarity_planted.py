"""Worlds whose similarity is known: independent layers, a shared subspace, a common cause, a known dimension."""

import numpy as np
import pytest

from meta_baseline import similarity
from meta_baseline.similarity import gram_matrix


def draw_pair(rng, num_images, loading, width=20):
    """Two layers whose covariances are known: half of the units share a signal of strength ``loading``."""
    shared = rng.normal(size=(num_images, width // 2)) * loading
    return tuple(np.hstack([shared, np.zeros_like(shared)]) + rng.normal(size=(num_images, width)) for _ in range(2))


def true_cka(loading, width=20):
    """Squared norm of the cross-covariance over the norms of the covariances."""
    half = width // 2
    return half * loading**4 / (half * (loading**2 + 1) ** 2 + half)


def test_independent_layers_have_debiased_cka_zero_where_the_biased_one_is_large():
    rng = np.random.default_rng(0)
    debiased, biased = [], []
    for _ in range(300):
        k, l = gram_matrix(rng.normal(size=(20, 200))), gram_matrix(rng.normal(size=(20, 300)))  # noqa: E741
        debiased.append(similarity.debiased_cka(k, l))
        biased.append(similarity.biased_cka(k, l))
    error = np.std(debiased) / np.sqrt(300)
    assert abs(np.mean(debiased)) < 3 * error
    assert np.mean(biased) > 0.9


@pytest.mark.parametrize("num_images", [15, 40, 160])
def test_debiased_cka_finds_a_shared_subspace_at_any_number_of_images(num_images):
    rng = np.random.default_rng(1)
    values = [
        similarity.debiased_cka(*(gram_matrix(layer) for layer in draw_pair(rng, num_images, 1.5))) for _ in range(150)
    ]
    assert np.mean(values) == pytest.approx(true_cka(1.5), abs=3 * np.std(values) / np.sqrt(150) + 0.01)


def test_one_outlying_image_does_not_make_independent_layers_alike():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 100, 50))
    x[0], y[0] = 40, 40
    k, l = gram_matrix(x), gram_matrix(y)  # noqa: E741
    assert similarity.biased_cka(k, l) > 0.9
    assert similarity.debiased_cka(k, l) < 0.5
    assert similarity.rank_agreement(k, l) < 0.3


@pytest.mark.parametrize("loading", [0.7, 1.5])
@pytest.mark.parametrize("num_images", [40, 120])
def test_the_jackknife_interval_covers_the_true_cka_at_the_nominal_rate(loading, num_images):
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        interval = similarity.cka_interval(*(gram_matrix(layer) for layer in draw_pair(rng, num_images, loading)))
        covered += interval.low <= true_cka(loading) <= interval.high
    assert 0.92 <= covered / 300 <= 0.985


def test_the_interval_of_independent_layers_holds_zero_at_least_at_the_nominal_rate():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        interval = similarity.cka_interval(*(gram_matrix(rng.normal(size=(40, 30))) for _ in range(2)))
        covered += interval.low <= 0 <= interval.high
    assert covered / 300 >= 0.94


def test_an_interval_over_groups_is_as_wide_as_estimates_scatter_and_one_over_images_is_too_narrow():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(24), 8)
    estimates, widths = [], {"images": [], "groups": []}
    for _ in range(150):
        identities = draw_pair(rng, 24, 1.5)
        grams = [gram_matrix(layer[groups] + 0.05 * rng.normal(size=(192, 20))) for layer in identities]
        estimates.append(np.arctanh(similarity.debiased_cka(*grams)))
        for name, own in (("images", None), ("groups", groups)):
            interval = similarity.cka_interval(*grams, groups=own)
            widths[name].append(np.arctanh(interval.high) - np.arctanh(interval.low))
    scatter = 2 * 2.07 * np.std(estimates)
    assert np.mean(widths["groups"]) == pytest.approx(scatter, rel=0.3)
    assert np.mean(widths["images"]) < 0.6 * scatter


def test_a_common_cause_explains_the_similarity_that_it_made():
    rng = np.random.default_rng(6)
    plain, partial, kept = [], [], []
    for _ in range(60):
        pixels = rng.normal(size=(60, 10)) * np.geomspace(3, 0.5, 10)
        own = rng.normal(size=(60, 10)) * 1.5
        x, y = (np.hstack([pixels, rng.normal(size=(60, 15))]) for _ in range(2))
        grams = [gram_matrix(layer) for layer in (x, y, pixels)]
        plain.append(similarity.debiased_cka(*grams[:2]))
        partial.append(similarity.partial_cka(*grams))
        with_own = [gram_matrix(np.hstack([layer, own])) for layer in (x, y)]
        kept.append(similarity.partial_cka(*with_own, grams[2]))
    assert np.mean(plain) > 0.7
    assert abs(np.mean(partial)) < 3 * np.std(partial) / np.sqrt(60) + 0.01
    assert np.mean(kept) > 0.5


@pytest.mark.parametrize("num_images", [12, 40, 150])
def test_participation_ratio_counts_planted_dimensions_whatever_the_number_of_images(num_images):
    rng = np.random.default_rng(7)
    variances = np.concatenate([np.full(10, 4.0), np.full(40, 0.25)])
    truth = variances.sum() ** 2 / (variances**2).sum()
    found = []
    for _ in range(200):
        gram = gram_matrix(rng.normal(size=(num_images, 50)) * np.sqrt(variances))
        found.append(1 / similarity.participation_ratio(gram))  # the ratio's inverse is the nearly unbiased one
    assert 1 / np.mean(found) == pytest.approx(truth, rel=0.08)
