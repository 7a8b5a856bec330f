"""Differences between arms, over paired seeds: which are tested, and which are described.

One family is fixed (``is_primary``) and tested whole, by exact sign flips with max-T, from six seeds on; eight to ten
make it likely to find what is there. After adaptation it is about each arm at its own inner rate. Everything else is
described.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from meta_baseline.models import DecisionRule
from meta_baseline.results import Estimate
from meta_baseline.statistics import max_t_sign_flips, mean_interval
from meta_baseline.training.arm_accuracy import RATES, ArmsTest, Rate
from meta_baseline.training.verdicts import Group

CONTRASTS = (("meta", "matched"), ("matched", "baseline"), ("meta", "baseline"))
"""What adaptation in training adds; what training by episodes adds; both together."""
MIN_SEEDS = 6
"""Paired seeds below which no exact test of signs can reach p < .05."""
PRIMARY_CONTRASTS, PRIMARY_STEPS = (("meta", "matched"), ("meta", "baseline")), (0, 5)
"""Of the family that is tested, with the fewest supports, on trained and on held-out tasks: at most eight cells."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One arm minus another on one group of tasks, a number for each seed.

    Attributes:
        rate: at which both were adapted; "own" where none was.
        differences: by seed, each a mean over tasks, in accuracy.
        low, high: 95 % Student interval over seeds; None for a single seed.
        p_value: of exact sign flips, adjusted over the primary family (max-T); None outside it or with few seeds.
    """

    first: str
    second: str
    group: Group
    support: int
    steps: int
    rate: Rate
    rule: DecisionRule
    differences: tuple[float, ...]
    low: float | None
    high: float | None
    p_value: float | None = None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.differences))

    def describe(self) -> str:
        """The numbers, for a sentence."""
        by_seed = ", ".join(f"{100 * value:+.1f}" for value in self.differences)
        if self.low is None or self.high is None:
            return f"{100 * self.mean:+.1f} points at one seed"
        interval = f"95 % interval over seeds {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        adjusted = "" if self.p_value is None else f", adjusted p = {self.p_value:.3f}"
        return f"{100 * self.mean:+.1f} points, {interval}{adjusted} (by seed: {by_seed})"


def list_contrasts(
    names: tuple[str, ...],
    rules: tuple[DecisionRule, ...],
    test: ArmsTest,
    trained_on: Bool[ndarray, " T"],
    accuracy: Float[ndarray, "S M T D L Q R"],
) -> tuple[Contrast, ...]:
    """Every contrast of arms that there are, the primary ones tested where there are seeds enough."""
    contrasts: list[Contrast] = []
    groups: tuple[tuple[Group, Bool[ndarray, " T"]], ...] = (("trained", trained_on), ("held-out", ~trained_on))
    for first, second in CONTRASTS:
        if first not in names or second not in names:
            continue
        both = accuracy[:, names.index(first)] - accuracy[:, names.index(second)]
        for group, members in groups:
            for d, k, q, r in iterate_tests(test, len(rules)) if members.any() else ():
                differences = both[:, members, d, k, q, r].mean(axis=1)
                interval = mean_interval(differences) if len(differences) > 1 else None
                contrasts.append(
                    Contrast(
                        first=first,
                        second=second,
                        group=group,
                        support=test.supports[d],
                        steps=test.steps[k],
                        rate=RATES[q],
                        rule=rules[r],
                        differences=tuple(map(float, differences)),
                        low=interval.low if interval else None,
                        high=interval.high if interval else None,
                    )
                )
    return _test_primary(contrasts, test, rules[0]) if len(accuracy) >= MIN_SEEDS else tuple(contrasts)


def iterate_tests(test: ArmsTest, num_rules: int) -> Iterator[tuple[int, int, int, int]]:
    """Places of support size, number of steps, rate and rule; without steps there is one of size and rate."""
    for r in range(num_rules):
        for q in reversed(range(len(RATES))):
            for d in range(len(test.supports)):
                for k, steps in enumerate(test.steps):
                    if steps > 0 or (d == 0 and RATES[q] == "own"):
                        yield d, k, q, r


def is_primary(contrast: Contrast, test: ArmsTest, rule: DecisionRule) -> bool:
    """Whether a contrast is of the family that is tested; ``rule`` is the networks' own."""
    return (
        (contrast.first, contrast.second) in PRIMARY_CONTRASTS
        and contrast.steps in PRIMARY_STEPS
        and contrast.support == min(test.supports)
        and contrast.rate == "own"
        and contrast.rule == rule
    )


def describe_test(steps: int, support: int, rate: Rate) -> str:
    """How arms were adapted, in words."""
    if steps == 0:
        return "as trained"
    rates = "their own inner rates" if rate == "own" else "the common inner rate"
    return f"after {steps} step{'s' * (steps > 1)} on {support} images at {rates}"


def describe_contrast(contrast: Contrast) -> Estimate:
    """One contrast as an estimate."""
    adapted = describe_test(contrast.steps, contrast.support, contrast.rate)
    return Estimate(
        name=f"difference.{contrast.first}_{contrast.second}.{contrast.group}.support_{contrast.support}"
        f".steps_{contrast.steps}.{contrast.rate}_rate.{contrast.rule}",
        label=f"accuracy on {contrast.group} tasks, {contrast.first} minus {contrast.second}, {adapted}",
        value=contrast.mean,
        unit="accuracy",
        low=contrast.low,
        high=contrast.high,
        interval="Student interval over paired seeds" if contrast.low is not None else "",
        reference=0.0,
        reference_label="no difference",
        n=len(contrast.differences),
        n_unit="seeds",
        descriptive=contrast.p_value is None,
    )


def _test_primary(contrasts: Sequence[Contrast], test: ArmsTest, rule: DecisionRule) -> tuple[Contrast, ...]:
    tested = [contrast for contrast in contrasts if is_primary(contrast, test, rule)]
    if not tested:
        return tuple(contrasts)
    # Beyond 17 pairs sign patterns are sampled; the same ones whenever the same seeds are compared.
    rng = np.random.default_rng(len(tested[0].differences))
    p_values = dict(zip(tested, max_t_sign_flips(np.array([c.differences for c in tested]).T, rng=rng)))
    return tuple(replace(c, p_value=float(p_values[c])) if c in p_values else c for c in contrasts)
