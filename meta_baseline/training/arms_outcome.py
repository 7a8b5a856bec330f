"""Every arm of a comparison beside its controls, over paired seeds: what differs, and what may be said about it.

All arms of a seed begin with the same weights, see the same images and answer the same queries, so their differences
are paired. What may be claimed about a learning rule rests on seeds: the interval of a difference is over them, with
one seed there is none, and with fewer than six nothing is tested. One family of contrasts is declared before anything
is seen (``is_primary``) and tested whole; all others are described.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.models import DecisionRule
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import max_t_sign_flips, mean_interval, wilson_interval
from meta_baseline.training.arm_accuracy import ArmAccuracy, ArmsTest
from meta_baseline.training.verdicts import CONSTANT_SHARE, LEARNED, Group

CONTRASTS = (("meta", "matched"), ("matched", "baseline"), ("meta", "baseline"))
"""What adaptation in training adds; what training by episodes adds; both together."""
_IMPORTANCE = {("meta", "baseline"): 0.5, ("meta", "matched"): 0.45, ("matched", "baseline"): 0.3}
"""Of a sentence that claims nothing."""
MIN_SEEDS = 6
"""Paired seeds below which no exact test of signs can reach p < .05."""
PRIMARY_CONTRASTS, PRIMARY_STEPS = (("meta", "matched"), ("meta", "baseline")), (0, 5)
"""Of the family that is tested, with the fewest supports, on trained and on held-out tasks: at most eight cells."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One arm minus another on one group of tasks, a number for each seed.

    Attributes:
        differences: by seed, each a mean over tasks, in accuracy.
        low, high: 95 % Student interval over seeds; None for a single seed.
        p_value: of exact sign flips, adjusted over the primary family (max-T); None outside it or with few seeds.
    """

    first: str
    second: str
    group: Group
    support: int
    steps: int
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


@dataclass(frozen=True, kw_only=True)
class ArmsOutcome:
    """Accuracy of every arm of every seed.

    Arrays are indexed by seed, arm, task, support size, number of steps and decision rule; without steps, support sizes
    do not differ.

    Attributes:
        trained_on: which tasks all arms were trained on.
        rules: how logits were read; two where networks have two logits, and the network's own comes first.
        accuracy, low, high: in [0, 1], with 95 % Wilson intervals over query images.
        same_share: share of answers that are "same".
        majority_rate: accuracy of always giving the more frequent answer, by task.
    """

    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    trained_on: Bool[ndarray, " T"]
    rules: tuple[DecisionRule, ...]
    test: ArmsTest
    accuracy: Float[ndarray, "S M T D L R"]
    low: Float[ndarray, "S M T D L R"]
    high: Float[ndarray, "S M T D L R"]
    same_share: Float[ndarray, "S M T D L R"]
    majority_rate: Float[ndarray, " T"]
    num_queries: Int64[ndarray, " T"]
    contrasts: tuple[Contrast, ...]
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def contrast_arms(
    accuracies: Mapping[int, Mapping[str, ArmAccuracy]], *, trained_tasks: Sequence[str], test: ArmsTest
) -> ArmsOutcome:
    """Put all arms of all seeds side by side.

    Args:
        accuracies: by seed and name; "meta", "matched" and "baseline" are compared, others stand beside them.
        trained_tasks: names.
        test: how all of them were tested.

    Raises:
        UsageError: the arms were not tested on the same tasks, or not by the same rules.
    """
    seeds, names = tuple(accuracies), tuple(next(iter(accuracies.values())))
    rows = [[accuracies[seed][name] for name in names] for seed in seeds]
    first = rows[0][0]
    if any((item.tasks, item.rules) != (first.tasks, first.rules) for row in rows for item in row):
        raise UsageError("Arms that were tested on different tasks cannot be compared. Test all of them on the same.")
    accuracy = np.array([[item.accuracy for item in row] for row in rows])
    same_share = np.array([[item.same_share for item in row] for row in rows])
    num_queries = first.num_queries
    bounds = [
        wilson_interval(round(share * num_queries[place[2]]), int(num_queries[place[2]]))
        for place, share in np.ndenumerate(accuracy)
    ]
    low, high = (np.array(values).reshape(accuracy.shape) for values in zip(*((b.low, b.high) for b in bounds)))
    trained_on = np.array([task in trained_tasks for task in first.tasks])
    contrasts = _list_contrasts(names, first.rules, test, trained_on, accuracy)
    learned = {name: accuracy[:, m, trained_on, 0, 0, 0].mean(axis=1) for m, name in enumerate(names)}
    checks = _check_arms(names, first.tasks, seeds, learned, same_share[..., 0, 0, 0], first.majority_rate)
    return ArmsOutcome(
        seeds=seeds,
        arms=names,
        tasks=first.tasks,
        trained_on=trained_on,
        rules=first.rules,
        test=test,
        accuracy=accuracy,
        low=low,
        high=high,
        same_share=same_share,
        majority_rate=first.majority_rate,
        num_queries=num_queries,
        contrasts=contrasts,
        estimates=tuple(map(_describe_contrast, contrasts)),
        checks=checks,
        findings=_find(contrasts, comparable=all(check.verdict != "fail" for check in checks)),
    )


def _list_contrasts(
    names: tuple[str, ...],
    rules: tuple[DecisionRule, ...],
    test: ArmsTest,
    trained_on: Bool[ndarray, " T"],
    accuracy: Float[ndarray, "S M T D L R"],
) -> tuple[Contrast, ...]:
    contrasts: list[Contrast] = []
    groups: tuple[tuple[Group, Bool[ndarray, " T"]], ...] = (("trained", trained_on), ("held-out", ~trained_on))
    for first, second in CONTRASTS:
        if first not in names or second not in names:
            continue
        both = accuracy[:, names.index(first)] - accuracy[:, names.index(second)]
        for group, members in groups:
            for (d, support), (k, steps), (r, rule) in _grid_of_tests(test, rules):
                if not members.any() or (steps == 0 and d > 0):
                    continue
                differences = both[:, members, d, k, r].mean(axis=1)
                interval = mean_interval(differences) if len(differences) > 1 else None
                contrasts.append(
                    Contrast(
                        first=first,
                        second=second,
                        group=group,
                        support=support,
                        steps=steps,
                        rule=rule,
                        differences=tuple(map(float, differences)),
                        low=interval.low if interval else None,
                        high=interval.high if interval else None,
                    )
                )
    return _test_primary(contrasts, test, rules[0]) if len(accuracy) >= MIN_SEEDS else tuple(contrasts)


def is_primary(contrast: Contrast, test: ArmsTest, rule: DecisionRule) -> bool:
    """Whether a contrast is of the family that was declared before anything was seen; ``rule`` is the networks' own."""
    return (
        (contrast.first, contrast.second) in PRIMARY_CONTRASTS
        and contrast.steps in PRIMARY_STEPS
        and contrast.support == min(test.supports)
        and contrast.rule == rule
    )


