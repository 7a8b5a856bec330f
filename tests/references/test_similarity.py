"""Similarity measures against plain formulas on the features themselves, brute force, and SciPy."""

import itertools

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import pdist

from meta_baseline import similarity
from meta_baseline.similarity import gram_matrix


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(30, 4))
    x = np.hstack([shared, rng.normal(size=(30, 6))]) + 3.0
    y = shared @ rng.normal(size=(4, 7)) + 0.5 * rng.normal(size=(30, 7)) - 50.0
    z = rng.normal(size=(30, 40))
    return x, y, z


def song_hsic(x, y):
    """The unbiased estimator as Song et al. write it, from features that nobody centred."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    n = len(k)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    ones = np.ones(n)
    sums = (
        np.trace(k @ l)
        + (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
        - 2 * ones @ k @ l @ ones / (n - 2)
    )
    return sums / (n * (n - 3))


def test_unbiased_hsic_is_the_estimator_of_song_et_al(layers):
    x, y, z = layers
    for a, b in itertools.product((x, y, z), repeat=2):
        assert similarity.unbiased_hsic(gram_matrix(a), gram_matrix(b)) == pytest.approx(
            song_hsic(a, b), rel=1e-8, abs=1e-8
        )


def test_debiased_cka_is_the_normalised_unbiased_hsic(layers):
    x, y, _ = layers
    expected = song_hsic(x, y) / np.sqrt(song_hsic(x, x) * song_hsic(y, y))
    assert similarity.debiased_cka(gram_matrix(x), gram_matrix(y)) == pytest.approx(expected, abs=1e-8)


def test_biased_cka_is_the_ratio_of_covariance_norms(layers):
    x, y, _ = layers
    a, b = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert similarity.biased_cka(gram_matrix(x), gram_matrix(y)) == pytest.approx(expected, abs=1e-12)


def test_a_matrix_of_ckas_holds_the_ckas_of_all_pairs(layers):
    grams = [gram_matrix(layer) for layer in layers]
    table = similarity.cka_matrix(grams, grams[:2])
    assert table.shape == (3, 2)
    for i, j in itertools.product(range(3), range(2)):
        assert table[i, j] == pytest.approx(similarity.debiased_cka(grams[i], grams[j]), abs=1e-12)


def test_half_precision_of_the_stored_geometry_costs_less_than_a_millionth(layers):
    grams = [gram_matrix(layer) for layer in layers]
    stored = np.stack([similarity.unit_geometry(gram, np.float32) for gram in grams])
    assert np.abs(similarity.align(stored, stored) - similarity.cka_matrix(grams, grams)).max() < 1e-6


def test_procrustes_distance_is_the_angle_after_the_best_rotation(layers):
    x, y, _ = layers
    x, y = x - x.mean(0), y - y.mean(0)
    y = np.hstack([y, np.zeros((30, 3))])
    rotation, _ = linalg.orthogonal_procrustes(y, x)
    cosine = np.sum(x * (y @ rotation)) / (np.linalg.norm(x) * np.linalg.norm(y))
    assert similarity.procrustes_distance(gram_matrix(x), gram_matrix(y)) == pytest.approx(np.arccos(cosine), abs=1e-7)


def test_rank_agreement_is_spearmans_correlation_of_distances(layers):
    x, y, _ = layers
    expected = stats.spearmanr(pdist(x), pdist(y)).statistic
    assert similarity.rank_agreement(gram_matrix(x), gram_matrix(y)) == pytest.approx(expected, abs=1e-12)


def test_participation_ratio_averages_over_disjoint_pairs_of_images():
    x = np.random.default_rng(1).normal(size=(7, 3)) * [3, 1, 1]
    differences = {(i, j): x[i] - x[j] for i, j in itertools.permutations(range(7), 2)}
    disjoint = [(differences[a, b], differences[c, d]) for a, b, c, d in itertools.permutations(range(7), 4)]
    squared_trace = np.mean([(u @ u) * (v @ v) for u, v in disjoint]) / 4
    trace_of_square = np.mean([(u @ v) ** 2 for u, v in disjoint]) / 4
    assert similarity.participation_ratio(gram_matrix(x)) == pytest.approx(squared_trace / trace_of_square, rel=1e-9)


def test_partial_cka_is_the_cosine_of_residuals_of_the_centred_geometries(layers):
    grams = [gram_matrix(layer) for layer in layers]
    x, y, z = (similarity.centre_unbiased(gram).ravel() for gram in grams)
    left, right = (v - z * (v @ z) / (z @ z) for v in (x, y))
    expected = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    assert similarity.partial_cka(*grams) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("with_confound", [False, True])
@pytest.mark.parametrize(
    "groups", [None, np.arange(30)[::-1].copy(), np.arange(30) % 9, np.repeat([4, 8, 1, 7, 5], [2, 3, 9, 6, 10])]
)
def test_the_jackknife_in_closed_form_is_the_one_made_by_leaving_images_out(layers, groups, with_confound):
    def estimate(keep):
        grams = [gram_matrix(layer[keep]) for layer in layers]
        return similarity.partial_cka(*grams) if with_confound else similarity.debiased_cka(*grams[:2])

    own = np.arange(30) if groups is None else groups
    names, sizes = np.unique(own, return_counts=True)
    whole = np.arctanh(estimate(np.full(30, True)))
    without = np.arctanh([estimate(own != name) for name in names])
    inverse = 30 / sizes
    pseudo = inverse * whole - (inverse - 1) * without
    centre = len(names) * whole - np.sum((1 - sizes / 30) * without)
    error = np.sqrt(np.mean((pseudo - centre) ** 2 / (inverse - 1)))
    half = stats.t.ppf(0.975, len(names) - 1) * error
    grams = [gram_matrix(layer) for layer in layers]
    interval = similarity.cka_interval(*grams[:2], confound=grams[2] if with_confound else None, groups=groups)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.tanh([whole - half, whole + half])), abs=1e-8)
