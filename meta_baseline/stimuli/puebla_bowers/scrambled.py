"""Task scrambled: a regular polygon twice; in "different" the second is cut into quadrants that are moved apart.

The four pieces always come apart, so counting components (two or five) solves the task without any comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, radians, sin

import cv2
import numpy as np
from numpy.random import Generator

from meta_baseline.stimuli.canvas import CANVAS_SIZE, Box, Ink, black_on_white, blank_ink
from meta_baseline.stimuli.scene import PlacedObject, Scene

_MIN_RADIUS, _MAX_RADIUS = 10, 17
_MIN_SIDES, _MAX_SIDES = 3, 7
_HALF = CANVAS_SIZE // 2
_FIRST_NEAR, _LAST_NEAR, _FIRST_FAR, _LAST_FAR = 28, 35, 92, 99
# Directions (x, y) in which the four pieces move, away from the centre.
_OUTWARDS = ((-1, -1), (1, -1), (-1, 1), (1, 1))


@dataclass(frozen=True, slots=True)
class ScrambledShape:
    """A regular polygon, and how far its quadrants move apart in "different": (x, y) in px, distinct in each axis."""

    radius: int
    num_sides: int
    rotation: int
    offsets: tuple[tuple[int, int], ...]


def draw_shapes(rng: Generator) -> ScrambledShape:
    """Radius, side count, rotation and the offsets of the pieces."""
    u = rng.random(3).tolist()
    radius = _MIN_RADIUS + int(u[0] * (_MAX_RADIUS - _MIN_RADIUS + 1))
    largest = (radius + 1) // 2
    offsets = tuple(zip(_four_distinct(rng, largest), _four_distinct(rng, largest)))
    return ScrambledShape(radius, _MIN_SIDES + int(u[1] * (_MAX_SIDES - _MIN_SIDES + 1)), int(u[2] * 361), offsets)


def compose(rng: Generator, label: int, shape: ScrambledShape | None = None) -> Scene | None:
    """The polygon, this one or a new one, in a random quadrant of the canvas, and again opposite it along one axis.

    The published rule replaces the test of two contours by one that compares the box of the largest object with the
    box of the rest; it is applied here to the boxes themselves.
    """
    shape = shape or draw_shapes(rng)
    u = rng.random(7).tolist()
    margin = shape.radius + shape.radius // 2
    first = [(_HALF if u[axis] < 0.5 else 0) + margin + int(u[2 + axis] * (_HALF - 2 * margin)) for axis in (0, 1)]
    opposite_axis = 0 if u[4] < 0.5 else 1
    second = [_FIRST_NEAR + int(u[6] * (_LAST_FAR - _FIRST_NEAR + 1))] * 2
    start = _FIRST_NEAR if first[opposite_axis] > _HALF else _FIRST_FAR
    second[opposite_axis] = start + int(u[5] * (_LAST_NEAR - _FIRST_NEAR + 1))
    ink, other = blank_ink(), blank_ink()
    box1 = _draw_polygon(ink, shape, *first)
    box2 = _draw_polygon(other, shape, *second)
    if not label:
        other, box2 = _scramble(other, shape, *second)
    if _boxes_overlap(box1, box2):
        return None
    cv2.bitwise_or(ink, other, ink)
    about = {"num_sides": shape.num_sides}
    objects = (PlacedObject(box1, about | {"scrambled": 0}), PlacedObject(box2, about | {"scrambled": 1 - label}))
    return Scene(black_on_white(ink), objects, {"radius": shape.radius, "rotation": shape.rotation})


def _four_distinct(rng: Generator, count: int) -> list[int]:
    # The first four of a random order of 0 .. count - 1.
    keys = rng.random(count).tolist()
    return sorted(range(count), key=keys.__getitem__)[:4]


def _draw_polygon(ink: Ink, shape: ScrambledShape, x: int, y: int) -> Box:
    start, step = radians(shape.rotation), 2 * pi / shape.num_sides
    angles = [step * i + start for i in range(shape.num_sides)]
    xs = [int(sin(angle) * shape.radius) + x for angle in angles]
    ys = [int(cos(angle) * shape.radius) + y for angle in angles]
    cv2.polylines(ink, [np.array(list(zip(xs, ys)), np.int32)], True, 255)
    return min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1


def _scramble(ink: Ink, shape: ScrambledShape, x: int, y: int) -> tuple[Ink, Box]:
    half = shape.radius + 1
    moved = blank_ink()
    for (across, down), (right, below) in zip(shape.offsets, _OUTWARDS):
        left, top = (x if right > 0 else x - half), (y if below > 0 else y - half)
        column, row = left + right * across, top + below * down
        moved[row : row + half, column : column + half] = ink[top : top + half, left : left + half]
    return moved, cv2.boundingRect(moved)  # pyright: ignore[reportReturnType]


def _boxes_overlap(first: Box, second: Box) -> bool:
    left1, top1, width1, height1 = first
    left2, top2, width2, height2 = second
    return left1 < left2 + width2 and left2 < left1 + width1 and top1 < top2 + height2 and top2 < top1 + height1
