"""The arrangement that is trained against the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from small_training import arm, make_pool
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from meta_baseline.inner_loop import InnerLoop
from meta_baseline.models import ConvNet, architecture_of, build_network
from meta_baseline.training import meta
from meta_baseline.training.meta import MetaLearner
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.quick_twin import arrange_for_training, convolve_by_product


def outcome(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
    """Logits and the gradients of their sum of squares."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for dropout
        logits = functional_call(network, dict(parameters), (images,))
    return [logits, *torch.autograd.grad(logits.square().sum(), tuple(parameters.values()))]


def test_relu_after_max_pool_gives_the_same_bits() -> None:
    network = build_network(architecture_of("stack5", image_size=32), torch.Generator().manual_seed(0)).train()
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    parameters = dict(network.named_parameters())
    twin = arrange_for_training(network)
    assert isinstance(twin.relu1, nn.MaxPool2d) and isinstance(network.relu1, nn.ReLU)
    for one, two in zip(outcome(network, parameters, images), outcome(twin, parameters, images), strict=True):
        assert torch.equal(one, two)


def test_the_twin_of_conv6_gives_what_conv6_gives() -> None:
    network = build_network(architecture_of("conv6", image_size=64), torch.Generator().manual_seed(0)).train().double()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = dict(network.named_parameters())
    twin = arrange_for_training(network)
    assert [type(module) is nn.Conv2d for module in (twin.conv1, twin.conv5, twin.conv6)] == [True, False, False]
    for one, two in zip(outcome(network, parameters, images), outcome(twin, parameters, images), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


def test_the_twin_keeps_names_statistics_and_modes_with_its_network() -> None:
    network = build_network(architecture_of("conv6", image_size=64), torch.Generator().manual_seed(0))
    twin = arrange_for_training(network)
    assert list(dict(twin.named_parameters())) == list(dict(network.named_parameters()))
    assert all(one is two for one, two in zip(twin.parameters(), network.parameters(), strict=True))
    assert all(one is two for one, two in zip(twin.buffers(), network.buffers(), strict=True))
    network.eval()
    assert not twin.get_submodule("bn1").training


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("padding", [(1, 1), (0, 2)])
def test_a_product_of_matrices_is_the_convolution(layout: torch.memory_format, padding: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 3, 5, 4), (6, 3, 2, 3), (6,))
    )  # fmt: skip
    images, weight = images.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
    wanted = tuple(value.requires_grad_() for value in (images, weight, bias))
    found = convolve_by_product(images, weight, bias, padding)
    expected = functional.conv2d(images, weight, bias, padding=padding)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(given.pow(3).sum(), wanted, create_graph=True) for given in (found, expected)]
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one, two)
    curvatures = [torch.autograd.grad(sum(s.square().sum() for s in slope), wanted) for slope in slopes]  # pyright: ignore
    for one, two in zip(*curvatures, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("algorithm", ["fomaml", "maml"])
def test_a_meta_step_of_the_twin_is_that_of_the_network(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def network_after_a_step() -> ConvNet:
        recipe = replace(
            arm(algorithm, inner_loop=InnerLoop(num_steps=2)),  # pyright: ignore[reportArgumentType]
            precision="fp32",
        )
        network = recipe.build_initial_network().train()
        MetaLearner(network, PoolImages(make_pool(recipe), network, augmentation=None), recipe).accumulate(0)
        return network

    quick = network_after_a_step()
    monkeypatch.setattr(meta, "arrange_for_training", lambda network: network)
    plain = network_after_a_step()
    for one, two in zip(quick.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-7)
    for one, two in zip(quick.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, two)
