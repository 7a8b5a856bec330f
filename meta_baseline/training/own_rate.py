"""The inner learning rate that suits a network, found on images that nothing else uses.

The rate that one network was trained with can wreck another: at .05, five steps cost a network that was trained on the
same episodes without adapting 15 points of its accuracy on trained tasks. To compare networks after adaptation at that
rate is to compare the rate, so each is adapted at the best of a few for itself. Trained and held-out tasks have rates
of their own: where nothing is left to gain the best rate is the smallest, and carried over to new tasks it would keep
every network from adapting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet
from meta_baseline.training.answers import AdaptationTest, answer_queries
from meta_baseline.training.evaluation_stimuli import TaskImages
from meta_baseline.training.learnt_adaptation import LearntAdaptation

RATE_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Rates that are tried, in units of the common one."""
NUM_QUERIES = 100
"""Images of each task that are asked about."""


def find_own_rates(
    network: ConvNet,
    images: Sequence[TaskImages],
    trained_tasks: Sequence[str],
    *,
    test: AdaptationTest,
    factors: Sequence[float] = RATE_FACTORS,
    seed: int,
    precision: Precision = "fp32",
    learnt: LearntAdaptation | None = None,
) -> Float[ndarray, " T"]:
    """The rate of each task: one for all trained tasks and one for all others; see ``find_own_rate``."""
    trained_on = np.array([item.task in trained_tasks for item in images])
    rates = np.full(len(images), np.nan)
    for members in (trained_on, ~trained_on):
        group = [item for item, member in zip(images, members) if member]
        if group:
            rates[members] = find_own_rate(
                network, group, test=test, factors=factors, seed=seed, precision=precision, learnt=learnt
            )
    return rates


def find_own_rate(
    network: ConvNet,
    images: Sequence[TaskImages],
    *,
    test: AdaptationTest,
    factors: Sequence[float] = RATE_FACTORS,
    seed: int,
    precision: Precision = "fp32",
    learnt: LearntAdaptation | None = None,
) -> float:
    """The rate at which the network is most accurate after the test's last step, over all tasks.

    Of rates that are equally good, the one nearest to ``test.learning_rate``.

    Args:
        network: to be adapted.
        images: of each task of a group, support sets and queries; none of them in any test.
        test: numbers of steps, of supports and of draws; its rate is the common one.
        factors: tried, in units of that rate.
        seed: draws support sets and queries.
        precision: of the forward passes.
        learnt: statistics by step that the network learned with its weights.
    """
    steps = max(test.steps)
    tried = sorted(factors, key=lambda factor: abs(np.log(factor)))
    means: list[float] = []
    for factor in tried:
        at = AdaptationTest(steps=(steps,), learning_rate=factor * test.learning_rate, num_queries=test.num_queries)
        right: list[float] = []
        for t, item in enumerate(images):
            rng = np.random.default_rng((seed, t, 1))
            supports, queries = split_support_query(item.labels, test.num_support, test.num_draws, rng)
            answers = answer_queries(network, item, supports, queries, test=at, precision=precision, learnt=learnt)
            right.append(float((answers.said(steps) == item.labels[queries].astype(bool)).mean()))
        means.append(float(np.mean(right)))
    return tried[int(np.argmax(means))] * test.learning_rate
