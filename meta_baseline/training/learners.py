"""What the training loop asks of an algorithm: gradients for one step, and what was seen on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from meta_baseline.inner_loop import Parameters


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """One step in numbers.

    Attributes:
        num_images: that the step used.
        loss, accuracy: before any adaptation, in nats and in [0, 1].
        adapted_loss, adapted_accuracy: on the query sets after adaptation; None where nothing is adapted.
    """

    num_images: int
    loss: float
    accuracy: float
    adapted_loss: float | None = None
    adapted_accuracy: float | None = None


class Learner(Protocol):
    """An algorithm with its network and its plan over the pool."""

    @property
    def num_steps(self) -> int:
        """Steps that use up the pool."""
        ...

    def accumulate(self, step: int) -> StepOutcome:
        """Add the gradient of step ``step`` to the ``.grad`` of the network's parameters."""
        ...


@torch.no_grad()
def keep_statistics(buffers: Parameters, moved: Sequence[Parameters]) -> None:
    """Set the network's own buffers to the mean of what the forward passes of one step made of copies of them.

    With running statistics r <- (1 - m) r + m s, the mean over passes is one update with the mean of their batch
    statistics: batch norm moves once per step however many tasks the step has, and no task counts more than another.
    """
    for name, own in buffers.items():
        values = [copies[name] for copies in moved]
        own.copy_(torch.stack(values).mean(dim=0) if own.is_floating_point() else values[0])
