"""What the training loop asks of an algorithm: gradients for one step, and what was seen on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Int64
from numpy import ndarray
from torch import Tensor, nn

from meta_baseline.inner_loop import Parameters
from meta_baseline.training.learnt_adaptation import LearntAdaptation

TaskCounts = tuple[tuple[int, int, int], ...]
"""(task, answered rightly, asked) for each task of a step."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """One step in numbers.

    Attributes:
        num_images: that the step used.
        loss, accuracy: before any adaptation, in nats and in [0, 1].
        adapted_loss, adapted_accuracy: on the query sets after adaptation; None where nothing is adapted.
        by_task: answers before any adaptation.
    """

    num_images: int
    loss: float
    accuracy: float
    adapted_loss: float | None = None
    adapted_accuracy: float | None = None
    by_task: TaskCounts = ()


@dataclass(frozen=True, kw_only=True)
class EpisodeOutcome:
    """One episode in numbers: support set before, query set after adaptation; and the moved statistics.

    Attributes:
        moved: buffers after the passes at theta_0, and, where they are kept by step, at theta_1, theta_2, ...
    """

    task: int
    loss: float
    num_right: int
    num_support: int
    adapted_loss: float
    adapted_accuracy: float
    moved: tuple[Parameters, ...]


class Learner(Protocol):
    """An algorithm with its network and its plan over the pool."""

    learnt: LearntAdaptation

    @property
    def num_steps(self) -> int:
        """Steps that use up the pool."""
        ...

    def accumulate(self, step: int) -> StepOutcome:
        """Add the gradient of step ``step`` to the ``.grad`` of the network's parameters."""
        ...


def summarise_episodes(outcomes: Sequence[EpisodeOutcome], num_images: int) -> StepOutcome:
    """Means over the episodes of a step, each counting the same."""
    shares = [(o.loss, o.num_right / o.num_support, o.adapted_loss, o.adapted_accuracy) for o in outcomes]
    loss, accuracy, adapted_loss, adapted_accuracy = torch.tensor(shares, dtype=torch.float64).mean(dim=0).tolist()
    return StepOutcome(
        num_images=num_images,
        loss=loss,
        accuracy=accuracy,
        adapted_loss=adapted_loss,
        adapted_accuracy=adapted_accuracy,
        by_task=tuple((o.task, o.num_right, o.num_support) for o in outcomes),
    )


def count_by_task(right: Bool[Tensor, " N"], tasks: Int64[ndarray, " N"]) -> TaskCounts:
    """Answers of a mixed batch, task by task."""
    answers = right.cpu().numpy()
    return tuple(
        (int(task), int(answers[tasks == task].sum()), int((tasks == task).sum())) for task in sorted(set(tasks))
    )


def moves_statistics(network: nn.Module) -> bool:
    """Whether forward passes move running statistics: some batch norm is in training mode and keeps them."""
    return any(
        module.training and module.track_running_stats
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    )


@torch.no_grad()
def keep_statistics(buffers: Parameters, moved: Sequence[Parameters]) -> None:
    """Set the network's own buffers to the mean of what the forward passes of one step made of copies of them.

    With running statistics r <- (1 - m) r + m s, the mean over passes is one update with the mean of their batch
    statistics: batch norm moves once per step however many tasks the step has, and no task counts more than another.
    """
    for name, own in buffers.items():
        values = [copies[name] for copies in moved]
        own.copy_(torch.stack(values).mean(dim=0) if own.is_floating_point() else values[0])
