"""Polygon tasks: regular, irregular, open, wider_line, filled, random_color.

One radius for both objects, 10 to 39 px. "same" shows one polygon twice; "different" shows a second polygon with
another number of sides, another rotation and other noise. In the irregular tasks every vertex is moved by the same
amount along x and y (the published generator uses one draw for both axes, so vertices move along one diagonal only),
then the vertices are put in order round their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import atan2, cos, pi, radians, sin

import cv2
import numpy as np
from numpy.random import Generator

from meta_baseline.stimuli.canvas import (
    Box,
    Ink,
    black_on_white,
    blank_ink,
    boxes_are_clear,
    colour_on_white,
    has_two_outlines,
)
from meta_baseline.stimuli.scene import PlacedObject, Scene

Vertices = list[tuple[int, int]]

_MIN_RADIUS, _MAX_RADIUS = 10, 39
_MIN_SIDES, _MAX_SIDES = 3, 7
_NUM_SIDES = _MAX_SIDES - _MIN_SIDES + 1


@dataclass(frozen=True, slots=True)
class Polygon:
    """Vertices relative to the centre in px, with the number of sides and the rotation in degrees."""

    vertices: Vertices
    num_sides: int
    rotation: int


@dataclass(frozen=True, slots=True)
class PolygonPair:
    """Shapes of one image: ``second`` is what "different" shows beside ``first``; the radius in px is common."""

    first: Polygon
    second: Polygon
    radius: int
    colour: tuple[int, int, int]

    def swapped(self) -> PolygonPair:
        """The same pair, with "same" repeating the other polygon."""
        return replace(self, first=self.second, second=self.first)


@dataclass(frozen=True, slots=True)
class PolygonTask:
    """How a polygon task differs from its siblings.

    Attributes:
        irregular: whether the vertices are moved.
        line_width: thickness given to OpenCV; its 2 is a line of 3 px.
        closed: whether the last edge is drawn.
        filled: whether the inside is ink too.
        coloured: whether both objects share one random colour instead of black.
    """

    irregular: bool = True
    line_width: int = 1
    closed: bool = True
    filled: bool = False
    coloured: bool = False

    def draw_shapes(self, rng: Generator) -> PolygonPair:
        """Radius, both polygons and the colour of one image."""
        u = rng.random(5 + 2 * _MAX_SIDES + 3).tolist()
        radius = _MIN_RADIUS + int(u[0] * (_MAX_RADIUS - _MIN_RADIUS + 1))
        side1 = int(u[1] * _NUM_SIDES)
        # The second count is one of the four others: a step of 1 to 4 round the circle of five.
        side2 = (side1 + 1 + int(u[2] * (_NUM_SIDES - 1))) % _NUM_SIDES
        rotation1, rotation2 = int(u[3] * 361), int(u[4] * 361)
        first = self._polygon(_MIN_SIDES + side1, radius, rotation1, u[5 : 5 + _MAX_SIDES])
        second = self._polygon(_MIN_SIDES + side2, radius, rotation2, u[5 + _MAX_SIDES :])
        red, green, blue = (int(value * 256) for value in u[-3:]) if self.coloured else (0, 0, 0)
        return PolygonPair(first, second, radius, (red, green, blue))

    def compose(self, rng: Generator, label: int, shapes: PolygonPair | None = None) -> Scene | None:
        """One attempt at an image, of these shapes or new ones; None where the rule throws it away."""
        shapes = shapes or self.draw_shapes(rng)
        if self.coloured and _is_as_light_as_paper(shapes.colour):
            return None
        margin = shapes.radius + shapes.radius // 2
        span = 128 - 2 * margin
        x1, y1, x2, y2 = (margin + int(value * span) for value in rng.random(4).tolist())
        first, second = shapes.first, shapes.first if label else shapes.second
        box1, box2 = self._box(first, x1, y1), self._box(second, x2, y2)
        ink = blank_ink()
        self._draw(ink, first, x1, y1)
        self._draw(ink, second, x2, y2)
        if not (boxes_are_clear(box1, box2) or has_two_outlines(ink)):
            return None
        image = colour_on_white(ink, shapes.colour) if self.coloured else black_on_white(ink)
        return Scene(
            image,
            (
                PlacedObject(box1, {"num_sides": first.num_sides, "rotation": first.rotation}),
                PlacedObject(box2, {"num_sides": second.num_sides, "rotation": second.rotation}),
            ),
            self._shared(shapes),
        )

    def _polygon(self, num_sides: int, radius: int, rotation: int, noise: list[float]) -> Polygon:
        start, step = radians(rotation), 2 * pi / num_sides
        vertices = [
            (int(sin(step * i + start) * radius), int(cos(step * i + start) * radius)) for i in range(num_sides)
        ]
        if self.irregular:
            deviation = radius // 2
            shifts = [int(value * (2 * deviation + 1)) - deviation for value in noise[:num_sides]]
            vertices = _ordered([(x + k, y + k) for (x, y), k in zip(vertices, shifts)])
        return Polygon(vertices, num_sides, rotation)

    def _draw(self, ink: Ink, polygon: Polygon, x: int, y: int) -> None:
        points = np.array(polygon.vertices, np.int32) + (x, y)
        if self.filled:
            cv2.fillPoly(ink, [points], 255)
        else:
            cv2.polylines(ink, [points], self.closed, 255, self.line_width)

    def _box(self, polygon: Polygon, x: int, y: int) -> Box:
        xs, ys = zip(*polygon.vertices)
        grown = 1 if self.line_width == 2 else 0
        left, top = min(xs) - grown, min(ys) - grown
        return left + x, top + y, max(xs) + grown - left + 1, max(ys) + grown - top + 1

    def _shared(self, shapes: PolygonPair) -> dict[str, float | int]:
        shared: dict[str, float | int] = {"radius": shapes.radius}
        if self.coloured:
            shared |= dict(zip(("red", "green", "blue"), shapes.colour))
        return shared


def _ordered(vertices: Vertices) -> Vertices:
    mean_x = sum(x for x, _ in vertices) / len(vertices)
    mean_y = sum(y for _, y in vertices) / len(vertices)
    key: Callable[[tuple[int, int]], float] = lambda point: atan2(point[0] - mean_x, point[1] - mean_y)  # noqa: E731
    return sorted(vertices, key=key)


def _is_as_light_as_paper(colour: tuple[int, int, int]) -> bool:
    # Luma of BT.601 as OpenCV rounds it: 255 only for colours within a few levels of white. Such an image has one
    # grey level, so the published threshold finds no object in it and throws it away.
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue >= 254.5
