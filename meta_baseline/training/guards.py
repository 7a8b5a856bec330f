"""What would make an accuracy meaningless, looked for in every run: each guard is a check with a verdict.

All of them have caught the published pair or its stimuli: a constant predictor that scores what the class frequencies
give, a first loss of 67 from logits of sd 94, a dense layer without a living unit, blank images, episodes of mixed
tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor, nn

from meta_baseline.episodes import Episode
from meta_baseline.inner_loop import forward, parameters_and_buffers
from meta_baseline.models import ConvNet, decision_margin
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.verdicts import CONSTANT_SHARE

MAX_INITIAL_SD = 5.0
"""Of the decision margin at step 0; beyond it the first steps undo the initialisation and kill units on the way."""
MAX_DEAD_FRACTION = 0.5
"""Of the units of one layer, over the images looked at."""
MIN_CONTRAST = 4
"""Grey levels between the darkest and the lightest pixel of an image, below which it shows nothing.

Light colours are faint in grey and fainter when averaged down: 5 % of random_color have less than 30 levels at 64 px,
and less than 17 at 32 px. They can still be seen by a network; published blank images have none.
"""
NUM_IMAGES = 256
"""Looked at by each guard, spread over the pool."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What a training run says about itself: its last accuracy beside the majority rate, and its guards."""

    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()


def spread_rows(num_rows: int, count: int = NUM_IMAGES) -> Int64[ndarray, " N"]:
    """Rows that cover a pool, and with it all of its tasks and both classes; neighbours have different labels."""
    if num_rows <= count:
        return np.arange(num_rows)
    pairs = np.unique(np.linspace(0, num_rows // 2 - 1, count // 2).astype(np.int64))
    return np.sort(np.concatenate([2 * pairs, 2 * pairs + 1]))


@torch.no_grad()
def check_initial_logits(network: ConvNet, images: Float[Tensor, "N C H W"]) -> Check:
    """Whether the untrained network starts undecided; in the mode it is in, without moving its statistics."""
    logits, _ = forward(network, *parameters_and_buffers(network), images)
    sd = float(decision_margin(logits, network.decision_rule).std())
    if sd > MAX_INITIAL_SD:
        sentence = (
            f"At step 0 the decision margin has a standard deviation of {sd:.0f} over images (more than "
            f"{MAX_INITIAL_SD:.0f}): the first steps undo the initialisation and can kill units. Use a smaller one."
        )
        return Check(code="training.initial_logits", verdict="warn", sentence=sentence)
    sentence = f"At step 0 the decision margin has a standard deviation of {sd:.2g} over images."
    return Check(code="training.initial_logits", verdict="pass", sentence=sentence)


def check_blank_images(pool: TrainingPool) -> Check:
    """Whether images show anything, judged by the contrast of some of each task."""
    rows = spread_rows(len(pool.labels))
    pixels = pool.images[rows].reshape(len(rows), -1).astype(np.int16)
    blank = pixels.max(axis=1) - pixels.min(axis=1) < MIN_CONTRAST
    if blank.any():
        tasks = sorted({pool.tasks[task] for task in pool.task_ids[rows][blank]})
        sentence = (
            f"{int(blank.sum())} of {len(rows)} images looked at are blank ({', '.join(tasks)}): "
            "there is nothing to learn from them. Generate them again."
        )
        return Check(code="training.blank_images", verdict="fail", sentence=sentence)
    sentence = f"None of {len(rows)} images looked at, spread over all tasks, is blank."
    return Check(code="training.blank_images", verdict="pass", sentence=sentence)


def check_classes(pool: TrainingPool) -> Check:
    """What always giving the more frequent answer would score."""
    rate = majority_rate(pool.labels)
    verdict = "pass" if rate < 0.52 else "warn"
    sentence = f"Always giving the more frequent answer would be right on {rate:.1%} of the training images."
    return Check(code="training.majority_rate", verdict=verdict, sentence=sentence)


def check_episode_plan(
    episodes: Sequence[Episode], labels: Int64[ndarray, " N"], task_ids: Int64[ndarray, " N"]
) -> Check:
    """Whether every episode is of one task and its query set balanced."""
    mixed = sum(len(set(task_ids[np.concatenate([e.support, e.query])].tolist())) > 1 for e in episodes)
    uneven = sum(2 * int(labels[e.query].sum()) != len(e.query) for e in episodes)
    if not mixed and not uneven:
        sentence = f"All {len(episodes)} episodes are of one task each, with as many same as different queries."
        return Check(code="training.episodes", verdict="pass", sentence=sentence)
    faults = [f"{mixed} mix tasks, so nothing is adapted to a task"] if mixed else []
    if uneven:
        rate = float(np.mean([majority_rate(labels[e.query]) for e in episodes]))
        faults.append(f"{uneven} have unbalanced queries, on which one constant answer is right {rate:.1%} of the time")
    return Check(
        code="training.episodes",
        verdict="warn",
        sentence=f"Of {len(episodes)} episodes, {' and '.join(faults)}.",
    )


def check_dead_units(network: ConvNet, images: Float[Tensor, "N C H W"]) -> Check:
    """Whether units still answer to any image; for convolutions a unit is a channel."""
    shares = measure_dead_units(network, images)
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] > MAX_DEAD_FRACTION:
        sentence = (
            f"{shares[worst]:.0%} of the units of {worst} are 0 for each of {len(images)} images: the layer is dead. "
            "Use a smaller --outer-lr or another initialisation."
        )
        return Check(code="training.dead_units", verdict="warn", sentence=sentence)
    sentence = f"No layer has more than {shares[worst]:.0%} dead units ({worst}, over {len(images)} images)."
    return Check(code="training.dead_units", verdict="pass", sentence=sentence)


@torch.no_grad()
def measure_dead_units(network: ConvNet, images: Float[Tensor, "N C H W"]) -> dict[str, float]:
    """Share of units of each ReLU that are 0 for all images, as in evaluation; the network stays as it was."""
    alive: dict[str, Bool[Tensor, " U"]] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU):

            def note(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                units = output.flatten(2).amax(dim=2) if output.ndim > 2 else output
                active = (units > 0).any(dim=0)
                alive[name] = alive[name] | active if name in alive else active

            handles.append(module.register_forward_hook(note))
    try:
        _margins(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: 1.0 - float(units.double().mean()) for name, units in alive.items()}


def check_constant_answer(network: ConvNet, images: Float[Tensor, "N C H W"]) -> Check:
    """Whether the network gives both answers, as in evaluation."""
    share = float((_margins(network, images) > 0).double().mean())
    if not CONSTANT_SHARE <= share <= 1 - CONSTANT_SHARE:
        sentence = (
            f"The network calls {share:.1%} of {len(images)} balanced images 'same': it is a constant predictor, "
            "and its accuracy says nothing about looking."
        )
        return Check(code="training.constant_predictor", verdict="fail", sentence=sentence)
    sentence = f"The network calls {share:.1%} of {len(images)} balanced images 'same'."
    return Check(code="training.constant_predictor", verdict="pass", sentence=sentence)


def majority_rate(labels: ndarray) -> float:
    """Accuracy of always giving the more frequent answer, in [0.5, 1]."""
    share = float(np.mean(labels))
    return max(share, 1 - share)


@torch.no_grad()
def _margins(network: ConvNet, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        parts = [decision_margin(network(part), network.decision_rule) for part in images.split(64)]
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(parts)
