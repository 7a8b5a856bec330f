"""Layers studied one after another or at once: the same bytes either way, because each fit runs on one thread.

The matrices of a dictionary are small: two threads on one of them wait for each other longer than they compute. So
layers, not matrices, are spread over the cores; wide layers gain by it, narrow ones spend their time in Python. Threads
rather than processes hold the activations in memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from meta_baseline.dictionaries.facts import LayerFacts
from meta_baseline.dictionaries.layer import LayerTask, study_layer


def study_layers(
    tasks: Sequence[LayerTask], *, workers: int, progress: Callable[..., Iterable[Any]]
) -> tuple[LayerFacts, ...]:
    """``study_layer`` of every task, in order, ``workers`` of them at a time."""
    # Each thread has a setting of its own, which a new one does not take over from the one that starts it.
    with one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return tuple(progress(pool.map(study_layer, tasks), desc="dictionaries", total=len(tasks)))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
