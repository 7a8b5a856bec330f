"""The inner loop against hand-written SGD, finite differences and the gradient at the adapted parameters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from meta_baseline.errors import UsageError
from meta_baseline.inner_loop import InnerLoop, adapt, forward, inner_steps, parameters_and_buffers


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits[:, -1], labels.to(logits.dtype))


def small_network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 1)
    ).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) * 0.4)
    return network


def some_images(seed: int, count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(count) % 2


def flatten(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten() for value in values.values()])


@pytest.mark.parametrize("training", [True, False])
def test_adapting_leaves_the_network_as_it_was(training: bool) -> None:
    network = small_network().train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = [parameter.grad for parameter in network.parameters()]
    adapt(network, *parameters_and_buffers(network), *some_images(1), inner_loop=InnerLoop(num_steps=3), loss=mean_loss)
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert gradients == [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_adapted_parameters_equal_those_of_torch_sgd(first_order: bool, training: bool) -> None:
    network, reference = small_network().train(training), small_network().train(training)
    images, labels = some_images(1)
    inner_loop = InnerLoop(num_steps=3, learning_rate=0.1, first_order=first_order)
    adapted = adapt(network, *parameters_and_buffers(network), images, labels, inner_loop=inner_loop, loss=mean_loss)
    optimiser = SGD(reference.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        mean_loss(reference(images), labels).backward()
        optimiser.step()
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(adapted[name], parameter, rtol=1e-12, atol=1e-12)


def test_no_steps_give_the_same_parameters() -> None:
    network = small_network()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=0)
    adapted = adapt(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss)
    assert all(adapted[name] is value for name, value in parameters.items())


def meta_gradient(first_order: bool, num_steps: int = 2) -> Tensor:
    network = small_network()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=num_steps, learning_rate=0.3, first_order=first_order)
    adapted = adapt(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss)
    query_images, query_labels = some_images(2)
    loss = mean_loss(forward(network, adapted, buffers, query_images)[0], query_labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, tuple(parameters.values()))])


def test_the_first_order_meta_gradient_is_the_query_gradient_at_the_adapted_parameters() -> None:
    network = small_network()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=2, learning_rate=0.3)
    adapted = adapt(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss)
    leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
    query_images, query_labels = some_images(2)
    loss = mean_loss(forward(network, leaves, buffers, query_images)[0], query_labels)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, tuple(leaves.values()))])
    torch.testing.assert_close(meta_gradient(first_order=True), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("first_order", [True, False])
def test_the_meta_gradient_equals_finite_differences(first_order: bool) -> None:
    """Of the objective itself (second order), or of it with the inner gradients held fixed (first order)."""
    network = small_network()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=2, learning_rate=0.3)
    support, (query_images, query_labels) = some_images(1), some_images(2)
    steps = inner_steps(network, parameters, buffers, *support, inner_loop=inner_loop, loss=mean_loss)
    fixed = [step.gradient for step in steps]

    def objective(start: dict[str, Tensor]) -> float:
        if first_order:
            moved = {k: v - inner_loop.learning_rate * sum(g[k] for g in fixed) for k, v in start.items()}
        else:
            moved = adapt(network, start, buffers, *support, inner_loop=inner_loop, loss=mean_loss)
        with torch.no_grad():
            return float(mean_loss(forward(network, moved, buffers, query_images)[0], query_labels))

    generator = torch.Generator().manual_seed(5)
    gradient, width = meta_gradient(first_order), 1e-5
    for _ in range(5):
        direction = {k: torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in parameters.items()}
        ahead, behind = (
            objective({k: v.detach() + sign * width * direction[k] for k, v in parameters.items()}) for sign in (1, -1)
        )
        assert float(gradient @ flatten(direction)) == pytest.approx((ahead - behind) / (2 * width), rel=1e-6)


def test_first_and_second_order_meta_gradients_differ() -> None:
    first, second = meta_gradient(first_order=True), meta_gradient(first_order=False)
    assert float((first - second).norm() / second.norm()) > 1e-2


def test_batch_statistics_of_an_adapted_copy_reach_neither_the_network_nor_the_next_copy() -> None:
    network = small_network().train()
    parameters, buffers = parameters_and_buffers(network)
    inner_loop = InnerLoop(num_steps=2)
    first = list(inner_steps(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss))
    list(inner_steps(network, parameters, buffers, *some_images(2), inner_loop=inner_loop, loss=mean_loss))
    again = list(inner_steps(network, parameters, buffers, *some_images(1), inner_loop=inner_loop, loss=mean_loss))
    for one, two in zip(first, again):
        assert all(torch.equal(one.buffers[name], two.buffers[name]) for name in buffers)
    assert not torch.equal(first[0].buffers["1.running_mean"], buffers["1.running_mean"])
    assert float(buffers["1.running_mean"].abs().sum()) == 0.0


def test_frozen_parameters_can_be_adapted_under_no_grad() -> None:
    network = small_network().eval().requires_grad_(False)
    with torch.no_grad():
        parameters, buffers = parameters_and_buffers(network)
        adapted = adapt(network, parameters, buffers, *some_images(1), inner_loop=InnerLoop(), loss=mean_loss)
    assert not torch.equal(adapted["0.weight"], parameters["0.weight"])
    assert not parameters["0.weight"].requires_grad


def test_bf16_steps_keep_parameters_and_gradients_at_32_bits() -> None:
    network = small_network(dtype=torch.float32)
    images, labels = some_images(1)
    parameters, buffers = parameters_and_buffers(network)
    steps = inner_steps(
        network, parameters, buffers, images.float(), labels, inner_loop=InnerLoop(), loss=mean_loss, precision="bf16"
    )
    step = next(steps)
    assert {v.dtype for v in (*step.parameters.values(), *step.gradient.values(), step.logits)} == {torch.float32}
    reference = next(
        inner_steps(network, parameters, buffers, images.float(), labels, inner_loop=InnerLoop(), loss=mean_loss)
    )
    cosine = functional.cosine_similarity(flatten(step.gradient), flatten(reference.gradient), dim=0)
    assert float(cosine) > 0.99


@pytest.mark.parametrize("options", [{"num_steps": -1}, {"learning_rate": -0.1}, {"learning_rate": float("nan")}])
def test_an_impossible_inner_loop_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="Use --inner-"):
        InnerLoop(**options)  # pyright: ignore[reportArgumentType]
