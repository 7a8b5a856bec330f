"""What makes adaptation cheaper changes no number: folded batch norm, a gradient that is known, a shared network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from activation_world import make_network
from adaptation_worlds import mean_loss
from torch import nn

from meta_baseline.adaptation import AdaptationSettings, TaskStimuli, choose_settings
from meta_baseline.adaptation_space.contrasts import average
from meta_baseline.adaptation_space.cost import count_multiplications
from meta_baseline.adaptation_space.folding import fold
from meta_baseline.adaptation_space.parts import copy_modules
from meta_baseline.inner_loop import InnerLoop, differentiate, inner_steps, parameters_and_buffers
from meta_baseline.layers import list_layers
from meta_baseline.models import architecture_of, build_network


def _network() -> nn.Module:
    return make_network().eval().requires_grad_(False)


def test_a_folded_network_gives_the_same_logits_and_the_same_gradients_by_name():
    network, images = _network(), torch.randn(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    folded = fold(network, list_layers(network), images[:2])
    assert type(folded.get_submodule("bn1")).__name__ == "_FoldedNorm"
    labels = torch.tensor([0, 1] * 3)
    at = {name: value.clone().requires_grad_() for name, value in network.named_parameters()}
    own, other = (
        differentiate(each, at, dict(each.named_buffers()), images, labels, loss=mean_loss)
        for each in (network, folded)
    )
    torch.testing.assert_close(own.logits, other.logits)
    assert set(own.gradient) == set(other.gradient)
    for name, value in own.gradient.items():
        torch.testing.assert_close(value, other.gradient[name], rtol=1e-3, atol=1e-6)


def test_folding_follows_statistics_that_are_passed_in():
    network, images = _network(), torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    folded = fold(network, list_layers(network), images)
    other = {name: value + 0.5 * value.abs() for name, value in network.named_buffers() if value.is_floating_point()}
    state = {**dict(network.named_parameters()), **other}
    given = [torch.func.functional_call(each, state, (images,)) for each in (network, folded)]
    torch.testing.assert_close(*given, rtol=1e-4, atol=1e-5)


class _Branching(nn.Module):
    """A network whose ReLU is read twice, before and after the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.classifier = nn.Linear(2 * 16 + 2 * 64, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv(images))
        wide = nn.functional.interpolate(maps, size=(8, 8))
        return self.classifier(torch.cat([self.pool(wide).flatten(1), wide.flatten(1)], dim=1))


def test_a_network_in_which_the_order_matters_stays_as_it_is():
    torch.manual_seed(0)
    network, images = _Branching().eval(), torch.randn(3, 1, 8, 8)
    kept = fold(network, list_layers(network), images)
    assert isinstance(kept.get_submodule("relu"), nn.ReLU)
    torch.testing.assert_close(kept(images), network(images))


def test_a_first_gradient_that_is_known_leads_to_the_same_place():
    network, images = _network(), torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 0, 1])
    parameters, buffers = parameters_and_buffers(network)
    at = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    first = differentiate(network, at, buffers, images, labels, loss=mean_loss)
    ends = [
        list(
            inner_steps(
                network, parameters, buffers, images, labels,
                inner_loop=InnerLoop(num_steps=3, learning_rate=0.1), loss=mean_loss, first=known,
            )
        )[-1].parameters
        for known in (None, first)
    ]  # fmt: skip
    for name in parameters:
        torch.testing.assert_close(ends[0][name], ends[1][name])


def test_copied_modules_share_tensors_but_not_hooks():
    network = _network()
    twin = copy_modules(network)
    assert all(one is other for one, other in zip(network.parameters(), twin.parameters()))
    twin.get_submodule("conv1").register_forward_hook(lambda *_: None)
    assert not network.get_submodule("conv1")._forward_hooks


def test_multiplications_are_counted_as_by_hand():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 5))
    assert count_multiplications(network, torch.zeros(1, 1, 8, 8)) == 2 * 9 * 36 + 72 * 5


def _task(size: int, channels: int) -> TaskStimuli:
    def read(rows: np.ndarray) -> torch.Tensor:
        return torch.zeros(len(rows), channels, size, size)

    return TaskStimuli(name="blank", labels=np.arange(4) % 2, groups=np.arange(4), read=read)


def test_a_large_network_goes_through_fewer_episodes_and_every_network_at_its_own_rate():
    large = build_network(architecture_of("conv6", head="meta"))
    small = build_network(architecture_of("stack5", image_size=64))
    chosen = choose_settings(large, _task(128, 3))
    assert chosen.max_episodes < AdaptationSettings().max_episodes
    assert choose_settings(small, _task(64, small.architecture.in_channels)) == AdaptationSettings()
    assert choose_settings(small, _task(64, small.architecture.in_channels), learning_rate=0.4).learning_rate == 0.4


def test_the_interval_over_episodes_of_several_tasks_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    tasks = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    values = rng.normal(size=9) + tasks
    design = (tasks[:, None] == np.arange(3)).astype(float)
    _, (squares,), _, _ = np.linalg.lstsq(design, values, rcond=None)
    mean = average(values, tasks=tasks, level=0.9)
    half = 1.943180 * np.sqrt(squares / 6 / 9)  # Student's t at .95, 6 degrees of freedom
    assert (mean.low, mean.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-5)


def test_the_interval_over_episodes_of_these_tasks_covers_at_the_nominal_rate():
    rng = np.random.default_rng(1)
    tasks = np.arange(10) % 2
    covered = 0
    for _ in range(2000):
        mean = average(rng.normal(np.where(tasks == 0, 0.0, 5.0), 1.0), tasks=tasks)
        covered += mean.low <= 2.5 <= mean.high
    assert abs(covered / 2000 - 0.95) < 0.015


def test_sharpness_and_change_of_a_copy_leave_the_network_alone():
    network = _network()
    before = copy.deepcopy(network.state_dict())
    fold(network, list_layers(network), torch.randn(2, 3, 24, 24))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
