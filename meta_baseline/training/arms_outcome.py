"""Every arm of a comparison beside its controls, over paired seeds: what differs, and what may be said about it.

All arms of a seed begin with the same weights, see the same images and answer the same queries, so their differences
are paired. What may be claimed about a learning rule rests on seeds: the interval of a difference is over them, with
one seed there is none, and with fewer than six nothing is tested (``contrasts``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.errors import UsageError
from meta_baseline.models import DecisionRule
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import wilson_interval
from meta_baseline.training.arm_accuracy import RATES, ArmAccuracy, ArmsTest
from meta_baseline.training.arms_checks import check_arms, check_rates
from meta_baseline.training.contrasts import (
    PRIMARY_STEPS,
    Contrast,
    describe_contrast,
    describe_test,
    list_contrasts,
)

_IMPORTANCE = {("meta", "baseline"): 0.5, ("meta", "matched"): 0.45, ("matched", "baseline"): 0.3}
"""Of a sentence that claims nothing."""


@dataclass(frozen=True, kw_only=True)
class ArmsOutcome:
    """Accuracy of every arm of every seed.

    Arrays are indexed by seed, arm, task, support size, number of steps, rate (``RATES``) and decision rule; without
    steps, support sizes and rates do not differ.

    Attributes:
        trained_on: which tasks all arms were trained on.
        rules: how logits were read; two where networks have two logits, and the network's own comes first.
        own_rates: inner rate that suits each network on each task; NaN where it learned rates with its weights.
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
    own_rates: Float[ndarray, "S M T"]
    accuracy: Float[ndarray, "S M T D L Q R"]
    low: Float[ndarray, "S M T D L Q R"]
    high: Float[ndarray, "S M T D L Q R"]
    same_share: Float[ndarray, "S M T D L Q R"]
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
    own_rates = np.array([[item.own_rates for item in row] for row in rows])
    num_queries = first.num_queries
    bounds = [
        wilson_interval(round(share * num_queries[place[2]]), int(num_queries[place[2]]))
        for place, share in np.ndenumerate(accuracy)
    ]
    low, high = (np.array(values).reshape(accuracy.shape) for values in zip(*((b.low, b.high) for b in bounds)))
    trained_on = np.array([task in trained_tasks for task in first.tasks])
    contrasts = list_contrasts(names, first.rules, test, trained_on, accuracy)
    learned = {name: accuracy[:, m, trained_on, 0, 0, 0, 0].mean(axis=1) for m, name in enumerate(names)}
    checks = (
        *check_arms(names, first.tasks, seeds, learned, same_share[..., 0, 0, 0, 0], first.majority_rate),
        *check_rates(names, test, trained_on, accuracy[:, :, :, 0, :, RATES.index("common"), 0], own_rates),
    )
    return ArmsOutcome(
        seeds=seeds,
        arms=names,
        tasks=first.tasks,
        trained_on=trained_on,
        rules=first.rules,
        test=test,
        own_rates=own_rates,
        accuracy=accuracy,
        low=low,
        high=high,
        same_share=same_share,
        majority_rate=first.majority_rate,
        num_queries=num_queries,
        contrasts=contrasts,
        estimates=tuple(map(describe_contrast, contrasts)),
        checks=checks,
        findings=_find(contrasts, comparable=all(check.verdict != "fail" for check in checks)),
    )


def _find(contrasts: Sequence[Contrast], *, comparable: bool) -> tuple[Finding, ...]:
    """A sentence for each contrast, on trained and on held-out tasks, as trained and after five steps."""
    findings: list[Finding] = []
    for contrast in contrasts:
        if contrast.steps not in PRIMARY_STEPS or contrast.rule != contrasts[0].rule:
            continue
        if contrast.support != contrasts[0].support or contrast.rate != "own":
            continue
        if not comparable:
            contrast = replace(contrast, p_value=None)
        claimed = contrast.p_value is not None and contrast.p_value <= 0.05
        verdict = _judge(contrast) if comparable else "arms are not comparable, because at least one has not learned"
        adapted = describe_test(contrast.steps, contrast.support, contrast.rate)
        findings.append(
            Finding(
                sentence=f"{contrast.first.capitalize()} minus {contrast.second} on {contrast.group} tasks, {adapted}: "
                f"{verdict}; "
                f"{contrast.describe()}.",
                importance=0.7 if claimed else _IMPORTANCE[contrast.first, contrast.second],
                estimates=(describe_contrast(contrast).name,),
                beyond_control=None if contrast.p_value is None else claimed,
            )
        )
    return tuple(sorted(findings, key=lambda finding: -finding.importance))


def _judge(contrast: Contrast) -> str:
    signs = set(np.sign(contrast.differences))
    ahead = contrast.first if contrast.mean > 0 else contrast.second
    if len(contrast.differences) == 1:
        return "one seed says nothing about the learning rules"
    if contrast.p_value is None:
        seeds = f"all {len(contrast.differences)} seeds"
        return f"{ahead} is ahead in {seeds}" if signs in ({1.0}, {-1.0}) else "the sign differs between seeds"
    return f"{ahead} is more accurate" if contrast.p_value <= 0.05 else "the two cannot be told apart"
