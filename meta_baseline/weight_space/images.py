"""Which images the weight analysis uses, how many, and why there may be nothing to measure on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meta_baseline.activations.recording import Batch, channels_first
from meta_baseline.errors import UsageError
from meta_baseline.layers import LayerPairing
from meta_baseline.models import DecisionRule
from meta_baseline.weight_space.connectivity import LabelledImages

LARGE_SIDE = 96
"""Inputs of this side and more, in pixels, get fewer images and points: they take twenty times as long."""

MIDDLE_SIDE = 48
"""Inputs of this side and more get fewer points of the surface."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured on images: half of ``num_images`` calibrate batch norm, half are evaluated.

    At the many points of the surface it is the first ``surface_images`` of the second half.
    """

    num_images: int
    path_points: int
    surface_points: int
    surface_images: int


def choose_effort(model: nn.Module) -> Effort:
    """By the size of the network's input, so that the whole analysis stays below a minute on two cores."""
    side = getattr(getattr(model, "architecture", None), "image_size", LARGE_SIDE)
    if side >= LARGE_SIDE:
        return Effort(num_images=96, path_points=5, surface_points=7, surface_images=32)
    points = 9 if side >= MIDDLE_SIDE else 13
    return Effort(num_images=256, path_points=11, surface_points=points, surface_images=64)


def take_images(loader: Iterable[Batch], model: nn.Module, num_images: int) -> LabelledImages:
    """The first images of a loader of (images, labels, ...) batches, every second one for calibration.

    Raises:
        UsageError: when batches have no labels, or there are fewer than two images.
    """
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in loader:
        if isinstance(batch, Tensor) or len(batch) < 2:
            raise UsageError("Loss between networks needs batches of (images, labels); found images alone.")
        images.append(channels_first(torch.as_tensor(batch[0])))
        labels.append(torch.as_tensor(batch[1]).reshape(-1).long())
        if sum(len(part) for part in labels) >= num_images:
            break
    count = min(num_images, sum(len(part) for part in labels))
    if count < 2:
        raise UsageError(f"Loss between networks needs at least 2 images; found {count}. Pass more.")
    chosen, answers = torch.cat(images)[:count], torch.cat(labels)[:count]
    # Images often come in pairs of both classes: take every second pair, so that both halves have both.
    second = (torch.arange(count) // 2) % 2 == 1
    if not second.any():
        second = torch.arange(count) % 2 == 1
    return LabelledImages(
        calibration=chosen[~second], images=chosen[second], labels=answers[second], rule=_rule_of(model)
    )


def why_not_connected(meta: nn.Module, baseline: nn.Module, pairing: LayerPairing) -> str:
    """Why weights of the two networks may not be averaged; empty where they may."""
    if not pairing.same_function:
        return "the two networks are not of one architecture, and no network lies between them"
    names = [[(name, value.shape) for name, value in model.state_dict().items()] for model in (meta, baseline)]
    if names[0] != names[1]:
        return "their parameters have different names"
    if _rule_of(meta) != _rule_of(baseline):
        return f"they answer by different rules ({_rule_of(meta)} and {_rule_of(baseline)})"
    scalings = [getattr(getattr(model, "preprocessing", None), "scaling", None) for model in (meta, baseline)]
    if scalings[0] != scalings[1]:
        return f"they read images in different scalings ({scalings[0]} and {scalings[1]})"
    return ""


def _rule_of(model: nn.Module) -> DecisionRule:
    return getattr(model, "decision_rule", "logit")
