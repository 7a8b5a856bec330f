"""SVRT problem 1: two contours; class 1 shows one contour twice, translated, class 0 two independent ones."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import Box, black_on_white, blank_ink
from meta_baseline.stimuli.scene import PlacedObject, Scene

RADIUS, HOLE = 26.25, 2.5

Contour = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
ContourPair = tuple[Contour, Contour]


def draw_shapes(rng: Generator) -> ContourPair:
    """Two independent contours; class 1 shows the first one only."""
    # The compiled code brings in numba, which programs that draw no contour need not wait for.
    from meta_baseline.stimuli.svrt.contour import draw_contour

    return draw_contour(rng, RADIUS, HOLE), draw_contour(rng, RADIUS, HOLE)


def swap_shapes(shapes: ContourPair) -> ContourPair:
    """The same contours, with class 1 repeating the other one."""
    return shapes[1], shapes[0]


def compose(rng: Generator, label: int, shapes: ContourPair | None = None) -> Scene | None:
    """Two contours at uniform places.

    None when these shapes leave the canvas or come too close to each other; new ones are redrawn until they do not.
    """
    from meta_baseline.stimuli.svrt.contour import draw_pair, place_contour

    ink, boxes = blank_ink(), np.empty((2, 4), np.int64)
    if shapes is None:
        draw_pair(rng, RADIUS, HOLE, bool(label), ink, boxes)
    else:
        shown = (shapes[0], shapes[0] if label else shapes[1])
        if not all(place_contour(rng, *contour, ink, box) for contour, box in zip(shown, boxes)):
            return None
    first, second = (PlacedObject(_as_box(box)) for box in boxes)
    return Scene(black_on_white(ink), (first, second))


def _as_box(box: NDArray[np.int64]) -> Box:
    left, top, width, height = box.tolist()
    return left, top, width, height
