"""What the further measures of similarity may not notice, each with the twin that it must, and what they refuse."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from meta_baseline import similarity
from meta_baseline.errors import UsageError
from meta_baseline.similarity import gram_matrix

COMPARISONS = ("cosine", "corr", "whitened", "rho-a")


def measures(x, y, confound):
    k, l = gram_matrix(x), gram_matrix(y)  # noqa: E741
    interval = similarity.rank_interval(k, l)
    return np.array(
        [
            *(similarity.compare_distances(k, l, name) for name in COMPARISONS),
            similarity.rbf_cka(k, l),
            similarity.rbf_cka(k, l, confound=gram_matrix(confound)),
            similarity.partial_rank_agreement(k, l, gram_matrix(confound)),
            similarity.neighbour_overlap(k, l, 8),
            similarity.minibatch_cka(x, y, batch_size=20, rng=np.random.default_rng(0)),
            interval.low,
            interval.high,
        ]
    )


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * np.geomspace(3, 0.6, 5)
    return x, x[:, :4] @ rng.normal(size=(4, 12)) + rng.normal(size=(60, 12)), rng.normal(size=(60, 3)) + x[:, :3]


def test_rotation_order_scale_and_origin_of_units_do_not_matter(layers):
    x, y, confound = layers
    rng = np.random.default_rng(1)
    before = measures(x, y, confound)
    for changed in (x @ ortho_group.rvs(5, random_state=2), x[:, rng.permutation(5)], 7.5 * x, x + rng.normal(size=5)):
        assert measures(changed, y, confound) == pytest.approx(before, abs=1e-6)


def test_a_linear_map_that_is_not_a_rotation_does_and_only_canonical_correlations_are_deaf_to_it(layers):
    x, y, confound = layers
    changed = x * np.geomspace(0.1, 10, 5)
    assert (np.abs(measures(changed, y, confound) - measures(x, y, confound)) > 1e-2).all()
    before, after = (
        similarity.canonical_correlation(gram_matrix(own), gram_matrix(y[:, :6])).mean for own in (x, changed)
    )
    assert after == pytest.approx(before, abs=1e-9)


def test_canonical_correlations_notice_what_is_no_linear_map(layers):
    x, y, _ = layers
    pairs = (gram_matrix(own) for own in (x, np.maximum(x, 0)))
    before, after = (similarity.canonical_correlation(own, gram_matrix(y[:, :6])).mean for own in pairs)
    assert abs(after - before) > 1e-2


def test_the_images_of_one_layer_must_be_those_of_the_other(layers):
    x, y, confound = layers
    order = np.random.default_rng(3).permutation(60)
    moved = measures(x[order], y, confound)
    assert (np.abs(moved - measures(x, y, confound)) > 1e-2).all()
    together = measures(x[order], y[order], confound[order])
    kept = [i for i in range(len(moved)) if i not in (8, 9, 10)]  # batches and blocks are of other images
    assert together[kept] == pytest.approx(measures(x, y, confound)[kept], abs=1e-6)


def test_the_measures_are_symmetric(layers):
    x, y, confound = layers
    assert measures(x, y, confound) == pytest.approx(measures(y, x, confound), abs=1e-6)


def test_a_constant_layer_gives_nan_in_every_measure():
    rng = np.random.default_rng(4)
    k, constant = gram_matrix(rng.normal(size=(30, 4))), gram_matrix(np.full((30, 30), 1e4 / 3))
    for name in ("corr", "rho-a", "whitened", "spearman"):
        assert np.isnan(similarity.compare_distances(k, constant, name))
    assert np.isnan(similarity.rbf_cka(k, constant))
    assert np.isnan(similarity.neighbour_overlap(k, constant))
    assert np.isnan(similarity.rank_interval(k, constant).low)
    assert np.isnan(similarity.cka_influence(k, constant)).all()
    assert np.isnan(similarity.procrustes_distance(k, constant))
    total = similarity.MinibatchCKA()
    total.update([rng.normal(size=(9, 3))], [np.ones((9, 2))])
    assert np.isnan(total.result()).all()
    scores, shares = similarity.principal_components(constant, 2)
    assert (shares == 0).all() or np.abs(scores).max() < 1e-9


def test_bad_arguments_are_refused_with_what_would_do():
    k = gram_matrix(np.random.default_rng(5).normal(size=(9, 4)))
    with pytest.raises(UsageError, match=r"No comparison of distances 'kendall'. Choose one of 'cosine', 'corr'"):
        similarity.compare_distances(k, k, "kendall")
    with pytest.raises(UsageError, match=r"9 images do not have 10 nearest neighbours to choose\. Use at least 12"):
        similarity.neighbour_overlap(k, k)
    with pytest.raises(UsageError, match="over 3 groups of images cannot be made"):
        similarity.rank_interval(k, k, groups=np.arange(9) % 3)
    with pytest.raises(UsageError, match="width 0 times the median"):
        similarity.rbf_cka(k, k, fraction=0)
    with pytest.raises(UsageError, match=r"A batch size of 3 does not fit 9 images\. Choose one from 4 to 9"):
        similarity.minibatch_cka(np.ones((9, 2)), np.ones((9, 2)), batch_size=3, rng=np.random.default_rng(0))
    with pytest.raises(UsageError, match=r"at least 4 images, the same in all layers; found \[4, 5\]"):
        similarity.MinibatchCKA().update([np.ones((4, 2))], [np.ones((5, 2))])
    with pytest.raises(UsageError, match="No batch was added"):
        similarity.MinibatchCKA().result()
