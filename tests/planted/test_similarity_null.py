"""Layers that have nothing to do with each other, and images or directions that were planted."""

import numpy as np
import pytest

from meta_baseline import similarity
from meta_baseline.errors import UsageError
from meta_baseline.similarity import gram_matrix


def independent(rng, num_images, first, second):
    return gram_matrix(rng.normal(size=(num_images, first))), gram_matrix(rng.normal(size=(num_images, second)))


def correlated(rng, num_images, loading, width=10):
    shared = rng.normal(size=(num_images, width)) * loading
    return tuple(gram_matrix(shared + rng.normal(size=(num_images, width))) for _ in range(2))


@pytest.mark.parametrize(
    ("num_images", "first", "second"), [(10, 5, 5), (10, 400, 900), (40, 3, 300), (100, 500, 500), (200, 20, 4000)]
)
def test_debiased_cka_of_independent_layers_is_zero_and_the_biased_one_follows_its_formula(num_images, first, second):
    rng = np.random.default_rng(num_images + first)
    repeats = 40 if num_images * second > 100_000 else 200
    debiased, biased = [], []
    for _ in range(repeats):
        grams = independent(rng, num_images, first, second)
        debiased.append(similarity.debiased_cka(*grams))
        biased.append(similarity.biased_cka(*grams))
    assert abs(np.mean(debiased)) < 3 * np.std(debiased, ddof=1) / np.sqrt(repeats)
    expected = similarity.expected_biased_cka(num_images, first, second)
    assert expected == pytest.approx(
        np.sqrt(first * second / ((first + num_images) * (second + num_images)))  # m + 1 = N
    )
    # A ratio of means is the mean of ratios but for terms of order 1 / N^2.
    assert np.mean(biased) == pytest.approx(expected, abs=3 * np.std(biased) / np.sqrt(repeats) + 1 / num_images**2)


@pytest.mark.parametrize("measure", ["rbf", "minibatch", "rank", "rho-a", "neighbours", "canonical"])
def test_every_measure_with_a_stated_null_is_there_for_independent_layers(measure):
    rng = np.random.default_rng(3)
    found, expected = [], 0.0
    for _ in range(150):
        x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 6))
        grams = gram_matrix(x), gram_matrix(y)
        if measure == "rbf":
            found.append(similarity.rbf_cka(*grams))
        elif measure == "minibatch":
            found.append(similarity.minibatch_cka(x, y, batch_size=12, rng=rng))
        elif measure == "rank":
            found.append(similarity.rank_agreement(*grams))
        elif measure == "rho-a":
            found.append(similarity.compare_distances(*grams, "rho-a"))
        elif measure == "neighbours":
            found.append(similarity.neighbour_overlap(*grams, 6))
            expected = similarity.chance_overlap(60, 6)
        else:
            found.append(similarity.canonical_correlation(*grams).adjusted)
    assert abs(np.mean(found) - expected) < 3 * np.std(found, ddof=1) / np.sqrt(len(found))


@pytest.mark.parametrize("batch_size", [5, 20, 100])
def test_minibatch_cka_finds_the_same_whatever_the_size_of_a_batch(batch_size):
    rng = np.random.default_rng(4)
    found = []
    for _ in range(30):
        shared = rng.normal(size=(400, 10)) * 1.5
        x, y = (shared + rng.normal(size=(400, 10)) for _ in range(2))
        found.append(similarity.minibatch_cka(x, y, batch_size=batch_size, rng=rng))
    truth = 1.5**4 / (1.5**2 + 1) ** 2
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found) / np.sqrt(30) + 0.003)


def test_rbf_cka_sees_a_shared_nearness_that_linear_cka_does_not():
    rng = np.random.default_rng(5)
    angle = rng.uniform(0, 2 * np.pi, 300)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    twice = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)])
    grams = gram_matrix(circle), gram_matrix(twice)
    assert abs(similarity.debiased_cka(*grams)) < 0.03
    assert similarity.rbf_cka(*grams, fraction=0.2) > 0.15


