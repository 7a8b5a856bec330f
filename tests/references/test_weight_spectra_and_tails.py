"""Spectra, tails, redundancy and dimension of weights against closed forms and values of other packages.

The values of powerlaw 2.0.0 and scikit-dimension 0.5.0 were printed by::

    pip install powerlaw==2.0.0 scikit-dimension==0.5.0
    python -c "
    import numpy as np, powerlaw, skdim
    rng = np.random.default_rng(7)
    for x in ((1 - rng.random(400)) ** (-1 / 1.5), np.linalg.svd(rng.standard_t(2.5, (150, 300)))[1] ** 2):
        fit = powerlaw.Fit(x, verbose=False, parameter_ranges={'alpha': [1, 20]})
        print(fit.alpha, fit.xmin, fit.D, sum(x >= fit.xmin), fit.distribution_compare('power_law', 'lognormal')[0])
    for d, D in ((2, 10), (5, 20), (10, 40)):
        rng = np.random.default_rng(d)
        points = rng.standard_normal((300, d)) @ np.linalg.qr(rng.standard_normal((D, D)))[0][:d]
        print(skdim.id.TwoNN(discard_fraction=0.1).fit(points).dimension_)"
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from weight_worlds import make_network

from meta_baseline.layers import list_layers
from meta_baseline.weight_space.heavy_tails import fit_tail
from meta_baseline.weight_space.layer_statistics import measure_layer
from meta_baseline.weight_space.redundancy import measure_redundancy, two_nearest_dimension
from meta_baseline.weight_space.running_statistics import list_running_statistics
from meta_baseline.weight_space.spectra import (
    largest_singular_value,
    participation_ratio,
    random_edge,
    share_beyond,
    shuffled_edge,
    singular_values,
)


def test_participation_ratio_has_its_closed_forms():
    rng = np.random.default_rng(0)
    assert participation_ratio(np.full(9, 2.0)) == pytest.approx(9.0)
    assert participation_ratio(np.array([3.0, 0.0])) == pytest.approx(1.0)
    assert participation_ratio(np.sqrt([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)
    # A random C x D matrix: 1 / (1 / C + 1 / D), from the first two moments of Marchenko & Pastur.
    wide = singular_values(rng.standard_normal((200, 600)))
    assert participation_ratio(wide) == pytest.approx(1 / (1 / 200 + 1 / 600), rel=0.01)
    assert np.isnan(participation_ratio(np.zeros(3)))


@pytest.mark.parametrize("shape", [(30, 500), (150, 90), (90, 400)])
def test_the_largest_singular_value_agrees_with_numpy(shape):
    matrix = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    assert largest_singular_value(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=2e-4)


def test_the_shuffled_edge_is_that_of_marchenko_and_pastur_for_normal_weights_and_higher_for_heavy_tails():
    rng = np.random.default_rng(2)
    normal = rng.standard_normal((150, 400))
    assert shuffled_edge(normal) == pytest.approx(random_edge(normal), rel=0.03)
    heavy = np.random.default_rng(6).standard_t(2.2, size=(150, 400))
    spectrum = singular_values(heavy)
    assert share_beyond(spectrum, random_edge(heavy)) > 0.02, "the theoretical edge mistakes tails for structure"
    assert share_beyond(spectrum, shuffled_edge(heavy)) <= 0.01


def test_planted_directions_lie_beyond_the_layers_own_shuffle():
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((100, 300))
    for _ in range(4):
        matrix += 4 * np.outer(rng.standard_normal(100), rng.standard_normal(300)) / np.sqrt(100)
    assert share_beyond(singular_values(matrix), shuffled_edge(matrix)) == pytest.approx(0.04)


def test_power_law_tails_agree_with_powerlaw():
    rng = np.random.default_rng(7)
    pareto = fit_tail((1 - rng.random(400)) ** (-1 / 1.5))
    assert (pareto.exponent, pareto.threshold) == pytest.approx((2.4901529079439566, 1.003525677385209))
    assert (pareto.distance, pareto.num_tail) == (pytest.approx(0.026113491801049382), 398)
    assert pareto.log_ratio == pytest.approx(-0.22923767158849695, abs=0.02)
    assert pareto.reason == ""
    student = fit_tail(np.linalg.svd(rng.standard_t(2.5, (150, 300)))[1] ** 2)
    assert (student.exponent, student.threshold) == pytest.approx((4.279427696504957, 2627.167180849513))
    assert (student.distance, student.num_tail) == (pytest.approx(0.07223538817944863), 17)


def test_tail_and_stable_rank_of_a_dense_layer_agree_with_weightwatcher():
    # weightwatcher 0.7.7: WeightWatcher(model=Sequential(Linear(300, 150, bias=False))).analyze(min_evals=10), with
    # these weights; its columns alpha, xmin, D, num_pl_spikes and stable_rank.
    weight = np.random.default_rng(11).standard_t(2.5, (150, 300)).astype(np.float32)
    spectrum = singular_values(weight)
    fit = fit_tail(spectrum**2)
    assert (fit.exponent, fit.threshold) == pytest.approx((3.130864296701557, 2339.85731134936), rel=1e-6)
    assert (fit.distance, fit.num_tail) == (pytest.approx(0.04571549379706812, rel=1e-5), 29)
    assert spectrum[0] ** 2 == pytest.approx(14173.317395288143, rel=1e-6)
    assert np.sum(spectrum**2) / spectrum[0] ** 2 == pytest.approx(16.274588491852676, rel=1e-6)
    assert "29 values" in fit.reason, "where it gives an exponent of 3.1, we say why we do not"


def test_an_exponent_is_refused_with_the_reason():
    rng = np.random.default_rng(8)
    assert "fewer than 50" in fit_tail(rng.random(20)).reason
    assert "best threshold leaves" in fit_tail(singular_values(rng.standard_normal((300, 500))) ** 2).reason
    assert "Kolmogorov-Smirnov" in fit_tail((1 - np.random.default_rng(1).random(60)) ** (-1 / 1.5)).reason
    assert "log-normal tail fits better" in fit_tail(np.exp(1 + 0.9 * rng.standard_normal(4000))).reason
    assert fit_tail(np.ones(100)).reason, "all values equal"


def test_random_layers_have_no_admissible_tail():
    network = make_network(0, trained=False)
    assert all(measure_layer(network, layer).tail.reason for layer in list_layers(network))


@pytest.mark.parametrize(
    ("dimension", "space", "reference"),
    [(2, 10, 2.4011241970223045), (5, 20, 5.3070047515937855), (10, 40, 9.577712908759445)],
)
def test_two_nearest_dimension_agrees_with_scikit_dimension(dimension, space, reference):
    rng = np.random.default_rng(dimension)
    points = rng.standard_normal((300, dimension)) @ np.linalg.qr(rng.standard_normal((space, space)))[0][:dimension]
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    assert two_nearest_dimension(distances) == pytest.approx(reference, rel=1e-6)
    assert measure_redundancy(points).dimension == pytest.approx(reference, rel=1e-3)


def test_redundancy_has_its_closed_forms():
    rng = np.random.default_rng(9)
    half = rng.standard_normal((40, 500))
    assert measure_redundancy(half).mean_cosine == pytest.approx(np.sqrt(2 / (np.pi * 500)), rel=0.05)
    copied = measure_redundancy(np.concatenate([half, 2 * half]))
    assert copied.nearest_cosine == pytest.approx(1.0, abs=1e-5)
    assert measure_redundancy(np.eye(30)).mean_cosine == 0.0
    assert measure_redundancy(np.concatenate([np.eye(30), np.zeros((5, 30))])).nearest_cosine == 0.0
    assert np.isnan(measure_redundancy(half[:1]).mean_cosine)


def test_the_operator_norm_of_a_dense_layer_bounds_its_gain():
    network = make_network(1, head="baseline")
    layer = next(layer for layer in list_layers(network) if layer.role == "fc1")
    weight = network.fc1.weight.detach().double().numpy()
    assert measure_layer(network, layer).values["operator_norm"] == pytest.approx(np.linalg.norm(weight, 2), rel=1e-3)
    assert np.isnan(measure_layer(network, list_layers(network)[0]).values["operator_norm"])


def test_running_statistics_stand_in_a_table_of_their_own():
    network = make_network(2)
    network.bn2.running_mean = torch.full((32,), 3.0)
    network.bn2.running_var = torch.full((32,), 4.0)
    rows = {row.role: row for row in list_running_statistics(network, "meta")}
    assert set(rows) == {"conv1", "conv2", "conv3", "conv4"}
    assert (rows["conv2"].mean_rms, rows["conv2"].sd_low, rows["conv2"].sd_high) == (3.0, 2.0, 2.0)
    fresh = list_running_statistics(make_network(2, trained=False), "meta")
    assert not any(row.calibrated for row in fresh)
