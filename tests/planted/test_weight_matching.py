"""Matching recovers a planted order of units exactly, and does not find one where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from weight_worlds import add_noise, make_network, random_images, scale_filters, shuffle_units

from meta_baseline.alignment import apply_permutation, derive_permutations, match_weights
from meta_baseline.layers import list_layers
from meta_baseline.models import architecture_of, build_network
from meta_baseline.weight_space.relations import relate_networks


@pytest.mark.parametrize("head", ["meta", "baseline"])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_a_planted_order_of_units_is_recovered_exactly(head, noise):
    network = make_network(1, head=head)
    shuffled, orders = shuffle_units(network, seed=2)
    found = match_weights(network, add_noise(shuffled, noise))
    assert set(found.permutations) == {"conv1", "conv2", "conv3", "conv4", "fc1"}
    for role, permutation in found.permutations.items():
        np.testing.assert_array_equal(permutation, np.argsort(orders[role]))
    assert found.converged
    assert found.similarity_after > found.similarity_before + 0.5


@pytest.mark.parametrize(("head", "noise"), [("meta", 0.0), ("meta", 0.5), ("baseline", 0.5)])
def test_all_nine_permutable_layers_of_conv6_are_recovered_exactly(head, noise):
    network = make_network(3, name="conv6", head=head)
    shuffled, orders = shuffle_units(network, seed=4)
    found = match_weights(network, add_noise(shuffled, noise))
    assert len(found.permutations) == 9
    for role, permutation in found.permutations.items():
        np.testing.assert_array_equal(permutation, np.argsort(orders[role]))
    if noise == 0.0:
        images = random_images(network, num=1)
        with torch.inference_mode():
            before, after = network(images), apply_permutation(shuffled, found.permutations)(images)
        assert (before - after).abs().max() < 1e-5 * max(1.0, float(before.abs().max()))


@pytest.mark.parametrize(("name", "head"), [("stack4", "meta"), ("conv2", "baseline"), ("conv2", "meta")])
def test_reordering_units_keeps_the_function(name, head):
    network = make_network(5, name=name, head=head)
    shuffled, _ = shuffle_units(network, seed=6)
    images = random_images(network, num=2)
    with torch.inference_mode():
        before, after = network(images), shuffled(images)
    assert (before - after).abs().max() < 1e-5 * max(1.0, float(before.abs().max()))
    assert not torch.equal(network.conv2.weight, shuffled.conv2.weight)


def test_reordering_one_tensor_without_the_others_changes_the_function():
    network = make_network(5)
    broken = apply_permutation(network, {})
    broken.conv2.weight.data = broken.conv2.weight.data.flip(0)
    images = random_images(network)
    with torch.inference_mode():
        assert (network(images) - broken(images)).abs().max() > 1e-3


def test_matching_is_not_misled_by_the_size_of_filters_before_batch_norm():
    network = make_network(7)
    factors = torch.rand(32, generator=torch.Generator().manual_seed(0)) * 20 + 0.1
    shuffled, orders = shuffle_units(scale_filters(network, 2, factors), seed=8)
    found = match_weights(network, add_noise(shuffled, 0.2))
    np.testing.assert_array_equal(found.permutations["conv2"], np.argsort(orders["conv2"]))


def test_networks_in_the_same_order_are_left_as_they_are():
    network = make_network(9)
    found = match_weights(network, add_noise(network, 0.5))
    for permutation in found.permutations.values():
        np.testing.assert_array_equal(permutation, np.arange(len(permutation)))


def test_unrelated_networks_come_no_closer_than_other_unrelated_networks():
    roles = ["conv2", "conv3", "conv4", "fc1"]
    pairs = [(make_network(2 * i, trained=False), make_network(2 * i + 1, trained=False)) for i in range(8)]
    cosines = np.array([[r.cosine_aligned for r in relate_networks(a, b, roles)[0].layers] for a, b in pairs])
    assert (cosines > 0.04).all(), "matching alone makes unrelated layers look alike"
    np.testing.assert_array_less(np.ptp(cosines, axis=0), 0.06)
    meta = pairs[0][0]
    related, _ = relate_networks(meta, add_noise(shuffle_units(meta, 1)[0], 1.0), ["conv1", *roles])
    np.testing.assert_array_less(cosines.max(axis=0) + 0.2, [r.cosine_aligned for r in related.layers[1:]])


def test_only_the_roles_asked_for_are_moved():
    meta, baseline = make_network(1, head="meta"), make_network(1, head="baseline")
    shuffled, orders = shuffle_units(baseline, seed=3)
    found = match_weights(meta, shuffled)
    assert set(found.permutations) == {"conv1", "conv2", "conv3", "conv4"}
    assert found.fixed == {"fc1": "not compared", "classifier": "its units are the logits"}
    np.testing.assert_array_equal(found.permutations["conv4"], np.argsort(orders["conv4"]))


def test_units_tied_by_group_norm_are_not_moved():
    network = build_network(architecture_of("stack4", norm="group"), torch.Generator().manual_seed(0))
    spec = derive_permutations(network)
    assert [group.role for group in spec.groups] == ["fc1"]
    assert "group norm ties its units into 8 groups" in spec.fixed["conv1"]


def test_every_tensor_that_follows_the_units_is_in_the_specification():
    network = make_network(1)
    groups = {group.role: group for group in derive_permutations(network).groups}
    names = {axis.tensor for axis in groups["conv4"].axes}
    norm = {f"bn4.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert names == {"conv4.weight", "conv4.bias", "fc_layers.0.weight"} | norm
    assert groups["conv4"].axes[-1].block == list_layers(network)[4].shape[1] // 64 == 4
    assert {axis.tensor for axis in groups["fc1"].axes} >= {"layer_norms.0.weight", "layer_norms.0.bias"}
