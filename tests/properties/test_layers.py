"""Layers are listed in the order of action, with the right points to record, and paired by role or not at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from meta_baseline.errors import InputError
from meta_baseline.layers import list_layers, pair_layers
from meta_baseline.models import MEMBERS, architecture_of, build_network


def _build(name, head=None, **changes):
    size = changes.pop("image_size", 64)
    hidden = changes.pop("hidden", (8, 8, 8))
    return build_network(architecture_of(name, head=head, image_size=size, hidden=hidden, **changes))


def _pairing(meta, baseline):
    pairing = pair_layers(meta, baseline)
    return pairing, {pair.role: pair for pair in pairing.pairs}, {check.code: check for check in pairing.checks}


@pytest.mark.parametrize(("name", "head"), [(name, head) for name, member in MEMBERS.items() for head in member.heads])
def test_every_member_lists_its_convolutions_then_its_head(name, head):
    model = _build(name, head)
    depth = len(MEMBERS[name].widths)
    layers = list_layers(model)
    roles = [*(f"conv{i}" for i in range(1, depth + 1)), "fc1", "fc2", "fc3", "classifier"]
    assert [layer.role for layer in layers] == roles
    for layer in layers[:depth]:
        i = layer.role.removeprefix("conv")
        assert (layer.norm, layer.activation, layer.pooled) == (f"bn{i}", f"relu{i}", f"pool{i}")
    for layer in layers[depth:-1]:
        assert (layer.norm is None) == (head == "baseline")
        assert layer.activation == layer.pooled
        assert isinstance(model.get_submodule(layer.activation), nn.ReLU)
    assert layers[-1].activation == layers[-1].pooled == layers[-1].name == "classifier"
    assert all(layer.shape == tuple(model.get_parameter(f"{layer.name}.weight").shape) for layer in layers)


@pytest.mark.parametrize("head", ["meta", "baseline"])
def test_the_recorded_points_are_what_the_next_layer_reads(head):
    model = _build("conv4", head).eval()
    layers = list_layers(model)
    outputs: dict[str, torch.Tensor] = {}
    inputs: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _, given, output, name=name: (outputs.update({name: output}), inputs.update({name: given[0]}), None)[
                -1
            ]
        )
    with torch.inference_mode():
        model(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    for layer, following in pairwise(layers):
        read = inputs[following.name]
        assert torch.equal(outputs[layer.pooled].reshape(read.shape), read)
        assert outputs[layer.activation].min() >= 0


def test_a_network_of_ones_own_is_listed_by_order():
    own = nn.Sequential()
    own.add_module(
        "stem", nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8), nn.SiLU())
    )
    own.add_module("pool", nn.AdaptiveAvgPool2d(1))
    own.add_module("flat", nn.Flatten())
    own.add_module("mid", nn.Linear(8, 5))
    own.add_module("act", nn.Tanh())
    own.add_module("out", nn.Linear(5, 2))
    found = [(layer.role, layer.name, layer.norm, layer.activation, layer.pooled) for layer in list_layers(own)]
    assert found == [
        ("conv1", "stem.0", None, "stem.1", "stem.1"),
        ("conv2", "stem.2", "stem.3", "stem.4", "pool"),
        ("fc1", "mid", None, "act", "act"),
        ("classifier", "out", None, "out", "out"),
    ]


def test_a_linear_model_is_a_classifier_and_functional_relus_leave_the_layer_itself():
    assert [layer.role for layer in list_layers(nn.Linear(4, 2))] == ["classifier"]
    plain = list_layers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)))
    assert [(layer.activation, layer.pooled) for layer in plain] == [("0", "0"), ("3", "3")]


def test_networks_of_one_architecture_are_paired_completely():
    pairing, pairs, checks = _pairing(_build("conv6", "meta"), _build("conv6", "meta"))
    assert len(pairs) == 10
    assert pairing.same_function
    assert all(pair.comparable_weights and not pair.reason for pair in pairs.values())
    assert [check.verdict for check in checks.values()] == ["pass", "pass"]


def test_heads_are_paired_by_role_and_their_weights_are_not_compared():
    pairing, pairs, checks = _pairing(_build("conv6", "meta"), _build("conv6", "baseline"))
    assert (pairs["fc2"].meta.name, pairs["fc2"].baseline.name) == ("fc_layers.1", "fc2")
    assert all(pairs[f"conv{i}"].comparable_weights for i in range(1, 7))
    for role in ("fc1", "fc2", "fc3"):
        assert not pairs[role].comparable_weights
        assert pairs[role].reason == "LayerNorm before the non-linearity in the meta network only"
    assert "normalised in one network only" in pairs["classifier"].reason
    assert not pairing.same_function
    assert not pairing.unpaired
    assert checks["layers.weights"].verdict == "warn"
    assert "fc1, fc2, fc3 (LayerNorm" in checks["layers.weights"].sentence


def test_the_order_of_the_two_networks_is_kept_in_the_words():
    _, pairs, _ = _pairing(_build("conv6", "baseline"), _build("conv6", "meta"))
    assert pairs["fc1"].reason == "LayerNorm before the non-linearity in the baseline network only"


def test_another_padding_leaves_filters_comparable_and_says_that_maps_differ():
    pairing, pairs, checks = _pairing(_build("conv4", "meta"), _build("conv4", "baseline"))
    assert all(pairs[f"conv{i}"].comparable_weights for i in range(1, 5))
    assert checks["layers.maps"].verdict == "note"
    assert "conv1 has padding 2 in the meta and padding 1" in checks["layers.maps"].sentence
    assert not pairing.same_function
    assert "layers.maps" not in _pairing(_build("conv6", "meta"), _build("conv6", "baseline"))[2]


def test_another_depth_is_paired_from_the_image_on_and_the_rest_is_named():
    pairing, pairs, checks = _pairing(_build("conv6", "meta"), _build("conv4", "meta"))
    assert [(layer.role, layer.network) for layer in pairing.unpaired] == [("conv5", "meta"), ("conv6", "meta")]
    assert pairing.unpaired[0].reason == "the other network has 4 convolutions"
    assert "18 x 3 x 6 x 6 in the meta and 12 x 3 x 4 x 4" in pairs["conv1"].reason
    assert "layers below do not correspond" in pairs["fc2"].reason
    assert checks["layers.pairing"].verdict == "warn"
    assert "conv5 of the meta network" in checks["layers.pairing"].sentence


def test_another_input_size_is_the_reason_at_the_first_fully_connected_layer_only():
    _, pairs, _ = _pairing(_build("conv6", "meta", image_size=128), _build("conv6", "meta"))
    assert pairs["fc1"].reason == "it reads 5184 inputs in the meta and 2304 in the baseline network"
    assert pairs["fc2"].comparable_weights


def test_another_normalisation_of_the_convolutions_is_a_reason():
    _, pairs, _ = _pairing(_build("stack4"), _build("stack4", norm="group"))
    assert (
        pairs["conv1"].reason == "BatchNorm2d before the non-linearity in the meta, GroupNorm in the baseline network"
    )


def test_other_hidden_layers_pair_from_the_first():
    pairing, _, _ = _pairing(_build("stack4", hidden=(8, 8)), _build("stack4", hidden=(8,)))
    assert [(layer.role, layer.network, layer.reason) for layer in pairing.unpaired] == [
        ("fc2", "meta", "the other network has 2 linear layers")
    ]


def test_networks_without_a_common_role_are_refused():
    with pytest.raises(
        InputError, match="No layers correspond: the meta network has conv1, the baseline network classifier"
    ):
        pair_layers(nn.Conv2d(1, 2, 3), nn.Linear(2, 2))
