"""Accuracy after adaptation when only some layers adapt: the ladder of Raghu et al. 2020 (arXiv:1909.09157, table 1).

The ladder adapts nothing, the last layer, the last two, ..., all. What a rung adds to the one before it is what its
layer contributes beyond all layers above it; the contributions sum to the whole gain. Beside it, each layer adapts
alone. (In the paper the layers to freeze are counted from the image; the rungs are the same.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor, nn

from meta_baseline.adaptation_space.parts import Tail, cut_below
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject
from meta_baseline.inner_loop import LossGradient, Parameters, buffers_at, forward, inner_steps
from meta_baseline.layers import Layer
from meta_baseline.linear_steps import Gradient
from meta_baseline.models import decide

AT_A_TIME = 20
"""Images that are answered together, so that maps of many queries are never in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """Parameters after some numbers of steps, and the loss and its gradient before the first."""

    after: dict[int, Parameters]
    start: LossGradient


def adapt_part(
    subject: Subject,
    network: nn.Module,
    names: Sequence[str],
    images: Float[Tensor, "M ..."],
    labels: Int64[Tensor, " M"],
    *,
    settings: AdaptationSettings,
    keep: Collection[int],
    rate_factor: float = 1.0,
    start: LossGradient | None = None,
) -> Adapted:
    """The inner loop in which only the named parameters move; the others are the network's own.

    Of the thetas on the way only those after ``keep`` steps stay in memory. ``start`` is the gradient at theta_0 for
    these images and labels where it is known, of these parameters or of more: freezing and rates do not change it.
    """
    own = dict(network.named_parameters())
    rates = subject.rates and {layer: rate_factor * rate for layer, rate in subject.rates.items()}
    steps = inner_steps(
        network,
        {name: own[name].detach() for name in names},
        buffer_sets(subject, network),
        images,
        labels,
        inner_loop=settings.inner_loop(max(keep), rate_factor),
        loss=subject.loss,
        rates=rates,
        first=start and _only(start, names),
    )
    kept: dict[int, Parameters] = {}
    for number, step in enumerate(steps, start=1):
        if number == 1 and start is None:
            start = LossGradient(
                loss=step.loss.detach(),
                logits=step.logits.detach(),
                gradient=step.gradient.detach(),
                buffers=step.buffers,
            )
        if number in keep:
            kept[number] = step.parameters
    assert start is not None, "at least one step"
    return Adapted(after=kept, start=start)


def _only(start: LossGradient, names: Sequence[str]) -> LossGradient:
    """The gradient for some parameters."""
    chosen, gradient = set(names), start.gradient
    tensors = {name: value for name, value in gradient.tensors.items() if name in chosen}
    factors = {name: value for name, value in gradient.factors.items() if name in chosen}
    return dataclasses.replace(start, gradient=Gradient(tensors, factors))


def ask(
    subject: Subject, network: nn.Module, parameters: Parameters, num_steps: int, images: Float[Tensor, "N ..."]
) -> Bool[ndarray, " N"]:
    """True where the network at these parameters, so many steps from its own, says "same"."""
    buffers = buffers_at(buffer_sets(subject, network), num_steps)
    with torch.no_grad():
        logits = [forward(network, parameters, buffers, part)[0] for part in images.split(AT_A_TIME)]
    return decide(torch.cat(logits), subject.rule).cpu().numpy()


def buffer_sets(subject: Subject, network: nn.Module) -> tuple[Parameters, ...]:
    """The network's own buffers and, where it keeps them, those of each step; only what the network holds."""
    own = dict(network.named_buffers())
    return (own, *({name: part[name] for name in own} for part in subject.statistics))


def measure_freezing(
    subject: Subject,
    network: nn.Module,
    layers: Sequence[Layer],
    parts: Mapping[str, Sequence[str]],
    *,
    read: Sequence[Float[Tensor, ...]],
    images: tuple[Tensor, Tensor],
    labels: Int64[Tensor, " M"],
    truth: Bool[ndarray, " N"],
    settings: AdaptationSettings,
    logits: Float[Tensor, "L K"],
    everything: float,
    start: LossGradient,
    each_alone: bool,
) -> tuple[Float[ndarray, " L"], Float[ndarray, " L"]]:
    """Accuracy by layer: when it and all after it adapt, and when it adapts alone, after ``settings.layer_steps``.

    Args:
        subject: loss, rule and rates.
        network: a private copy in evaluation mode whose parameters require no gradient.
        layers: in order.
        parts: parameters of each role.
        read: what each layer gives of supports and queries at theta_0.
        images: supports and queries.
        labels: of the supports.
        truth: labels of the queries.
        settings: steps and rate.
        logits: of supports and queries at theta_0.
        everything: the accuracy when all layers adapt, which is known already.
        start: the gradient of all parameters at theta_0.
        each_alone: whether each layer is adapted alone, too; NaN otherwise.
    """
    roles = [layer.role for layer in layers]
    ladder, alone = ([float("nan")] * len(roles) for _ in range(2))

    def accuracy(tail: Tail, names: Sequence[str]) -> float:
        num_steps = settings.layer_steps
        adapted = adapt_part(
            subject, tail.network, names, tail.support, labels, settings=settings, keep=[num_steps], start=start
        )
        answers = ask(subject, tail.network, adapted.after[num_steps], num_steps, tail.query)
        return float((answers == truth).mean())

    for first, role in enumerate(roles):
        tail = cut_below(network, layers, first, read, images, logits)
        rung = [name for later in roles[first:] for name in parts[later]]
        ladder[first] = accuracy(tail, rung) if first else everything
        if first == len(roles) - 1:
            alone[first] = ladder[first]
        elif each_alone:
            alone[first] = accuracy(tail, parts[role])
    return np.array(ladder), np.array(alone)
