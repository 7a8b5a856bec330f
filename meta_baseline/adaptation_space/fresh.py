"""Fresh images of tasks held out: what a meta-learned initialisation is made to be adapted to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray

from meta_baseline.adaptation_space.settings import TaskStimuli
from meta_baseline.stimuli import TASKS, generate_pool

MOST_TASKS = 3
"""Of so many held-out tasks at most; the episodes are shared among them."""
IMAGES_PER_EPISODE = 50


def draw_fresh_tasks(
    names: Sequence[str],
    *,
    num_episodes: int,
    image_size: int,
    seed: int,
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> tuple[TaskStimuli, ...]:
    """Images of the test split, every one of shapes of its own, of the first of these tasks that can be generated.

    Args:
        names: of tasks that no network was trained on; names that no generator has are passed over.
        num_episodes: that the images have to suffice for, of all tasks together.
        image_size: px.
        seed: of the images.
        workers: processes that draw.
        progress: as for ``generate_pool``.
    """
    known = [name for name in dict.fromkeys(names) if name in TASKS][:MOST_TASKS]
    if not known:
        return ()
    count = IMAGES_PER_EPISODE * -(-num_episodes // len(known)) * len(known)
    with tempfile.TemporaryDirectory(prefix="meta_baseline_") as folder:
        pool = generate_pool(known, count, image_size, seed, Path(folder), workers, progress, split="test")
        return tuple(
            _hold(
                name,
                np.array(pool.images[pool.task_slice(name)]),
                pool.labels[pool.task_slice(name)].astype(np.int64),
            )
            for name in known
        )


def _hold(name: str, images: UInt8[ndarray, "N H W"], labels: Int64[ndarray, " N"]) -> TaskStimuli:
    def read(rows: Int64[ndarray, " M"]) -> torch.Tensor:
        return torch.from_numpy(images[rows])

    return TaskStimuli(name=name, labels=labels, groups=np.arange(len(labels)), read=read, held_out=True)
