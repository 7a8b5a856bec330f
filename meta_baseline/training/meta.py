"""Meta-learning: one meta-gradient per step, from episodes adapted by ``inner_loop``.

Of each episode, theta is adapted to the support set and the query loss at the adapted parameters is differentiated
back to theta (first order: Finn et al. 2017, arXiv:1703.03400, section 5.2). The support loss before adaptation joins
with its own weight: its gradient has been computed for the inner step anyway, so it costs nothing, and it carries
the network off the plateau on which the inner step has nothing yet to amplify (the multi-step loss of Antoniou et al.
2019, arXiv:1810.09502, section 4, at step 0).

Batch norm normalises with the statistics of each support or query set. Running statistics, for use in evaluation,
are those of the support sets at theta, averaged over the episodes of a step; what adapted copies see is thrown away.
Near the end of a run they are frozen and used in training too (``loop.freeze_statistics``): a network that has always
been normalised by task does not do as well when it is normalised by the statistics of all tasks together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meta_baseline.episodes import Episode, plan_episodes
from meta_baseline.inner_loop import Parameters, forward, inner_steps, parameters_and_buffers
from meta_baseline.models import ConvNet
from meta_baseline.training.learners import StepOutcome, keep_statistics
from meta_baseline.training.objectives import classification_loss, count_correct
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.recipes import Recipe


class MetaLearner:
    """Leaves in ``.grad`` the meta-gradient of one step, averaged over its episodes."""

    def __init__(self, network: ConvNet, images: PoolImages, recipe: Recipe) -> None:
        self._network = network
        self._images = images
        self._recipe = recipe
        pool = images.pool
        self._plan = plan_episodes(pool.labels, pool.task_ids, recipe.episodes, recipe.rng("order"))
        self._loss = classification_loss(network.decision_rule)

    @property
    def num_steps(self) -> int:
        """Meta-steps that use up the pool."""
        return len(self._plan)

    def accumulate(self, step: int) -> StepOutcome:
        """The meta-gradient of meta-step ``step``; batch norm moves its running statistics once."""
        episodes = self._plan[step]
        parameters, buffers = parameters_and_buffers(self._network)
        outcomes = [self._learn(episode, parameters, buffers, 1 / len(episodes)) for episode in episodes]
        keep_statistics(buffers, [moved for _, moved in outcomes])
        totals = torch.tensor([numbers for numbers, _ in outcomes], dtype=torch.float64).mean(dim=0)
        loss, accuracy, adapted_loss, adapted_accuracy = totals.tolist()
        return StepOutcome(
            num_images=self._recipe.episodes.images_per_step,
            loss=loss,
            accuracy=accuracy,
            adapted_loss=adapted_loss,
            adapted_accuracy=adapted_accuracy,
        )

    def _learn(
        self, episode: Episode, parameters: dict[str, Tensor], buffers: Parameters, weight: float
    ) -> tuple[tuple[float, float, float, float], Parameters]:
        """Add one episode's share of the meta-gradient; losses and accuracies before and after, moved statistics."""
        recipe, rule = self._recipe, self._network.decision_rule
        support, query = self._images.read(episode.support), self._images.read(episode.query)
        steps = list(
            inner_steps(
                self._network,
                parameters,
                buffers,
                *support,
                inner_loop=recipe.inner_loop,
                loss=self._loss,
                precision=recipe.precision,
            )
        )
        first, adapted = steps[0], steps[-1].parameters
        logits, _ = forward(self._network, adapted, buffers, query[0], precision=recipe.precision)
        query_loss = self._loss(logits, query[1])
        (weight * query_loss).backward()
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            parameter.grad.add_(first.gradient[name].detach(), alpha=weight * recipe.support_loss_weight)
        return (
            first.loss.item(),
            count_correct(first.logits, support[1], rule) / len(support[1]),
            query_loss.item(),
            count_correct(logits, query[1], rule) / len(query[1]),
        ), first.buffers
