"""The accuracy of one arm on every task: 0, 1, 5, 15 adaptation steps, few and many supports, both decision rules.

Images, support sets and queries follow from the seed and the test alone, so all arms of a seed answer the same queries
after the same adaptation to the same support sets, whether they are tested together or apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from meta_baseline.episodes import split_support_query
from meta_baseline.inner_loop import Precision
from meta_baseline.models import ConvNet, DecisionRule
from meta_baseline.training.answers import AdaptationTest, answer_queries
from meta_baseline.training.evaluation_stimuli import TaskImages
from meta_baseline.training.learnt_adaptation import LearntAdaptation

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
class ArmAccuracy:
    """Accuracy of one network; arrays are indexed by task, support size, number of steps and decision rule.

    Without steps, support sizes do not differ.

    Attributes:
        tasks: names.
        rules: how logits were read; two where networks have two logits, and the network's own comes first.
        accuracy: in [0, 1], mean over queries and support draws.
        same_share: share of answers that are "same".
        majority_rate: accuracy of always giving the more frequent answer, by task.
        num_queries: by task.
    """

    tasks: tuple[str, ...]
    rules: tuple[DecisionRule, ...]
    accuracy: Float[ndarray, "T D L R"]
    same_share: Float[ndarray, "T D L R"]
    majority_rate: Float[ndarray, " T"]
    num_queries: Int64[ndarray, " T"]


def measure_arm(
    arm: Arm, images: Sequence[TaskImages], *, seed: int, test: ArmsTest, precision: Precision = "fp32"
) -> ArmAccuracy:
    """Test one network on every task.

    Args:
        arm: the network.
        images: of every task.
        seed: of the pair, from which support sets and queries are drawn.
        test: how.
        precision: of the forward passes.
    """
    rules = list_rules(arm.network)
    shape = (len(images), len(test.supports), len(test.steps), len(rules))
    accuracy, same_share = np.full(shape, np.nan), np.full(shape, np.nan)
    majority, num_queries = np.zeros(len(images)), np.zeros(len(images), dtype=np.int64)
    for t, item in enumerate(images):
        whole, queries = split_support_query(
            item.labels, max(test.supports), MAX_DRAWS, np.random.default_rng((seed, t))
        )
        labels = item.labels[queries].astype(bool)
        majority[t], num_queries[t] = max(labels.mean(), 1 - labels.mean()), len(labels)
        for d, support in enumerate(test.supports):
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
            )
            for k, steps in enumerate(test.steps):
                for r, rule in enumerate(rules):
                    said = answers.said(steps, rule)
                    accuracy[t, d, k, r], same_share[t, d, k, r] = (said == labels).mean(), said.mean()
    return ArmAccuracy(
        tasks=tuple(item.task for item in images),
        rules=rules,
        accuracy=accuracy,
        same_share=same_share,
        majority_rate=majority,
        num_queries=num_queries,
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
