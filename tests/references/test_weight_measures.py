"""Every number of the weight analysis against numpy, scipy, scikit-learn or a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from sklearn.decomposition import PCA
from torch import nn
from weight_worlds import make_network, random_images

from meta_baseline.alignment import fold_batch_norm, scale_layer
from meta_baseline.layers import list_layers
from meta_baseline.weight_space.layer_statistics import (
    MAGNITUDE_EDGES,
    cosine_and_distance,
    dead_fraction,
    excess_kurtosis,
    hoyer_sparsity,
    measure_layer,
)
from meta_baseline.weight_space.projections import principal_axes, project_jointly, subspace_cosines
from meta_baseline.weight_space.spectra import effective_rank, random_edge, singular_values, stable_rank


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(20, 300), (300, 20), (7, 7)])
def test_spectra_agree_with_numpy(rng, shape):
    matrix = rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(singular_values(matrix), np.linalg.svd(matrix, compute_uv=False), rtol=1e-5)


def test_ranks_have_their_closed_forms(rng):
    orthogonal = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    flat = singular_values(orthogonal[:5])
    assert (stable_rank(flat), effective_rank(flat)) == pytest.approx((5.0, 5.0))
    single = singular_values(np.outer(rng.standard_normal(9), rng.standard_normal(4)))
    assert (stable_rank(single), effective_rank(single)) == pytest.approx((1.0, 1.0))
    uneven = singular_values(np.diag([2.0, 1.0, 1.0]))
    assert stable_rank(uneven) == pytest.approx(6 / 4)
    assert effective_rank(uneven) == pytest.approx(np.exp(0.5 * np.log(2) + 0.5 * np.log(4)))
    assert np.isnan(stable_rank(singular_values(np.zeros((3, 4)))))


def test_kurtosis_agrees_with_scipy_and_sparsity_has_its_closed_forms(rng):
    values = rng.standard_t(5, size=(30, 40))
    assert excess_kurtosis(values) == pytest.approx(stats.kurtosis(values, axis=None))
    assert hoyer_sparsity(np.array([3.0, -3.0, 3.0, 3.0])) == pytest.approx(0.0)
    assert hoyer_sparsity(np.array([0.0, 0.0, -2.0])) == pytest.approx(1.0)
    # A normal sample: L1 / L2 tends to sqrt(2 n / pi).
    assert hoyer_sparsity(rng.standard_normal(10**6)) == pytest.approx(1 - np.sqrt(2 / np.pi), abs=2e-3)


def test_random_matrices_stay_at_the_edge_and_a_planted_direction_leaves_it(rng):
    matrix = rng.standard_normal((200, 800))
    assert singular_values(matrix)[0] == pytest.approx(random_edge(matrix), rel=0.02)
    spiked = matrix + 3.0 * np.outer(rng.standard_normal(200), rng.standard_normal(800)) / 10
    assert np.count_nonzero(singular_values(spiked) > random_edge(spiked) * 1.02) == 1


def test_dead_units_are_counted_by_weights_and_by_gain():
    matrix, gain = np.ones((10, 4)), np.ones(10)
    matrix[:2], gain[2] = 0.0, 1e-4
    assert dead_fraction(matrix) == pytest.approx(0.2)
    assert dead_fraction(matrix, gain) == pytest.approx(0.3)
    assert dead_fraction(np.zeros((3, 2))) == 1.0


def test_joint_components_agree_with_scikit_learn(rng):
    meta, baseline = rng.standard_normal((30, 12)) * np.linspace(1, 3, 12), rng.standard_normal((30, 12)) + 1
    ours = project_jointly(meta, baseline, meta[:5])
    reference = PCA(n_components=2, svd_solver="full").fit(np.concatenate([meta, baseline]))
    np.testing.assert_allclose(ours.explained, reference.explained_variance_ratio_)
    for mine, theirs in ((ours.meta, reference.transform(meta)), (ours.baseline, reference.transform(baseline))):
        np.testing.assert_allclose(np.abs(mine), np.abs(theirs), atol=1e-9)


def test_both_networks_count_the_same_in_the_joint_basis_whatever_their_number_of_units(rng):
    meta, baseline = rng.standard_normal((10, 6)), rng.standard_normal((40, 6)) * np.linspace(1, 2, 6)
    once, fourfold = project_jointly(meta, baseline, meta), project_jointly(np.repeat(meta, 4, 0), baseline, meta)
    np.testing.assert_allclose(once.explained, fourfold.explained)
    np.testing.assert_allclose(once.baseline, fourfold.baseline, atol=1e-9)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_axes_are_orthonormal_with_a_fixed_sign(rng, shape):
    matrix = rng.standard_normal(shape)
    axes, shares = principal_axes(matrix - matrix.mean(0), 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-10)
    assert (axes[np.abs(axes).argmax(0), range(3)] > 0).all()
    assert (np.diff(shares) < 0).all()
    flipped, _ = principal_axes(-(matrix - matrix.mean(0)), 3)
    np.testing.assert_allclose(axes, flipped, atol=1e-10)


def test_angles_between_subspaces_agree_with_scipy(rng):
    first, second = (np.linalg.qr(rng.standard_normal((15, 4)))[0] for _ in range(2))
    reference = np.sort(np.cos(linalg.subspace_angles(first, second)))[::-1]
    np.testing.assert_allclose(subspace_cosines(first, second), reference, atol=1e-9)


def test_equal_layers_are_at_distance_0_and_perpendicular_ones_at_the_root_of_2():
    network = make_network(0)
    layers = {layer.role: scale_layer(network, layer) for layer in list_layers(network)}
    cosine, distance = cosine_and_distance(layers["conv3"], layers["conv3"])
    assert (cosine, distance) == pytest.approx((1.0, 0.0), abs=1e-6)
    other = scale_layer(make_network(1), list_layers(network)[2])
    cosine, distance = cosine_and_distance(layers["conv3"], other)
    assert distance == pytest.approx(np.sqrt(2 - 2 * cosine), rel=1e-5)
    assert distance == pytest.approx(np.sqrt(2), abs=0.02)


@pytest.mark.parametrize("name", ["stack4", "conv2"])
def test_a_folded_convolution_does_what_convolution_and_batch_norm_do(name):
    network = make_network(4, name=name)
    conv, norm = network.conv1, network.bn1
    folded = fold_batch_norm(network, list_layers(network)[0])
    assert folded is not None
    images = random_images(network)
    weight, bias = (torch.from_numpy(value).float() for value in folded)
    with torch.inference_mode():
        expected = norm(conv(images))
        found = nn.functional.conv2d(images, weight, bias, padding=conv.padding)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert fold_batch_norm(network, list_layers(network)[-1]) is None


def test_survival_is_the_share_of_weights_above_each_magnitude():
    network = make_network(2)
    layer = list_layers(network)[4]
    weight = network.fc_layers[0].weight.detach().double().abs().flatten()
    scaled = weight / weight.square().mean().sqrt()
    shares = [float((scaled > edge).double().mean()) for edge in MAGNITUDE_EDGES]
    np.testing.assert_allclose(measure_layer(network, layer).survival, shares, atol=2 / len(scaled))
