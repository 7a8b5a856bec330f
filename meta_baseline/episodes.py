"""Which images meet in a batch or in an episode: row numbers only, each row used once.

An episode is one task's support set, to adapt to, and query set, to be judged on, both with as many "same" as
"different" images. Batches mix tasks and labels at random. Both are plans over the same rows: two networks trained on
one pool by different algorithms see the same images, the same number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class EpisodeShape:
    """Sizes of a meta-step, in episodes and in images.

    Attributes:
        tasks_per_step: episodes whose meta-gradients are averaged into one step.
        support, query: images of an episode to adapt to, and to be judged on; even, half of them "same".
    """

    tasks_per_step: int = 4
    support: int = 8
    query: int = 8

    def __post_init__(self) -> None:
        if self.tasks_per_step < 1:
            raise UsageError(f"A meta-step of {self.tasks_per_step} tasks is none. Use --tasks-per-step 1 or more.")
        for name, count in (("support", self.support), ("query", self.query)):
            if count < 2 or count % 2:
                raise UsageError(
                    f"A {name} set of {count} images cannot be half same, half different. "
                    f"Use an even --{name} of 2 or more."
                )

    @property
    def images_per_step(self) -> int:
        """Images that one meta-step uses up."""
        return self.tasks_per_step * (self.support + self.query)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Rows of one task's support and query images; disjoint, both balanced."""

    task: int
    support: Int64[ndarray, " N"]
    query: Int64[ndarray, " N"]


def plan_batches(num_rows: int, batch_size: int, rng: np.random.Generator) -> list[Int64[ndarray, " N"]]:
    """Rows in random order, cut into batches; rows that do not fill a last batch are left out."""
    order = rng.permutation(num_rows)
    return [order[start : start + batch_size] for start in range(0, num_rows - batch_size + 1, batch_size)]


def plan_episodes(
    labels: Int64[ndarray, " N"], task_ids: Int64[ndarray, " N"], shape: EpisodeShape, rng: np.random.Generator
) -> list[tuple[Episode, ...]]:
    """Meta-steps of ``shape.tasks_per_step`` episodes, in which every task comes up equally often.

    Tasks are dealt like cards: all of them once, in random order, before any comes again. No row is used twice; rows
    that do not fill an episode, a round of all tasks or a step are left out.

    Args:
        labels: 1 for same, 0 for different.
        task_ids: task of each row.
        shape: sizes of a step.
        rng: the only source of randomness.

    Raises:
        UsageError: when some task has too few images of one label for a single episode.
    """
    tasks = np.unique(task_ids)
    decks = {int(task): _deal_task(labels, task_ids, int(task), shape, rng) for task in tasks}
    rounds = min(len(deck) for deck in decks.values())
    dealt = [decks[int(task)].pop() for _ in range(rounds) for task in rng.permutation(tasks)]
    size = shape.tasks_per_step
    return [tuple(dealt[start : start + size]) for start in range(0, len(dealt) - size + 1, size)]


def split_support_query(
    labels: Int64[ndarray, " N"], num_support: int, num_draws: int, rng: np.random.Generator
) -> tuple[list[Int64[ndarray, " M"]], Int64[ndarray, " Q"]]:
    """Disjoint balanced support sets from one task's rows, and all remaining rows as queries.

    Raises:
        UsageError: when there are too few images of one label.
    """
    half = num_support // 2
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    if min(len(part) for part in rows) <= half * num_draws:
        raise UsageError(
            f"{num_draws} support sets of {num_support} leave no queries among {len(labels)} images. Use more images."
        )
    supports = [np.concatenate([part[i * half : (i + 1) * half] for part in rows]) for i in range(num_draws)]
    return supports, np.sort(np.concatenate([part[half * num_draws :] for part in rows]))


def _deal_task(
    labels: Int64[ndarray, " N"],
    task_ids: Int64[ndarray, " N"],
    task: int,
    shape: EpisodeShape,
    rng: np.random.Generator,
) -> list[Episode]:
    support, query = shape.support // 2, shape.query // 2
    per_episode = support + query
    of_label: Sequence[Int64[ndarray, " N"]] = [
        rng.permutation(np.flatnonzero((task_ids == task) & (labels == label))) for label in (0, 1)
    ]
    count = min(len(rows) for rows in of_label) // per_episode
    if count == 0:
        found = min(len(rows) for rows in of_label)
        raise UsageError(
            f"Task {task} has {found} images of one label; an episode needs {per_episode}. Use more images."
        )
    episodes: list[Episode] = []
    for i in range(count):
        parts = [rows[i * per_episode : (i + 1) * per_episode] for rows in of_label]
        episodes.append(
            Episode(
                task=task,
                support=np.concatenate([part[:support] for part in parts]),
                query=np.concatenate([part[support:] for part in parts]),
            )
        )
    return episodes
