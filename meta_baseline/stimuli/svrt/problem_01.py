"""SVRT problem 1: two contours; class 1 shows one contour twice, translated, class 0 two independent ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, Box, black_on_white, blank_ink
from meta_baseline.stimuli.scene import PlacedObject, Scene

RADIUS, HOLE = 26.25, 2.5

Contour = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ContourPair:
    """Shapes of one image; class 0 shows both, class 1 only ``first``, which is why ``second`` may be missing."""

    first: Contour
    second: Contour | None


def draw_shapes(rng: Generator, label: int) -> ContourPair:
    """One contour, and a second, independent one where class 0 needs it."""
    # Imported here because it brings in numba, which programs that draw no contour need not wait for.
    from meta_baseline.stimuli.svrt import contour

    first = contour.draw_contour(rng, RADIUS, HOLE)
    return ContourPair(first, None if label else contour.draw_contour(rng, RADIUS, HOLE))


def compose(rng: Generator, shapes: ContourPair, label: int) -> Scene | None:
    """Both contours at uniform places, or None when one leaves the canvas or comes too close to the other."""
    from meta_baseline.stimuli.svrt import contour

    ink = blank_ink()
    places = (rng.random(4) * CANVAS_SIZE).astype(int).tolist()
    boxes: list[Box] = []
    second = shapes.first if label or shapes.second is None else shapes.second
    for (x, y, arcs), column, row in ((shapes.first, *places[:2]), (second, *places[2:])):
        pixels = contour.trace_contour(x, y, arcs, column, row)
        if contour.collides(pixels, ink):
            return None
        contour.draw_pixels(pixels, ink)
        (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        boxes.append((left, top, right - left + 1, bottom - top + 1))
    return Scene(black_on_white(ink), (PlacedObject(boxes[0]), PlacedObject(boxes[1])))
