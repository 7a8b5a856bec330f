"""What a network answers to the queries of one task: as it is, adapted by k steps, and with its batch norm refitted.

The last is a control. Batch norm carries running statistics of the trained tasks; on a task whose images hold more ink
they fit badly, and accuracy falls although nothing about "same" may have been lost. Refitting them on the support
images, without looking at a label or changing a weight, tells the two apart.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

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
from meta_baseline.training.quick_twin import arrange_for_training

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
    """Logits on the queries of one task.

    Attributes:
        logits: for each number of inner steps [D, N, K], by support draw; a single one for 0 steps.
        rule: the network's own.
    """

    logits: dict[int, Float[Tensor, "D N K"]]
    rule: DecisionRule

    def said(self, steps: int, rule: DecisionRule | None = None) -> Bool[ndarray, "D N"]:
        """True where a query is called "same", by the network's own rule or by another."""
        logits = self.logits[steps]
        return decide(logits.flatten(0, 1), rule or self.rule).view(logits.shape[:2]).cpu().numpy()


def answer_queries(
    network: ConvNet,
    images: TaskImages,
    supports: Sequence[Int64[ndarray, " M"]],
    queries: Int64[ndarray, " N"],
    *,
    test: AdaptationTest,
    precision: Precision = "fp32",
    learnt: LearntAdaptation | None = None,
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
    """
    network = arrange_for_training(_prepare(network))
    parameters, buffers = parameters_and_buffers(network)
    parameters = {name: value.detach() for name, value in parameters.items()}
    learnt = learnt or LearntAdaptation()
    statistics = learnt.buffers(buffers)
    inner_loop = InnerLoop(num_steps=max(test.steps), learning_rate=test.learning_rate)
    asked = _inputs(network, images, queries)
    logits: dict[int, list[Tensor]] = {steps: [] for steps in test.steps}
    if 0 in logits:
        logits[0].append(_ask(network, parameters, buffers, asked, precision))
    for support in supports if max(test.steps) > 0 else ():
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
            if steps in logits:
                logits[steps].append(_ask(network, step.parameters, buffers_at(statistics, steps), asked, precision))
    return QueryAnswers(logits={steps: torch.stack(rows) for steps, rows in logits.items()}, rule=network.decision_rule)


def answer_refitted(
    network: ConvNet,
    images: TaskImages,
    support: Int64[ndarray, " M"],
    queries: Int64[ndarray, " N"],
    *,
    precision: Precision = "fp32",
) -> Bool[ndarray, " N"]:
    """What the network says to the queries with batch-norm statistics of a support set's images, and nothing else."""
    network = _prepare(network)
    with torch.no_grad():
        recalibrate_batch_norm(network, [_inputs(network, images, support)])
    asked = _inputs(network, images, queries)
    logits = _ask(network, *parameters_and_buffers(network), asked, precision)
    return decide(logits, network.decision_rule).cpu().numpy()


def _prepare(network: ConvNet) -> ConvNet:
    """A copy that is asked in evaluation mode."""
    return copy.deepcopy(network).eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _ask(
    network: ConvNet,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    precision: Precision,
) -> Float[Tensor, "N K"]:
    with torch.no_grad():
        parts = [
            forward(network, parameters, buffers, part, precision=precision)[0] for part in images.split(_BATCH_SIZE)
        ]
    return torch.cat(parts)


def _inputs(network: ConvNet, images: TaskImages, rows: Int64[ndarray, " N"]) -> Float[Tensor, "N C H W"]:
    device = next(network.parameters()).device
    return channels_last(network.preprocessing(torch.from_numpy(images.images[rows]).to(device)))
