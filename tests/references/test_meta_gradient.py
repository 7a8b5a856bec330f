"""The meta-gradient of a training step against FOMAML written out by hand on copies of the network."""

from __future__ import annotations

import copy

import pytest
import torch
from small_training import arm, make_pool
from torch.optim import SGD

from meta_baseline.episodes import plan_episodes
from meta_baseline.inner_loop import InnerLoop
from meta_baseline.training.baseline import BaselineLearner
from meta_baseline.training.meta import MetaLearner
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import PoolImages


@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("support_loss_weight", [0.0, 1.0])
def test_a_meta_step_equals_fomaml_in_place_on_copies(num_steps: int, support_loss_weight: float) -> None:
    inner_loop = InnerLoop(num_steps=num_steps, learning_rate=0.1)
    recipe = arm("fomaml", inner_loop=inner_loop, support_loss_weight=support_loss_weight)
    pool, network = make_pool(recipe), recipe.build_initial_network().double().train()
    images = DoubleImages(pool, network, augmentation=None)
    loss = classification_loss(network.decision_rule)
    expected = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    statistics: list[torch.Tensor] = []
    episodes = plan_episodes(pool.labels, pool.task_ids, recipe.episodes, recipe.rng("order"))[0]
    for episode in episodes:
        adapted = copy.deepcopy(network)
        optimiser = SGD(adapted.parameters(), lr=0.1)
        for i in range(num_steps):
            optimiser.zero_grad()
            pixels, labels = images.read(episode.support)
            loss(adapted(pixels), labels).backward()
            if i == 0:
                statistics.append(adapted.get_buffer("bn2.running_var").clone())
                for name, value in adapted.named_parameters():
                    assert value.grad is not None
                    expected[name] += support_loss_weight * value.grad / len(episodes)
            optimiser.step()
        optimiser.zero_grad()
        pixels, labels = images.read(episode.query)
        loss(adapted(pixels), labels).backward()
        for name, value in adapted.named_parameters():
            assert value.grad is not None
            expected[name] += value.grad / len(episodes)
    outcome = MetaLearner(network, images, recipe).accumulate(0)
    assert outcome.num_images == recipe.episodes.tasks_per_step * recipe.episodes.images_per_cycle
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, expected[name], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(network.get_buffer("bn2.running_var"), torch.stack(statistics).mean(dim=0))


def test_a_baseline_step_equals_an_ordinary_backward_pass() -> None:
    recipe = arm("baseline")
    pool, network = make_pool(recipe), recipe.build_initial_network().double().train()
    reference = copy.deepcopy(network)
    images = DoubleImages(pool, network, augmentation=None)
    learner = BaselineLearner(network, images, recipe)
    rows = recipe.rng("order").permutation(recipe.pool_size)[: recipe.batch_size]
    learner.accumulate(0)
    pixels, labels = images.read(rows)
    classification_loss(network.decision_rule)(reference(pixels), labels).backward()
    for (name, value), other in zip(network.named_parameters(), reference.parameters()):
        torch.testing.assert_close(value.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)
    for value, other in zip(network.buffers(), reference.buffers()):
        torch.testing.assert_close(value, other)


class DoubleImages(PoolImages):
    """Images in float64, in which equality can be tight."""

    def read(self, rows):  # type: ignore[no-untyped-def]
        images, labels = super().read(rows)
        return images.double(), labels
