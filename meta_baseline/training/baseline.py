"""Conventional training: one gradient per batch, tasks mixed at random."""

from __future__ import annotations

from meta_baseline.episodes import plan_batches
from meta_baseline.inner_loop import Precision, forward, parameters_and_buffers
from meta_baseline.models import ConvNet, decide
from meta_baseline.training.learners import StepOutcome, count_by_task, keep_statistics, moves_statistics
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.recipe import Recipe


class BaselineLearner:
    """Leaves in ``.grad`` the gradient of the mean loss of one batch."""

    def __init__(self, network: ConvNet, images: PoolImages, recipe: Recipe) -> None:
        self.learnt = LearntAdaptation()
        self._network = network
        self._images = images
        self._precision: Precision = recipe.precision
        self._plan = plan_batches(len(images.pool.labels), recipe.batch_size, recipe.rng("order"))
        self._loss = classification_loss(recipe.trained_rule(network))

    @property
    def num_steps(self) -> int:
        """Steps that use up the pool."""
        return len(self._plan)

    def accumulate(self, step: int) -> StepOutcome:
        """The gradient of batch ``step``; batch norm moves its running statistics once."""
        rows = self._plan[step]
        images, labels = self._images.read(rows)
        parameters, buffers = parameters_and_buffers(self._network)
        logits, moved = forward(self._network, parameters, buffers, images, precision=self._precision)
        loss = self._loss(logits, labels)
        loss.backward()
        if moves_statistics(self._network):
            keep_statistics(buffers, [moved])
        right = decide(logits.detach(), self._network.decision_rule) == labels.bool()
        return StepOutcome(
            num_images=len(labels),
            loss=loss.item(),
            accuracy=int(right.sum()) / len(labels),
            by_task=count_by_task(right, self._images.pool.task_ids[rows]),
        )
