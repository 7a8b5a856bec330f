"""Every arm of a comparison beside its controls: 0, 1, 5, 15 adaptation steps, few and many supports, all tasks.

All arms of a seed answer the same queries after the same adaptation to the same support sets, so their differences are
paired, by image and by seed. What may be claimed about a learning rule rests on seeds: the interval of a difference is
over them, and with one seed there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet, DecisionRule
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import mean_interval, wilson_interval
from meta_baseline.training.answers import AdaptationTest, answer_queries
from meta_baseline.training.evaluation_stimuli import TaskImages
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.verdicts import CONSTANT_SHARE, LEARNED, Group

CONTRASTS = (("meta", "matched"), ("matched", "baseline"), ("meta", "baseline"))
"""What adaptation in training adds; what training by episodes adds; both together."""
MIN_SEEDS = 6
"""Paired seeds below which no exact test of signs can reach p < .05."""
MAX_DRAWS = 2


@dataclass(frozen=True, kw_only=True)
class ArmsTest:
    """How arms are tested; the same for every arm.

    Attributes:
        steps: numbers of inner steps after which queries are answered.
        supports: labelled images of a task to adapt to; smaller sets are parts of the larger ones.
        learning_rate: of the inner loop, for arms that have not learned rates of their own.
        num_queries: images asked about, by task.
    """

    steps: tuple[int, ...] = (0, 1, 5, 15)
    supports: tuple[int, ...] = (10, 80)
    learning_rate: float = 0.05
    num_queries: int = 400

    @property
    def images_per_task(self) -> int:
        """Queries and support sets together."""
        return self.num_queries + MAX_DRAWS * max(self.supports)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One trained network of one seed, with what it learned beside its weights."""

    network: ConvNet
    learnt: LearntAdaptation | None = None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One arm minus another on one group of tasks, a number for each seed.

    Attributes:
        differences: by seed, each a mean over tasks, in accuracy.
        low, high: 95 % Student interval over seeds; None for a single seed.
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
        return f"{100 * self.mean:+.1f} points, {interval} (by seed: {by_seed})"


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


def measure_arms(
    arms: Mapping[int, Mapping[str, Arm]],
    images: Mapping[int, Sequence[TaskImages]],
    *,
    trained_tasks: Sequence[str],
    test: ArmsTest,
    precision: Precision = "fp32",
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> ArmsOutcome:
    """Test every arm of every seed.

    Args:
        arms: by seed and name; "meta", "matched" and "baseline" are compared, others stand beside them.
        images: of every task, by seed: fresh ones for each.
        trained_tasks: names.
        test: how.
        precision: of the forward passes.
        progress: as ``progress(iterable, desc=...)``.
    """
    seeds, names = tuple(arms), tuple(next(iter(arms.values())))
    tasks = tuple(item.task for item in images[seeds[0]])
    rules = _rules(next(iter(arms[seeds[0]].values())).network)
    shape = (len(seeds), len(names), len(tasks), len(test.supports), len(test.steps), len(rules))
    accuracy, low, high, same_share = (np.full(shape, np.nan) for _ in range(4))
    majority, num_queries = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=np.int64)
    places = [(s, t) for s in range(len(seeds)) for t in range(len(tasks))]
    for s, t in progress(places, desc="accuracy of all arms"):
        item = images[seeds[s]][t]
        rng = np.random.default_rng((seeds[s], t))
        whole, queries = split_support_query(item.labels, max(test.supports), MAX_DRAWS, rng)
        labels = item.labels[queries].astype(bool)
        majority[t], num_queries[t] = max(labels.mean(), 1 - labels.mean()), len(labels)
        for (m, name), (d, support), (r, rule) in _grid(names, test.supports, rules):
            arm = arms[seeds[s]][name]
            answers = answer_queries(
                arm.network,
                item,
                [_part(rows, support) for rows in whole],
                queries,
                test=AdaptationTest(
                    steps=test.steps,
                    num_support=support,
                    num_draws=MAX_DRAWS,
                    learning_rate=test.learning_rate,
                    num_queries=test.num_queries,
                ),
                precision=precision,
                learnt=arm.learnt,
                decide_by=rule,
            )
            for k, steps in enumerate(test.steps):
                said = answers.by_steps[steps]
                share = (said == labels).mean(axis=0)
                interval = wilson_interval(round(share.sum()), len(labels))
                place = (s, m, t, d, k, r)
                accuracy[place], low[place], high[place] = share.mean(), interval.low, interval.high
                same_share[place] = said.mean()
    trained_on = np.array([task in trained_tasks for task in tasks])
    contrasts = _contrast_arms(names, rules, test, trained_on, accuracy)
    learned = {name: accuracy[:, m, trained_on, 0, 0, 0].mean(axis=1) for m, name in enumerate(names)}
    checks = _check_arms(names, tasks, seeds, learned, same_share[..., 0, 0, 0], majority)
    return ArmsOutcome(
        seeds=seeds,
        arms=names,
        tasks=tasks,
        trained_on=trained_on,
        rules=rules,
        test=test,
        accuracy=accuracy,
        low=low,
        high=high,
        same_share=same_share,
        majority_rate=majority,
        num_queries=num_queries,
        contrasts=contrasts,
        estimates=tuple(map(_describe_contrast, contrasts)),
        checks=checks,
        findings=_find(contrasts, comparable=all(check.verdict != "fail" for check in checks)),
    )


def _rules(network: ConvNet) -> tuple[DecisionRule, ...]:
    """The network's own rule first, and the other one where it has two logits."""
    own = network.decision_rule
    if network.architecture.num_logits != 2:
        return (own,)
    return (own, "argmax" if own == "logit" else "logit")


def _grid(names: Sequence[str], supports: Sequence[int], rules: Sequence[DecisionRule]) -> list[Any]:
    return [(n, d, r) for n in enumerate(names) for d in enumerate(supports) for r in enumerate(rules)]


def _part(rows: Int64[ndarray, " M"], support: int) -> Int64[ndarray, " N"]:
    """The first rows of each label: ``rows`` holds one label, then as many of the other."""
    half = len(rows) // 2
    return np.concatenate([rows[: support // 2], rows[half : half + support // 2]])


def _contrast_arms(
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
    return tuple(contrasts)


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
        if contrast.steps not in (0, 5) or contrast.rule != contrasts[0].rule:
            continue
        if contrast.support != contrasts[0].support:
            continue
        apart = contrast.low is not None and contrast.high is not None and not contrast.low <= 0 <= contrast.high
        if not comparable:
            verdict = "arms are not comparable, because at least one has not learned"
        elif contrast.low is None:
            verdict = "one seed says nothing about the learning rules"
        elif apart:
            verdict = f"{contrast.first if contrast.mean > 0 else contrast.second} is more accurate"
        else:
            verdict = "the two cannot be told apart"
        adapted = f"after {contrast.steps} steps on {contrast.support} images" if contrast.steps else "as trained"
        findings.append(
            Finding(
                sentence=f"{contrast.first} minus {contrast.second} on {contrast.group} tasks, {adapted}: {verdict}; "
                f"{contrast.describe()}.",
                importance=0.7 if apart and comparable else 0.5,
                estimates=(_describe_contrast(contrast).name,),
                beyond_control=apart and comparable,
            )
        )
    return tuple(findings)