def _test_primary(contrasts: Sequence[Contrast], test: ArmsTest, rule: DecisionRule) -> tuple[Contrast, ...]:
    tested = [contrast for contrast in contrasts if is_primary(contrast, test, rule)]
    if not tested:
        return tuple(contrasts)
    # Beyond 17 pairs sign patterns are sampled; the same ones whenever the same seeds are compared.
    rng = np.random.default_rng(len(tested[0].differences))
    p_values = dict(zip(tested, max_t_sign_flips(np.array([c.differences for c in tested]).T, rng=rng)))
    return tuple(replace(c, p_value=float(p_values[c])) if c in p_values else c for c in contrasts)


def _grid_of_tests(test: ArmsTest, rules: Sequence[DecisionRule]) -> list[Any]:
    return [(d, k, r) for r in enumerate(rules) for d in enumerate(test.supports) for k in enumerate(test.steps)]


def _describe_contrast(contrast: Contrast) -> Estimate:
    adapted = f"{contrast.steps} steps on {contrast.support} images" if contrast.steps else "no adaptation"
    return Estimate(
        name=f"difference.{contrast.first}_{contrast.second}.{contrast.group}.support_{contrast.support}"
        f".steps_{contrast.steps}.{contrast.rule}",
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
        descriptive=len(contrast.differences) < MIN_SEEDS,
    )


