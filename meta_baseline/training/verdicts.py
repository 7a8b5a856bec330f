"""What accuracies allow one to say: the comparison of both arms, the checks that may forbid it, the sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import mean_interval

Group = Literal["trained", "held-out"]

CONSTANT_SHARE = 0.02
"""A network that calls less than this share of the images "same", or all but this share, answers without looking."""
LEARNED = 0.60
"""Below this accuracy on its own trained tasks a network has not learned them, and comparing it is moot."""

REFIT_GAIN = 0.08
"""More than this gained by refitting batch norm says that its running statistics do not fit a task."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Meta minus baseline on one group of tasks after one number of steps.

    Attributes:
        meta, baseline, difference: accuracies in [0, 1], each task counting by its queries.
        low, high: 95 % interval of the difference over images, which are paired: both networks answer the same ones.
    """

    group: Group
    tasks: tuple[str, ...]
    steps: int
    meta: float
    baseline: float
    difference: float
    low: float
    high: float
    num_images: int

    @property
    def differ(self) -> bool:
        """Whether the interval excludes no difference."""
        return not self.low <= 0.0 <= self.high

    def describe(self) -> str:
        """The numbers of the comparison, for a sentence."""
        return (
            f"meta {self.meta:.1%}, baseline {self.baseline:.1%}; difference {100 * self.difference:+.1f} points, "
            f"95 % interval over {self.num_images} images {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        )


def compare_arms(
    meta_right: Sequence[Float[ndarray, " N"]],
    baseline_right: Sequence[Float[ndarray, " N"]],
    *,
    group: Group,
    tasks: tuple[str, ...],
    steps: int,
) -> Comparison:
    """The paired comparison from the share of draws in which each image is answered rightly, task by task."""
    meta, baseline = np.concatenate(meta_right), np.concatenate(baseline_right)
    interval = mean_interval(meta - baseline)
    return Comparison(
        group=group,
        tasks=tasks,
        steps=steps,
        meta=float(meta.mean()),
        baseline=float(baseline.mean()),
        difference=float((meta - baseline).mean()),
        low=interval.low,
        high=interval.high,
        num_images=len(meta),
    )


def describe_comparison(comparison: Comparison) -> Estimate:
    """The difference as an estimate."""
    step_word = "no adaptation" if comparison.steps == 0 else f"{comparison.steps} adaptation steps"
    return Estimate(
        name=f"difference.{comparison.group}.steps_{comparison.steps}",
        label=f"accuracy on {comparison.group} tasks, meta minus baseline, {step_word}",
        value=comparison.difference,
        unit="accuracy",
        low=comparison.low,
        high=comparison.high,
        interval="paired t interval over images",
        reference=0.0,
        reference_label="no difference",
        n=comparison.num_images,
        n_unit="images",
    )


def check_networks(
    networks: Sequence[str],
    tasks: Sequence[str],
    trained_on: Bool[ndarray, " T"],
    accuracy: Float[ndarray, "M T"],
    same_share: Float[ndarray, "M T"],
) -> tuple[Check, ...]:
    """Whether both trained networks look at the images and have learned their tasks; all before adaptation.

    Args:
        networks: the trained ones.
        tasks: names.
        trained_on: which tasks they were trained on.
        accuracy: of each network on each task.
        same_share: share of "same" answers.
    """
    checks: list[Check] = []
    for row, network in enumerate(networks):
        learned = float(accuracy[row, trained_on].mean())
        if learned < LEARNED:
            sentence = (
                f"The {network} network reaches {learned:.1%} on the tasks it was trained on, less than {LEARNED:.0%}: "
                "it has not learned them, and the two networks are not comparable. Train on more images."
            )
            checks.append(Check(code="training.learned", verdict="fail", sentence=sentence))
        shares = same_share[row]
        constant = [task for task, share in zip(tasks, shares) if not CONSTANT_SHARE <= share <= 1 - CONSTANT_SHARE]
        if constant:
            sentence = (
                f"The {network} network gives one answer to nearly every image of {_listed(constant)}: "
                "its accuracy there says nothing about looking."
            )
            checks.append(Check(code="training.constant_predictor", verdict="warn", sentence=sentence))
    if not any(check.code == "training.learned" for check in checks):
        lowest = min(float(accuracy[row, trained_on].mean()) for row in range(len(networks)))
        sentence = (
            f"Both networks have learned the trained tasks (at least {lowest:.1%}), so comparing them makes sense."
        )
        checks.append(Check(code="training.learned", verdict="pass", sentence=sentence))
    if not any(check.code == "training.constant_predictor" for check in checks):
        sentence = "Neither network gives the same answer to everything, on any task."
        checks.append(Check(code="training.constant_predictor", verdict="pass", sentence=sentence))
    return tuple(checks)


def check_normalisation(
    networks: Sequence[str],
    tasks: Sequence[str],
    accuracy: Float[ndarray, "M T"],
    refitted_accuracy: Float[ndarray, "M T"],
) -> Check:
    """Whether batch norm carries statistics that fit every task.

    Args:
        networks: the trained ones.
        tasks: names.
        accuracy: with the running statistics.
        refitted_accuracy: with statistics of a few images of the task, weights and labels untouched.
    """
    gain = refitted_accuracy - accuracy
    misfits = [
        f"{task} ({network}: {accuracy[row, t]:.1%}, refitted {refitted_accuracy[row, t]:.1%})"
        for t, task in enumerate(tasks)
        for row, network in enumerate(networks)
        if gain[row, t] > REFIT_GAIN
    ]
    if misfits:
        sentence = (
            f"Batch norm carries statistics that do not fit {_listed(misfits)}: what is lost there is normalisation, "
            "not the relation between the objects."
        )
        return Check(code="training.batch_norm", verdict="warn", sentence=sentence)
    sentence = "Refitting batch norm on a few images gains little on any task: its running statistics fit."
    return Check(code="training.batch_norm", verdict="pass", sentence=sentence)


ONE_PAIR = Check(
    code="training.one_pair",
    verdict="note",
    sentence="One training run per condition: intervals are over images, and no claim follows about how meta-learned "
    "networks differ from conventionally trained ones; that takes several seeds of each.",
)


def find_differences(
    comparisons: Sequence[Comparison],
    *,
    num_support: int,
    rates: tuple[float, float],
    comparable: bool,
    refitted: tuple[float, float] | None = None,
) -> tuple[Finding, ...]:
    """The sentences for the first page: trained tasks, held-out tasks, what adaptation changes.

    Args:
        comparisons: of all groups and numbers of steps.
        num_support: labelled images that networks adapted to.
        rates: inner rates of meta and baseline on held-out tasks.
        comparable: whether both networks have learned.
        refitted: accuracy of meta and baseline on held-out tasks with batch norm refitted to them, where measured.
    """
    findings: list[Finding] = []
    for group in ("trained", "held-out"):
        chosen = [comparison for comparison in comparisons if comparison.group == group]
        if chosen:
            control = refitted if group == "held-out" else None
            findings.append(_state_difference(chosen[0], comparable=comparable, refitted=control))
        if group == "held-out" and len(chosen) > 1:
            findings.append(_state_adaptation(chosen[0], chosen[-1], num_support, rates))
    return tuple(findings)


def _state_difference(comparison: Comparison, *, comparable: bool, refitted: tuple[float, float] | None) -> Finding:
    where = f"On the {len(comparison.tasks)} {comparison.group} tasks"
    if comparison.group == "held-out":
        where = f"On held-out tasks ({_listed(comparison.tasks)})"
    if not comparable:
        verdict, importance = "the two networks are not comparable: at least one has not learned", 0.95
    elif comparison.differ:
        better = "meta-learned" if comparison.difference > 0 else "baseline"
        verdict, importance = f"the {better} network is more accurate", 0.7
    else:
        verdict, importance = "the two networks cannot be told apart in accuracy", 0.7
    sentence = f"{where} {verdict} ({comparison.describe()}); one pair, so no population claim."
    if refitted is not None:
        sentence += (
            f" With batch norm alone refitted on unlabelled images of each task: meta {refitted[0]:.1%}, "
            f"baseline {refitted[1]:.1%}."
        )
    return Finding(
        sentence=sentence,
        importance=importance,
        estimates=(f"difference.{comparison.group}.steps_{comparison.steps}",),
        beyond_control=comparison.differ and comparable,
    )


def _state_adaptation(before: Comparison, after: Comparison, num_support: int, rates: tuple[float, float]) -> Finding:
    sentence = (
        f"Adapting to {num_support} labelled images of a held-out task ({after.steps} gradient steps at the inner rate "
        f"that suits each network there, {rates[0]:g} and {rates[1]:g}) "
        f"changes accuracy by {100 * (after.meta - before.meta):+.1f} points for the meta-learned network and by "
        f"{100 * (after.baseline - before.baseline):+.1f} for the baseline; afterwards they "
        f"{'differ' if after.differ else 'cannot be told apart'} ({after.describe()})."
    )
    names = tuple(f"difference.held-out.steps_{steps}" for steps in (before.steps, after.steps))
    return Finding(sentence=sentence, importance=0.6, beyond_control=after.differ, estimates=names)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
