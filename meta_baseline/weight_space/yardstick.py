"""How different two networks are in their layers' statistics, measured by how different networks of one recipe are.

Any two networks differ in every number. The yardstick is a set of pairs in which nothing but the seed differs: two
runs of one condition where further seeds are given, fresh initialisations otherwise. The pair under study exceeds it
when its most different layer is more different than the most different layer of every yardstick pair. If the pair were
one more of them, drawn like them and independently, each of the Q + 1 would be the highest equally often: it would
exceed the others once in Q + 1 times, however many layers and statistics there are and however they depend on each
other (less often where pairs tie). A pair that shares its step 0 is not drawn like pairs that do not: it may differ
less, and exceed less often. No p-value is meant: it is one pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

T = TypeVar("T")

JUDGED = (
    "norm",
    "gain",
    "kurtosis",
    "hoyer",
    "near_zero",
    "dead",
    "stable_rank",
    "effective_rank",
    "participation",
    "redundancy",
    "nearest",
    "operator_norm",
)
"""Statistics that enter: none sees the size of filters before batch norm or of a layer before layer norm."""

Values = Mapping[str, Mapping[str, float]]
"""A network's statistics: by role, then by name."""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """One pair against Q pairs of one recipe.

    Attributes:
        source: what the yardstick pairs are.
        roles: the layers that were judged.
        statistics: the names of the statistics that every network has.
        differences: [L, K] absolute differences of the pair; NaN where a layer has no such statistic.
        controls: [Q, L, K] of the yardstick pairs.
        scores: [L] root mean square of the differences, each divided by its mean over all pairs.
        control_scores: [Q, L].
    """

    source: str
    roles: tuple[str, ...]
    statistics: tuple[str, ...]
    differences: Float[np.ndarray, "L K"]
    controls: Float[np.ndarray, "Q L K"]
    scores: Float[np.ndarray, " L"]
    control_scores: Float[np.ndarray, "Q L"]

    @property
    def exceeded(self) -> bool:
        """True when the most different layer of the pair is more so than that of any yardstick pair."""
        return bool(self.scores.max() > self.control_scores.max() * (1 + 1e-9))

    @property
    def chance(self) -> float:
        """How often, at most, a pair of the yardstick's own recipe and independent of the others would exceed them."""
        return 1.0 / (len(self.controls) + 1)

    @property
    def most_different(self) -> str:
        """The layer in which the pair differs most."""
        return self.roles[int(np.argmax(self.scores))]

    @property
    def leading_statistic(self) -> str:
        """The statistic that differs most in that layer, of those in which yardstick pairs differ at all."""
        layer = int(np.argmax(self.scores))
        typical = np.nan_to_num(self.controls[:, layer].mean(axis=0))
        varying = typical > 0
        ratios = np.where(varying, self.differences[layer] / np.where(varying, typical, 1.0), -1.0)
        if not varying.any():
            ratios = np.nan_to_num(self.differences[layer], nan=-1.0)
        return self.statistics[int(np.nanargmax(ratios))]


def judge_pair(
    meta: Values, baseline: Values, pairs: Sequence[tuple[Values, Values]], *, roles: Sequence[str], source: str
) -> Yardstick | None:
    """The pair against yardstick pairs, which should share no network with each other nor with it.

    None without yardstick pairs or without a statistic that all networks have.
    """
    if not pairs or not roles:
        return None
    everything = [(meta, baseline), *pairs]
    statistics = [name for name in JUDGED if any(_known(name, role, everything) for role in roles)]
    stacked = np.array([[_differences(pair, role, statistics) for role in roles] for pair in everything])
    stacked[:, np.isnan(stacked).any(axis=0)] = np.nan
    # Every pair enters the scale alike, the one under study too: that makes the ranks exact.
    means = stacked.mean(axis=0)
    scaled = np.where(means > 0, stacked / np.where(means > 0, means, 1.0), 0.0)
    scaled[np.isnan(stacked)] = np.nan
    counts = np.maximum((~np.isnan(scaled)).sum(axis=2), 1)
    scores = np.sqrt(np.nansum(scaled**2, axis=2) / counts)
    return Yardstick(
        source=source,
        roles=tuple(roles),
        statistics=tuple(statistics),
        differences=stacked[0],
        controls=stacked[1:],
        scores=scores[0],
        control_scores=scores[1:],
    )


def split_pairs(networks: Sequence[T]) -> list[tuple[T, T]]:
    """Pairs of neighbours, none of which shares a network with another; a last odd one is left out."""
    return list(zip(networks[::2], networks[1::2]))


def pair_seeds(network: T, seeds: Sequence[T]) -> list[tuple[T, T]]:
    """Pairs of networks of one condition: of the further seeds, or of the one there is with the network itself."""
    return split_pairs(seeds) if len(seeds) > 1 else [(network, seed) for seed in seeds]


def _known(name: str, role: str, pairs: Sequence[tuple[Values, Values]]) -> bool:
    return all(np.isfinite(network[role].get(name, np.nan)) for pair in pairs for network in pair)


def _differences(pair: tuple[Values, Values], role: str, statistics: Sequence[str]) -> list[float]:
    return [_differ(pair[0][role].get(name, np.nan), pair[1][role].get(name, np.nan)) for name in statistics]


def _differ(one: float, other: float) -> float:
    # Sums in another order differ by rounding, which would count for much where all other pairs are exactly equal.
    difference = abs(one - other)
    return 0.0 if difference <= 1e-6 * max(abs(one), abs(other)) else difference