def test_a_common_cause_is_taken_out_of_ranks_and_kernels_too():
    rng = np.random.default_rng(6)
    pixels = rng.normal(size=(120, 4)) * 2
    x, y = (np.hstack([pixels, rng.normal(size=(120, 6))]) for _ in range(2))
    own = rng.normal(size=(120, 4)) * 2
    grams = [gram_matrix(layer) for layer in (x, y, pixels)]
    assert similarity.rank_agreement(*grams[:2]) > 0.5
    assert abs(similarity.partial_rank_agreement(*grams)) < 0.1
    assert similarity.rbf_cka(*grams[:2], fraction=1) > 0.5
    assert abs(similarity.rbf_cka(*grams[:2], confound=grams[2], fraction=1)) < 0.1
    with_own = [gram_matrix(np.hstack([layer, own])) for layer in (x, y)]
    assert similarity.partial_rank_agreement(*with_own, grams[2]) > 0.3
    assert similarity.rbf_cka(*with_own, confound=grams[2], fraction=1) > 0.3


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_rank_agreement_covers_the_value_of_many_images_at_the_nominal_rate(grouped):
    rng = np.random.default_rng(7)
    truth = np.mean([similarity.rank_agreement(*correlated(rng, 400, 1.0)) for _ in range(12)])
    covered = []
    for _ in range(150):
        if grouped:  # 60 images of 15 identities, each seen four times
            shared = rng.normal(size=(15, 10))
            x, y = (np.repeat(shared + rng.normal(size=(15, 10)), 4, axis=0) for _ in range(2))
            x, y = (layer + 0.01 * rng.normal(size=layer.shape) for layer in (x, y))
            grams, groups = (gram_matrix(x), gram_matrix(y)), np.repeat(np.arange(15), 4)
        else:
            grams, groups = correlated(rng, 60, 1.0), None
        interval = similarity.rank_interval(*grams, groups=groups)
        covered.append(interval.low <= truth <= interval.high)
    assert np.mean(covered) >= (0.85 if grouped else 0.9)
    assert np.mean(covered) <= 0.99
    assert interval.method == (
        "jackknife over 15 blocks of groups of images" if grouped else "jackknife over 24 blocks of images"
    )


def test_the_two_images_on_which_a_cka_rests_have_the_largest_influence():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, 80, 30))
    x[[17, 40]] += 12
    y[[17, 40]] -= 9
    influence = similarity.cka_influence(gram_matrix(x), gram_matrix(y))
    assert set(np.argsort(influence)[-2:]) == {17, 40}
    assert influence[[17, 40]].min() > 0.5 and np.abs(np.delete(influence, [17, 40])).max() < 0.05
    y[[17, 40]] += 9
    assert np.abs(similarity.cka_influence(gram_matrix(x), gram_matrix(y))).max() < 0.1


def test_canonical_correlations_are_refused_where_chance_would_do():
    rng = np.random.default_rng(9)
    grams = independent(rng, 100, 11, 4)
    with pytest.raises(UsageError, match="of 11 and 4 dimensions need 110 images, ten per dimension; found 100"):
        similarity.canonical_correlation(*grams)
    narrow = gram_matrix(rng.normal(size=(100, 11)) * np.r_[np.full(3, 20.0), np.full(8, 0.1)])
    found = similarity.canonical_correlation(narrow, grams[1], explained=0.99)
    assert found.num_dimensions[0] == 3 and 0.99 <= found.explained[0] < 1
    with pytest.raises(UsageError, match="A constant layer has no canonical correlations"):
        similarity.canonical_correlation(gram_matrix(np.full((100, 3), 1e4 / 3)), grams[1])
    with pytest.raises(UsageError, match=r"Components cannot explain 0 of a layer's variance"):
        similarity.canonical_correlation(*grams, explained=0)
