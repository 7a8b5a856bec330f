"""Untrained networks: what the architecture alone does to the images, the control of every analysis.

At initialisation the running statistics of batch norm are 0 and 1, which fit no layer. So they are recalibrated on
the stimuli before an untrained network is used: no label is seen, and the network becomes the random network that it
is in its first training step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from meta_baseline.datasets import Stimuli, StimulusDataset
from meta_baseline.models import prepare_images, recalibrate_batch_norm, untrained_copy

NUM_CALIBRATION_IMAGES = 256
_CALIBRATION_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """An untrained network, ready for a pass, with the sentences that say where it came from."""

    model: nn.Module
    notes: tuple[str, ...]


def read_calibration_images(stimuli: Stimuli) -> UInt8[Tensor, "N H W 3"]:
    """Up to 256 images spread evenly over the stimuli, for the statistics of batch norm."""
    dataset = StimulusDataset(stimuli)
    num_images = len(stimuli.labels)
    chosen = np.linspace(0, num_images - 1, min(num_images, NUM_CALIBRATION_IMAGES)).round().astype(int)
    return torch.stack([dataset[int(index)][0] for index in chosen])


def iterate_untrained(
    model: nn.Module,
    initial: tuple[tuple[nn.Module, str], ...],
    *,
    num_networks: int,
    calibration: UInt8[Tensor, "N H W 3"],
    device: str | torch.device,
    rng: np.random.Generator,
) -> Iterator[Untrained]:
    """Untrained networks of ``model``'s architecture, one at a time; none of the given modules is changed.

    Args:
        model: gives the architecture.
        initial: known step-0 networks, each with a sentence that says whose; they come first.
        num_networks: how many in all; fresh initialisations fill up after ``initial``.
        calibration: images for the statistics of batch norm.
        device: where the networks will run.
        rng: seeds the fresh initialisations.
    """
    for network, origin in initial:
        yield _prepare(copy.deepcopy(network), origin, calibration, device)
    for _ in range(num_networks - len(initial)):
        generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
        yield _prepare(untrained_copy(model, generator), "A fresh initialisation.", calibration, device)


def is_same_architecture(first: nn.Module, second: nn.Module) -> bool:
    """True when the parameters have the same names and shapes and nothing that acts in eval mode differs."""
    if _shapes(first) != _shapes(second):
        return False
    mine, others = getattr(first, "architecture", None), getattr(second, "architecture", None)
    return mine is None or others is None or (mine.paddings, mine.pool) == (others.paddings, others.pool)


def is_same_weights(first: nn.Module, second: nn.Module) -> bool:
    """True when all parameters agree bit by bit (buffers, such as running statistics, may differ)."""
    theirs = dict(second.named_parameters())
    return _shapes(first) == _shapes(second) and all(
        torch.equal(parameter.detach().cpu(), theirs[name].detach().cpu())
        for name, parameter in first.named_parameters()
    )


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def _prepare(model: nn.Module, origin: str, calibration: Tensor, device: str | torch.device) -> Untrained:
    model.to(device)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return Untrained(model=model, notes=(origin,))
    size = min(_CALIBRATION_BATCH, len(calibration))
    batches = [calibration[i : i + size] for i in range(0, len(calibration) - size + 1, size)]
    recalibrate_batch_norm(
        model,
        (prepare_images(model, batch.to(device)).contiguous(memory_format=torch.channels_last) for batch in batches),
    )
    used = size * len(batches)
    note = (
        f"Batch-norm statistics recalibrated on {used} of the images without labels; at initialisation they fit none."
    )
    return Untrained(model=model, notes=(origin, note))
