"""A training pool small enough to train on in seconds, with a rule that a small network can learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from meta_baseline.episodes import EpisodeShape
from meta_baseline.inner_loop import InnerLoop
from meta_baseline.stimuli import TrainingPool
from meta_baseline.training.evaluation_stimuli import TaskImages
from meta_baseline.training.recipes import Recipe

SIZE = 16
TASKS = ("outlines", "blocks")

RECIPE = Recipe(
    architecture="stack4",
    image_size=SIZE,
    tasks=TASKS,
    held_out=("crosses",),
    num_images=256,
    episodes=EpisodeShape(tasks_per_step=2, support_sizes=(4,), query_size=4),
    inner_loop=InnerLoop(),
    warmup_steps=4,
    snapshots=(100,),
)


def draw_images(num: int, rng: np.random.Generator, *, filled: bool, labels: np.ndarray) -> np.ndarray:
    """Two squares of equal (label 1) or very different size (label 0), on white."""
    images = np.full((num, SIZE, SIZE), 255, dtype=np.uint8)
    for image, label in zip(images, labels):
        for side, left in ((6, 1), (6 if label else 2, 9)):
            top = int(rng.integers(0, SIZE - side))
            image[top : top + side, left : left + side] = 0
            if not filled and side > 2:
                image[top + 1 : top + side - 1, left + 1 : left + side - 1] = 255
    return images


def make_pool(recipe: Recipe = RECIPE, *, seed: int = 0, shuffle_labels: bool = False) -> TrainingPool:
    """A pool in memory, laid out like a generated one; with shuffled labels there is nothing to learn."""
    rng = np.random.default_rng(seed)
    per_task = recipe.pool_size // len(recipe.tasks)
    labels = np.tile(np.arange(per_task) % 2, len(recipe.tasks))
    images = np.concatenate(
        [draw_images(per_task, rng, filled=task == "blocks", labels=labels[:per_task]) for task in recipe.tasks]
    )
    if shuffle_labels:
        order = np.concatenate([rng.permutation(per_task) + i * per_task for i in range(len(recipe.tasks))])
        images = images[order]
    task_ids = np.repeat(np.arange(len(recipe.tasks)), per_task)
    return TrainingPool(
        images=images, labels=labels.astype(np.uint8), task_ids=task_ids.astype(np.uint8), tasks=recipe.tasks
    )


def write_pool(folder: Path, recipe: Recipe = RECIPE) -> Path:
    """The same pool as files that ``open_pool`` reads."""
    pool = make_pool(recipe)
    folder.mkdir(parents=True)
    for name in ("images", "labels", "task_ids"):
        np.save(folder / f"{name}.npy", getattr(pool, name))
    record = {"format": 1, "tasks": pool.tasks, "num_images": len(pool.labels), "image_size": SIZE}
    (folder / "pool.json").write_text(json.dumps(record))
    return folder


def make_task_images(num: int, *, seed: int = 1) -> tuple[TaskImages, ...]:
    """Fresh images of both trained tasks and, standing in for a held-out one, of blocks again."""
    rng, labels = np.random.default_rng(seed), np.arange(num) % 2
    return tuple(
        TaskImages(task=task, images=draw_images(num, rng, filled=task != "outlines", labels=labels), labels=labels)
        for task in (*TASKS, "crosses")
    )


def arm(algorithm: str, **changes: object) -> Recipe:
    """The small recipe with another algorithm and other fields."""
    return replace(RECIPE, algorithm=algorithm, **changes)  # pyright: ignore[reportArgumentType]
