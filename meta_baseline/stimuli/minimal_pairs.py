"""Minimal pairs: two images that differ in one latent, and in what follows from it by definition.

Whatever is not asked for stays as it is to the pixel: the other object, positions (centres), colours. The numbering of
the objects, left to right, is the same in both images. What follows from a change:

same                      shape of the object drawn second, and its box
position                  x and y of one object; distance and angle
rotation, num_sides, size shape of what is changed, and its box; "same" stays, so in class 1 both objects change alike
line_width, fill          ink, and boxes by a pixel on every side
colour                    nothing

A box that changes takes width, height, size, size_ratio and ink along; where it is not symmetrical about the centre of
the shape, x, y, distance and angle too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.figures import Batch, Column, Figures, Layout, Shapes, draw_layout
from meta_baseline.stimuli.scene import Scene
from meta_baseline.stimuli.task import Variation


@dataclass(frozen=True, slots=True)
class Draft:
    """One image [1, ...] before it is laid out.

    Attributes:
        figures: what draws it.
        shapes, labels, places: as for ``Figures.lay_out``.
        noted: what is to be added to the latents of the image.
    """

    figures: Figures
    shapes: Shapes
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    noted: Mapping[str, int]

    @property
    def shown_second(self) -> int:
        """Which of two shapes the second object shows."""
        return 0 if self.labels[0] == 1 else 1

    def with_shapes(self, **columns: Column) -> Draft:
        """The same with other shapes."""
        return replace(self, shapes=self.shapes | columns)


Change = Callable[[Generator, Draft], "tuple[Draft, Draft] | None"]
"""From a first image to the pair, or to None where the change does not fit the image."""


def vary_figures(
    rng: Generator, label: int, shapes: Shapes | None = None, *, figures: Figures, change: Change | None
) -> tuple[Scene, Scene] | None:
    """One attempt at a pair; without a change the second object moves. None where the rule throws an image away."""
    u = rng.random((1, figures.num_shape_draws + figures.num_place_draws))
    shapes = figures.draw_shapes(u) if shapes is None else shapes
    labels, where = np.array([label]), u[:, figures.num_shape_draws :]
    places = figures.place(shapes, labels, where)
    draft = Draft(figures, shapes, labels, places, {})
    if change is None:
        where = where.copy()
        where[:, figures.second_place] = rng.random(where[:, figures.second_place].shape)
        moved = figures.place(shapes, labels, where)
        pair = (draft, replace(draft, places=np.stack([places[:, 0], moved[:, 1]], axis=1)))
    else:
        pair = change(rng, draft)
    if pair is None:
        return None
    first, second = (_draw(draft) for draft in pair)
    if first is None or second is None or not _is_pair(first, second):
        return None
    return _as_scene(first, pair[0]), _as_scene(second, pair[1])


def describe_variations(figures: Figures, changes: Mapping[str, Change | None]) -> dict[str, Variation]:
    """``Task.vary`` for these figures, by latent; a change of None moves the second object."""
    return {latent: partial(vary_figures, figures=figures, change=change) for latent, change in changes.items()}


def flip_label(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    """The other class: the object drawn first stays."""
    return draft, replace(draft, labels=1 - draft.labels)


def draw_other(rng: Generator, low: int, high: int, *taken: int) -> int:
    """A whole number from low to high that is none of those taken."""
    free = [number for number in range(low, high + 1) if number not in taken]
    return free[int(rng.random() * len(free))]


def _draw(draft: Draft) -> Batch | None:
    if not draft.figures.permits(draft.shapes, draft.labels, draft.places)[0]:
        return None
    layout: Layout = draft.figures.lay_out(draft.shapes, draft.labels, draft.places)
    ends = layout.boxes[:, :, :2] + layout.boxes[:, :, 2:]
    if layout.boxes[:, :, :2].min() < 0 or ends.max() > CANVAS_SIZE:
        return None
    return draw_layout(draft.figures, layout)


def _is_pair(first: Batch, second: Batch) -> bool:
    if np.array_equal(first.images, second.images):
        return False
    left, right = ((batch.boxes[0, :, 0] * 2 + batch.boxes[0, :, 2]).tolist() for batch in (first, second))
    return (left[0] < left[1] and right[0] < right[1]) or (left[0] > left[1] and right[0] > right[1])


def _as_scene(batch: Batch, draft: Draft) -> Scene:
    scene = batch.scene(0)
    return replace(scene, shared={**scene.shared, **draft.noted})
