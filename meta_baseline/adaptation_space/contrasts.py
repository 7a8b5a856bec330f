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
from jaxtyping import Float
from numpy import ndarray
from scipy import special

LayerVerdict = Literal["learns", "reused", "open", "no gain"]
NetworkVerdict = Literal["rapid learning", "feature reuse", "both", "open", "no gain"]

SUBSTANTIAL = 0.5
"""Share of the gain that a layer, or all layers below the head, must surely stay under to be called reused."""


@dataclass(frozen=True, kw_only=True)
class EpisodeMean:
    """A mean over episodes with Student's interval."""

    value: float
    low: float
    high: float
    level: float

    @property
    def above_zero(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0.0


def average(values: Float[ndarray, " E"], *, level: float = 0.95, most: float = math.inf) -> EpisodeMean:
    """The mean of one number per episode, which can be ``most``; episodes in which it is undefined are left out."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) < 2:
        value = float(kept.mean()) if len(kept) else math.nan
        return EpisodeMean(value=value, low=math.nan, high=math.nan, level=level)
    half = float(special.stdtrit(len(kept) - 1, (1 + level) / 2)) * math.sqrt(kept.var(ddof=1) / len(kept))
    mean = float(kept.mean())
    return EpisodeMean(value=mean, low=mean - half, high=min(most, mean + half), level=level)


def judge_layers(gain: Float[ndarray, " E"], added: Float[ndarray, "E L"]) -> tuple[LayerVerdict, ...]:
    """The verdict on every layer, from the image to the answer."""
    if not average(gain).above_zero:
        return ("no gain",) * added.shape[1]
    level = 1 - 0.05 / added.shape[1]
    verdicts: list[LayerVerdict] = []
    for own in added.T:
        if average(own, level=level).above_zero:
            verdicts.append("learns")
        elif average(own - SUBSTANTIAL * gain, level=level).high < 0:
            verdicts.append("reused")
        else:
            verdicts.append("open")
    return tuple(verdicts)


def judge_network(gain: Float[ndarray, " E"], below_head: Float[ndarray, " E"]) -> NetworkVerdict:
    """Whether the layers below the head have to adapt for the gain.

    Args:
        gain: accuracy of adapting everything, less that of adapting nothing.
        below_head: accuracy of adapting everything, less that of adapting the last layer alone.
    """
    if not average(gain).above_zero:
        return "no gain"
    needed, small = average(below_head).above_zero, average(below_head - SUBSTANTIAL * gain).high < 0
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
