"""Steps of linear layers as factors against the same steps with whole matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from meta_baseline import linear_steps
from meta_baseline.inner_loop import InnerLoop, adapt, differentiate, forward, inner_steps, parameters_and_buffers
from meta_baseline.linear_steps import MovedParameters, add_gradients, find_large_linear_weights


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits[:, -1], labels.to(logits.dtype))


def wide_network() -> nn.Module:
    """Its middle layer alone is large enough to step by factors."""
    generator = torch.Generator().manual_seed(0)
    body = (nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten())
    network = nn.Sequential(*body, nn.Linear(8 * 64, 256), nn.Tanh(), nn.Linear(256, 1)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.1)
    return network


def some_images(seed: int, count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 10, 10, generator=generator, dtype=torch.float64), torch.arange(count) % 2


def meta_gradients(first_order: bool, rates: dict[str, Tensor] | None = None) -> list[Tensor]:
    network = wide_network()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=3, learning_rate=0.4, first_order=first_order)
    support = some_images(1)
    steps = inner_steps(network, parameters, buffers, *support, inner_loop=inner_loop, loss=mean_loss, rates=rates)
    adapted = list(steps)[-1].parameters
    images, labels = some_images(2)
    loss = mean_loss(forward(network, adapted, buffers, images)[0], labels)
    wanted = (*parameters.values(), *(rates or {}).values())
    return [*torch.autograd.grad(loss, wanted), *(adapted[name].detach() for name in parameters)]


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("learnt", [True, False])
def test_adapted_parameters_and_meta_gradients_are_those_of_whole_matrices(
    first_order: bool, learnt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = ("0", "1", "4", "6")
    rates = {name: torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True) for name in layers}
    found = meta_gradients(first_order, rates if learnt else None)
    monkeypatch.setattr(linear_steps, "_MIN_WEIGHTS", 10**9)
    for one, two in zip(found, meta_gradients(first_order, rates if learnt else None), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-13)


def test_each_step_gives_parameters_and_gradients_by_name_like_any_other() -> None:
    network = wide_network()
    parameters, buffers = parameters_and_buffers(network)
    before = {name: value.detach().clone() for name, value in parameters.items()}
    inner_loop = InnerLoop(num_steps=2, learning_rate=0.4)
    steps = list(inner_steps(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss))
    assert isinstance(steps[0].parameters, MovedParameters) and set(steps[0].parameters.shifts) == {"4.weight"}
    current = before
    for step in steps:
        assert step.gradient.keys() == step.parameters.keys() == parameters.keys()
        current = {name: current[name] - 0.4 * step.gradient[name] for name in current}
        for name, value in current.items():
            torch.testing.assert_close(step.parameters[name].detach(), value, rtol=1e-12, atol=1e-14)
    assert all(torch.equal(value, before[name]) for name, value in parameters.items())


def test_weighted_gradients_are_added_up_as_their_matrices_would_be() -> None:
    network = wide_network()
    parameters, buffers = parameters_and_buffers(network)
    terms = [
        (weight, differentiate(network, parameters, buffers, *some_images(seed), loss=mean_loss).gradient)
        for seed, weight in ((1, 0.5), (2, -2.0))
    ]
    add_gradients(parameters, terms)
    for name, parameter in parameters.items():
        expected = 0.5 * terms[0][1][name] - 2.0 * terms[1][1][name]
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-11, atol=1e-14)


def test_a_layer_that_is_used_twice_or_never_has_the_gradient_of_all_its_uses() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(3)
            self.twice, self.never = nn.Linear(400, 400).double(), nn.Linear(400, 400).double()
            with torch.no_grad():
                self.twice.weight.copy_(torch.randn(400, 400, generator=generator, dtype=torch.float64) / 20)
                self.twice.bias.zero_()

        def forward(self, images: Tensor) -> Tensor:
            return self.twice(torch.tanh(self.twice(images)))

    network = Odd()
    parameters, buffers = parameters_and_buffers(network)
    images = torch.randn(4, 400, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels = torch.arange(4) % 2
    inner_loop = InnerLoop(num_steps=2, learning_rate=0.5)
    adapted = adapt(network, parameters, buffers, images, labels, inner_loop=inner_loop, loss=mean_loss)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(2):
        optimiser.zero_grad()
        mean_loss(network(images), labels).backward()
        optimiser.step()
    for name, value in network.named_parameters():
        torch.testing.assert_close(adapted[name], value)


def test_only_large_matrices_that_no_other_layer_shares_are_kept_as_factors() -> None:
    network = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 2))
    network[1].weight = network[0].weight
    names = tuple(dict(network.named_parameters()))
    assert find_large_linear_weights(network, 10, names) == ("2.weight",)
    assert find_large_linear_weights(network, 200, names) == find_large_linear_weights(network, 10, ("2.bias",)) == ()
