"""Prototypical networks: a query is of the class whose mean support embedding is nearest (Snell et al. 2017).

Logits are minus squared distances to the class means (arXiv:1703.05175, equations 1 and 2), and the query loss is their
cross-entropy; what is embedded is what the classifier reads. The classifier itself has no part in that. So that the
checkpoint answers by the same rule as every other, it is trained along on the support embeddings, as a readout: its
gradient stops there, and the embedding is shaped by the prototypes alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from meta_baseline.episodes import Episode, plan_episodes
from meta_baseline.inner_loop import Parameters, embed, parameters_and_buffers
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


class ProtoNetLearner:
    """Leaves in ``.grad`` the gradient of the prototype loss, averaged over the episodes of a step."""

    def __init__(self, network: ConvNet, images: PoolImages, recipe: Recipe) -> None:
        self.learnt = LearntAdaptation()
        self._network = network
        self._images = images
        self._recipe = recipe
        pool = images.pool
        self._plan = plan_episodes(pool.labels, pool.task_ids, recipe.episodes, recipe.rng("order"))
        self._loss = classification_loss(recipe.trained_rule(network))

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
        return summarise_episodes(outcomes, sum(len(e.support) + len(e.query) for e in episodes))

    def _learn(self, episode: Episode, parameters: Parameters, buffers: Parameters, share: float) -> EpisodeOutcome:
        precision, rule = self._recipe.precision, self._network.decision_rule
        support, query = self._images.read(episode.support), self._images.read(episode.query)
        shown, _, moved = embed(self._network, parameters, buffers, support[0], precision=precision)
        asked, _, _ = embed(self._network, parameters, buffers, query[0], precision=precision)
        logits = prototype_logits(shown, support[1], asked)
        query_loss = functional.cross_entropy(logits, query[1])
        head = {name.removeprefix("classifier."): parameters[name] for name in parameters if "classifier." in name}
        readout = functional_call(self._network.get_submodule("classifier"), head, (shown.detach(),))
        readout_loss = self._loss(readout, support[1])
        (share * (query_loss + readout_loss)).backward()
        return EpisodeOutcome(
            task=episode.task,
            loss=readout_loss.item(),
            num_right=count_correct(readout, support[1], rule),
            num_support=len(support[1]),
            adapted_loss=query_loss.item(),
            adapted_accuracy=float((logits.argmax(dim=1) == query[1]).double().mean()),
            moved=(moved,),
        )


def prototype_logits(
    support: Float[Tensor, "N D"], labels: Int64[Tensor, " N"], queries: Float[Tensor, "M D"]
) -> Float[Tensor, "M 2"]:
    """Minus the squared distance of each query to the mean support embedding of "different" and of "same"."""
    prototypes = torch.stack([support[labels == label].mean(dim=0) for label in (0, 1)])
    return -(queries.unsqueeze(1) - prototypes).square().sum(dim=-1)
