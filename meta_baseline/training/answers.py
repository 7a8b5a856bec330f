"""What a network answers to the queries of one task: as it is, adapted by k steps, and with its batch norm refitted.

The last is a control. Batch norm carries running statistics of the trained tasks; on a task whose images hold more ink
they fit badly, and accuracy falls although nothing about "same" may have been lost. Refitting them on the support
images, without looking at a label or changing a weight, tells the two apart.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor

from meta_baseline.inner_loop import (
    InnerLoop,
    Parameters,
    Precision,
    buffers_at,
    forward,
    inner_steps,
    parameters_and_buffers,
)
from meta_baseline.models import ConvNet, DecisionRule, decide, recalibrate_batch_norm
from meta_baseline.training.evaluation_stimuli import TaskImages
from meta_baseline.training.learnt_adaptation import LearntAdaptation
from meta_baseline.training.objectives import classification_loss
from meta_baseline.training.pool_images import channels_last

_BATCH_SIZE = 200


@dataclass(frozen=True, kw_only=True)
class AdaptationTest:
    """How networks are tested; the same for every network.

    Attributes:
        steps: numbers of inner steps after which queries are answered, ascending; 0 is the network as it is.
        num_support: labelled images of the task to adapt to.
        num_draws: disjoint support sets; accuracies are means over them.
        learning_rate: of the inner loop.
        num_queries: images that are asked about, by task.
    """

    steps: tuple[int, ...] = (0, 5)
    num_support: int = 10
    num_draws: int = 2
    learning_rate: float = 0.05
    num_queries: int = 400

    @property
    def images_per_task(self) -> int:
        """Queries and support sets together."""
        return self.num_queries + self.num_draws * self.num_support


@dataclass(frozen=True, kw_only=True)
class QueryAnswers:
    """True where a query is called "same".

    Attributes:
        by_steps: for each number of inner steps; rows are support draws, a single one for 0 steps.
        refitted: without a step, but with the batch-norm statistics of the first support set's images.
    """

    by_steps: dict[int, Bool[ndarray, "D N"]]
    refitted: Bool[ndarray, " N"]


def answer_queries(
    network: ConvNet,
    images: TaskImages,
    supports: Sequence[Int64[ndarray, " M"]],
    queries: Int64[ndarray, " N"],
    *,
    test: AdaptationTest,
    precision: Precision = "fp32",
    learnt: LearntAdaptation | None = None,
    decide_by: DecisionRule | None = None,
) -> QueryAnswers:
    """Ask one network about the queries of one task; the network stays as it was.

    Args:
        network: trained or not.
        images: of the task.
        supports: rows of each support set.
        queries: rows to ask about.
        test: numbers of steps, learning rate.
        precision: of the forward passes.
        learnt: inner rates and statistics by step that the network learned with its weights, in place of ``test``'s.
        decide_by: how logits are read, where that is not the network's own rule; it adapts by its own all the same.
    """
    network = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parameters, buffers = parameters_and_buffers(network)
    parameters = {name: value.detach() for name, value in parameters.items()}
    learnt, rule = learnt or LearntAdaptation(), decide_by or network.decision_rule
    statistics = learnt.buffers(buffers)
    inner_loop = InnerLoop(num_steps=max(test.steps), learning_rate=test.learning_rate)
    asked = _inputs(network, images, queries)

    def ask(values: Parameters, own: Parameters) -> Bool[ndarray, " N"]:
        with torch.no_grad():
            logits = [forward(network, values, own, part, precision=precision)[0] for part in asked.split(_BATCH_SIZE)]
        return decide(torch.cat(logits), rule).cpu().numpy()

    by_steps: dict[int, list[Bool[ndarray, " N"]]] = {steps: [] for steps in test.steps}
    if 0 in by_steps:
        by_steps[0].append(ask(parameters, buffers))
    for support in supports:
        shown = _inputs(network, images, support)
        labels = torch.from_numpy(images.labels[support]).to(shown.device)
        path = inner_steps(
            network,
            parameters,
            statistics,
            shown,
            labels,
            inner_loop=inner_loop,
            loss=classification_loss(network.decision_rule),
            precision=precision,
            rates=learnt.rates_or_none,
        )
        for steps, step in enumerate(path, start=1):
            if steps in by_steps:
                by_steps[steps].append(ask(step.parameters, buffers_at(statistics, steps)))
    refitted = ask(parameters, _refit_statistics(network, _inputs(network, images, supports[0])))
    return QueryAnswers(by_steps={steps: np.stack(rows) for steps, rows in by_steps.items()}, refitted=refitted)


def _refit_statistics(network: ConvNet, images: Float[Tensor, "N C H W"]) -> dict[str, Tensor]:
    twin = copy.deepcopy(network)
    with torch.no_grad():
        recalibrate_batch_norm(twin, [images])
    return parameters_and_buffers(twin)[1]


def _inputs(network: ConvNet, images: TaskImages, rows: Int64[ndarray, " N"]) -> Float[Tensor, "N C H W"]:
    device = next(network.parameters()).device
    return channels_last(network.preprocessing(torch.from_numpy(images.images[rows]).to(device)))
