"""Whole networks on two components, and the stability of the plane of a layer's units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from weight_worlds import add_noise, make_network, shuffle_units

from meta_baseline.alignment import apply_permutation, scale_layer
from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.layers import list_layers
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.checkpoint_series import list_series, load_series
from meta_baseline.weight_space.projections import bootstrap_stability
from meta_baseline.weight_space.trajectories import NetworkPoint, project_networks

ROLES = ["conv2", "conv3", "fc1"]


def flatten(network) -> np.ndarray:
    layers = [layer for layer in list_layers(network) if layer.role in ROLES]
    return np.concatenate([scale_layer(network, layer).weight.reshape(-1) for layer in layers])


def test_components_of_whole_networks_agree_with_scikit_learn():
    start = make_network(0)
    networks = [start, *(add_noise(start, 0.2 * i, seed=i) for i in range(1, 6))]
    points = [NetworkPoint(network="meta", num_images=i, model=network) for i, network in enumerate(networks)]
    ours = project_networks(points, ROLES)
    reference = PCA(n_components=2, svd_solver="full").fit(np.stack([flatten(network) for network in networks]))
    assert ours is not None
    np.testing.assert_allclose(ours.explained, reference.explained_variance_ratio_, rtol=1e-4)
    expected = reference.transform(np.stack([flatten(network) for network in networks]))
    np.testing.assert_allclose(np.abs(ours.coordinates), np.abs(expected), atol=1e-3)


def test_training_in_one_direction_is_a_line_and_a_random_walk_explains_what_it_would():
    rng = np.random.default_rng(0)
    start, end = make_network(1), make_network(2)

    def between(share: float):
        network = apply_permutation(start, {})
        for parameter, target in zip(network.parameters(), end.parameters()):
            parameter.data = (1 - share) * parameter.data + share * target.data
        return network

    line = [NetworkPoint(network="meta", num_images=i, model=between(i / 5)) for i in range(6)]
    straight = project_networks(line, ["fc1"])
    assert straight is not None and straight.explained.sum() > 0.99
    network, walk = start, [NetworkPoint(network="meta", num_images=0, model=start)]
    for i in range(1, 9):
        network = add_noise(network, 0.05, seed=int(rng.integers(2**31)))
        walk.append(NetworkPoint(network="meta", num_images=i, model=network))
    random = project_networks(walk, ROLES)
    assert random is not None
    assert random.explained.sum() == pytest.approx(random.walk_explained, abs=0.02)
    assert straight.walk_explained < 0.9


def test_untrained_controls_do_not_enter_the_fit():
    points = [NetworkPoint(network="meta", num_images=i, model=make_network(i)) for i in range(3)]
    control = NetworkPoint(network="untrained", num_images=0, model=make_network(9, trained=False))
    alone, beside = project_networks(points, ROLES), project_networks([*points, control], ROLES)
    assert alone is not None and beside is not None
    np.testing.assert_allclose(alone.explained, beside.explained)
    np.testing.assert_allclose(alone.coordinates, beside.coordinates[:3], atol=1e-6)
    assert project_networks(points[:2], ROLES) is None


def test_the_baseline_is_reordered_on_its_whole_way():
    start = make_network(3, trained=False)
    way = [add_noise(start, size, seed=7) for size in (0.2, 0.4)]
    other, orders = shuffle_units(make_network(3, trained=False), seed=1)
    moved = [apply_permutation(network, orders) for network in way]
    result = compare_weight_spaces(
        way[1], moved[1], meta_initial=start, baseline_initial=other,
        meta_checkpoints=[(100, way[0])], baseline_checkpoints=[(100, moved[0])],
    )  # fmt: skip
    paths = result.network_projection
    assert paths is not None and paths.networks[:6] == ("meta",) * 3 + ("baseline",) * 3
    assert paths.num_images[:6] == (0, 100, -1, 0, 100, -1)
    np.testing.assert_allclose(paths.coordinates[:3], paths.coordinates[3:6], atol=1e-3)


def test_checkpoints_beside_a_network_are_read_in_order(tmp_path):
    network = make_network(4)
    for name in ("images-0000200", "images-0000050", "last"):
        write_checkpoint(tmp_path / f"{name}.safetensors", network, training={})
    write_checkpoint(tmp_path / "images-0000999.safetensors", make_network(4, head="baseline"), training={})
    series = load_series(list_series(tmp_path / "last.safetensors"), network)
    assert [count for count, _ in series] == [50, 200]
    assert load_series(list_series(tmp_path / "last.safetensors"), torch.nn.Linear(2, 2)) == ()


def test_a_plane_that_all_units_share_is_stable_and_one_of_noise_is_not():
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((60, 40))
    planted = 0.3 * noise + rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40)) * 2
    stable, unstable = (
        bootstrap_stability(rows, rows + 0.1 * rng.standard_normal(rows.shape), num_resamples=20, rng=rng)
        for rows in (planted, noise)
    )
    assert stable.mean() > 0.98 > 0.6 > unstable.mean()


@pytest.mark.parametrize("num", [40, 200])
def test_stability_is_that_of_components_fitted_to_each_resample(num):
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((num, 20)) * np.linspace(3, 1, 20)
    other = rows + 0.2 * rng.standard_normal(rows.shape)
    counts = np.random.default_rng(7).multinomial(num, np.full(num, 1 / num))
    chosen = np.repeat(np.arange(num), counts)

    def plane(units: np.ndarray) -> np.ndarray:
        both = np.concatenate([rows[units], other[units]])
        return np.linalg.svd(both - both.mean(axis=0), full_matrices=False)[2][:2].T

    expected = np.square(plane(np.arange(num)).T @ plane(chosen)).sum() / 2
    found = bootstrap_stability(rows, other, num_resamples=1, rng=np.random.default_rng(7))
    assert found[0] == pytest.approx(expected, abs=2e-3)
