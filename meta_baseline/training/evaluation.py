"""How well trained networks do on tasks, trained and held out, before and after adaptation to a support set.

Every network goes through the same procedure, whatever it was trained by: k steps of ``inner_loop.adapt`` on fresh
labelled images of the task, at the inner rate that suits it, then queries that no network has seen, the same for all.
k = 0 adapts nothing. Batch norm uses running statistics throughout, so no answer depends on which images are asked
about together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import wilson_interval
from meta_baseline.training.answers import AdaptationTest, answer_queries, answer_refitted
from meta_baseline.training.curves import LearningCurve, read_learning_curve
from meta_baseline.training.evaluation_stimuli import TaskImages, generate_task_images, set_apart
from meta_baseline.training.loop import METRICS
from meta_baseline.training.own_rate import NUM_QUERIES, find_own_rates
from meta_baseline.training.recipes import ARMS, Recipe
from meta_baseline.training.verdicts import (
    ONE_PAIR,
    Comparison,
    Group,
    check_networks,
    check_normalisation,
    compare_arms,
    describe_comparison,
    find_differences,
)

Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """Accuracy of every network on every task after every number of adaptation steps.

    Arrays are indexed by network, task and number of steps.

    Attributes:
        networks: names; "meta" and "baseline" first, then controls such as "untrained".
        tasks: names; ``trained_on`` says which of them both networks were trained on.
        test: how the networks were tested.
        inner_rates: of each network's adaptation to each task; one for all trained tasks, one for all others.
        accuracy, low, high: in [0, 1], with 95 % Wilson intervals over query images.
        same_share: share of answers that are "same".
        refitted_accuracy: without adaptation, but with batch norm refitted on the support images (see ``answers``).
        majority_rate: accuracy of always giving the more frequent answer, by task.
        num_queries: by task.
        comparisons: meta minus baseline on trained and on held-out tasks, for each number of steps.
        curves: learning curves of the trained networks, where they are known.
    """

    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    trained_on: Bool[ndarray, " T"]
    test: AdaptationTest
    inner_rates: Float[ndarray, "S T"]
    accuracy: Float[ndarray, "S T L"]
    low: Float[ndarray, "S T L"]
    high: Float[ndarray, "S T L"]
    same_share: Float[ndarray, "S T L"]
    refitted_accuracy: Float[ndarray, "S T"]
    majority_rate: Float[ndarray, " T"]
    num_queries: Int64[ndarray, " T"]
    comparisons: tuple[Comparison, ...]
    curves: tuple[LearningCurve, ...]
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def evaluate_networks(
    networks: Mapping[str, ConvNet],
    recipe: Recipe,
    *,
    test: AdaptationTest | None = None,
    workers: int = 1,
    progress: Progress = lambda iterable, **_: iterable,
) -> TrainingOutcome:
    """Accuracy of networks trained by ``recipe`` on fresh images of its trained and held-out tasks.

    Args:
        networks: "meta", "baseline" and controls; those read from a run's folder bring their learning curve.
        recipe: names tasks, image size, seed and precision.
        test: how to test.
        workers: processes that draw the images.
        progress: as ``progress(iterable, desc=...)``.
    """
    test = test or AdaptationTest()
    drawn = generate_task_images(
        recipe.tasks + recipe.held_out,
        images_per_task=test.images_per_task + NUM_QUERIES + test.num_draws * test.num_support,
        image_size=recipe.image_size,
        seed=recipe.seed,
        workers=workers,
        progress=progress,
    )
    parts = [set_apart(images, test.images_per_task) for images in drawn]
    return measure_accuracy(
        networks,
        [tested for tested, _ in parts],
        tuning_images=[rest for _, rest in parts],
        trained_tasks=recipe.tasks,
        test=replace(test, learning_rate=recipe.inner_loop.learning_rate),
        rng=recipe.rng("evaluation"),
        precision=recipe.precision,
        curves=_find_curves(networks),
        progress=progress,
    )


def measure_accuracy(
    networks: Mapping[str, ConvNet],
    task_images: Sequence[TaskImages],
    *,
    tuning_images: Sequence[TaskImages] = (),
    trained_tasks: Sequence[str],
    test: AdaptationTest,
    rng: np.random.Generator,
    precision: Precision = "fp32",
    curves: tuple[LearningCurve, ...] = (),
    progress: Progress = lambda iterable, **_: iterable,
) -> TrainingOutcome:
    """Accuracy of every network on the queries of every task; supports and queries are drawn by ``rng``.

    Args:
        networks: by name.
        task_images: to test on.
        tuning_images: of the same tasks, to find the inner rates of every trained network on; without them, and for
            the untrained one, the rate is the test's.
        trained_tasks: names.
        test: how to test.
        rng: draws supports and queries.
        precision: of the forward passes.
        curves: of the networks' training.
        progress: as ``progress(iterable, desc=...)``.
    """
    rates = {name: np.full(len(task_images), test.learning_rate) for name in networks}
    if tuning_images and max(test.steps) > 0:
        for name in progress([name for name in networks if name in ARMS], desc="inner rates"):
            rates[name] = find_own_rates(
                networks[name], tuning_images, trained_tasks, test=test, seed=0, precision=precision
            )
    tasks = tuple(images.task for images in task_images)
    trained_on = np.array([task in trained_tasks for task in tasks])
    shape = (len(networks), len(tasks), len(test.steps))
    accuracy, low, high, same_share = (np.empty(shape) for _ in range(4))
    refitted = np.empty(shape[:2])
    right: dict[tuple[str, str, int], Float[ndarray, " N"]] = {}
    majority, num_queries = [], []
    for t, images in enumerate(progress(task_images, desc="accuracy")):
        supports, queries = split_support_query(images.labels, test.num_support, test.num_draws, rng)
        labels = images.labels[queries].astype(bool)
        majority.append(max(labels.mean(), 1 - labels.mean()))
        num_queries.append(len(labels))
        for s, (name, network) in enumerate(networks.items()):
            asked = replace(test, learning_rate=float(rates[name][t]))
            answers = answer_queries(network, images, supports, queries, test=asked, precision=precision)
            again = answer_refitted(network, images, supports[0], queries, precision=precision)
            refitted[s, t] = (again == labels).mean()
            for k, steps in enumerate(test.steps):
                said = answers.said(steps)
                share = (said == labels).mean(axis=0)
                right[name, images.task, steps] = share
                interval = wilson_interval(round(share.sum()), len(labels))
                accuracy[s, t, k], low[s, t, k], high[s, t, k] = share.mean(), interval.low, interval.high
                same_share[s, t, k] = said.mean()
    comparisons = _compare(right, tasks, trained_on, test)
    trained_rows = [row for row, name in enumerate(networks) if name in ARMS]
    arms, before = [name for name in networks if name in ARMS], accuracy[trained_rows, :, 0]
    checks = (
        *check_networks(arms, tasks, trained_on, before, same_share[trained_rows, :, 0]),
        check_normalisation(arms, tasks, before, refitted[trained_rows]),
    )
    comparable = all(check.verdict != "fail" for check in checks)
    return TrainingOutcome(
        networks=tuple(networks),
        tasks=tasks,
        trained_on=trained_on,
        test=test,
        inner_rates=np.array(list(rates.values())),
        accuracy=accuracy,
        low=low,
        high=high,
        same_share=same_share,
        refitted_accuracy=refitted,
        majority_rate=np.array(majority),
        num_queries=np.array(num_queries),
        comparisons=comparisons,
        curves=curves,
        estimates=(
            *_estimates(tuple(networks), tasks, test, accuracy, low, high, majority, num_queries),
            *map(describe_comparison, comparisons),
        ),
        checks=(*checks, ONE_PAIR),
        findings=find_differences(
            comparisons,
            num_support=test.num_support,
            rates=(float(rates["meta"][-1]), float(rates["baseline"][-1])),
            comparable=comparable,
            refitted=_mean_of_arms(refitted[:, ~trained_on], tuple(networks)),
        ),
    )


def _mean_of_arms(values: Float[ndarray, "S T"], networks: tuple[str, ...]) -> tuple[float, float] | None:
    if values.shape[1] == 0:
        return None
    return float(values[networks.index("meta")].mean()), float(values[networks.index("baseline")].mean())


def _compare(
    right: Mapping[tuple[str, str, int], Float[ndarray, " N"]],
    tasks: tuple[str, ...],
    trained_on: Bool[ndarray, " T"],
    test: AdaptationTest,
) -> tuple[Comparison, ...]:
    comparisons: list[Comparison] = []
    groups: tuple[tuple[Group, Bool[ndarray, " T"]], ...] = (("trained", trained_on), ("held-out", ~trained_on))
    for group, members in groups:
        chosen = tuple(task for task, member in zip(tasks, members) if member)
        for steps in test.steps if chosen else ():
            meta, baseline = ([right[arm, task, steps] for task in chosen] for arm in ("meta", "baseline"))
            comparisons.append(compare_arms(meta, baseline, group=group, tasks=chosen, steps=steps))
    return tuple(comparisons)


def _estimates(
    networks: tuple[str, ...],
    tasks: tuple[str, ...],
    test: AdaptationTest,
    accuracy: Float[ndarray, "S T L"],
    low: Float[ndarray, "S T L"],
    high: Float[ndarray, "S T L"],
    majority: Sequence[float],
    num_queries: Sequence[int],
) -> tuple[Estimate, ...]:
    return tuple(
        Estimate(
            name=f"accuracy.{network}.{task}.steps_{steps}",
            label=f"accuracy of the {network} network on {task}, {steps} adaptation steps",
            value=float(accuracy[s, t, k]),
            unit="accuracy",
            low=float(low[s, t, k]),
            high=float(high[s, t, k]),
            interval="Wilson interval over images",
            reference=float(majority[t]),
            reference_label="always giving the more frequent answer",
            n=num_queries[t],
            n_unit="images",
        )
        for s, network in enumerate(networks)
        for t, task in enumerate(tasks)
        for k, steps in enumerate(test.steps)
    )


def _find_curves(networks: Mapping[str, ConvNet]) -> tuple[LearningCurve, ...]:
    paths = {arm: Path(networks[arm].provenance.path).parent / METRICS for arm in ARMS if arm in networks}
    return tuple(read_learning_curve(path, arm) for arm, path in paths.items() if path.is_file())
