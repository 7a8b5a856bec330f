"""Each scale that the analysis claims to ignore, beside one that changes the function or is said not to be ignored.

The positive rescaling that a ReLU allows between a unit and what reads it is the one that is *not* taken out: here is
what it leaves alone and what it moves.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from weight_worlds import make_network, random_images

from meta_baseline.alignment import apply_permutation, derive_permutations, move_sizes_to_readers
from meta_baseline.layers import list_layers
from meta_baseline.weight_space.layer_statistics import STATISTICS, measure_layer

STORED = {"norm", "stored_norm", "gain", "operator_norm"}
SHAPES = [statistic.name for statistic in STATISTICS if statistic.name not in STORED | {"dead"}]


def measure(network: nn.Module, role: str) -> dict[str, float]:
    layer = next(layer for layer in list_layers(network) if layer.role == role)
    return measure_layer(network, layer).values


def answer(network: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network(random_images(network))


def rescale_units(network: nn.Module, role: str, factors: torch.Tensor) -> nn.Module:
    """A copy whose units of one layer answer ``factors`` times as strongly, and are read that much more weakly."""
    layers = list_layers(network)
    place = [layer.role for layer in layers].index(role)
    layer, reader = layers[place], layers[place + 1]
    scaled = apply_permutation(network, {})
    owner = scaled.get_submodule(layer.name if layer.norm is None else layer.norm)
    shape = (-1, *[1] * (owner.weight.ndim - 1))
    owner.weight.data *= factors.view(shape)
    owner.bias.data *= factors
    weight = scaled.get_submodule(reader.name).weight.data
    weight /= factors.repeat_interleave(weight.shape[1] // len(factors)).view(1, -1, *[1] * (weight.ndim - 2))
    return scaled


def draw_factors(num: int) -> torch.Tensor:
    return torch.rand(num, generator=torch.Generator().manual_seed(0)) * 3 + 0.5


@pytest.mark.parametrize(("head", "role"), [("meta", "conv2"), ("meta", "fc1"), ("baseline", "fc1")])
def test_a_rescaling_between_a_unit_and_its_readers_keeps_the_function(head, role):
    network = make_network(3, head=head)
    units = next(group.num_units for group in derive_permutations(network).groups if group.role == role)
    rescaled = rescale_units(network, role, draw_factors(units))
    torch.testing.assert_close(answer(rescaled), answer(network), atol=1e-4, rtol=1e-3)


def test_it_leaves_the_shape_of_a_normalised_layer_alone_and_moves_its_gain_and_its_reader():
    network = make_network(3)
    rescaled = rescale_units(network, "conv2", draw_factors(32))
    before, after = measure(network, "conv2"), measure(rescaled, "conv2")
    for name in SHAPES:
        assert after[name] == pytest.approx(before[name], rel=1e-5, nan_ok=True), name
    assert after["gain"] > 1.5 * before["gain"] and after["norm"] > 1.5 * before["norm"]
    reader, moved = measure(network, "conv3"), measure(rescaled, "conv3")
    assert abs(moved["kurtosis"] - reader["kurtosis"]) > 0.1, "what is not taken out is said not to be"


def test_it_moves_a_layer_without_normalisation_and_its_operator_norm():
    network = make_network(3, head="baseline")
    rescaled = rescale_units(network, "fc1", draw_factors(128))
    before, after = measure(network, "fc1"), measure(rescaled, "fc1")
    assert after["operator_norm"] > 1.2 * before["operator_norm"]
    assert abs(after["kurtosis"] - before["kurtosis"]) > 0.1


@pytest.mark.parametrize("head", ["meta", "baseline"])
def test_statistics_with_all_sizes_at_the_readers_ignore_that_rescaling(head):
    network = make_network(3, head=head)
    moved = move_sizes_to_readers(network)
    torch.testing.assert_close(answer(moved), answer(network), atol=1e-4, rtol=1e-3)
    again = move_sizes_to_readers(
        rescale_units(rescale_units(network, "conv2", draw_factors(32)), "fc1", draw_factors(128))
    )
    for role in ("conv2", "conv3", "fc1", "classifier"):
        before, after = measure(moved, role), measure(again, role)
        for name in SHAPES:
            assert after[name] == pytest.approx(before[name], rel=1e-3, nan_ok=True), (role, name)


def test_the_operator_norm_before_layer_norm_ignores_the_size_of_the_layer_and_notices_that_of_the_gain():
    network = make_network(4)
    before = measure(network, "fc1")
    linear = network.fc_layers[0]
    linear.weight.data *= 7
    linear.bias.data *= 7
    torch.testing.assert_close(answer(network), answer(make_network(4)), atol=1e-4, rtol=1e-3)
    after = measure(network, "fc1")
    for name in ("norm", "operator_norm", "gain", "dead", *SHAPES):
        assert after[name] == pytest.approx(before[name], rel=1e-4, nan_ok=True), name
    network.layer_norms[0].weight.data *= 2
    assert not torch.allclose(answer(network), answer(make_network(4)), rtol=1e-2)
    assert measure(network, "fc1")["operator_norm"] == pytest.approx(2 * before["operator_norm"], rel=1e-3)


def test_a_filter_before_batch_norm_may_have_any_size_but_not_another_sign():
    network = make_network(5)
    before, said = measure(network, "conv3"), answer(network)
    conv, norm = network.conv3, network.bn3
    factors = draw_factors(64)
    conv.weight.data *= factors.view(-1, 1, 1, 1)
    conv.bias.data *= factors
    norm.running_mean *= factors
    norm.running_var *= factors**2
    torch.testing.assert_close(answer(network), said, atol=1e-4, rtol=1e-3)
    after = measure(network, "conv3")
    for name in ("norm", "gain", "dead", *SHAPES):
        assert after[name] == pytest.approx(before[name], rel=1e-4, nan_ok=True), name
    conv.weight.data[:32] *= -1
    assert not torch.allclose(answer(network), said, rtol=1e-2)
    assert measure(network, "conv3")["nearest"] != pytest.approx(before["nearest"], rel=1e-4)
