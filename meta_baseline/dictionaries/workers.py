"""Layers studied one after another or at once: the same bytes either way, because each fit runs on one thread.

The matrices of a dictionary are small: two threads on one of them wait for each other longer than they compute, while
two processes with one thread each take half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import torch

from meta_baseline.dictionaries.facts import LayerFacts
from meta_baseline.dictionaries.layer import LayerTask, study_layer
from meta_baseline.errors import EnvironmentProblem


def study_layers(
    tasks: Sequence[LayerTask], *, workers: int, progress: Callable[..., Iterable[Any]]
) -> tuple[LayerFacts, ...]:
    """``study_layer`` of every task, in order, by ``workers`` processes (1: in this one).

    Raises:
        EnvironmentProblem: when a process dies, as it does when memory runs out.
    """
    if min(workers, len(tasks)) < 2:
        with one_thread():
            return tuple(study_layer(task) for task in progress(tasks, desc="dictionaries"))
    # Started afresh, not forked: a fork of a process that has run threads can hang.
    with ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            return tuple(progress(pool.map(study_layer, tasks), desc="dictionaries", total=len(tasks)))
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "A process that trains dictionaries was ended from outside, perhaps for memory. Use fewer images."
            ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
