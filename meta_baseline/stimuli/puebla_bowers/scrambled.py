"""Tasks scrambled and scrambled_matched: a regular polygon twice, cut into quadrants that are moved apart.

scrambled, as published: in "different" the second polygon is cut, in "same" both are whole. The four pieces always
come apart, so counting components (two or five) solves the task without any comparison. scrambled_matched: both are
cut in both classes, and the label says whether the pieces have moved equally; there are eight components always.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, Ink, blank_ink
from meta_baseline.stimuli.draws import Uniforms, pick
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, draw_other, flip_label
from meta_baseline.stimuli.puebla_bowers.polygons import enclose, shown, turn_points

_MIN_RADIUS, _MAX_RADIUS = 10, 17
_MIN_SIDES, _MAX_SIDES = 3, 7
_MOST_OFFSETS = (_MAX_RADIUS + 1) // 2
_HALF = CANVAS_SIZE // 2
_FIRST_NEAR, _LAST_NEAR, _FIRST_FAR, _LAST_FAR = 28, 35, 92, 99
# Directions (x, y) in which the four pieces move, away from the centre.
_OUTWARDS = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)])


@dataclass(frozen=True)
class ScrambledFigures(Figures):
    """A polygon at two places: shapes are radius, num_sides, rotation [N] and offsets [N, 2, 4, 2].

    Offsets say how far the pieces move outwards, (x, y) in px, distinct in each axis. "same" uses the first ones
    twice, "different" both.

    Attributes:
        matched: whether both objects are cut in both classes.
    """

    matched: bool = False
    num_shape_draws: ClassVar[int] = 3 + 4 * _MOST_OFFSETS
    num_place_draws: ClassVar[int] = 7
    second_place: ClassVar[slice] = slice(5, 7)
    measures_boxes: ClassVar[bool] = True

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Radius, side count, rotation and the offsets of the pieces."""
        radius = _MIN_RADIUS + pick(u[:, 0], _MAX_RADIUS - _MIN_RADIUS + 1)
        # The first four of a random order of 0 .. (radius + 1) // 2 - 1.
        keys = u[:, 3 : self.num_shape_draws].reshape(-1, 2, 2, _MOST_OFFSETS)
        largest = ((radius + 1) // 2).reshape(-1, 1, 1, 1)
        keys = np.where(np.arange(_MOST_OFFSETS) < largest, keys, 2.0)
        return {
            "radius": radius,
            "num_sides": _MIN_SIDES + pick(u[:, 1], _MAX_SIDES - _MIN_SIDES + 1),
            "rotation": pick(u[:, 2], 361),
            "offsets": np.argsort(keys, axis=-1)[..., :4].swapaxes(-1, -2),
        }

    def swap(self, shapes: Shapes) -> Shapes | None:
        """The same polygon, with "same" repeating the other cut, where both are cut."""
        return shapes | {"offsets": shapes["offsets"][:, ::-1]} if self.matched else None

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {
            "same": flip_label,
            "position": None,
            "rotation": _change_rotation,
            "size": _change_size,
            "num_sides": _change_num_sides,
        }

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """The first in a random quadrant of the sheet, the second opposite it along one axis."""
        # The published margin is a pixel short for the pieces of an odd radius, but there the first is never cut.
        margin = (shapes["radius"] + (shapes["radius"] + self.matched) // 2)[:, np.newaxis]
        first = np.where(u[:, :2] < 0.5, _HALF, 0) + margin + pick(u[:, 2:4], _HALF - 2 * margin)
        rows, opposite = np.arange(len(u)), np.where(u[:, 4] < 0.5, 0, 1)
        second = (_FIRST_NEAR + pick(u[:, 6], _LAST_FAR - _FIRST_NEAR + 1))[:, np.newaxis].repeat(2, axis=1)
        start = np.where(first[rows, opposite] > _HALF, _FIRST_NEAR, _FIRST_FAR)
        second[rows, opposite] = start + pick(u[:, 5], _LAST_NEAR - _FIRST_NEAR + 1)
        return np.stack([first, second], axis=1)

    def permits(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Two cuts that differ, where both are needed."""
        differ = (shapes["offsets"][:, 0] != shapes["offsets"][:, 1]).any(axis=(1, 2))
        return differ if self.matched else np.ones(len(labels), np.bool_)

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """One stroke per object: the whole polygon; its box is that of the whole until it is cut."""
        last = shapes["num_sides"][:, np.newaxis] - 1
        number = np.minimum(np.arange(_MAX_SIDES), last)
        rotation = np.radians(shapes["rotation"])[:, np.newaxis]
        points = turn_points(shapes["radius"][:, np.newaxis], 2 * pi / (last + 1) * number, rotation)
        points = points[:, np.newaxis] + places[:, :, np.newaxis]
        return Layout(shapes, labels, places, points.astype(np.int32), enclose(points))

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """Each polygon, cut where the task says so; the box of a cut one becomes that of its pieces."""
        label = int(layout.labels[row])
        for number, cut in enumerate((self.matched, self.matched or not label)):
            strokes = layout.strokes[row, number : number + 1]
            if not cut:
                cv2.polylines(canvas, strokes, True, value)  # pyright: ignore[reportArgumentType, reportCallIssue]
                continue
            whole = blank_ink()
            cv2.polylines(whole, strokes, True, value)  # pyright: ignore[reportArgumentType, reportCallIssue]
            offsets = layout.shapes["offsets"][row, 0 if label else number]
            half = int(layout.shapes["radius"][row]) + 1
            pieces = _move_apart(whole, half, layout.places[row, number], offsets)
            layout.boxes[row, number] = cv2.boundingRect(pieces)
            cv2.bitwise_or(canvas, pieces, canvas)

    def accepts(self, ink: Ink, layout: Layout, row: int) -> bool:
        """Whether the boxes of both objects are apart.

        The published rule replaces the test of two contours by one that compares the box of the largest object with
        the box of the rest; it is applied here to the boxes themselves.
        """
        (left1, top1, width1, height1), (left2, top2, width2, height2) = layout.boxes[row].tolist()
        across = left1 < left2 + width2 and left2 < left1 + width1
        return not (across and top1 < top2 + height2 and top2 < top1 + height1)

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Whether each polygon is cut and, where both are, how far its pieces have moved on average."""
        shared = {"radius": shapes["radius"], "rotation": shapes["rotation"]}
        sides = shapes["num_sides"][:, np.newaxis].repeat(2, axis=1)
        if not self.matched:
            return {"num_sides": sides, "scrambled": np.stack([np.zeros_like(labels), 1 - labels], axis=1)}, shared
        return {"num_sides": sides, "spread": shown(shapes["offsets"].mean(axis=(2, 3)), labels)}, shared


def _change_rotation(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    return draft, draft.with_shapes(rotation=np.array([draw_other(rng, 0, 360, int(draft.shapes["rotation"][0]))]))


def _change_num_sides(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    taken = int(draft.shapes["num_sides"][0])
    return draft, draft.with_shapes(num_sides=np.array([draw_other(rng, _MIN_SIDES, _MAX_SIDES, taken)]))


def _change_size(rng: Generator, draft: Draft) -> tuple[Draft, Draft] | None:
    radius = draw_other(rng, _MIN_RADIUS, _MAX_RADIUS, int(draft.shapes["radius"][0]))
    furthest = int(draft.shapes["offsets"].max())
    reach = radius + 1 + furthest
    if furthest >= (radius + 1) // 2 or draft.places.min() < reach or draft.places.max() + reach > CANVAS_SIZE:
        return None
    return draft, draft.with_shapes(radius=np.array([radius]))


def _move_apart(ink: Ink, half: int, centre: NDArray[np.int64], offsets: NDArray[np.int64]) -> Ink:
    moved = blank_ink()
    corners = np.where(_OUTWARDS > 0, centre, centre - half)
    for (left, top), (column, row) in zip(corners.tolist(), (corners + _OUTWARDS * offsets).tolist()):
        moved[row : row + half, column : column + half] = ink[top : top + half, left : left + half]
    return moved
