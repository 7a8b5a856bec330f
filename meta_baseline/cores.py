"""Work spread over the cores in threads, each of which computes on one: the same bytes on every machine.

Matrices of one layer are small: two threads on one of them wait for each other longer than they compute. So layers,
not matrices, are spread. Threads rather than processes hold the activations in memory once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_cores() -> int:
    """Cores that this process may use, which on a cluster can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    progress: Callable[..., Iterable[Any]],
    desc: str,
) -> list[Result]:
    """``function`` of every item, in order, ``workers`` of them at a time."""
    # Each thread has a torch setting of its own, which a new one does not take over from the one that starts it.
    with _one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(progress(pool.map(function, items), desc=desc, total=len(items)))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
