"""Meta-learning: one meta-gradient per step, from episodes adapted by ``inner_loop``.

Of each episode, theta is adapted to the support set and the query loss at the adapted parameters is differentiated
back to theta: exactly (MAML: Finn et al. 2017, arXiv:1703.03400, equation 4), with each inner gradient for a constant
(FOMAML, section 5.2 there), or through the head alone (ANIL: Raghu et al. 2020, arXiv:1909.09157). The matched control
does the same with an inner rate of 0. The support loss before adaptation joins with its own weight: its gradient has
been computed for the inner step anyway, so it costs nothing, and it carries the network off the plateau on which the
inner step has nothing yet to amplify (the multi-step loss of Antoniou et al. 2019, arXiv:1810.09502, section 4, at
step 0).

Batch norm normalises with the statistics of each support or query set. Running statistics, for use in evaluation,
are those of the support sets at theta, averaged over the episodes of a step; what adapted copies see is thrown away,
or goes to statistics of its own for each number of inner steps.
Near the end of a run they are frozen and used in training too (``loop.freeze_statistics``): a network that has always
been normalised by task does not do as well when it is normalised by the statistics of all tasks together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meta_baseline.episodes import Episode, merge_episodes, plan_episodes
from meta_baseline.inner_loop import (
    Buffers,
    InnerLoop,
    InnerStep,
    Parameters,
    buffers_at,
    differentiate,
    forward,
    inner_steps,
    parameters_and_buffers,
)
from meta_baseline.linear_steps import Gradient, add_gradients
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
from meta_baseline.training.quick_twin import arrange_for_training
from meta_baseline.training.recipe import Recipe

Terms = list[tuple[float, Gradient]]
"""Weighted gradients that make up a meta-gradient."""


class _QueryAnswers(NamedTuple):
    loss: Tensor
    logits: Tensor
    buffers: Parameters


class MetaLearner:
    """Leaves in ``.grad`` the meta-gradient of one step, averaged over its episodes."""

    def __init__(self, network: ConvNet, images: PoolImages, recipe: Recipe) -> None:
        self._network = network
        self._twin = arrange_for_training(network)
        self._images = images
        self._recipe = recipe
        pool = images.pool
        self._plan = plan_episodes(pool.labels, pool.task_ids, recipe.episodes, recipe.rng("order"))
        if "merged-episodes" in recipe.faults:
            self._plan = [(merge_episodes(step),) for step in self._plan]
        self._loss = classification_loss(recipe.trained_rule(network))
        learns_rates = recipe.learn_inner_rates and recipe.algorithm != "matched"
        self.learnt = LearntAdaptation.start(
            network,
            num_steps=recipe.inner_loop.num_steps,
            learning_rate=recipe.inner_loop.learning_rate if learns_rates else None,
            per_step=recipe.norm == "per-step",
        )

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes of the run, in their order."""
        return tuple(episode for step in self._plan for episode in step)

    @property
    def num_steps(self) -> int:
        """Meta-steps that use up the pool."""
        return len(self._plan)

    def accumulate(self, step: int) -> StepOutcome:
        """The meta-gradient of meta-step ``step``; batch norm moves its running statistics once."""
        episodes, progress = self._plan[step], step / self.num_steps
        inner_loop = self._recipe.inner_loop_at(progress)
        weights = multi_step_weights(inner_loop.num_steps, progress, self._recipe.multi_step_fraction)
        parameters, buffers = parameters_and_buffers(self._network)
        terms, outcomes = Terms(), list[EpisodeOutcome]()
        # While this block is open, narrow copies of theta_0, which autocast makes inside, serve all episodes.
        with torch.autocast(next(iter(parameters.values())).device.type, enabled=False):
            for episode in episodes:
                outcome, more = self._learn(episode, parameters, buffers, inner_loop, weights, 1 / len(episodes))
                outcomes.append(outcome)
                terms += more
        add_gradients(parameters, terms)
        if moves_statistics(self._network):
            keep_statistics(buffers, [outcome.moved[0] for outcome in outcomes])
            for number, own in enumerate(self.learnt.statistics, start=1):
                keep_statistics(own, [outcome.moved[number] for outcome in outcomes])
        return summarise_episodes(outcomes, sum(len(e.support) + len(e.query) for e in episodes))

    def _learn(
        self,
        episode: Episode,
        parameters: dict[str, Tensor],
        own_buffers: Parameters,
        inner_loop: InnerLoop,
        weights: tuple[float, ...],
        share: float,
    ) -> tuple[EpisodeOutcome, Terms]:
        """One episode's share of the meta-gradient: what is not in ``.grad`` afterwards is in the terms."""
        precision, rule = self._recipe.precision, self._network.decision_rule
        support, query = self._images.read(episode.support), self._images.read(episode.query)
        buffers = self.learnt.buffers(own_buffers)
        steps = list(
            inner_steps(
                self._twin,
                parameters,
                buffers,
                *support,
                inner_loop=inner_loop,
                loss=self._loss,
                precision=precision,
                rates=self.learnt.rates_or_none,
            )
        )
        asked = [(number, weight) for number, weight in enumerate(weights, start=1) if weight > 0]
        # The gradient of each query loss where it is, unless something else is to be differentiated on the way there.
        direct = inner_loop.first_order and inner_loop.adapted == "all" and self.learnt.rates_or_none is None
        ask = self._differentiate if direct else self._ask
        last, terms = ask(steps[-1], len(steps), query, buffers, share * weights[-1])
        objective = weights[-1] * last.loss
        for number, weight in asked[:-1]:
            answers, more = ask(steps[number - 1], number, query, buffers, share * weight)
            objective = objective + weight * answers.loss
            terms += more
        if not direct:
            (share * self._with_support_loss(objective, steps[0], parameters)).backward()
        if steps[0].gradient.keys() == parameters.keys() and self._recipe.support_loss_weight:
            terms.append((share * self._recipe.support_loss_weight, steps[0].gradient.detach()))
        return EpisodeOutcome(
            task=episode.task,
            loss=steps[0].loss.item(),
            num_right=count_correct(steps[0].logits, support[1], rule),
            num_support=len(support[1]),
            adapted_loss=last.loss.item(),
            adapted_accuracy=count_correct(last.logits, query[1], rule) / len(query[1]),
            moved=(*(step.buffers for step in steps), last.buffers),
        ), terms

    def _ask(
        self, step: InnerStep, number: int, query: tuple[Tensor, Tensor], buffers: Buffers, _weight: float
    ) -> tuple[_QueryAnswers, Terms]:
        """The queries at the parameters after ``number`` steps, to differentiate back to theta."""
        statistics = buffers_at(buffers, number)
        precision = self._recipe.precision
        logits, moved = forward(self._twin, step.parameters, statistics, query[0], precision=precision)
        return _QueryAnswers(self._loss(logits, query[1]), logits, moved), []

    def _differentiate(
        self, step: InnerStep, number: int, query: tuple[Tensor, Tensor], buffers: Buffers, weight: float
    ) -> tuple[_QueryAnswers, Terms]:
        """The same where the derivative of those parameters by theta is the identity, with the gradient."""
        at = differentiate(
            self._twin,
            step.parameters,
            buffers_at(buffers, number),
            *query,
            loss=self._loss,
            precision=self._recipe.precision,
        )
        return _QueryAnswers(at.loss, at.logits, at.buffers), [(weight, at.gradient)]

    def _with_support_loss(self, objective: Tensor, first: InnerStep, parameters: Parameters) -> Tensor:
        """The objective with the support loss, where the inner step has not computed its whole gradient."""
        if first.gradient.keys() == parameters.keys() or self._recipe.support_loss_weight == 0:
            return objective
        return objective + self._recipe.support_loss_weight * first.loss


def multi_step_weights(num_steps: int, progress: float, fraction: float) -> tuple[float, ...]:
    """Weights of the query losses after 1, 2, ..., K inner steps; they sum to 1.

    Equal at the start of a run, and all on the last step from ``fraction`` of the run on, linearly in between
    (Antoniou et al. 2019, section 4, "multi-step loss optimization").
    """
    spread = 1.0 - progress / fraction if progress < fraction else 0.0
    early = spread / num_steps
    return (*[early] * (num_steps - 1), 1.0 - early * (num_steps - 1))
