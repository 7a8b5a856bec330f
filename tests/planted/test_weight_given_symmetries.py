"""Networks that are no chain are matched by symmetries that were given; activations match what weights match."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from weight_worlds import add_noise, make_network, random_images, shuffle_units

from meta_baseline.alignment import (
    PermutationSpec,
    PermutedAxis,
    UnitGroup,
    apply_permutation,
    derive_permutations,
    match_weights,
)
from meta_baseline.errors import UsageError
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.activation_matching import match_activations


class Residual(nn.Module):
    """A stem and two blocks that are added to it."""

    def __init__(self, seed: int, width: int = 24, inner: int = 32) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, width, 3, padding=1)
            self.norm = nn.BatchNorm2d(width)
            self.relu = nn.ReLU()
            for block in (1, 2):
                self.add_module(f"up{block}", nn.Conv2d(width, inner, 3, padding=1))
                self.add_module(f"relu{block}", nn.ReLU())
                self.add_module(f"down{block}", nn.Conv2d(inner, width, 3, padding=1))
            self.head = nn.Linear(width, 2)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stream = self.relu(self.norm(self.stem(images)))
        for block in ("1", "2"):
            inner = self.get_submodule("relu" + block)(self.get_submodule("up" + block)(stream))
            stream = stream + self.get_submodule("down" + block)(inner)
        return self.head(stream.mean(dim=(2, 3)))


def axes(*entries: tuple[str, int]) -> tuple[PermutedAxis, ...]:
    return tuple(PermutedAxis(tensor=tensor, axis=axis) for tensor, axis in entries)


NORM = [(f"norm.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var")]
OUT = [(f"{layer}.{name}", 0) for layer in ("stem", "down1", "down2") for name in ("weight", "bias")]
READ = [("up1.weight", 1), ("up2.weight", 1), ("head.weight", 1)]
SPEC = PermutationSpec(
    groups=(
        UnitGroup(role="stream", num_units=24, axes=axes(*OUT, *NORM, *READ)),
        UnitGroup(role="inner1", num_units=32, axes=axes(("up1.weight", 0), ("up1.bias", 0), ("down1.weight", 1))),
        UnitGroup(role="inner2", num_units=32, axes=axes(("up2.weight", 0), ("up2.bias", 0), ("down2.weight", 1))),
    ),
    fixed={},
)


def shuffled_residual(seed: int):
    network, rng = Residual(seed), np.random.default_rng(seed)
    orders = {group.role: rng.permutation(group.num_units) for group in SPEC.groups}
    return network, apply_permutation(network, orders, SPEC), orders


def test_a_given_symmetry_of_a_residual_network_keeps_its_function_and_a_derived_one_does_not():
    network, shuffled, _ = shuffled_residual(0)
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(shuffled(images), network(images), atol=1e-5, rtol=1e-4)
        rng = np.random.default_rng(0)
        derived = {group.role: rng.permutation(group.num_units) for group in derive_permutations(network).groups}
        assert (apply_permutation(network, derived)(images) - network(images)).abs().max() > 1e-3


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_planted_order_of_a_residual_network_is_recovered(noise):
    network, shuffled, orders = shuffled_residual(2)
    generator = torch.Generator().manual_seed(3)
    for parameter in shuffled.parameters():
        if parameter.ndim > 1:
            parameter.data += noise * parameter.data.std() * torch.randn(parameter.shape, generator=generator)
    found = match_weights(network, shuffled, spec=SPEC)
    for role, order in orders.items():
        np.testing.assert_array_equal(found.permutations[role], np.argsort(order))
    assert found.converged and found.similarity_after > found.similarity_before + 0.3


def test_the_analysis_takes_given_symmetries():
    network, shuffled, _ = shuffled_residual(4)
    given = compare_weight_spaces(network, shuffled, permutations=SPEC)
    assert given.relation is not None
    assert given.relation.cosine_aligned == pytest.approx(1.0, abs=1e-5)
    assert given.relation.cosine_unaligned < 0.5
    assert given.relation.layers[0].moved_fraction > 0.8


def test_a_chain_is_matched_the_same_way_whether_its_symmetries_are_derived_or_given():
    network = make_network(1)
    shuffled, orders = shuffle_units(add_noise(network, 0.5), seed=2)
    derived = match_weights(network, shuffled)
    given = match_weights(network, shuffled, spec=derive_permutations(network))
    for role, order in orders.items():
        np.testing.assert_array_equal(derived.permutations[role], np.argsort(order))
        np.testing.assert_array_equal(given.permutations[role], np.argsort(order))


def test_symmetries_that_do_not_fit_are_refused_with_the_tensor():
    wrong = PermutationSpec(groups=(UnitGroup(role="a", num_units=5, axes=axes(("stem.weight", 0))),), fixed={})
    with pytest.raises(UsageError, match=r"axis 0 of 'stem.weight' has 24 entries"):
        match_weights(Residual(0), Residual(1), spec=wrong)
    missing = PermutationSpec(groups=(UnitGroup(role="a", num_units=5, axes=axes(("steam.weight", 0))),), fixed={})
    with pytest.raises(UsageError, match=r"names 'steam.weight', which the network does not have"):
        match_weights(Residual(0), Residual(1), spec=missing)


def test_activations_recover_a_planted_order_and_notice_unlike_units():
    network = make_network(5)
    shuffled, orders = shuffle_units(network, seed=6)
    batches = [random_images(network, seed=seed, num=8) for seed in range(4)]
    found = match_activations(network, shuffled, batches)
    for role, order in orders.items():
        answering = found.after[role] > 0.5  # units that answer to no image correlate with nothing
        assert answering.mean() > 0.6
        np.testing.assert_array_equal(found.permutations[role][answering], np.argsort(order)[answering])
        assert found.before[role].mean() < found.after[role].mean() - 0.3
    other = match_activations(network, make_network(77), batches)
    assert other.after["conv4"].mean() < 0.6


def test_correlations_of_units_agree_with_numpy():
    meta, baseline = make_network(7), make_network(8)
    images = random_images(meta, num=6)
    found = match_activations(meta, baseline, [images[:2], images[2:]])
    with torch.inference_mode():
        maps = [net.relu1(net.bn1(net.conv1(images))).transpose(0, 1).flatten(1).numpy() for net in (meta, baseline)]
    expected = np.corrcoef(*maps)[:32, 32:]
    np.testing.assert_allclose(found.before["conv1"], np.diag(expected), atol=1e-4)


def test_a_residual_network_is_matched_by_activations_too():
    network, shuffled, orders = shuffled_residual(6)
    images = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    found = match_activations(network, shuffled, [images], spec=SPEC)
    for role in ("inner1", "inner2"):
        np.testing.assert_array_equal(found.permutations[role], np.argsort(orders[role]))


def test_matching_by_activations_without_images_is_refused():
    with pytest.raises(UsageError, match="needs images"):
        match_activations(make_network(0), make_network(1), [])
