"""The inner learning rate that suits a network, found on images that nothing else uses.

The rate that one network was trained with can wreck another: at .05, five steps cost a network that was trained on the
same episodes without adapting 15 points of its accuracy. To compare networks after adaptation at that rate is to
compare the rate, so each is adapted at the best of a few for itself. Trained tasks alone decide: held-out ones stay
unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet
from meta_baseline.training.answers import AdaptationTest, answer_queries
from meta_baseline.training.evaluation_stimuli import TaskImages

RATE_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Rates that are tried, in units of the common one."""
NUM_QUERIES = 100
"""Images of each trained task that are asked about."""


def find_own_rate(
    network: ConvNet,
    images: Sequence[TaskImages],
    *,
    test: AdaptationTest,
    factors: Sequence[float] = RATE_FACTORS,
    seed: int,
    precision: Precision = "fp32",
) -> float:
    """The rate at which the network is most accurate after the test's last step, over all tasks.

    Of rates that are equally good, the one nearest to ``test.learning_rate``.

    Args:
        network: to be adapted.
        images: of each trained task, support sets and queries; none of them in any test.
        test: numbers of steps, of supports and of draws; its rate is the common one.
        factors: tried, in units of that rate.
        seed: draws support sets and queries.
        precision: of the forward passes.
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
            answers = answer_queries(network, item, supports, queries, test=at, precision=precision)
            right.append(float((answers.said(steps) == item.labels[queries].astype(bool)).mean()))
        means.append(float(np.mean(right)))
    return tried[int(np.argmax(means))] * test.learning_rate