def _check_arms(
    names: Sequence[str],
    tasks: Sequence[str],
    seeds: Sequence[int],
    learned: Mapping[str, Float[ndarray, " S"]],
    same_share: Float[ndarray, "S M T"],
    majority: Float[ndarray, " T"],
) -> tuple[Check, ...]:
    checks: list[Check] = []
    for m, name in enumerate(names):
        for s, seed in enumerate(seeds):
            if name == "untrained":
                continue
            constant = [
                task for t, task in enumerate(tasks) if not CONSTANT_SHARE <= same_share[s, m, t] <= 1 - CONSTANT_SHARE
            ]
            if constant:
                sentence = (
                    f"The {name} network of seed {seed} gives one answer to nearly every image of "
                    f"{', '.join(constant)}: a constant predictor, whose accuracy says nothing about looking."
                )
                everywhere = len(constant) == len(tasks)
                verdict = "fail" if everywhere else "warn"
                checks.append(Check(code="training.constant_predictor", verdict=verdict, sentence=sentence))
            if learned[name][s] < LEARNED:
                sentence = (
                    f"The {name} network of seed {seed} reaches {learned[name][s]:.1%} on its trained tasks, less than "
                    f"{LEARNED:.0%}: it has not learned them, and arms are not comparable. Train on more images."
                )
                checks.append(Check(code="training.learned", verdict="fail", sentence=sentence))
    if not any(check.code == "training.learned" for check in checks):
        lowest = min(float(values.min()) for name, values in learned.items() if name != "untrained")
        sentence = f"All arms have learned their trained tasks (at least {lowest:.1%}), so comparing them makes sense."
        checks.append(Check(code="training.learned", verdict="pass", sentence=sentence))
    if len(seeds) < MIN_SEEDS:
        sentence = (
            f"{len(seeds)} paired seed{'s' * (len(seeds) > 1)}, fewer than {MIN_SEEDS}: no exact test over seeds can "
            "reach p < .05, so differences are described and not claimed."
        )
        checks.append(Check(code="training.seeds", verdict="note", sentence=sentence))
    sentence = f"Always giving the more frequent answer is right on at most {majority.max():.1%} of any task's queries."
    checks.append(
        Check(code="training.majority_rate", verdict="pass" if majority.max() < 0.52 else "warn", sentence=sentence)
    )
    return tuple(checks)


def _find(contrasts: Sequence[Contrast], *, comparable: bool) -> tuple[Finding, ...]:
    """A sentence for each contrast, on trained and on held-out tasks, as trained and after five steps."""
    findings: list[Finding] = []
    for contrast in contrasts:
        if contrast.steps not in PRIMARY_STEPS or contrast.rule != contrasts[0].rule:
            continue
        if contrast.support != contrasts[0].support:
            continue
        claimed = comparable and contrast.p_value is not None and contrast.p_value <= 0.05
        verdict = _judge(contrast) if comparable else "arms are not comparable, because at least one has not learned"
        adapted = f"after {contrast.steps} steps on {contrast.support} images" if contrast.steps else "as trained"
        findings.append(
            Finding(
                sentence=f"{contrast.first} minus {contrast.second} on {contrast.group} tasks, {adapted}: {verdict}; "
                f"{contrast.describe()}.",
                importance=0.7 if claimed else _IMPORTANCE[contrast.first, contrast.second],
                estimates=(_describe_contrast(contrast).name,),
                beyond_control=None if contrast.p_value is None else claimed,
            )
        )
    return tuple(findings)


def _judge(contrast: Contrast) -> str:
    signs = set(np.sign(contrast.differences))
    ahead = contrast.first if contrast.mean > 0 else contrast.second
    if len(contrast.differences) == 1:
        return "one seed says nothing about the learning rules"
    if contrast.p_value is None:
        seeds = f"all {len(contrast.differences)} seeds"
        return f"{ahead} is ahead in {seeds}" if signs in ({1.0}, {-1.0}) else "the sign differs between seeds"
    return f"{ahead} is more accurate" if contrast.p_value <= 0.05 else "the two cannot be told apart"
