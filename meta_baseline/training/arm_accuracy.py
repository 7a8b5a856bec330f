"""The accuracy of one arm on every task: 0, 1, 5, 15 adaptation steps, few and many supports, both decision rules.

Images, support sets and queries follow from the seed and the test alone, so all arms of a seed answer the same queries
after adapting to the same support sets, whether they are tested together or apart.

Every arm is adapted twice: at the common inner rate, which is that of the meta-learned arm's training, and at the rate
that suits it (``own_rate``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet, DecisionRule
from meta_baseline.training.answers import AdaptationTest, QueryAnswers, answer_queries
from meta_baseline.training.evaluation_stimuli import TaskImages, set_apart
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.own_rate import NUM_QUERIES, RATE_FACTORS, find_own_rates

MAX_DRAWS = 2

Rate = Literal["common", "own"]
RATES: tuple[Rate, ...] = ("common", "own")
"""Inner learning rates: that of the meta-learned arm for all, and for each arm the one that suits it."""


@dataclass(frozen=True, kw_only=True)
class ArmsTest:
    """How arms are tested; the same for every arm.

    Attributes:
        steps: numbers of inner steps after which queries are answered.
        supports: labelled images of a task to adapt to; smaller sets are parts of the larger ones.
        learning_rate: of the inner loop, for arms that have not learned rates of their own.
        num_queries: images asked about, by task.
        rate_factors: own rates are sought among these times ``learning_rate``.
        tuning_steps: number of steps, to the smallest support sets, that an own rate is sought for.
        num_tuning_queries: images asked about to find it, by task.
    """

    steps: tuple[int, ...] = (0, 1, 5, 15)
    supports: tuple[int, ...] = (10, 80)
    learning_rate: float = 0.05
    num_queries: int = 400
    rate_factors: tuple[float, ...] = RATE_FACTORS
    tuning_steps: int = 5
    num_tuning_queries: int = NUM_QUERIES

    @property
    def num_tested(self) -> int:
        """Queries and support sets of a task together."""
        return self.num_queries + MAX_DRAWS * max(self.supports)

    @property
    def images_per_task(self) -> int:
        """With those that rates are tuned on."""
        return self.num_tested + self.num_tuning_queries + MAX_DRAWS * min(self.supports)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One trained network of one seed, with what it learned beside its weights."""

    network: ConvNet
    learnt: LearntAdaptation | None = None


@dataclass(frozen=True, kw_only=True)
class ArmAccuracy:
    """Accuracy of one network; arrays are indexed by task, support size, number of steps, rate and decision rule.

    Without steps, support sizes and rates do not differ.

    Attributes:
        tasks: names.
        own_rates: the inner rate that suits the network on each task; NaN where it learned rates with its weights.
        rules: how logits were read; two where networks have two logits, and the network's own comes first.
        accuracy: in [0, 1], mean over queries and support draws.
        same_share: share of answers that are "same".
        majority_rate: accuracy of always giving the more frequent answer, by task.
        num_queries: by task.
    """

    tasks: tuple[str, ...]
    own_rates: Float[ndarray, " T"]
    rules: tuple[DecisionRule, ...]
    accuracy: Float[ndarray, "T D L Q R"]
    same_share: Float[ndarray, "T D L Q R"]
    majority_rate: Float[ndarray, " T"]
    num_queries: Int64[ndarray, " T"]


def measure_arm(
    arm: Arm,
    images: Sequence[TaskImages],
    *,
    trained_tasks: Sequence[str],
    seed: int,
    test: ArmsTest,
    precision: Precision = "fp32",
) -> ArmAccuracy:
    """Test one network on every task.

    Args:
        arm: the network.
        images: of every task, ``test.images_per_task`` of each.
        trained_tasks: names; own rates are sought for them and for all others apart.
        seed: of the pair, from which support sets and queries are drawn.
        test: how.
        precision: of the forward passes.
    """
    rules = list_rules(arm.network)
    parts = [set_apart(item, test.num_tested) for item in images]
    own_rates = np.full(len(images), np.nan)
    if arm.learnt is None or arm.learnt.rates_or_none is None:
        tuning = [rest for _, rest in parts]
        asked = _set_test(test, (test.tuning_steps,), min(test.supports), test.learning_rate)
        own_rates = find_own_rates(
            arm.network,
            tuning,
            trained_tasks,
            test=asked,
            factors=test.rate_factors,
            seed=seed,
            precision=precision,
            learnt=arm.learnt,
        )
    shape = (len(images), len(test.supports), len(test.steps), len(RATES), len(rules))
    accuracy, same_share = np.full(shape, np.nan), np.full(shape, np.nan)
    majority, num_queries = np.zeros(len(images)), np.zeros(len(images), dtype=np.int64)
    for t, (item, _) in enumerate(parts):
        rng = np.random.default_rng((seed, t))
        whole, queries = split_support_query(item.labels, max(test.supports), MAX_DRAWS, rng)
        labels = item.labels[queries].astype(bool)
        majority[t], num_queries[t] = max(labels.mean(), 1 - labels.mean()), len(labels)
        for d, support in enumerate(test.supports):
            supports = [_part(rows, support) for rows in whole]
            at: dict[float, QueryAnswers] = {}
            own_rate = test.learning_rate if np.isnan(own_rates[t]) else float(own_rates[t])
            for q, rate in enumerate((test.learning_rate, own_rate)):
                if rate not in at:
                    asked = _set_test(test, test.steps, support, rate)
                    at[rate] = answer_queries(
                        arm.network, item, supports, queries, test=asked, precision=precision, learnt=arm.learnt
                    )
                for k, steps in enumerate(test.steps):
                    for r, rule in enumerate(rules):
                        said = at[rate].said(steps, rule)
                        accuracy[t, d, k, q, r], same_share[t, d, k, q, r] = (said == labels).mean(), said.mean()
    return ArmAccuracy(
        tasks=tuple(item.task for item in images),
        own_rates=own_rates,
        rules=rules,
        accuracy=accuracy,
        same_share=same_share,
        majority_rate=majority,
        num_queries=num_queries,
    )


def _set_test(test: ArmsTest, steps: tuple[int, ...], support: int, rate: float) -> AdaptationTest:
    return AdaptationTest(
        steps=steps, num_support=support, num_draws=MAX_DRAWS, learning_rate=rate, num_queries=test.num_queries
    )


def list_rules(network: ConvNet) -> tuple[DecisionRule, ...]:
    """The network's own rule first, and the other one where it has two logits."""
    own = network.decision_rule
    if network.architecture.num_logits != 2:
        return (own,)
    return (own, "argmax" if own == "logit" else "logit")


def _part(rows: Int64[ndarray, " M"], support: int) -> Int64[ndarray, " N"]:
    """The first rows of each label: ``rows`` holds one label, then as many of the other."""
    half = len(rows) // 2
    return np.concatenate([rows[: support // 2], rows[half : half + support // 2]])
