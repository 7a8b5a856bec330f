"""Task connected_circles: two pairs of touching circles, one above the other; "different" swaps the circles of one.

The two radii are the same in both pairs and both classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.draws import Uniforms, pick, pick_other
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, flip_label
from meta_baseline.stimuli.puebla_bowers.polygons import shown

_RADII = np.array((6, 10, 14, 18))


@dataclass(frozen=True)
class CircleFigures(Figures):
    """Two pairs of circles: shapes are radii [N, 2, 2], (upper, lower) in px, of the pair "same" repeats and the other.

    A place is the middle of the box.
    """

    num_shape_draws: ClassVar[int] = 2

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Two different radii, in this order and in the other."""
        upper = pick(u[:, 0], len(_RADII))
        pair = _RADII[np.stack([upper, pick_other(upper, u[:, 1], len(_RADII))], axis=1)]
        return {"radii": np.stack([pair, pair[:, ::-1]], axis=1)}

    def swap(self, shapes: Shapes) -> Shapes:
        """The same pairs, with "same" repeating the other one."""
        return {"radii": shapes["radii"][:, ::-1]}

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {"same": flip_label, "position": None, "size": _change_size}

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform places that keep two pixels from the edges."""
        radii = shapes["radii"][:, 0]
        margin = 2 + np.stack([radii.max(axis=1), radii.sum(axis=1)], axis=1)[:, np.newaxis]
        return margin + pick(u[:, :4].reshape(-1, 2, 2), CANVAS_SIZE - 2 * margin)

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """One stroke per circle: its centre, then its radius twice."""
        upper, lower = np.moveaxis(shown(shapes["radii"], labels), -1, 0)
        x, y = np.moveaxis(places, -1, 0)
        centres = np.stack([np.stack([x, y - lower], axis=-1), np.stack([x, y + upper], axis=-1)], axis=2)
        radii = np.stack([upper, lower], axis=2)[..., np.newaxis].repeat(2, axis=-1)
        strokes = np.stack([centres, radii], axis=3).reshape(-1, 4, 2, 2)
        wide, high = np.maximum(upper, lower), upper + lower
        boxes = np.stack([x - wide, y - high, 2 * wide + 1, 2 * high + 1], axis=-1)
        return Layout(shapes, labels, places, strokes.astype(np.int32), boxes)

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """Circles in a line of one pixel."""
        for centre, (radius, _) in layout.strokes[row].tolist():
            cv2.circle(canvas, centre, radius, value)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Both radii of each pair."""
        upper, lower = np.moveaxis(shown(shapes["radii"], labels), -1, 0)
        return {"upper_radius": upper, "lower_radius": lower}, {}


def _change_size(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    # Other radii with the larger circle at the same end.
    low, high = sorted(int(number) for number in np.searchsorted(_RADII, draft.shapes["radii"][0, 0]))
    pairs = [(a, b) for a in range(len(_RADII)) for b in range(a + 1, len(_RADII)) if (a, b) != (low, high)]
    chosen = _RADII[list(pairs[int(rng.random() * len(pairs))])]
    upright = draft.shapes["radii"][0, 0, 0] < draft.shapes["radii"][0, 0, 1]
    pair = chosen if upright else chosen[::-1]
    return draft, draft.with_shapes(radii=np.stack([pair, pair[::-1]])[np.newaxis])
