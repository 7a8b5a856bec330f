"""A set of stimuli of one task, described before it is drawn: any slice of it can be drawn alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, shrink
from meta_baseline.stimuli.generation import SPLITS, Split, assign_identity, draw_images, generate_image
from meta_baseline.stimuli.registry import get_task
from meta_baseline.stimuli.scene import Latents

KEYS = ("label", "identity", "seed", "index")
"""What comes before the latents in the row of an image: with the split, all that makes it again."""

_ORDER_STREAM = 2

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class StimulusSet:
    """Images of one task that share seed, split and size.

    Attributes:
        task: name of the task.
        seed, split, identities: as in ``generate_dataset``.
        image_size: side in px.
    """

    task: str
    seed: int = 0
    split: Split = "test"
    image_size: int = CANVAS_SIZE
    identities: int | None = None

    def draw(self, indices: Iterable[int]) -> tuple[NDArray[np.uint8], Columns]:
        """Images of these numbers.

        Returns:
            uint8 [N, H, W] or, for coloured tasks, [N, H, W, 3]; and the columns of their table, [N] each: KEYS, then
            the latents (px of the 128 px canvas whatever the image size).
        """
        task = get_task(self.task)
        if task.draw_batch is not None:
            numbers = np.fromiter(indices, np.int64)
            shown = None if self.identities is None else (numbers // 2) % self.identities
            batch = draw_images(task, numbers % 2, numbers, self.seed, shown, split=self.split)
            seeds, identities = np.full(len(numbers), self.seed), numbers if shown is None else shown
            columns = dict(zip(KEYS, (numbers % 2, identities, seeds, numbers))) | batch.latents()
            return np.stack([shrink(image, self.image_size) for image in batch.images]), columns
        images: list[NDArray[np.uint8]] = []
        rows: list[Latents] = []
        for index in indices:
            label, identity = index % 2, assign_identity(index, self.identities)
            stimulus = generate_image(task, label, self.seed, index, identity, split=self.split)
            images.append(shrink(stimulus.image, self.image_size))
            keys: Latents = {"label": label, "identity": stimulus.identity, "seed": self.seed, "index": index}
            rows.append(keys | stimulus.latents)
        frame = pd.DataFrame(rows)
        return np.stack(images), {str(name): frame[name].to_numpy() for name in frame}

    def shuffling_generator(self, *numbers: int) -> np.random.Generator:
        """A generator for an order of these images, keyed by numbers of the caller's."""
        key = (SPLITS.index(self.split), get_task(self.task).code, _ORDER_STREAM, *numbers)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))


def join_columns(chunks: Iterable[Columns]) -> Columns:
    """One table of several slices; whole numbers stay whole where they are in every slice."""
    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
