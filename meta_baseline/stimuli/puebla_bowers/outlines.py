"""Outlines by corners: lines, connected_squares, rectangles, straight_lines.

lines: two open polylines along the sides of two squares that share a corner; "different" shows one and its mirror
image. There is no shape besides the size: every image of one size and class shows the same two figures.
connected_squares: the same figures, closed. rectangles: "different" changes one side. straight_lines: "different"
changes the length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.draws import Uniforms, pick, pick_other
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, draw_other, flip_label
from meta_baseline.stimuli.puebla_bowers.polygons import enclose, shown

_MIN_SIZE, _MAX_SIZE = 10, 24
# In units of the size; the second is the first mirrored top to bottom.
_FIGURES = np.array(
    [
        [(0, 1), (0, 0), (1, 0), (1, 1), (1, 2), (2, 2), (2, 1)],
        [(0, 1), (0, 2), (1, 2), (1, 1), (1, 0), (2, 0), (2, 1)],
    ]
)
_LENGTHS = np.arange(16, 61, 4)
_ANGLES = np.arange(0, 136, 45)


class OutlineFigures(Figures):
    """Objects that are one polyline each, of corners relative to their place."""

    closed: bool = True

    def corners(self, shapes: Shapes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Corners [N, 2, M, 2] of both objects in px, relative to their places."""
        raise NotImplementedError

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """One stroke per object."""
        points = self.corners(shapes, labels) + places[:, :, np.newaxis]
        return Layout(shapes, labels, places, points.astype(np.int32), enclose(points))

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """A line of one pixel."""
        cv2.polylines(canvas, layout.strokes[row], self.closed, value)  # pyright: ignore[reportArgumentType, reportCallIssue]


