"""Which images meet in a batch or in an episode: row numbers only, each row used once.

An episode is one task's support set, to adapt to, and query set, to be judged on, both with as many "same" as
"different" images. Batches mix tasks and labels at random. Both are plans over the same rows: two networks trained on
one pool by different algorithms see the same images, the same number of times.
"""

from __future__ import annotations

import math
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
        support_sizes: images of an episode to adapt to; with several sizes, episodes take turns. Even: half "same".
        query_size: images of an episode to be judged on; even, half of them "same".
        uneven_queries: two thirds of them "same", as in the published episodes; a fault, kept to be reproduced.
    """

    tasks_per_step: int = 4
    support_sizes: tuple[int, ...] = (8,)
    query_size: int = 8
    uneven_queries: bool = False

    def __post_init__(self) -> None:
        if self.tasks_per_step < 1:
            raise UsageError(f"A meta-step of {self.tasks_per_step} tasks is none. Use --meta-batch 1 or more.")
        if not self.support_sizes:
            raise UsageError("No support size. Name at least one with --support-sizes.")
        if len(set(self.support_sizes)) < len(self.support_sizes):
            raise UsageError(f"Support sizes {self.support_sizes} repeat. Name each once with --support-sizes.")
        sizes = [("support", "--support-sizes", size) for size in self.support_sizes]
        for name, option, count in (*sizes, ("query", "--query-size", self.query_size)):
            if count < 2 or count % 2:
                raise UsageError(
                    f"A {name} set of {count} images cannot be half same, half different. "
                    f"Use an even {option} of 2 or more."
                )
        if self.uneven_queries and self.query_size % 3:
            raise UsageError(f"Two thirds of {self.query_size} queries is no number. Use a --query-size of 6 or 12.")

    @property
    def query_counts(self) -> tuple[int, int]:
        """Queries of an episode that are "different" and "same"."""
        same = 2 * self.query_size // 3 if self.uneven_queries else self.query_size // 2
        return self.query_size - same, same

    @property
    def images_per_cycle(self) -> int:
        """Images of one task, half of them "same", for episodes in which every support size comes up once."""
        return sum(size + 2 * max(self.query_counts) for size in self.support_sizes)

    def images_per_round(self, num_tasks: int) -> int:
        """The fewest images that come out even: whole cycles of every task in whole meta-steps."""
        episodes = num_tasks * len(self.support_sizes)
        cycles = self.tasks_per_step // math.gcd(episodes, self.tasks_per_step)
        return cycles * num_tasks * self.images_per_cycle


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

    Tasks are dealt like cards: all of them once, in random order, before any comes again. So are support sizes, one for
    each such round. No row is used twice; rows that do not fill an episode, a cycle of sizes, a round of all tasks or a
    step are left out.

    Args:
        labels: 1 for same, 0 for different.
        task_ids: task of each row.
        shape: sizes of a step.
        rng: the only source of randomness.

    Raises:
        UsageError: when some task has too few images of one label for a single episode of each size.
    """
    tasks = np.unique(task_ids)
    rows = {
        int(task): [rng.permutation(np.flatnonzero((task_ids == task) & (labels == label))) for label in (0, 1)]
        for task in tasks
    }
    sizes = _deal_sizes(rows, shape, rng)
    decks = {task: _cut_deck(task, parts, sizes, shape.query_counts) for task, parts in rows.items()}
    dealt = [decks[int(task)][number] for number in range(len(sizes)) for task in rng.permutation(tasks)]
    for episode in dealt:
        check_episode(episode, labels, task_ids, query_counts=shape.query_counts)
    size = shape.tasks_per_step
    return [tuple(dealt[start : start + size]) for start in range(0, len(dealt) - size + 1, size)]


def merge_episodes(episodes: tuple[Episode, ...]) -> Episode:
    """All supports as one, all queries as one, of no task: the published inner loop, a fault kept to be reproduced."""
    return Episode(
        task=-1,
        support=np.concatenate([episode.support for episode in episodes]),
        query=np.concatenate([episode.query for episode in episodes]),
    )


def check_episode(
    episode: Episode,
    labels: Int64[ndarray, " N"],
    task_ids: Int64[ndarray, " N"],
    *,
    query_counts: tuple[int, int] | None = None,
) -> None:
    """Assert that an episode is of one task, that support and query are disjoint, and that both are balanced.

    ``query_counts``, "different" and "same", are what is asserted of the query set where they are given.
    """
    rows = np.concatenate([episode.support, episode.query])
    assert (task_ids[rows] == episode.task).all(), "an episode mixes tasks"
    assert len(set(rows.tolist())) == len(rows), "an image is in an episode twice"
    different, same = query_counts or (len(episode.query) // 2, len(episode.query) // 2)
    assert 2 * int(labels[episode.support].sum()) == len(episode.support), "an episode is not balanced"
    assert int(labels[episode.query].sum()) == same == len(episode.query) - different, "an episode is not balanced"


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


def _deal_sizes(
    rows: dict[int, list[Int64[ndarray, " N"]]], shape: EpisodeShape, rng: np.random.Generator
) -> list[int]:
    """The support size of each round: all sizes once, in random order, before any comes again."""
    needed = shape.images_per_cycle // 2
    task, found = min(((task, min(map(len, parts))) for task, parts in rows.items()), key=lambda pair: pair[1])
    if found < needed:
        what = "an episode needs" if len(shape.support_sizes) == 1 else "an episode of each support size needs"
        raise UsageError(f"Task {task} has {found} images of one label; {what} {needed}. Use more images.")
    if len(shape.support_sizes) == 1:
        return [shape.support_sizes[0]] * (found // needed)
    return [int(size) for _ in range(found // needed) for size in rng.permutation(shape.support_sizes)]


def _cut_deck(
    task: int, rows: list[Int64[ndarray, " N"]], sizes: list[int], query_counts: tuple[int, int]
) -> list[Episode]:
    """One task's episodes in the order in which they are dealt; rows are used up from the last one on."""
    deck: list[Episode] = []
    starts = [0, 0]
    for size in reversed(sizes):
        middles = [start + size // 2 for start in starts]
        stops = [middle + count for middle, count in zip(middles, query_counts)]
        deck.append(
            Episode(
                task=task,
                support=np.concatenate([part[a:b] for part, a, b in zip(rows, starts, middles)]),
                query=np.concatenate([part[a:b] for part, a, b in zip(rows, middles, stops)]),
            )
        )
        starts = stops
    return deck[::-1]
