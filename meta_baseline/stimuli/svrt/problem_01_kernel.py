"""The loop of problem 1, compiled: contours and places are drawn until both fit."""

from __future__ import annotations

import numba
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.svrt.contour import draw_contour, place_contour

RADIUS, HOLE = 26.25, 2.5


@numba.njit(cache=True)
def draw_pair(rng: Generator, same: bool, ink: NDArray[np.uint8], boxes: NDArray[np.int64]) -> None:
    """Draw two contours on blank ink, equal or independent; on any failure shapes and places are drawn anew."""
    while True:
        x, y, arcs = draw_contour(rng, RADIUS, HOLE)
        if not place_contour(rng, x, y, arcs, ink, boxes[0]):
            continue
        if not same:
            x, y, arcs = draw_contour(rng, RADIUS, HOLE)
        if place_contour(rng, x, y, arcs, ink, boxes[1]):
            return
        ink[:] = 0
