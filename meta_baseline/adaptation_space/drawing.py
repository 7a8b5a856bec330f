"""Episodes for the analysis of adaptation: every image is used once, so episodes are separate draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.adaptation_space.settings import AdaptationSettings, TaskStimuli
from meta_baseline.episodes import Episode, check_episode
from meta_baseline.errors import UsageError

FEWEST_EPISODES = 4
"""Intervals over fewer would say nothing."""
WANTED_EPISODES = 8
"""Queries are cut before episodes become fewer."""
FEWEST_QUERIES = 10

Depth = Literal["brief", "main", "thorough"]
"""How much of an episode is measured: theta_0 and theta_k, with true and with shuffled labels; also layers frozen,
other steps and supports; also what stands beside these: other rates, single layers, batch norm refitted, sharpness."""


@dataclass(frozen=True, kw_only=True)
class AdaptationEpisode:
    """Rows of one task, and a shuffle of the support's labels that serves as null.

    Attributes:
        task: its place among the tasks.
        support: rows, labels alternating 0 1 0 1, so that every even number of first rows is balanced.
        query: rows, half "same"; no identity of the support's.
        shuffled: as many 0 as 1, in random order: labels that the support's images do not have.
        depth: how much is measured.
    """

    task: int
    support: Int64[ndarray, " M"]
    query: Int64[ndarray, " N"]
    shuffled: Int64[ndarray, " M"]
    depth: Depth = "thorough"


def draw_episodes(
    tasks: Sequence[TaskStimuli], settings: AdaptationSettings, rng: np.random.Generator
) -> tuple[AdaptationEpisode, ...]:
    """Episodes of one task each, the tasks in turn; no image comes twice, no identity on both sides of an episode.

    Tasks held out come after the images of the study, in as many episodes again.

    Raises:
        UsageError: when the images do not suffice for four episodes of ten queries.
    """
    groups = [[n for n, task in enumerate(tasks) if task.held_out is held_out] for held_out in (False, True)]
    return tuple(episode for group in groups if group for episode in _draw_of_group(group, tasks, settings, rng))


def _draw_of_group(
    group: Sequence[int], tasks: Sequence[TaskStimuli], settings: AdaptationSettings, rng: np.random.Generator
) -> list[AdaptationEpisode]:
    share = max(1, settings.max_episodes // len(group))
    by_task = [_draw_of_task(number, tasks[number], settings, share, rng) for number in group]
    dealt = [own[i] for i in range(max(map(len, by_task))) for own in by_task if i < len(own)]
    if len(dealt) < FEWEST_EPISODES:
        needed = FEWEST_EPISODES * (settings.num_support + FEWEST_QUERIES)
        found = sum(len(tasks[number].labels) for number in group)
        raise UsageError(
            f"{found} images give {len(dealt)} episodes of {settings.num_support} supports and at least "
            f"{FEWEST_QUERIES} queries; {FEWEST_EPISODES} are needed. Use {needed} images or more, half of each class, "
            "of several shapes."
        )
    chosen = dealt[: settings.max_episodes]
    # Turns of the tasks, so that each of them is looked at as thoroughly as the others.
    return [
        dataclasses.replace(episode, depth="main" if number // len(group) % settings.thorough_every else "thorough")
        for number, episode in enumerate(chosen)
    ]


def _draw_of_task(
    number: int, task: TaskStimuli, settings: AdaptationSettings, share: int, rng: np.random.Generator
) -> list[AdaptationEpisode]:
    per_label = int(min((task.labels == label).sum() for label in (0, 1)))
    wanted = min(share, WANTED_EPISODES)
    spare = 2 * (per_label // wanted) - settings.num_support
    num_queries = min(settings.num_queries, max(FEWEST_QUERIES, spare))
    unused = np.ones(len(task.labels), dtype=bool)
    episodes: list[AdaptationEpisode] = []
    while len(episodes) < share:
        rows = _draw_rows(task, settings.num_support, num_queries, unused, rng)
        if rows is None:
            break
        support, query = rows
        unused[support] = unused[query] = False
        check_episode(
            Episode(task=number, support=support, query=query), task.labels, np.full(len(task.labels), number)
        )
        shuffled = rng.permutation(task.labels[support])
        episodes.append(AdaptationEpisode(task=number, support=support, query=query, shuffled=shuffled))
    return episodes


def _draw_rows(
    task: TaskStimuli, num_support: int, num_queries: int, unused: ndarray, rng: np.random.Generator
) -> tuple[Int64[ndarray, " M"], Int64[ndarray, " N"]] | None:
    """Support rows of several identities, then queries of other identities; None when they run out."""
    order = rng.permutation(np.flatnonzero(unused))
    if not len(order):
        return None
    groups = list(dict.fromkeys(task.groups[order].tolist()))
    # Of few identities no more than a quarter go to the support, so that others are left for the queries.
    most = math.ceil(num_support / 2 / max(1, len(groups) // 4))
    rows_of: dict[tuple[int, int], list[int]] = {}
    for row, group, label in zip(order.tolist(), task.groups[order].tolist(), task.labels[order].tolist()):
        rows_of.setdefault((group, label), []).append(row)
    support: tuple[list[int], list[int]] = ([], [])
    taken: list[int] = []
    for group in groups:
        missing = [num_support // 2 - len(rows) for rows in support]
        if not any(missing):
            break
        for label in (0, 1):
            own = rows_of.get((group, label), [])[: min(most, missing[label])]
            support[label].extend(own)
            taken.extend([group] * bool(own))
    open_rows = order[~np.isin(task.groups[order], taken)]
    query = [open_rows[task.labels[open_rows] == label][: num_queries // 2] for label in (0, 1)]
    if min(map(len, support)) < num_support // 2 or min(map(len, query)) < num_queries // 2:
        return None
    alternating = np.array(support, dtype=np.int64).T.ravel()
    return alternating, np.sort(np.concatenate(query)).astype(np.int64)
