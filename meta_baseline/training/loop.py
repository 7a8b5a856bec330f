"""The training loop, the same for every algorithm: recipe and pool in, checkpoints and a learning curve out.

A run writes into its folder ``initial.safetensors`` (step 0), ``images-<n>.safetensors`` at the recipe's snapshots,
``last.safetensors`` and ``metrics.jsonl``. The same recipe, pool, machine and number of threads give the same bytes.
The run never stops early: these tasks keep a network at chance for tens of thousands of images before it learns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.errors import UsageError
from meta_baseline.models import ConvNet
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.baseline import BaselineLearner
from meta_baseline.training.learners import Learner, StepOutcome
from meta_baseline.training.meta import MetaLearner
from meta_baseline.training.optimiser import Optimiser
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.recipes import Algorithm, Recipe

INITIAL, LAST, METRICS = "initial.safetensors", "last.safetensors", "metrics.jsonl"
METRICS_EVERY = 1_024
"""Images per line of the learning curve."""

LEARNERS: dict[Algorithm, Callable[[ConvNet, PoolImages, Recipe], Learner]] = {
    "baseline": BaselineLearner,
    "fomaml": MetaLearner,
}


@dataclass(frozen=True, kw_only=True)
class TrainingStatus:
    """How far a run is; means over the last ``METRICS_EVERY`` images, as in a line of metrics.jsonl.

    Attributes:
        images: seen so far.
        loss, accuracy: before any adaptation; in training mode, i.e. with the batch's own statistics.
        adapted_loss, adapted_accuracy: on query sets after adaptation; None for the baseline.
        learning_rate: of the last step.
    """

    images: int
    loss: float
    accuracy: float
    adapted_loss: float | None
    adapted_accuracy: float | None
    learning_rate: float


Report = Callable[[TrainingStatus], None]


def train(
    recipe: Recipe,
    pool: TrainingPool,
    output_dir: str | Path,
    *,
    device: str = "cpu",
    report: Report = lambda status: None,
) -> Path:
    """Train one network on the whole pool and return the path of its last checkpoint.

    Args:
        recipe: what to train and how.
        pool: made for ``recipe.tasks`` at ``recipe.image_size``; each image is used once.
        output_dir: made if it is not there; files of an earlier run in it are replaced.
        device: "cpu" or "cuda".
        report: called about every ``METRICS_EVERY`` images.

    Raises:
        UsageError: the pool does not fit the recipe, or the loss is no longer finite.
    """
    _check_pool(recipe, pool)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    network = recipe.build_initial_network().to(device=device, memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    images = PoolImages(
        pool, network, augmentation=recipe.rng("augmentation") if recipe.augmentation else None, device=device
    )
    learner = LEARNERS[recipe.algorithm](network, images, recipe)
    optimiser = Optimiser(
        network, name=recipe.optimiser, weight_decay=recipe.weight_decay, matrix_rate=recipe.matrix_rate
    )
    _save(network, folder / INITIAL, recipe, 0)
    snapshots = list(recipe.snapshots)
    seen, window = 0, list[StepOutcome]()
    # Dropout draws from torch's global generator and nothing else here does; the caller's state comes back afterwards.
    with (folder / METRICS).open("w", encoding="utf-8") as metrics, torch.random.fork_rng():
        torch.manual_seed(int(recipe.rng("dropout").integers(2**63)))
        for step in range(learner.num_steps):
            if step >= round((1 - recipe.frozen_statistics_fraction) * learner.num_steps):
                freeze_statistics(network)
            rate = schedule(step, learner.num_steps, recipe)
            optimiser.zero_grad()
            outcome = learner.accumulate(step)
            if not math.isfinite(outcome.loss):
                raise UsageError(
                    f"The loss is {outcome.loss} after {seen} images of {recipe.algorithm} training. "
                    f"Use a smaller --learning-rate than {recipe.learning_rate}."
                )
            clip_grad_norm_(network.parameters(), recipe.gradient_clip)
            optimiser.step(rate)
            seen += outcome.num_images
            window.append(outcome)
            if sum(item.num_images for item in window) >= METRICS_EVERY or step + 1 == learner.num_steps:
                status = summarise(window, seen, rate)
                metrics.write(json.dumps(asdict(status)) + "\n")
                metrics.flush()
                report(status)
                window.clear()
            while snapshots and seen >= snapshots[0]:
                _save(network, folder / f"images-{snapshots.pop(0):07d}.safetensors", recipe, seen)
    _save(network, folder / LAST, recipe, seen)
    return folder / LAST


def schedule(step: int, num_steps: int, recipe: Recipe) -> float:
    """The learning rate of a step: up over the warm-up, then linearly down, reaching zero one step after the last."""
    warm_up = min((step + 1) / recipe.warmup_steps, 1.0) if recipe.warmup_steps else 1.0
    return recipe.learning_rate * min(warm_up, (num_steps - step) / num_steps)


def freeze_statistics(network: ConvNet) -> None:
    """Let batch norm normalise with its running statistics and leave them alone; everything else keeps training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def summarise(window: list[StepOutcome], images: int, learning_rate: float) -> TrainingStatus:
    """Means over the steps of a window; steps of one run are of one size."""

    def mean(values: list[float | None]) -> float | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) / len(numbers) if numbers else None

    return TrainingStatus(
        images=images,
        loss=sum(item.loss for item in window) / len(window),
        accuracy=sum(item.accuracy for item in window) / len(window),
        adapted_loss=mean([item.adapted_loss for item in window]),
        adapted_accuracy=mean([item.adapted_accuracy for item in window]),
        learning_rate=learning_rate,
    )


def _check_pool(recipe: Recipe, pool: TrainingPool) -> None:
    if pool.tasks != recipe.tasks or pool.images.shape[1] != recipe.image_size:
        raise UsageError(
            f"The pool holds {', '.join(pool.tasks)} at {pool.images.shape[1]} px, the recipe asks for "
            f"{', '.join(recipe.tasks)} at {recipe.image_size} px. Generate a pool for this recipe."
        )
    if len(pool.labels) != recipe.pool_size:
        raise UsageError(
            f"The pool holds {len(pool.labels)} images, the recipe uses {recipe.pool_size}. "
            "Generate a pool for this recipe."
        )


def _save(network: ConvNet, path: Path, recipe: Recipe, images: int) -> None:
    training: dict[str, str | int | float] = {
        "algorithm": recipe.algorithm,
        "seed": recipe.seed,
        "tasks": ",".join(recipe.tasks),
        "held_out": ",".join(recipe.held_out),
        "num_images": images,
        "initial": INITIAL,
    }
    if recipe.algorithm == "fomaml":
        training |= {
            "inner_steps": recipe.inner_loop.num_steps,
            "inner_learning_rate": recipe.inner_loop.learning_rate,
            "support": recipe.episodes.support,
            "query": recipe.episodes.query,
        }
    write_checkpoint(path, network, training=training)
