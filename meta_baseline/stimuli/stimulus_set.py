"""A set of stimuli of one task, described before it is drawn: any slice of it can be drawn alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meta_baseline.errors import UsageError
from meta_baseline.stimuli.canvas import CANVAS_SIZE, shrink
from meta_baseline.stimuli.generation import SPLITS, Split, assign_identity, draw_images
from meta_baseline.stimuli.registry import get_task
from meta_baseline.stimuli.scene import Scene, read_latents
from meta_baseline.stimuli.task import Task

KEYS = ("label", "identity", "seed", "index")
"""What comes before the latents in the row of an image: with the split, all that makes it again."""
PAIR = "pair"

_ORDER_STREAM, _PAIR_STREAM = 2, 3

Columns = dict[str, NDArray[Any]]


class ImageSet(Protocol):
    """What can be exported: a set of numbered images, of a task or of a user's own objects."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def seed(self) -> int:
        """What keys the random generators of the images."""
        ...

    @property
    def split(self) -> Split:
        """The same."""
        ...

    @property
    def image_size(self) -> int:
        """Side in px."""
        ...

    @property
    def identities(self) -> int | None:
        """How many shape identities repeat."""
        ...

    @property
    def varied(self) -> str | None:
        """Latent in which minimal pairs differ."""
        ...

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def about(self) -> Task:
        """Rule, what class 1 means, shortcuts; whether it has colour."""
        ...

    def label(self, index: int) -> int:
        """The class of an image."""
        ...

    def identity(self, index: int) -> int:
        """The shape identity of an image."""
        ...

    def draw(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], Columns]:
        """Images of these numbers, and the columns of their table."""
        ...

    def shuffling_generator(self, *numbers: int) -> np.random.Generator:
        """A generator for an order of these images, keyed by numbers of the caller's."""
        ...


@dataclass(frozen=True, kw_only=True)
class StimulusSet:
    """Images of one task that share seed, split and size.

    Attributes:
        task: name of the task.
        seed, split, identities: as in ``generate_dataset``.
        image_size: side in px.
        varied: latent in which the images 2p and 2p + 1 differ, pair p, and nothing else does but what follows from
            it; None where images have nothing to do with each other. Where the latent is "same", a pair has an image
            of either class; otherwise both are of class p % 2. The identity of both is p.
    """

    task: str
    seed: int = 0
    split: Split = "test"
    image_size: int = CANVAS_SIZE
    identities: int | None = None
    varied: str | None = None

    @property
    def name(self) -> str:
        """The task and, of minimal pairs, what they differ in."""
        return self.task if self.varied is None else f"{self.task}_pairs_{self.varied}"

    @property
    def about(self) -> Task:
        """The task."""
        return get_task(self.task)

    def label(self, index: int) -> int:
        """The class of an image."""
        return index % 2 if self.varied in (None, "same") else index // 2 % 2

    def identity(self, index: int) -> int:
        """The shape identity of an image."""
        if self.varied is not None:
            return index // 2
        identity = assign_identity(index, self.identities)
        return index if identity is None else identity

    def draw(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], Columns]:
        """Images of these numbers.

        Returns:
            uint8 [N, H, W] or, for coloured tasks, [N, H, W, 3]; and the columns of their table, [N] each: KEYS, of
            pairs PAIR, then the latents (px of the 128 px canvas whatever the image size).
        """
        task = get_task(self.task)
        numbers = np.array(indices)
        keys: Columns = {
            "label": np.array([self.label(index) for index in indices]),
            "identity": np.array([self.identity(index) for index in indices]),
            "seed": np.full(len(indices), self.seed),
            "index": numbers,
        }
        if self.varied is None:
            identities = None if self.identities is None else keys["identity"]
            batch = draw_images(task, keys["label"], numbers, self.seed, identities, split=self.split)
            images, latents = batch.images, batch.latents()
        else:
            drawn = {pair: self._draw_pair(pair) for pair in sorted({index // 2 for index in indices})}
            scenes = [drawn[index // 2][index % 2] for index in indices]
            images = [scene.image for scene in scenes]
            rows = [read_latents(scene, self.label(index)) for scene, index in zip(scenes, indices)]
            frame = pd.DataFrame(rows)
            latents = {str(name): frame[name].to_numpy() for name in frame}
        pairs: Columns = {} if self.varied is None else {PAIR: numbers // 2}
        return np.stack([shrink(image, self.image_size) for image in images]), keys | pairs | latents

    def shuffling_generator(self, *numbers: int) -> np.random.Generator:
        """A generator for an order of these images, keyed by numbers of the caller's."""
        return self._generator(_ORDER_STREAM, *numbers)

    def _draw_pair(self, pair: int) -> tuple[Scene, Scene]:
        vary = get_task(self.task).vary[self.varied or ""]
        rng = self._generator(_PAIR_STREAM, pair)
        while True:
            scenes = vary(rng, self.label(2 * pair), None)
            if scenes is not None:
                return scenes

    def _generator(self, *numbers: int) -> np.random.Generator:
        key = (SPLITS.index(self.split), get_task(self.task).code, *numbers)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))


def check_pairs(stimuli: StimulusSet, num_images: int) -> None:
    """Refuse minimal pairs that the task does not have, or that cannot be balanced.

    Raises:
        UsageError: naming the latents in which pairs of this task can differ.
    """
    if stimuli.varied is None:
        return
    possible = tuple(get_task(stimuli.task).vary)
    if stimuli.varied not in possible:
        known = f"Choose one of: {', '.join(possible)}" if possible else "This task has no minimal pairs"
        raise UsageError(f"No pairs of {stimuli.task} differ in {stimuli.varied!r} alone. {known}.")
    if stimuli.identities is not None:
        raise UsageError("Every minimal pair is a shape identity of its own. Leave --identities out.")
    if stimuli.varied != "same" and num_images % 4:
        raise UsageError(f"Cannot balance pairs of one class each over {num_images} images. Choose a multiple of 4.")


def join_columns(chunks: Iterable[Columns]) -> Columns:
    """One table of several slices; whole numbers stay whole where they are in every slice."""
    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
