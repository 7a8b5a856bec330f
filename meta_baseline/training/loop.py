"""The training loop, the same for every algorithm: recipe and pool in, checkpoints and a learning curve out.

A run writes into its folder ``initial.safetensors`` (step 0), ``images-<n>.safetensors`` at the recipe's snapshots,
``best.safetensors`` (by validation accuracy on the trained tasks, where there are validation images),
``last.safetensors``, ``metrics.jsonl`` and ``outcome`` (its guards). The same recipe, pool, machine and number of
threads give the same bytes, also when the run was killed and went on from ``state.safetensors``, which is there while
it runs. The run never stops early: these tasks keep a network at chance for tens of thousands of images before it
learns.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from meta_baseline.errors import InputError, UsageError
from meta_baseline.models import ConvNet, recalibrate_batch_norm
from meta_baseline.results import Check, Estimate, save_result
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training import guards
from meta_baseline.training.baseline import BaselineLearner
from meta_baseline.training.learners import Learner, StepOutcome
from meta_baseline.training.meta import MetaLearner
from meta_baseline.training.optimiser import Optimiser
from meta_baseline.training.pool_images import PoolImages
from meta_baseline.training.protonet import ProtoNetLearner
from meta_baseline.training.recipe import Algorithm, Recipe
from meta_baseline.training.reptile import ReptileLearner
from meta_baseline.training.saving import (
    BEST,
    INITIAL,
    LAST,
    METRICS,
    STATE,
    Position,
    explaining_disk_errors,
    identify_images,
    is_finished,
    read_state,
    save_network,
    snapshot_name,
    write_state,
)
from meta_baseline.training.validation import measure_by_task

__all__ = ["BEST", "INITIAL", "LAST", "METRICS", "OUTCOME", "STATE", "Report", "TrainingStatus", "is_finished", "train"]

OUTCOME = "outcome"
METRICS_EVERY = 1_024
"""Images per line of the learning curve."""
VALIDATE_EVERY = 8_192
"""Images between two validations, which go with the next line of the learning curve."""
STATE_EVERY = 8_192
"""Images between two writings of the state that a killed run goes on from."""

LEARNERS: dict[Algorithm, Callable[[ConvNet, PoolImages, Recipe], Learner]] = {
    "baseline": BaselineLearner,
    "maml": MetaLearner,
    "fomaml": MetaLearner,
    "anil": MetaLearner,
    "reptile": ReptileLearner,
    "protonet": ProtoNetLearner,
}


@dataclass(frozen=True, kw_only=True)
class TrainingStatus:
    """How far a run is; means over the last ``METRICS_EVERY`` images, as in a line of metrics.jsonl.

    Attributes:
        images: seen so far.
        loss, accuracy: before any adaptation; in training mode, i.e. with the batch's own statistics.
        adapted_loss, adapted_accuracy: on query sets after adaptation; None for the baseline.
        learning_rate: of the last step.
        by_task: ``accuracy`` by task.
        validation: accuracy by task in evaluation mode on images that are never trained on, trained tasks and held-out
            ones; None where it was not measured now.
        trained_accuracy, held_out_accuracy: means of ``validation`` over the tasks of each kind.
    """

    images: int
    loss: float
    accuracy: float
    adapted_loss: float | None
    adapted_accuracy: float | None
    learning_rate: float
    by_task: dict[str, float]
    validation: dict[str, float] | None = None
    trained_accuracy: float | None = None
    held_out_accuracy: float | None = None


Report = Callable[[TrainingStatus], None]


def train(
    recipe: Recipe,
    pool: TrainingPool,
    output_dir: str | Path,
    *,
    device: str = "cpu",
    report: Report = lambda status: None,
    validation: TrainingPool | None = None,
    state_every: int | None = None,
) -> Path:
    """Train one network on the whole pool and return the path of its last checkpoint.

    A run of the same recipe that was interrupted in this folder goes on from its last saved state.

    Args:
        recipe: what to train and how.
        pool: made for ``recipe.tasks`` at ``recipe.image_size``; each image is used once.
        output_dir: made if it is not there; files of an earlier run in it are replaced.
        device: "cpu" or "cuda".
        report: called about every ``METRICS_EVERY`` images.
        validation: images of trained and held-out tasks, to watch accuracy and keep the best network.
        state_every: images between two savings of the state, which is saved with every snapshot too; changes nothing
            else.

    Raises:
        UsageError: the pool does not fit the recipe, or the loss is no longer finite.
        OutputFolderError: the state in the folder is of another recipe or of other images.
        InputError: the state in the folder is damaged.
        EnvironmentProblem: the disk is full or may not be written.
    """
    _check_pool(recipe, pool)
    folder = Path(output_dir)
    # Dropout draws from torch's global generator and nothing else here does; the caller's state comes back afterwards.
    with explaining_disk_errors(folder), torch.random.fork_rng():
        folder.mkdir(parents=True, exist_ok=True)
        run = _Run(recipe, pool, folder, device, validation)
        return run.finish(report, STATE_EVERY if state_every is None else state_every)


class _Run:
    """One run between two steps; everything that the next step depends on is in ``saving.write_state``."""

    def __init__(
        self, recipe: Recipe, pool: TrainingPool, folder: Path, device: str, validation: TrainingPool | None
    ) -> None:
        self._recipe, self._pool, self._folder, self._validation = recipe, pool, folder, validation
        self._images_id = identify_images(pool)
        network = recipe.build_initial_network()
        self._network = network.to(device=device, memory_format=recipe.memory_format).train()  # pyright: ignore[reportCallIssue]
        augmentation = recipe.rng("augmentation") if recipe.augmentation else None
        self._images = PoolImages(
            pool, self._network, augmentation=augmentation, device=device, memory_format=recipe.memory_format
        )
        self._sample = self._images.look_at(guards.spread_rows(len(pool.labels)))
        if recipe.norm == "frozen":
            recalibrate_batch_norm(self._network, [self._sample])
        self._early_checks = self._look_at_the_start()
        self._learner = LEARNERS[recipe.acting](self._network, self._images, recipe)
        self._optimiser = Optimiser(
            self._network,
            name=recipe.optimiser,
            weight_decay=recipe.weight_decay,
            matrix_rate=recipe.matrix_rate,
            extra=tuple(self._learner.learnt.rates.values()),
        )

    def finish(self, report: Report, state_every: int) -> Path:
        """Take every step that is left."""
        torch.manual_seed(int(self._recipe.rng("dropout").integers(2**63)))
        start = read_state(
            self._folder, self._recipe, self._images_id, self._network, self._learner.learnt, self._optimiser
        )
        position = start or Position()
        if start is None:
            self._save(INITIAL, 0)
        seen, best, window, saved = position.images, position.best, list(position.window), position.images
        num_steps, written = self._learner.num_steps, position.metrics_bytes
        with (self._folder / METRICS).open("a", encoding="utf-8") as metrics:
            if metrics.tell() < written:
                raise InputError(
                    f"{self._folder / METRICS} is shorter than when the state beside it was saved. "
                    f"Remove {self._folder / STATE} to begin this run anew."
                )
            metrics.truncate(written)
            for step in range(position.step, num_steps):
                rate = schedule(step, num_steps, self._recipe)
                before = seen
                window.append(self._step(step, rate, seen))
                seen += window[-1].num_images
                if sum(item.num_images for item in window) >= METRICS_EVERY or step + 1 == num_steps:
                    status = self._summarise(window, seen, rate, last=step + 1 == num_steps)
                    written += metrics.write(json.dumps(asdict(status)) + "\n")
                    metrics.flush()
                    report(status)
                    window.clear()
                    if status.trained_accuracy is not None and (best is None or status.trained_accuracy > best):
                        best = status.trained_accuracy
                        self._save(BEST, seen)
                passed = [number for number in self._recipe.snapshots if before < number <= seen]
                for number in passed:
                    self._save(snapshot_name(number), seen)
                if (passed or seen - saved >= state_every) and step + 1 < num_steps:
                    saved = seen
                    os.fsync(metrics.fileno())
                    at = Position(
                        step=step + 1,
                        images=seen,
                        window=tuple(window),
                        metrics_bytes=written,
                        best=best,
                    )
                    self._save_state(at)
        save_result(self._look_back(), self._folder / OUTCOME)
        self._save(LAST, seen)
        (self._folder / STATE).unlink(missing_ok=True)
        return self._folder / LAST

    def _step(self, step: int, rate: float, seen: int) -> StepOutcome:
        """One step of the optimiser; nothing has changed when it raises."""
        recipe = self._recipe
        frozen_from = round((1 - recipe.frozen_statistics_fraction) * self._learner.num_steps)
        if recipe.norm == "frozen" or step >= frozen_from:
            freeze_statistics(self._network)
        self._optimiser.zero_grad()
        outcome = self._learner.accumulate(step)
        losses = [loss for loss in (outcome.loss, outcome.adapted_loss) if loss is not None]
        norm = float(clip_grad_norm_(self._network.parameters(), recipe.gradient_clip))
        if not all(map(math.isfinite, (*losses, norm))):
            what = "loss" if not all(map(math.isfinite, losses)) else "gradient"
            value = next((value for value in (*losses, norm) if not math.isfinite(value)), norm)
            raise UsageError(
                f"The {what} is {value} after {seen} images of {recipe.algorithm} training. "
                f"Use a smaller --outer-lr than {recipe.learning_rate}"
                + (f" or --inner-lr than {recipe.inner_loop.learning_rate}." if outcome.adapted_loss else ".")
            )
        self._optimiser.step(rate)
        return outcome

    def _summarise(self, window: list[StepOutcome], seen: int, rate: float, *, last: bool) -> TrainingStatus:
        measured: dict[str, float] | None = None
        first = seen - sum(item.num_images for item in window)
        if self._validation is not None and (last or seen // VALIDATE_EVERY > first // VALIDATE_EVERY):
            measured = measure_by_task(self._network, self._validation, precision=self._recipe.precision)
        return summarise(window, seen, rate, self._recipe, measured)

    def _save(self, name: str, images: int) -> None:
        save_network(self._folder / name, self._network, self._learner.learnt, self._recipe, images)

    def _save_state(self, position: Position) -> None:
        learnt = self._learner.learnt
        write_state(self._folder, self._recipe, self._images_id, self._network, learnt, self._optimiser, position)

    def _look_at_the_start(self) -> tuple[Check, ...]:
        return (
            guards.check_initial_logits(self._network, self._sample),
            guards.check_blank_images(self._pool),
            guards.check_classes(self._pool),
        )

    def _look_back(self) -> guards.RunOutcome:
        """The guards of the whole run, and its last accuracy beside the majority rate."""
        lines = (self._folder / METRICS).read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
        estimate = Estimate(
            name="training.accuracy",
            label=f"accuracy on the last {METRICS_EVERY} training images, each seen once, before adaptation",
            value=last["accuracy"],
            unit="accuracy",
            reference=guards.majority_rate(self._pool.labels),
            reference_label="always giving the more frequent answer",
            n=METRICS_EVERY,
            n_unit="images",
        )
        plan = getattr(self._learner, "episodes", ())
        late = [
            guards.check_dead_units(self._network, self._sample),
            guards.check_constant_answer(self._network, self._sample),
        ]
        if plan:
            labels, tasks = self._pool.labels.astype(np.int64), self._pool.task_ids.astype(np.int64)
            late.append(guards.check_episode_plan(plan, labels, tasks))
        return guards.RunOutcome(estimates=(estimate,), checks=(*self._early_checks, *late))


def schedule(step: int, num_steps: int, recipe: Recipe) -> float:
    """The learning rate of a step: up over the warm-up, then linearly down, reaching zero one step after the last."""
    warm_up = min((step + 1) / recipe.warmup_steps, 1.0) if recipe.warmup_steps else 1.0
    return recipe.learning_rate * min(warm_up, (num_steps - step) / num_steps)


def freeze_statistics(network: ConvNet) -> None:
    """Let batch norm normalise with its running statistics and leave them alone; everything else keeps training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def summarise(
    window: list[StepOutcome],
    images: int,
    learning_rate: float,
    recipe: Recipe,
    validation: dict[str, float] | None = None,
) -> TrainingStatus:
    """Means over the steps of a window, each counting the same."""

    def mean(values: list[float | None]) -> float | None:
        numbers = [value for value in values if value is not None]
        return sum(numbers) / len(numbers) if numbers else None

    def mean_over(tasks: tuple[str, ...]) -> float | None:
        return mean([validation[task] for task in tasks if task in validation]) if validation else None

    counts = [item for outcome in window for item in outcome.by_task]
    by_task = {
        name: sum(right for task, right, _ in counts if task == number)
        / sum(asked for task, _, asked in counts if task == number)
        for number, name in enumerate(recipe.tasks)
        if any(task == number for task, _, _ in counts)
    }
    return TrainingStatus(
        images=images,
        loss=sum(item.loss for item in window) / len(window),
        accuracy=sum(item.accuracy for item in window) / len(window),
        adapted_loss=mean([item.adapted_loss for item in window]),
        adapted_accuracy=mean([item.adapted_accuracy for item in window]),
        learning_rate=learning_rate,
        by_task=by_task,
        validation=validation,
        trained_accuracy=mean_over(recipe.tasks),
        held_out_accuracy=mean_over(recipe.held_out),
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
