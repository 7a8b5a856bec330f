"""Similarity measures against other packages and other ways: rsatoolbox, singular values, scikit-learn, brute force."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from meta_baseline import similarity
from meta_baseline.representations.planes import find_plane
from meta_baseline.similarity import gram_matrix

# Written by rsatoolbox 0.3.2, which the file says; nothing of it runs here.
RSATOOLBOX = json.loads((Path(__file__).parent / "rsatoolbox.json").read_text(encoding="utf-8"))


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(40, 4))
    x = np.hstack([shared, rng.normal(size=(40, 6))]) + 3.0
    return x, shared @ rng.normal(size=(4, 7)) + 0.5 * rng.normal(size=(40, 7)) - 50.0, rng.normal(size=(40, 90))


@pytest.mark.parametrize("layer", RSATOOLBOX["features"])
def test_distances_are_those_of_rsatoolbox_which_divides_them_by_the_number_of_units(layer):
    features = np.array(RSATOOLBOX["features"][layer])
    distances = similarity.squared_distances(gram_matrix(features)) / features.shape[1]
    assert distances == pytest.approx(np.array(RSATOOLBOX["distances"][layer]), abs=1e-10)


@pytest.mark.parametrize("comparison", RSATOOLBOX["comparisons"])
def test_comparisons_of_distances_are_those_of_rsatoolbox(comparison):
    for pair, expected in RSATOOLBOX["comparisons"][comparison].items():
        grams = (gram_matrix(np.array(RSATOOLBOX["features"][layer])) for layer in pair.split())
        assert similarity.compare_distances(*grams, comparison) == pytest.approx(expected, abs=1e-9)


def test_the_whitened_comparison_of_distances_is_biased_cka(layers):
    x, y, _ = layers
    n = len(x)
    pairs = list(itertools.combinations(range(n), 2))
    contrast = np.zeros((len(pairs), n))
    for row, (i, j) in enumerate(pairs):
        contrast[row, [i, j]] = 1, -1
    inverse = np.linalg.pinv((contrast @ contrast.T) ** 2)
    a, b = (similarity.squared_distances(gram_matrix(layer)) for layer in (x, y))
    expected = a @ inverse @ b / math.sqrt((a @ inverse @ a) * (b @ inverse @ b))
    assert similarity.compare_distances(gram_matrix(x), gram_matrix(y), "whitened") == pytest.approx(expected, abs=1e-8)


def test_the_procrustes_angle_is_the_arc_cosine_of_the_nuclear_norm_to_eight_digits(layers):
    for a, b in itertools.product(layers, repeat=2):
        u, v = a - a.mean(0), b - b.mean(0)
        nuclear = np.linalg.svd(u.T @ v / (np.linalg.norm(u) * np.linalg.norm(v)), compute_uv=False).sum()
        found = similarity.procrustes_distance(gram_matrix(a), gram_matrix(b))
        if a is b:
            assert found == pytest.approx(0, abs=1e-7)  # an arc cosine at 1 has half of the digits
        else:
            assert abs(found - math.acos(nuclear)) < 1e-8


@pytest.mark.parametrize("width", [12, 3000])
def test_exact_pca_through_the_gram_matrix_is_that_of_the_full_solver(width):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, width)) * np.geomspace(5, 0.2, width) + 1000.0
    pca = PCA(n_components=8, svd_solver="full").fit(features)
    expected = pca.transform(features)
    scores, shares = similarity.principal_components(gram_matrix(features), 8)
    assert shares == pytest.approx(pca.explained_variance_ratio_, abs=1e-6)
    assert np.abs(scores) == pytest.approx(np.abs(expected), abs=1e-6 * np.abs(expected).max())
    assert np.abs((scores * expected).sum(0)) == pytest.approx((expected**2).sum(0), rel=1e-6)
    plane = find_plane(gram_matrix(features), network="meta", role="conv1", latents=np.zeros((60, 0)))
    assert plane.scores == pytest.approx(scores[:, :2], abs=1e-6 * np.abs(scores).max())
    assert plane.explained == pytest.approx(shares[:2], abs=1e-6)


def test_the_gaussian_kernel_is_scikit_learns_at_a_share_of_the_median_distance(layers):
    x = layers[0]
    distances = np.linalg.norm(x[:, None] - x, axis=2)
    width = 0.4 * np.median(distances[np.triu_indices(40, 1)])
    expected = rbf_kernel(x, gamma=1 / (2 * width**2))
    assert similarity.rbf_gram(gram_matrix(x), 0.4) == pytest.approx(expected, abs=1e-9)


def test_neighbours_are_those_of_scikit_learn(layers):
    x, y, _ = layers
    sets = [
        [set(row) for row in NearestNeighbors(n_neighbors=6).fit(layer).kneighbors(return_distance=False)]
        for layer in (x, y)
    ]
    expected = np.mean([len(a & b) / 6 for a, b in zip(*sets)])
    assert similarity.neighbour_overlap(gram_matrix(x), gram_matrix(y), 6) == pytest.approx(expected)


def test_images_at_one_distance_share_the_places_among_the_nearest():
    x = np.array([[0.0], [1.0], [-1.0], [1.0], [5.0], [9.0]])
    marked = similarity.mark_neighbours(gram_matrix(x), 2)
    assert marked[0] == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3, 0, 0])
    assert marked.sum(axis=1) == pytest.approx(np.full(6, 2))


def test_canonical_correlations_are_scikit_learns():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 4))
    y = np.hstack([x[:, :2] + 0.6 * rng.normal(size=(200, 2)), rng.normal(size=(200, 1))]) @ rng.normal(size=(3, 3))
    u, v = CCA(n_components=3, max_iter=5000, tol=1e-10).fit_transform(x, y)
    expected = np.array([stats.pearsonr(u[:, i], v[:, i]).statistic for i in range(3)])
    found = similarity.canonical_correlation(gram_matrix(x), gram_matrix(y))
    assert found.num_dimensions == (4, 3)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-5)
    assert found.mean_square == pytest.approx((expected**2).mean(), abs=1e-5)


def test_minibatch_cka_is_the_ratio_of_mean_unbiased_hsic(layers):
    x, y, z = layers
    total = similarity.MinibatchCKA()
    parts = np.arange(40).reshape(4, 10)
    for batch in parts:
        total.update([x[batch], z[batch]], [y[batch]])
    means = {
        key: np.mean([similarity.unbiased_hsic(gram_matrix(a[b]), gram_matrix(c[b])) for b in parts])
        for key, (a, c) in {"xy": (x, y), "zy": (z, y), "xx": (x, x), "yy": (y, y), "zz": (z, z)}.items()
    }
    expected = [means["xy"] / np.sqrt(means["xx"] * means["yy"]), means["zy"] / np.sqrt(means["zz"] * means["yy"])]
    assert total.result()[:, 0] == pytest.approx(expected, abs=1e-10)


def test_one_batch_of_all_images_gives_debiased_cka(layers):
    x, y, _ = layers
    found = similarity.minibatch_cka(x, y, batch_size=40, rng=np.random.default_rng(0))
    assert found == pytest.approx(similarity.debiased_cka(gram_matrix(x), gram_matrix(y)), abs=1e-10)


@pytest.mark.parametrize("groups", [None, np.arange(40) % 7])
def test_the_influence_in_closed_form_is_the_one_found_by_leaving_images_out(layers, groups):
    x, y, _ = layers
    own = np.arange(40) if groups is None else groups
    whole = similarity.debiased_cka(gram_matrix(x), gram_matrix(y))
    expected = [
        whole - similarity.debiased_cka(gram_matrix(x[own != name]), gram_matrix(y[own != name]))
        for name in np.unique(own)
    ]
    assert similarity.cka_influence(gram_matrix(x), gram_matrix(y), groups) == pytest.approx(
        np.array(expected), abs=1e-9
    )


def test_partial_rank_agreement_is_the_partial_correlation_of_ranks(layers):
    grams = [gram_matrix(layer) for layer in layers]
    x, y, z = (stats.rankdata(np.round(similarity.squared_distances(gram), 9)) for gram in grams)
    left, right = (v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y))
    expected = stats.pearsonr(left, right).statistic
    assert similarity.partial_rank_agreement(*grams) == pytest.approx(expected, abs=1e-9)
