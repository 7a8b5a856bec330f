"""Intervals over episodes, and what they allow one to say of a layer: rapid learning or feature reuse.

Accuracies of one episode are paired: the same queries with different layers adapted. The gain of adapting everything
is split by the ladder into what each layer adds beyond those above it. Where the gain itself is not beyond zero, there
is nothing to explain and no layer gets a verdict. Else a layer

    learns         adds more than nothing (intervals over layers are Bonferroni's, so that none of L is a chance hit),
    is reused      adds surely less than half of the gain, and not surely more than nothing,
    stays open     otherwise.

Below the head, "learns" is what Raghu et al. 2020 (arXiv:1909.09157) call rapid learning, "is reused" feature reuse.
"""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from scipy import special

LayerVerdict = Literal["learns", "reused", "open", "no gain"]
NetworkVerdict = Literal["rapid learning", "feature reuse", "both", "open", "no gain"]

SUBSTANTIAL = 0.5
"""Share of the gain that a layer, or all layers below the head, must surely stay under to be called reused."""


@dataclass(frozen=True, kw_only=True)
class EpisodeMean:
    """A mean over episodes with Student's interval, over episodes of the same tasks."""

    value: float
    low: float
    high: float
    level: float

    @property
    def above_zero(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0.0

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0.0 or self.high < 0.0


def average(
    values: Float[ndarray, " E"],
    *,
    tasks: Int64[ndarray, " E"] | None = None,
    level: float = 0.95,
    most: float = math.inf,
) -> EpisodeMean:
    """The mean of one number per episode, which can be ``most``; episodes in which it is undefined are left out.

    Where the episodes are of several tasks, these are the ones that are spoken of: the interval rests on how episodes
    of one task differ (a stratified mean; Cochran 1977, Sampling Techniques, section 5.4, with one variance for all).
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    kept = numbers[known]
    strata = np.zeros(len(kept), dtype=np.int64) if tasks is None else tasks[known]
    names = np.unique(strata)
    freedom = len(kept) - len(names)
    if freedom < 1:
        value = float(kept.mean()) if len(kept) else math.nan
        return EpisodeMean(value=value, low=math.nan, high=math.nan, level=level)
    spread = sum(float(((own - own.mean()) ** 2).sum()) for own in (kept[strata == name] for name in names))
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(spread / freedom / len(kept))
    mean = float(kept.mean())
    return EpisodeMean(value=mean, low=mean - half, high=min(most, mean + half), level=level)


def predict_next(means: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Student's prediction interval: where the mean of one more network lies, from those of a few.

    It holds how initialisations differ and how episodes do, without telling them apart.
    """
    values = np.asarray(means, dtype=np.float64)
    num = len(values)
    half = float(special.stdtrit(num - 1, (1 + level) / 2)) * math.sqrt(values.var(ddof=1) * (1 + 1 / num))
    return float(values.mean()) - half, float(values.mean()) + half


def predict_difference(means: Sequence[float], *, level: float = 0.95) -> float:
    """What the means of two more networks differ by at most with this probability, from those of a few: Student's."""
    values = np.asarray(means, dtype=np.float64)
    return float(special.stdtrit(len(values) - 1, (1 + level) / 2)) * math.sqrt(2 * values.var(ddof=1))


def judge_layers(
    gain: Float[ndarray, " E"], added: Float[ndarray, "E L"], tasks: Int64[ndarray, " E"] | None = None
) -> tuple[LayerVerdict, ...]:
    """The verdict on every layer, from the image to the answer."""
    if not average(gain, tasks=tasks).above_zero:
        return ("no gain",) * added.shape[1]
    level = 1 - 0.05 / added.shape[1]
    verdicts: list[LayerVerdict] = []
    for own in added.T:
        if average(own, tasks=tasks, level=level).above_zero:
            verdicts.append("learns")
        elif average(own - SUBSTANTIAL * gain, tasks=tasks, level=level).high < 0:
            verdicts.append("reused")
        else:
            verdicts.append("open")
    return tuple(verdicts)


def find_sufficient(alone: Float[ndarray, "E L"], tasks: Int64[ndarray, " E"] | None = None) -> Bool[ndarray, " L"]:
    """Layers that surely gain something when they alone adapt; simultaneous over the layers.

    Args:
        alone: accuracy gained by each; NaN in episodes in which that was not measured.
        tasks: of the episodes.
    """
    level = 1 - 0.05 / alone.shape[1]
    return np.array([average(own, tasks=tasks, level=level).above_zero for own in alone.T])


def judge_network(
    gain: Float[ndarray, " E"], below_head: Float[ndarray, " E"], tasks: Int64[ndarray, " E"] | None = None
) -> NetworkVerdict:
    """Whether the layers below the head have to adapt for the gain.

    Args:
        gain: accuracy of adapting everything, less that of adapting nothing.
        below_head: accuracy of adapting everything, less that of adapting the last layer alone.
        tasks: of the episodes.
    """
    if not average(gain, tasks=tasks).above_zero:
        return "no gain"
    needed = average(below_head, tasks=tasks).above_zero
    small = average(below_head - SUBSTANTIAL * gain, tasks=tasks).high < 0
    if needed:
        return "both" if small else "rapid learning"
    return "feature reuse" if small else "open"


def describe_mean(mean: EpisodeMean, *, points: bool = True) -> str:
    """The mean and its interval for a sentence; accuracies in points of a hundred."""
    if points:
        return f"{100 * mean.value:+.1f} points [{100 * mean.low:+.1f}, {100 * mean.high:+.1f}]"
    return f"{mean.value:.3g} [{mean.low:.3g}, {mean.high:.3g}]"


def name_layers(roles: Sequence[str], verdicts: Sequence[LayerVerdict], wanted: LayerVerdict) -> str:
    """Roles that got one verdict, in order, for a sentence; empty when none did."""
    return ", ".join(role for role, verdict in zip(roles, verdicts) if verdict == wanted)
