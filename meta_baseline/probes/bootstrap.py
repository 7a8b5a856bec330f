"""Intervals over shape identities: groups are drawn again, not images, for images of one identity are alike.

The predictions are held fixed, so an interval says how far a number would move with other identities, not with other
training images or another training run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import special, stats

NUM_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class GroupBootstrap:
    """How often each group was drawn in each resample; one for everything that is compared, so differences are paired.

    Attributes:
        index: [N] position of each image's group among the groups.
        draws: [R, G] multinomial counts.
        level: of the intervals.
    """

    index: Int[ndarray, " N"]
    draws: Float[ndarray, "R G"]
    level: float = 0.95

    @staticmethod
    def over(
        groups: Int[ndarray, " N"], rng: np.random.Generator, num_resamples: int = NUM_RESAMPLES
    ) -> GroupBootstrap:
        """Draw all groups with replacement, ``num_resamples`` times."""
        names, index = np.unique(groups, return_inverse=True)
        draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
        return GroupBootstrap(index=index, draws=draws.astype(np.float64))

    @property
    def num_groups(self) -> int:
        """G."""
        return self.draws.shape[1]

    def resample_ratio(
        self, numerators: Float[ndarray, "N B"], denominators: Float[ndarray, "N B"]
    ) -> Float[ndarray, "R B"]:
        """Sum over sum, per resample and column: means with ones below, shares of variance with squares."""
        above = self.draws @ self._group_sums(numerators)
        below = self.draws @ self._group_sums(denominators)
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

    def interval(self, resamples: Float[ndarray, "R B"]) -> tuple[Float[ndarray, " B"], Float[ndarray, " B"]]:
        """Expanded percentile interval of every column; NaN where a column has no finite resample.

        Quantiles are taken further out, at Phi(-sqrt(G / (G - 1)) t_{G-1}), which undoes most of the percentile
        interval's shortness when groups are few (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, section 5.4).
        """
        tail = (1 - self.level) / 2
        num = self.num_groups
        outer = stats.norm.cdf(math.sqrt(num / (num - 1)) * special.stdtrit(num - 1, tail))
        low, high = np.full((2, resamples.shape[1]), np.nan)
        known = np.isfinite(resamples).any(axis=0)
        low[known], high[known] = np.nanquantile(resamples[:, known], [outer, 1 - outer], axis=0)
        return low, high

    def simultaneous_interval(
        self, values: Float[ndarray, " B"], resamples: Float[ndarray, "R B"]
    ) -> tuple[Float[ndarray, " B"], Float[ndarray, " B"]]:
        """An interval that holds for all columns at once: value +- (quantile of the largest |t| of a resample) * sd.

        For reading off the largest of many differences without being fooled by the choice (max-t; Westfall & Young
        1993). Columns that are NaN or never vary stay as they are and do not widen the others.
        """
        deviation = resamples - values
        error = np.sqrt((deviation**2).mean(axis=0) * self.num_groups / (self.num_groups - 1))
        varies = np.isfinite(error) & (error > 0)
        if not varies.any():
            return values.copy(), values.copy()
        largest = np.abs(deviation[:, varies] / error[varies]).max(axis=1)
        half = np.quantile(largest, self.level) * error
        return values - half, values + half

    def _group_sums(self, values: Float[ndarray, "N B"]) -> Float[ndarray, "G B"]:
        sums = np.zeros((self.num_groups, values.shape[1]))
        np.add.at(sums, self.index, values)
        return sums
