"""Barriers between networks: none between a network and its reordered twin, a lasting one between two seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from weight_worlds import make_network, scale_filters, shuffle_units

from meta_baseline.alignment import apply_permutation, match_weights
from meta_baseline.errors import UsageError
from meta_baseline.figures.weights import FIGURES
from meta_baseline.layers import pair_layers
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.tables.weights import tabulate_weights
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.connectivity import LabelledImages, LossPath, measure_path, measure_surface, trace_paths
from meta_baseline.weight_space.images import take_images, why_not_connected

SMALL = replace(
    architecture_of("stack4"),
    name="custom",
    widths=(12, 16),
    kernels=(3,) * 2,
    paddings=(1,) * 2,
    hidden=(24,),
    image_size=16,
)


def draw_blobs(num: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with two blobs; label 1 where both are bars of one direction."""
    generator = torch.Generator().manual_seed(seed)
    upright = torch.rand(num, 2, generator=generator) < 0.5
    images = 0.1 * torch.randn(num, 1, 16, 16, generator=generator)
    for i in range(num):
        for side in range(2):
            row, column = (int(x) for x in torch.randint(2, 6, (2,), generator=generator))
            column += 8 * side - 1
            size = (6, 2) if upright[i, side] else (2, 6)
            images[i, 0, row + 2 : row + 2 + size[0], max(column - 1, 0) : column - 1 + size[1]] += 1.0
    return images, (upright[:, 0] == upright[:, 1]).long()


