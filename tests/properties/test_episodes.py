"""Batches and episodes: balanced, disjoint, every image once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_baseline.episodes import EpisodeShape, plan_batches, plan_episodes, split_support_query
from meta_baseline.errors import UsageError


def pool(num_tasks: int, per_cell: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.tile([0, 1], num_tasks * per_cell)
    return labels, np.repeat(np.arange(num_tasks), 2 * per_cell)


@settings(max_examples=40, deadline=None)
@given(
    num_tasks=st.integers(1, 5),
    tasks_per_step=st.integers(1, 4),
    support=st.sampled_from([2, 4, 8]),
    query=st.sampled_from([2, 6]),
    seed=st.integers(0, 1000),
)
def test_every_episode_is_one_task_balanced_and_no_row_is_used_twice(
    num_tasks: int, tasks_per_step: int, support: int, query: int, seed: int
) -> None:
    labels, task_ids = pool(num_tasks, 23)
    shape = EpisodeShape(tasks_per_step=tasks_per_step, support_sizes=(support,), query_size=query)
    steps = plan_episodes(labels, task_ids, shape, np.random.default_rng(seed))
    used: list[int] = []
    for step in steps:
        assert len(step) == tasks_per_step
        for episode in step:
            for rows, size in ((episode.support, support), (episode.query, query)):
                assert len(rows) == size
                assert labels[rows].sum() * 2 == size
                assert set(task_ids[rows]) == {episode.task}
                used.extend(rows)
    assert len(used) == len(set(used)) == len(steps) * tasks_per_step * shape.images_per_cycle


def test_a_pool_that_fits_is_used_up_by_batches_and_by_episodes() -> None:
    labels, task_ids = pool(8, 16)
    shape = EpisodeShape(tasks_per_step=4, support_sizes=(8,), query_size=8)
    steps = plan_episodes(labels, task_ids, shape, np.random.default_rng(0))
    in_episodes = np.concatenate([np.concatenate([e.support, e.query]) for step in steps for e in step])
    in_batches = np.concatenate(plan_batches(len(labels), 32, np.random.default_rng(0)))
    assert np.array_equal(np.sort(in_episodes), np.arange(256))
    assert np.array_equal(np.sort(in_batches), np.arange(256))


def test_tasks_come_up_equally_often_at_any_time() -> None:
    labels, task_ids = pool(8, 32)
    steps = plan_episodes(labels, task_ids, EpisodeShape(tasks_per_step=4), np.random.default_rng(0))
    order = [episode.task for step in steps for episode in step]
    assert all(sorted(order[i : i + 8]) == list(range(8)) for i in range(0, len(order), 8))


def test_batches_mix_tasks_and_labels() -> None:
    labels, task_ids = pool(4, 80)
    batch = plan_batches(len(labels), 32, np.random.default_rng(0))[0]
    assert len(set(task_ids[batch])) == 4
    assert set(labels[batch]) == {0, 1}


def test_support_draws_are_balanced_and_disjoint_from_each_other_and_from_the_queries() -> None:
    labels = np.array([0, 1] * 50)
    supports, queries = split_support_query(labels, 10, 3, np.random.default_rng(0))
    rows = np.concatenate([*supports, queries])
    assert [labels[support].sum() for support in supports] == [5, 5, 5]
    assert np.array_equal(np.sort(rows), np.arange(100))


def test_too_few_images_are_refused_with_their_number() -> None:
    labels, task_ids = pool(2, 3)
    with pytest.raises(UsageError, match=r"Task 0 has 3 images of one label; an episode needs 8"):
        plan_episodes(labels, task_ids, EpisodeShape(), np.random.default_rng(0))
    with pytest.raises(UsageError, match="leave no queries among 6 images"):
        split_support_query(np.array([0, 1] * 3), 6, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    "sizes",
    [
        {"support_sizes": (5,)},
        {"query_size": 0},
        {"tasks_per_step": 0},
        {"support_sizes": ()},
        {"support_sizes": (4, 4)},
    ],
)
def test_an_unbalanced_or_empty_episode_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"Use an|Use --|Name at|Name each"):
        EpisodeShape(**sizes)
