"""Task arrows: two shafts with triangular heads at one or both ends, each head pointing outwards or inverted.

Size and rotation are common to both arrows in both classes. "same" shows one arrow twice. "different" shows an arrow
whose heads have one common direction beside one whose heads have the other, at the other end where there is only one.
So a two-headed arrow with one head of each direction occurs in class 1 only (1/8 of its images): the published rule
has this leak, and it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, radians, sin

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import Box, Ink, black_on_white, blank_ink, boxes_are_clear, has_two_outlines
from meta_baseline.stimuli.scene import PlacedObject, Scene

_MIN_SIZE, _MAX_SIZE = 4, 10
_MAX_ROTATION = 135

Points = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Arrow:
    """Which ends have a head, and which heads are inverted; end a is the upper one before rotation."""

    has_a: bool
    has_b: bool
    inverted_a: bool
    inverted_b: bool


@dataclass(frozen=True, slots=True)
class ArrowPair:
    """Shapes of one image: "same" shows ``copied`` twice, "different" shows the other two."""

    size: int
    rotation: int
    copied: Arrow
    different: tuple[Arrow, Arrow]


def draw_shapes(rng: Generator) -> ArrowPair:
    """Size in px, rotation in degrees, and the arrows of both classes."""
    u = rng.random(6).tolist()
    has_a, inverted_a, inverted_b = u[2] < 0.5, u[4] < 0.5, u[5] < 0.5
    has_b = u[3] < 0.5 if has_a else True
    other_ends = (True, True) if has_a and has_b else (has_b, has_a)
    return ArrowPair(
        size=_MIN_SIZE + int(u[0] * (_MAX_SIZE - _MIN_SIZE + 1)),
        rotation=int(u[1] * (_MAX_ROTATION + 1)),
        copied=Arrow(has_a, has_b, inverted_a, inverted_b),
        different=(
            Arrow(has_a, has_b, inverted_b, inverted_b),
            Arrow(*other_ends, not inverted_b, not inverted_b),
        ),
    )


def compose(rng: Generator, label: int, shapes: ArrowPair | None = None) -> Scene | None:
    """Both arrows, these or new ones, at uniform places that differ in x and in y; None when they touch."""
    shapes = shapes or draw_shapes(rng)
    margin = 4 * shapes.size
    x1, y1, x2, y2 = (margin + int(value * (127 - 2 * margin)) for value in rng.random(4).tolist())
    if x1 == x2 or y1 == y2:
        return None
    pair = (shapes.copied, shapes.copied) if label else shapes.different
    ink = blank_ink()
    objects: list[PlacedObject] = []
    for arrow, x, y in zip(pair, (x1, x2), (y1, y2)):
        box = _draw_arrow(ink, arrow, shapes.size, shapes.rotation, x, y)
        details = {
            "num_heads": arrow.has_a + arrow.has_b,
            "has_head_a": int(arrow.has_a),
            "has_head_b": int(arrow.has_b),
            "inverted_a": int(arrow.has_a and arrow.inverted_a),
            "inverted_b": int(arrow.has_b and arrow.inverted_b),
        }
        objects.append(PlacedObject(box, details))
    if not (boxes_are_clear(objects[0].box, objects[1].box) or has_two_outlines(ink)):
        return None
    shared = {"arrow_size": shapes.size, "rotation": shapes.rotation}
    return Scene(black_on_white(ink), (objects[0], objects[1]), shared)


def _draw_arrow(ink: Ink, arrow: Arrow, size: int, rotation: int, x: int, y: int) -> Box:
    inner = 2 * size - size // 2
    strokes: list[tuple[Points, bool]] = [([(0, -inner), (0, inner)], False)]
    if arrow.has_a:
        strokes.append((_head(size, arrow.inverted_a, upper=True), True))
    if arrow.has_b:
        strokes.append((_head(size, arrow.inverted_b, upper=False), True))
    drawn: list[NDArray[np.int32]] = []
    for points, closed in strokes:
        placed = np.array(_rotated(points, rotation), np.int32) + np.array((x, y), np.int32)
        cv2.polylines(ink, [placed], closed, 255)
        drawn.append(placed)
    everything = np.concatenate(drawn)
    (left, top), (right, bottom) = everything.min(axis=0).tolist(), everything.max(axis=0).tolist()
    return left, top, right - left + 1, bottom - top + 1


def _head(size: int, inverted: bool, *, upper: bool) -> Points:
    turn = pi if upper != inverted else 0.0
    centre = 2 * size
    if inverted:
        # The published rule moves the lower inverted head out by one pixel more than the upper one.
        centre += size // 2 + (0 if upper else 1)
    centre = -centre if upper else centre
    corners = ((2 * pi * i / 3 + turn) for i in range(3))
    return [(int(sin(angle) * size), int(cos(angle) * size) + centre) for angle in corners]


def _rotated(points: Points, rotation: int) -> Points:
    # Every product is truncated on its own, as published; rounding once would give other pixels.
    cosine, sine = cos(radians(rotation)), sin(radians(rotation))
    return [(int(x * cosine) - int(y * sine), int(x * sine) + int(y * cosine)) for x, y in points]
