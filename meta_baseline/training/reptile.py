"""Reptile: move towards where a few ordinary gradient steps on one task lead (Nichol et al. 2018, arXiv:1803.02999).

With inner rate a, the episode's gradient is (theta_0 - theta_K) / a, which is the sum of the gradients on the way
(section 2 there, "it can be plugged into an adaptive algorithm"); summed as such it is defined at a = 0 too, which is
the matched control: joint training on the same sets. Steps take support and query set in turn, because what Reptile has
over joint training comes from the difference between the batches of its steps (section 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from meta_baseline.episodes import Episode, plan_episodes
from meta_baseline.inner_loop import (
    Buffers,
    InnerLoop,
    InnerStep,
    Loss,
    Parameters,
    Precision,
    buffers_at,
    inner_steps,
    parameters_and_buffers,
)
from meta_baseline.models import ConvNet
from meta_baseline.training.learners import (
    EpisodeOutcome,
    StepOutcome,
    keep_statistics,
    moves_statistics,
    summarise_episodes,
)
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.objectives import classification_loss, count_correct
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.recipe import Recipe

LabelledImages = tuple[Float[Tensor, "N C H W"], Int64[Tensor, " N"]]


class ReptileLearner:
    """Leaves in ``.grad`` Reptile's gradient, averaged over the episodes of a step."""

    def __init__(self, network: ConvNet, images: PoolImages, recipe: Recipe) -> None:
        self._network = network
        self._images = images
        self._recipe = recipe
        pool = images.pool
        self._plan = plan_episodes(pool.labels, pool.task_ids, recipe.episodes, recipe.rng("order"))
        self._loss = classification_loss(recipe.trained_rule(network))
        self.learnt = LearntAdaptation.start(
            network, num_steps=recipe.inner_loop.num_steps, per_step=recipe.norm == "per-step"
        )

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes of the run, in their order."""
        return tuple(episode for step in self._plan for episode in step)

    @property
    def num_steps(self) -> int:
        """Steps that use up the pool."""
        return len(self._plan)

    def accumulate(self, step: int) -> StepOutcome:
        """The gradient of step ``step``; batch norm moves its running statistics once."""
        episodes = self._plan[step]
        parameters, buffers = parameters_and_buffers(self._network)
        outcomes = [self._learn(episode, parameters, buffers, 1 / len(episodes)) for episode in episodes]
        if moves_statistics(self._network):
            keep_statistics(buffers, [outcome.moved[0] for outcome in outcomes])
            for number, own in enumerate(self.learnt.statistics, start=1):
                keep_statistics(own, [outcome.moved[number] for outcome in outcomes])
        return summarise_episodes(outcomes, sum(len(e.support) + len(e.query) for e in episodes))

    def _learn(
        self, episode: Episode, parameters: dict[str, Tensor], own_buffers: Parameters, share: float
    ) -> EpisodeOutcome:
        support, query = self._images.read(episode.support), self._images.read(episode.query)
        steps = reptile_steps(
            self._network,
            parameters,
            self.learnt.buffers(own_buffers),
            (support, query),
            inner_loop=self._recipe.inner_loop_at(0.0),
            loss=self._loss,
            precision=self._recipe.precision,
        )
        for name, gradient in reptile_gradient(steps).items():
            _add_gradient(parameters[name], gradient, share)
        rule, first = self._network.decision_rule, steps[0]
        last = max(number for number in range(len(steps)) if number % 2)
        moved = [step.buffers for step in steps]
        return EpisodeOutcome(
            task=episode.task,
            loss=first.loss.item(),
            num_right=count_correct(first.logits, support[1], rule),
            num_support=len(support[1]),
            adapted_loss=steps[last].loss.item(),
            adapted_accuracy=count_correct(steps[last].logits, query[1], rule) / len(query[1]),
            moved=(*moved, moved[-1]),
        )


def reptile_steps(
    network: nn.Module,
    parameters: Parameters,
    buffers: Buffers,
    batches: Sequence[LabelledImages],
    *,
    inner_loop: InnerLoop,
    loss: Loss,
    precision: Precision = "fp32",
) -> list[InnerStep]:
    """Gradient steps on the batches in turn; nothing that was passed in changes."""
    current = {name: value.detach() for name, value in parameters.items()}
    single, steps = replace(inner_loop, num_steps=1, first_order=True), list[InnerStep]()
    for number in range(inner_loop.num_steps):
        images, labels = batches[number % len(batches)]
        own = buffers_at(buffers, number)
        steps += inner_steps(network, current, own, images, labels, inner_loop=single, loss=loss, precision=precision)
        current = {name: value.detach() for name, value in steps[-1].parameters.items()}
    return steps


def reptile_gradient(steps: Sequence[InnerStep]) -> dict[str, Tensor]:
    """(theta_0 - theta_K) / a, as the sum of the gradients on the way."""
    return {name: torch.stack([step.gradient[name] for step in steps]).sum(dim=0) for name in steps[0].gradient}


def _add_gradient(parameter: Tensor, gradient: Tensor, share: float) -> None:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    parameter.grad.add_(gradient.detach(), alpha=share)
