"""What similarity may not notice, each with the twin that it must notice."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from meta_baseline import similarity
from meta_baseline.errors import UsageError
from meta_baseline.similarity import gram_matrix


def measures(x, y, confound):
    k, l = gram_matrix(x), gram_matrix(y)  # noqa: E741
    interval = similarity.cka_interval(k, l)
    return np.array(
        [
            similarity.debiased_cka(k, l),
            similarity.biased_cka(k, l),
            similarity.partial_cka(k, l, gram_matrix(confound)),
            similarity.procrustes_distance(k, l),
            similarity.rank_agreement(k, l),
            interval.low,
            interval.high,
        ]
    )


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8)) * np.geomspace(3, 0.3, 8)
    return x, x[:, :5] @ rng.normal(size=(5, 12)) + rng.normal(size=(40, 12)), rng.normal(size=(40, 3)) + x[:, :3]


def test_no_measure_notices_rotation_order_scale_or_origin_of_units(layers):
    x, y, confound = layers
    rng = np.random.default_rng(1)
    before = measures(x, y, confound)
    for changed in (x @ ortho_group.rvs(8, random_state=2), x[:, rng.permutation(8)], 7.5 * x, x + rng.normal(size=8)):
        assert measures(changed, y, confound) == pytest.approx(before, abs=1e-6)


def test_every_measure_notices_a_linear_map_that_is_not_a_rotation(layers):
    x, y, confound = layers
    assert (np.abs(measures(x * np.geomspace(0.1, 10, 8), y, confound) - measures(x, y, confound)) > 1e-2).all()


def test_no_measure_notices_the_order_of_images(layers):
    x, y, confound = layers
    order = np.random.default_rng(3).permutation(40)
    assert measures(x[order], y[order], confound[order]) == pytest.approx(measures(x, y, confound), abs=1e-6)


def test_every_measure_notices_when_the_images_of_one_layer_are_shuffled(layers):
    x, y, confound = layers
    order = np.random.default_rng(3).permutation(40)
    assert (np.abs(measures(x[order], y, confound) - measures(x, y, confound)) > 1e-2).all()


def test_similarity_is_symmetric(layers):
    x, y, confound = layers
    assert measures(x, y, confound) == pytest.approx(measures(y, x, confound), abs=1e-6)


def test_a_layer_agrees_with_itself_completely(layers):
    k = gram_matrix(layers[0])
    assert similarity.debiased_cka(k, k) == pytest.approx(1)
    assert similarity.rank_agreement(k, k) == pytest.approx(1)
    assert similarity.procrustes_distance(k, k) == pytest.approx(0, abs=1e-6)
    interval = similarity.cka_interval(k, k)
    assert interval.low == pytest.approx(1) and interval.high == pytest.approx(1)


def test_procrustes_distance_keeps_the_triangle_inequality():
    rng = np.random.default_rng(4)
    for _ in range(20):
        a, b, c = (gram_matrix(rng.normal(size=(12, d))) for d in rng.integers(2, 30, 3))
        direct = similarity.procrustes_distance(a, c)
        assert direct <= similarity.procrustes_distance(a, b) + similarity.procrustes_distance(b, c) + 1e-9


def test_debiased_cka_stays_between_minus_one_and_one_and_is_at_times_negative():
    rng = np.random.default_rng(5)
    values = [
        similarity.debiased_cka(gram_matrix(rng.normal(size=(5, 9))), gram_matrix(rng.normal(size=(5, 9))))
        for _ in range(300)
    ]
    assert -1 <= min(values) < -0.3 and max(values) <= 1


def test_a_constant_layer_gives_nan_instead_of_a_number():
    k, constant = gram_matrix(np.random.default_rng(6).normal(size=(9, 4))), gram_matrix(np.full((9, 30), 1e4 / 3))
    assert np.isnan(similarity.debiased_cka(k, constant))
    assert np.isnan(similarity.rank_agreement(k, constant))
    assert np.isnan(similarity.biased_cka(k, constant))
    assert np.isnan(similarity.procrustes_distance(k, constant))
    assert np.isnan(similarity.participation_ratio(constant))
    assert np.isnan(similarity.cka_interval(k, constant).low)


def test_three_images_are_refused_with_the_number_needed():
    k = gram_matrix(np.eye(3))
    with pytest.raises(UsageError, match=r"at least 4 images; found shape \(3, 3\)"):
        similarity.debiased_cka(k, k)


def test_an_interval_over_three_groups_is_refused():
    k = gram_matrix(np.random.default_rng(7).normal(size=(12, 3)))
    with pytest.raises(UsageError, match="over 3 groups of images cannot be made"):
        similarity.cka_interval(k, k, groups=np.arange(12) % 3)


def test_the_geometry_survives_a_mean_a_thousand_times_larger_than_the_signal(layers):
    x, y, _ = layers
    shifted = (x + 1000 * np.abs(x).max()).astype(np.float32)
    assert similarity.debiased_cka(gram_matrix(shifted), gram_matrix(y)) == pytest.approx(
        similarity.debiased_cka(gram_matrix(x), gram_matrix(y)), abs=1e-3
    )
