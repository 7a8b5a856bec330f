"""What is said of layers, units and decisions, against scikit-dimension, scikit-learn, SciPy and plain sums."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import cohen_kappa_score

from meta_baseline import similarity
from meta_baseline.decisions.agreement import cross_tabulate, measure_kappa
from meta_baseline.decisions.sensitivity import measure_slopes
from meta_baseline.representations.dimension import fit_dimension, neighbour_ratios
from meta_baseline.representations.explained import bin_targets, explain_layer, explain_together
from meta_baseline.representations.layer_statistics import measure_sparseness
from meta_baseline.representations.mean_maps import standardise_difference
from meta_baseline.representations.paths import PIXELS, trace_paths
from meta_baseline.representations.unit_selectivity import measure_units

# skdim.id.TwoNN(discard_fraction=0.1).fit(x).dimension_, scikit-dimension 0.5.0, for the clouds of ``clouds()``.
TWONN = {"plane": 3.094450859901607, "cube": 5.557079332256153, "roll": 2.1018128629091297}


def clouds():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20))
    cube = rng.random((500, 6))
    turn = rng.random(600) * 9
    roll = np.stack([turn * np.cos(turn), 20 * rng.random(600), turn * np.sin(turn)], axis=1)
    return {"plane": plane, "cube": cube, "roll": roll}


@pytest.mark.parametrize("name", TWONN)
def test_the_twonn_dimension_is_that_of_scikit_dimension(name):
    gram = similarity.gram_matrix(clouds()[name])
    assert fit_dimension(neighbour_ratios(gram)) == pytest.approx(TWONN[name], rel=1e-6)


def test_equal_images_do_not_make_a_dimension():
    cloud = clouds()["cube"]
    twice = np.concatenate([cloud, cloud[:50]])
    assert np.isnan(neighbour_ratios(similarity.gram_matrix(twice))[:50]).all()
    assert fit_dimension(neighbour_ratios(similarity.gram_matrix(twice))) == pytest.approx(TWONN["cube"], rel=0.15)


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    for share in (0.1, 0.5, 0.9):
        first, second = rng.random(300) < share, rng.random(300) < 0.6
        second = np.where(rng.random(300) < 0.5, first, second)
        mine = float(measure_kappa(cross_tabulate(first, second)))
        assert mine == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def make_layer(num=240, seed=2):
    rng = np.random.default_rng(seed)
    latents = np.stack([rng.normal(size=num), rng.integers(0, 4, num)], axis=1)
    labels = rng.integers(0, 2, num)
    features = np.stack([latents[:, 0] ** 2, latents[:, 1], labels, *rng.normal(size=(5, num))], axis=1)
    return features, labels, latents


def eta_squared(features, codes):
    """Between over total sum of squares, adjusted, by plain sums."""
    centred = features - features.mean(axis=0)
    groups = [centred[codes == code] for code in np.unique(codes)]
    raw = sum(len(g) * (g.mean(axis=0) ** 2).sum() for g in groups) / (centred**2).sum()
    expected = (len(groups) - 1) / (len(features) - 1)
    return (raw - expected) / (1 - expected)


def test_shares_from_the_gram_matrix_are_those_of_an_analysis_of_variance():
    features, labels, latents = make_layer()
    targets = bin_targets(labels, latents, ("x", "count"))
    shares = explain_layer(similarity.gram_matrix(features), targets, network="meta", role="fc1")
    quintile = np.searchsorted(np.quantile(latents[:, 0], [0.2, 0.4, 0.6, 0.8]), latents[:, 0], side="right")
    for found, codes in zip(shares, (labels, quintile, latents[:, 1])):
        assert found.share == pytest.approx(eta_squared(features, codes), abs=1e-10)


def test_the_null_is_the_same_from_the_gram_matrix_and_from_the_features():
    features, labels, latents = make_layer()
    targets = bin_targets(labels, latents, ("x", "count"))
    gram, rng = similarity.gram_matrix(features + 100.0), np.random.default_rng(7)
    shuffles = np.stack([rng.permutation(len(labels)) for _ in range(50)])
    found = [
        explain_layer(gram, targets, network="meta", role="fc1", shuffles=shuffles, features=given)
        for given in (None, features + 100.0)
    ]
    for first, second in zip(*found):
        assert (first.share, first.chance) == pytest.approx((second.share, second.chance), rel=1e-4, nan_ok=True)


def test_shares_without_a_part_are_those_of_the_other_images():
    features, labels, latents = make_layer()
    parts = np.random.default_rng(3).integers(0, 6, len(labels))
    targets = bin_targets(labels, latents[:, 1:], ("count",))
    whole = explain_layer(similarity.gram_matrix(features), targets, network="meta", role="fc1", parts=parts)
    kept = [features[parts != part] for part in range(6)]
    left = np.array([eta_squared(x, labels[parts != part]) for part, x in enumerate(kept)])
    error = np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
    assert whole[0].high - whole[0].share == pytest.approx(2.5705818 * error, rel=1e-6)  # t(.975, 5)


def test_all_latents_together_explain_what_a_linear_model_of_their_bins_does():
    features, labels, latents = make_layer()
    indicators = bin_targets(labels, latents, ("x", "count")).indicators[:, 2:]
    model = LinearRegression().fit(indicators, features)
    raw = 1 - ((features - model.predict(indicators)) ** 2).sum() / ((features - features.mean(0)) ** 2).sum()
    expected = 7 / (len(features) - 1)
    found = explain_together(similarity.gram_matrix(features), indicators)
    assert found == pytest.approx((raw - expected) / (1 - expected), abs=1e-6)


def test_correlations_of_units_are_spearmans():
    features, labels, latents = make_layer()
    rows = np.arange(len(labels))
    found = measure_units(
        features, latents, ("x", "count"), network="meta", role="fc1", halves=rows % 2, shuffles=rows[None]
    )
    for unit, target in zip(found, latents.T):
        every = [spearmanr(column, target).statistic for column in features.T]
        assert unit.best == np.abs(every).argmax()
        assert unit.correlation == pytest.approx(every[unit.best], abs=1e-6)


def test_slopes_are_those_of_a_regression_with_the_class_in_it():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    latent = rng.normal(size=300) + labels
    margin = 0.7 * latent - 0.5 + labels + rng.normal(size=300)
    slopes = measure_slopes({"meta": margin}, labels, np.arange(300), {"size": latent}, rng)
    design = np.stack([latent, labels, np.ones(300)], axis=1)
    inside = [latent - np.where(labels == 1, latent[labels == 1].mean(), latent[labels == 0].mean())]
    right = ((margin > 0) == (labels == 1)).astype(float)
    raw = np.linalg.lstsq(design, right, rcond=None)[0][0] * inside[0].std()
    assert next(s for s in slopes if s.measure == "accuracy").slope == pytest.approx(raw, abs=1e-10)
    spread = (margin - np.where(labels == 1, margin[labels == 1].mean(), margin[labels == 0].mean())).std()
    raw = np.linalg.lstsq(design, margin, rcond=None)[0][0] * inside[0].std() / spread
    assert next(s for s in slopes if s.measure == "margin").slope == pytest.approx(raw, abs=1e-10)


def test_an_image_lies_at_the_mean_of_its_places_in_the_layers():
    rng = np.random.default_rng(5)
    layers = {("meta", f"fc{i}"): similarity.gram_matrix(rng.normal(size=(40, 5 + i))) for i in (1, 2, 3)}
    labels, rows = np.arange(40) % 2, np.arange(40)
    paths = trace_paths(
        layers,
        np.zeros((40, 40)),
        images=rows,
        followed=("meta",),
        labels=labels,
        latents=np.zeros((40, 0)),
        latent_names=(),
        shuffles=rows[None],
    )
    assert [path.role for path in paths.of("meta")] == ["fc1", "fc2", "fc3"]  # constant pixels are no layer
    mean = np.mean([path.scores for path in paths.paths], axis=0)
    compromise = np.mean([gram / np.trace(gram) for gram in layers.values()], axis=0)
    values, vectors = np.linalg.eigh(compromise)
    expected = vectors[:, ::-1][:, :2] * np.sqrt(values[::-1][:2])
    assert np.abs(mean) == pytest.approx(np.abs(expected), abs=1e-9)
    assert paths.compromise == pytest.approx(values[::-1][:2])
    assert PIXELS not in {path.network for path in paths.paths}


def test_differences_of_the_classes_are_cohens_d():
    rng = np.random.default_rng(6)
    values, ones = rng.normal(size=(50, 3)), rng.random(50) < 0.4
    first, second = values[ones], values[~ones]
    pooled = (len(first) * first.var(axis=0) + len(second) * second.var(axis=0)) / 48
    expected = (first.mean(axis=0) - second.mean(axis=0)) / np.sqrt(pooled)
    assert standardise_difference(values, ones[None])[0] == pytest.approx(expected, abs=1e-12)


def test_sparseness_is_one_for_one_image_and_zero_for_all_alike():
    assert measure_sparseness(np.eye(8)) == pytest.approx(1.0)
    assert measure_sparseness(np.ones((2, 8))) == pytest.approx(0.0)
    assert np.isnan(measure_sparseness(np.array([[-1.0, 2.0]])))