@dataclass(frozen=True)
class DoubleSquareFigures(OutlineFigures):
    """Two squares that share a corner, drawn through or, when open, without one side each; shapes are side [N].

    A place is the top left corner of the box.
    """

    closed: bool = False
    num_shape_draws: ClassVar[int] = 1

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Side of the squares in px, 10 to 24."""
        return {"side": _MIN_SIZE + pick(u[:, 0], _MAX_SIZE - _MIN_SIZE + 1)}

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform places, one pixel inside the sheet at least."""
        return 1 + pick(u[:, :4], (126 - 2 * shapes["side"])[:, np.newaxis]).reshape(-1, 2, 2)

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {"same": flip_label, "position": None, "size": _change_side}

    def corners(self, shapes: Shapes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The figure and, for label 0, its mirror image."""
        return _FIGURES[_mirrored(labels)] * shapes["side"][:, np.newaxis, np.newaxis, np.newaxis]

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Handedness of each figure; side of the squares."""
        return {"mirrored": _mirrored(labels)}, {"side": shapes["side"]}


@dataclass(frozen=True)
class RectangleFigures(OutlineFigures):
    """Two rectangles: shapes are sides [N, 2, 2], width and height of both in px; a place is the top left corner.

    One dimension, by a coin, is the same for both; "different" changes the other. ``sides[:, 1]`` is what "different"
    shows beside ``sides[:, 0]``.
    """

    num_shape_draws: ClassVar[int] = 4

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Which dimension may differ, the common side, and two different ones."""
        common, first = pick(u[:, 1], len(_LENGTHS)), pick(u[:, 2], len(_LENGTHS))
        second = pick_other(first, u[:, 3], len(_LENGTHS))
        sides = np.stack([np.stack([common, first], axis=1), np.stack([common, second], axis=1)], axis=1)
        upright = u[:, 0] < 0.5
        return {"sides": _LENGTHS[np.where(upright[:, np.newaxis, np.newaxis], sides, sides[:, :, ::-1])]}

    def swap(self, shapes: Shapes) -> Shapes:
        """The same rectangles, with "same" repeating the other one."""
        return {"sides": shapes["sides"][:, ::-1]}

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform places from 2 px to 124 px less the side."""
        return 2 + pick(u[:, :4].reshape(-1, 2, 2), 123 - shown(shapes["sides"], labels))

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {"same": _change_second_rectangle, "position": None, "size": _change_common_side}

    def corners(self, shapes: Shapes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Four corners; the far ones lie a side away from the near ones."""
        unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        return unit * shown(shapes["sides"], labels)[:, :, np.newaxis]

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Nothing that the boxes do not say."""
        return {}, {}


@dataclass(frozen=True)
class StraightLineFigures(OutlineFigures):
    """Two straight lines at one angle: shapes are length [N, 2] in px, angle [N] in degrees; a place is the centre.

    The ends of a line lie half of its length from its centre, truncated on each axis, so a slanting line is
    shorter by up to two pixels.
    """

    closed: bool = False
    num_shape_draws: ClassVar[int] = 3

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Two different lengths and the angle."""
        first = pick(u[:, 0], len(_LENGTHS))
        lengths = np.stack([first, pick_other(first, u[:, 1], len(_LENGTHS))], axis=1)
        return {"length": _LENGTHS[lengths], "line_angle": _ANGLES[pick(u[:, 2], len(_ANGLES))]}

    def swap(self, shapes: Shapes) -> Shapes:
        """The same lines, with "same" repeating the other one."""
        return shapes | {"length": shapes["length"][:, ::-1]}

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform centres that keep half of the length and two pixels from the edges."""
        half = shown(shapes["length"], labels)[:, :, np.newaxis] // 2
        return half + 2 + pick(u[:, :4].reshape(-1, 2, 2), 123 - 2 * half)

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {"same": flip_label, "position": None, "rotation": _change_angle, "size": _change_length}

    def corners(self, shapes: Shapes, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Both ends."""
        half, angle = shown(shapes["length"], labels) / 2, shapes["line_angle"][:, np.newaxis] * pi / 180
        reach = np.stack([half * np.cos(angle), half * np.sin(angle)], axis=-1).astype(np.int64)
        return np.stack([-reach, reach], axis=2)

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Length of each line; angle of both."""
        return {"length": shown(shapes["length"], labels)}, {"line_angle": shapes["line_angle"]}


def _mirrored(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([np.zeros_like(labels), 1 - labels], axis=1)


def _change_side(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    side = draft.shapes["side"]
    other = np.array([draw_other(rng, _MIN_SIZE, _MAX_SIZE, int(side[0]))])
    # A place is a corner; the centre is a side away from it.
    return draft, replace(draft.with_shapes(side=other), places=draft.places + side[0] - other[0])


def _change_second_rectangle(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    first, second = flip_label(rng, draft)
    return first, _keep_centres(first, second)


def _change_common_side(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    sides = draft.shapes["sides"].copy()
    common = int(np.flatnonzero(sides[0, 0] == sides[0, 1])[0])
    sides[:, :, common] = _draw_length(rng, sides[0, 0, common])
    return draft, _keep_centres(draft, draft.with_shapes(sides=sides))


def _keep_centres(before: Draft, after: Draft) -> Draft:
    # Sides differ by multiples of four, so half the difference is a whole number of px.
    grown = shown(after.shapes["sides"], after.labels) - shown(before.shapes["sides"], before.labels)
    return replace(after, places=before.places - grown // 2)


def _change_length(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    lengths = draft.shapes["length"].copy()
    lengths[0, draft.shown_second] = _draw_length(rng, *lengths[0].tolist())
    return draft, draft.with_shapes(length=lengths)


def _change_angle(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    taken = int(draft.shapes["line_angle"][0]) // 45
    return draft, draft.with_shapes(line_angle=_ANGLES[[draw_other(rng, 0, len(_ANGLES) - 1, taken)]])


def _draw_length(rng: Generator, *taken: int) -> int:
    return int(_LENGTHS[draw_other(rng, 0, len(_LENGTHS) - 1, *np.searchsorted(_LENGTHS, taken).tolist())])