def train(seed: int, steps: int = 60) -> ConvNet:
    network = build_network(SMALL, torch.Generator().manual_seed(seed)).train()
    images, labels = draw_blobs(1024, seed=100)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        chosen = torch.randint(0, len(images), (64,), generator=generator)
        loss = nn.functional.binary_cross_entropy_with_logits(network(images[chosen])[:, 0], labels[chosen].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def networks() -> list[ConvNet]:
    return [train(seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    return take_images([draw_blobs(256, seed=7)], make_network(0), 256)


def test_a_network_and_its_reordered_twin_have_a_barrier_before_matching_and_none_after(networks, data):
    network = networks[0]
    twin, _ = shuffle_units(network, seed=1)
    matched = apply_permutation(twin, match_weights(network, twin).permutations)
    stored, after, reset = trace_paths(network, twin, matched, data, 7)
    assert stored.losses[0] < 0.3 and stored.accuracies[0] > 0.85, "the network has learnt its task"
    assert stored.barrier > 0.2 and stored.accuracy_drop > 0.1
    assert after.barrier < 1e-3 and after.accuracy_drop == 0.0
    assert reset.barrier < 1e-3


def test_two_seeds_keep_a_barrier(networks, data):
    first, second = networks
    matched = apply_permutation(second, match_weights(first, second).permutations)
    stored, after, reset = trace_paths(first, second, matched, data, 7)
    assert after.barrier > 0.02 and reset.barrier > 0.02, "that of a reordered twin is below 0.001"
    assert stored.barrier > 0.05


def test_the_ends_of_a_path_are_the_networks_themselves(networks, data):
    path = measure_path(networks[0], networks[1], data, name="as stored", num_points=3)
    for network, loss, accuracy in zip(networks, path.losses[[0, -1]], path.accuracies[[0, -1]]):
        with torch.inference_mode():
            logits = network(data.images)[:, 0]
        expected = nn.functional.binary_cross_entropy_with_logits(logits, data.labels.float())
        assert loss == pytest.approx(float(expected), rel=1e-4)
        assert accuracy == pytest.approx(float(((logits > 0) == (data.labels > 0)).float().mean()))


def test_barrier_and_drop_are_measured_from_the_chord():
    shares = np.linspace(0, 1, 3)
    path = LossPath(name="x", shares=shares, losses=np.array([0.2, 0.9, 0.4]), accuracies=np.array([1.0, 0.6, 0.8]))
    assert (path.barrier, path.accuracy_drop) == pytest.approx((0.6, 0.3))
    line = LossPath(name="x", shares=shares, losses=np.array([0.2, 0.3, 0.4]), accuracies=np.array([1.0, 0.95, 0.8]))
    assert (line.barrier, line.accuracy_drop) == pytest.approx((0.0, 0.0))


def test_resetting_batch_norm_undoes_what_scaled_statistics_did(networks, data):
    network = networks[0]
    stale = apply_permutation(network, {})
    stale.bn2.running_mean += 2.0
    shrunk = measure_path(network, stale, data, name="matched", num_points=3)
    reset = measure_path(network, stale, data, name="matched", num_points=3, reset=True)
    assert reset.losses[-1] == pytest.approx(reset.losses[0], abs=1e-6)
    assert shrunk.losses[-1] > shrunk.losses[0] + 0.02


def test_the_surface_passes_through_all_three_networks(networks, data):
    third = build_network(SMALL, torch.Generator().manual_seed(5)).eval()
    surface = measure_surface(networks[0], networks[1], third, data, names=("x", "y"), num_points=15)
    assert surface is not None
    vectors = [nn.utils.parameters_to_vector(network.parameters()).detach() for network in (*networks, third)]
    distance, unit = (float((vectors[0] - vectors[i]).square().sum()) for i in (2, 1))
    assert np.sum(surface.corners[2] ** 2) == pytest.approx(distance / unit, rel=1e-4)
    nearest = [
        surface.losses[np.abs(surface.y - y).argmin(), np.abs(surface.x - x).argmin()] for x, y in surface.corners
    ]
    assert max(nearest[:2]) < 0.5 < np.log(2) - 0.05 < nearest[2]
    assert measure_surface(networks[0], networks[0], third, data, names=("x", "y"), num_points=3) is None


def test_the_analysis_measures_on_images_and_draws_what_it_measured(networks, data):
    initial = build_network(SMALL, torch.Generator().manual_seed(0)).eval()
    result = compare_weight_spaces(
        *networks, meta_initial=initial, meta_seeds=[networks[1]], loader=[draw_blobs(64, seed=8)]
    )
    assert result.connectivity is not None and result.connectivity_reason == ""
    assert [path.name for path in result.connectivity.paths] == ["as stored", "matched", "matched, batch norm reset"]
    assert len(result.connectivity.seed_paths) == 1 and result.connectivity.surface is not None
    assert result.matching is not None and set(result.matching.agreement) == {"conv1", "conv2", "fc1"}
    assert result.first_layer is not None and result.first_layer.meta_maps.shape == (12, 16, 16)
    drawn = {spec.slug for spec in FIGURES if spec.draw(result) is not None}
    assert {"loss_between", "loss_surface", "first_layer", "network_paths"} <= drawn
    assert "loss_between" in tabulate_weights(result)
    names = {estimate.name for estimate in result.estimates}
    assert {"network.barrier.as_stored", "network.barrier.matched_reset", "conv2.matchings_agree"} <= names
    assert any("On the line between the two networks" in finding.sentence for finding in result.findings)


def test_without_images_or_one_architecture_the_check_says_why(networks):
    result = compare_weight_spaces(*networks)
    check = next(check for check in result.checks if check.code == "weights.connectivity")
    assert (check.verdict, "no images were given" in check.sentence) == ("note", True)
    meta, other = make_network(0, head="meta"), make_network(1, head="baseline")
    assert "not of one architecture" in why_not_connected(meta, other, pair_layers(meta, other))
    other = make_network(2)
    other.decision_rule = "argmax"
    assert "different rules" in why_not_connected(meta, other, pair_layers(meta, other))
    assert why_not_connected(meta, make_network(2), pair_layers(meta, make_network(2))) == ""


def test_the_result_has_the_same_bytes_for_any_number_of_workers(networks, tmp_path):
    for workers in (1, 2):
        compare_weight_spaces(*networks, tmp_path / str(workers), loader=[draw_blobs(32, seed=8)], workers=workers)
    for name in ("result.json", "result.safetensors"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_batches_without_labels_are_refused():
    with pytest.raises(UsageError, match="found images alone"):
        compare_weight_spaces(make_network(0), make_network(1), loader=[torch.zeros(4, 1, 32, 32)])
    with pytest.raises(UsageError, match="at least 2 images; found 0"):
        compare_weight_spaces(make_network(0), make_network(1), loader=[])


def test_filters_scaled_before_batch_norm_leave_the_matching_without_a_barrier(networks, data):
    network = networks[0]
    factors = torch.rand(12, generator=torch.Generator().manual_seed(3)) + 0.5
    twin, _ = shuffle_units(scale_filters(network, 1, factors), seed=2)
    matched = apply_permutation(twin, match_weights(network, twin).permutations)
    assert trace_paths(network, twin, matched, data, 5)[2].barrier < 0.05
