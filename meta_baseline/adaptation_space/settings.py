"""How networks are adapted, the same for all of them; and a network with what it takes to adapt it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor, nn

from meta_baseline.errors import UsageError
from meta_baseline.inner_loop import InnerLoop, Loss, Parameters
from meta_baseline.models import DecisionRule


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings:
    """The test that every network goes through.

    Batch norm uses running statistics throughout, before and after adaptation; so no answer depends on which images
    are asked about together, and no step moves a statistic.

    Attributes:
        steps: numbers of inner steps after which queries are answered, ascending from 0.
        support_sizes: labelled images to adapt to, ascending; small supports are part of the large ones.
        layer_steps: inner steps for everything that is said of layers, one of ``steps``, with the largest support.
        num_queries: of an episode, at most; half "same".
        max_episodes: at most of the images of the study, and again of tasks held out; each uses images of its own.
        control_episodes: the first so many of either for all that is measured of untrained networks; with nothing
            frozen they go through all.
        thorough_every: what stands beside the main numbers (other rates, layers that adapt alone, batch norm refitted,
            sharpness) is measured in one of so many episodes; of untrained networks sharpness alone.
        learning_rate: of the inner loop, where a network did not learn rates of its own.
        rate_factors: other rates that are tried, as multiples of that one, to see whether a verdict hangs on it.
    """

    steps: tuple[int, ...] = (0, 1, 5, 10)
    support_sizes: tuple[int, ...] = (4, 10)
    layer_steps: int = 5
    num_queries: int = 40
    max_episodes: int = 10
    control_episodes: int = 3
    thorough_every: int = 2
    learning_rate: float = 0.05
    rate_factors: tuple[float, ...] = (0.2, 5.0)

    def __post_init__(self) -> None:
        if self.steps[0] != 0 or list(self.steps) != sorted(set(self.steps)) or self.layer_steps not in self.steps[1:]:
            raise UsageError(f"Steps {self.steps} must ascend from 0 and hold the {self.layer_steps} of the layers.")
        if any(size < 2 or size % 2 for size in (*self.support_sizes, self.num_queries)):
            raise UsageError(f"Supports {self.support_sizes} and {self.num_queries} queries must be even: half same.")
        if list(self.support_sizes) != sorted(set(self.support_sizes)):
            raise UsageError(f"Support sizes {self.support_sizes} must ascend. Name each once.")

    @property
    def num_support(self) -> int:
        """The largest support."""
        return self.support_sizes[-1]

    def inner_loop(self, num_steps: int, rate_factor: float = 1.0) -> InnerLoop:
        """So many first-order steps of all parameters that are passed in."""
        return InnerLoop(num_steps=num_steps, learning_rate=rate_factor * self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One network as it is to be adapted; nothing of it is changed.

    Attributes:
        name: "meta" or "baseline", or that of a control, which begins with "untrained".
        network: the computation and theta_0.
        loss: that it is adapted by.
        rule: that it answers by.
        rates: inner rates by layer that it learned with its weights, in place of those of the settings.
        statistics: buffers of theta_1, theta_2, ..., where it keeps some for each step.
        note: a sentence about where it came from, or empty.
    """

    name: str
    network: nn.Module
    loss: Loss
    rule: DecisionRule
    rates: Parameters | None = None
    statistics: tuple[Parameters, ...] = ()
    note: str = ""

    @property
    def is_control(self) -> bool:
        """Whether it is an untrained network."""
        return is_control(self.name)


def is_control(name: str) -> bool:
    """Whether a network of this name is an untrained one."""
    return name.startswith("untrained")


@dataclass(frozen=True, kw_only=True)
class TaskStimuli:
    """Images of one task, read when they are asked for.

    Attributes:
        name: of the task.
        held_out: whether the images are fresh ones of a task that no network was trained on, drawn beside the study's.
        labels: 1 = same.
        groups: shape identity, or the row number; support and queries of an episode share none.
        read: images of some rows as a network's ``prepare_images`` takes them: uint8, or floats as they are.
    """

    name: str
    labels: Int64[ndarray, " N"]
    groups: Int64[ndarray, " N"]
    read: Callable[[Int64[ndarray, " M"]], Tensor]
    held_out: bool = False
