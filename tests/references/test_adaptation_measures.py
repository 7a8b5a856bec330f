"""The measures of adaptation against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestCentroid

from meta_baseline.adaptation_space.change import answer_without_head, nearest_centroid, relative_change
from meta_baseline.adaptation_space.coherence import SKETCH, compare_directions, principal_plane, sketch
from meta_baseline.adaptation_space.contrasts import average
from meta_baseline.adaptation_space.sharpness import steepest_rise
from meta_baseline.statistics import mean_interval


def test_nearest_class_means_from_inner_products_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(3.0, 1.0, (50, 7)), np.arange(10) % 2
    expected = NearestCentroid().fit(features[:10], labels).predict(features[10:])
    np.testing.assert_array_equal(nearest_centroid(features @ features.T, labels), expected.astype(bool))


def test_answers_without_a_head_are_summed_cosines():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(0.5, 1.0, (30, 5)), np.arange(8) % 2
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    votes = np.array([unit[8:] @ unit[:8][labels == label].sum(axis=0) for label in (0, 1)])
    np.testing.assert_array_equal(answer_without_head(features @ features.T, labels), votes[1] > votes[0])


def test_activations_that_are_not_finite_give_no_answer_of_same_and_no_warning():
    gram = np.full((6, 6), np.inf)
    for answer in (nearest_centroid, answer_without_head):
        assert answer(gram, np.array([0, 1])).tolist() == [False] * 4


def test_intervals_over_episodes_are_students_and_leave_out_what_is_undefined():
    values = np.array([0.1, 0.4, 0.2, 0.5])
    mean, expected = average(np.append(values, np.nan)), mean_interval(values)
    assert (mean.low, mean.high) == pytest.approx((expected.low, expected.high))


def test_relative_change_is_a_ratio_of_lengths():
    assert relative_change(np.array([3.0, 4.0]), np.array([0.0, 0.5])) == pytest.approx(0.1)
    assert np.isnan(relative_change(np.zeros(2), np.ones(2)))


def test_sketches_keep_cosines_and_short_vectors_as_they_are():
    rng = np.random.default_rng(0)
    common = rng.normal(size=40 * SKETCH)
    first, second = (common + rng.normal(size=len(common)) for _ in range(2))
    true = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    a, b = (sketch(vector.astype(np.float32), 3).astype(np.float64) for vector in (first, second))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(true, abs=0.03)
    np.testing.assert_array_equal(sketch(common[:100].astype(np.float32), 0), common[:100].astype(np.float32))


def test_the_principal_plane_from_inner_products_is_that_of_scikit_learn():
    points = np.random.default_rng(0).normal(size=(20, 6)) * [5, 3, 1, 1, 1, 1]
    places, shares = principal_plane(points @ points.T)
    pca = PCA(2).fit(points)
    np.testing.assert_allclose(np.abs(places), np.abs(pca.transform(points)), atol=1e-8)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_)


def test_episodes_without_a_common_direction_are_beyond_their_null_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(200):
        paths, shuffled = rng.normal(size=(2, 12, 30))
        coherence = compare_directions(paths @ paths.T, shuffled @ shuffled.T)
        outside += not coherence.low <= 0 <= coherence.high
    assert outside <= 20  # 10 expected


def test_a_common_direction_gives_its_cosine():
    rng = np.random.default_rng(0)
    paths, shuffled = rng.normal(size=(2, 40, 400))
    paths += 20 * np.eye(400)[0]
    coherence = compare_directions(paths @ paths.T, shuffled @ shuffled.T)
    assert coherence.value == pytest.approx(0.5, abs=0.03)
    assert coherence.low > 0.4


def test_the_steepest_rise_of_a_quadratic_is_its_closed_form():
    matrix = torch.diag(torch.tensor([4.0, 1.0]))
    place = {"x": torch.tensor([1.0, 2.0])}

    def loss(at):
        return at["x"] @ matrix @ at["x"] / 2

    gradient = matrix @ place["x"]
    length = gradient.norm()
    expected = 0.1 * length + 0.005 * (gradient @ matrix @ gradient) / length**2
    assert steepest_rise(loss, place, float(loss(place)), {"x": gradient}, 0.1) == pytest.approx(
        float(expected), rel=1e-5
    )
    assert steepest_rise(loss, place, 0.0, {"x": torch.zeros(2)}, 0.1) == 0.0
