"""Random closed contours and their pixel traces, compiled.

Importing this module imports numba, which takes a moment; only code that is about to draw contours imports it. The
kernels compile at their first call (some seconds, once per machine: the result is kept beside the package).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_LONGEST_STEP = 0.25
_ROUGHNESS = 5.0


@numba.njit(cache=True)
def draw_contour(
    rng: Generator, radius: float, hole: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """A closed rough curve round the origin.

    One anchor in each quadrant, uniform in the annulus hole <= |p| <= radius; every chord longer than a quarter of a
    pixel is replaced by two through a midpoint displaced uniformly in a disc of a fifth of its length. A vertex in
    the hole or outside the radius restarts the whole contour; then it is rotated by a uniform angle. Midpoints are
    inserted level by level, which gives the distribution of the recursive rule and meets a bad vertex earlier.

    Returns:
        x and y of the vertices in px [n], and the index of the first vertex of each of the four arcs, with n last [5].
    """
    while True:
        x, y, arcs, complete = _try_contour(rng, radius, hole)
        if complete:
            break
    turn = 2.0 * math.pi * rng.random()
    cosine, sine = math.cos(turn), math.sin(turn)
    return cosine * x - sine * y, sine * x + cosine * y, arcs


@numba.njit(cache=True)
def _try_contour(rng, radius, hole):
    x, y = np.empty(4), np.empty(4)
    for corner in range(4):
        x[corner], y[corner] = _draw_anchor(rng, radius, hole, corner)
    arcs = np.arange(5)
    while True:
        n = x.size
        finer_x, finer_y, finer_arcs = np.empty(2 * n), np.empty(2 * n), np.empty(5, np.int64)
        size, arc = 0, 0
        for i in range(n):
            if i == arcs[arc]:
                finer_arcs[arc] = size
                arc += 1
            j = i + 1 if i + 1 < n else 0
            finer_x[size], finer_y[size] = x[i], y[i]
            size += 1
            dx, dy = x[j] - x[i], y[j] - y[i]
            if abs(dx) <= _LONGEST_STEP and abs(dy) <= _LONGEST_STEP:
                continue
            reach = math.sqrt(dx * dx + dy * dy) / _ROUGHNESS
            while True:
                middle_x, middle_y = _draw_in_disc(rng, reach)
                middle_x += (x[i] + x[j]) / 2.0
                middle_y += (y[i] + y[j]) / 2.0
                squared = middle_x * middle_x + middle_y * middle_y
                if squared <= radius * radius:
                    break
            if squared < hole * hole:
                return x, y, arcs, False
            finer_x[size], finer_y[size] = middle_x, middle_y
            size += 1
        finer_arcs[4] = size
        x, y, arcs = finer_x[:size], finer_y[:size], finer_arcs
        if size == n:
            return x, y, arcs, True


@numba.njit(cache=True)
def _draw_anchor(rng, radius, hole, corner):
    while True:
        x, y = radius * rng.random(), radius * rng.random()
        squared = x * x + y * y
        if hole * hole <= squared <= radius * radius:
            break
    if corner == 1 or corner == 2:
        x = -x
    if corner >= 2:
        y = -y
    return x, y


@numba.njit(cache=True)
def _draw_in_disc(rng, radius):
    while True:
        x, y = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0
        if x * x + y * y <= 1.0:
            return radius * x, radius * y


@numba.njit(cache=True)
def trace_contour(
    x: NDArray[np.float64], y: NDArray[np.float64], arcs: NDArray[np.int64], centre_x: int, centre_y: int
) -> NDArray[np.int64]:
    """Pixels (column, row) [n, 2] of a contour placed at a centre in px.

    An arc between two vertices is halved by index while its ends lie more than one pixel apart; otherwise the first
    end is drawn. Stopping that early thins the line and cuts tiny loops, as the published images have it.
    """
    n = x.size
    pixels = np.empty((n, 2), np.int64)
    stack = np.empty((64, 2), np.int64)
    size = 0
    for arc in range(4):
        stack[0, 0], stack[0, 1] = arcs[arc], arcs[arc + 1]
        depth = 1
        while depth > 0:
            depth -= 1
            a, b = stack[depth, 0], stack[depth, 1]
            end = b if b < n else 0
            # Conversion to int truncates towards zero, as the published program does.
            column, row = int(x[a] + centre_x), int(y[a] + centre_y)
            wide = abs(column - int(x[end] + centre_x)) > 1 or abs(row - int(y[end] + centre_y)) > 1
            if a + 1 < b and wide:
                middle = (a + b) // 2
                stack[depth, 0], stack[depth, 1] = middle, b
                stack[depth + 1, 0], stack[depth + 1, 1] = a, middle
                depth += 2
            else:
                pixels[size, 0], pixels[size, 1] = column, row
                size += 1
    return pixels[:size]


@numba.njit(cache=True)
def place_contour(
    rng: Generator,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    arcs: NDArray[np.int64],
    ink: NDArray[np.uint8],
    box: NDArray[np.int64],
) -> bool:
    """Draw a contour at a place uniform over the canvas and note its bounding box (left, top, width, height).

    Returns:
        False, with nothing drawn, when a pixel lies on or beyond the border or next to ink that is already there.
    """
    height, width = ink.shape
    column, row = int(width * rng.random()), int(height * rng.random())
    pixels = trace_contour(x, y, arcs, column, row)
    if _collides(pixels, ink):
        return False
    left, top, right, bottom = width, height, 0, 0
    for i in range(pixels.shape[0]):
        column, row = pixels[i, 0], pixels[i, 1]
        ink[row, column] = 255
        left, right = min(left, column), max(right, column)
        top, bottom = min(top, row), max(bottom, row)
    box[0], box[1], box[2], box[3] = left, top, right - left + 1, bottom - top + 1
    return True


@numba.njit(cache=True)
def _collides(pixels, ink):
    for i in range(pixels.shape[0]):
        column, row = pixels[i, 0], pixels[i, 1]
        if column < 1 or column > ink.shape[1] - 2 or row < 1 or row > ink.shape[0] - 2:
            return True
        for near_row in range(row - 1, row + 2):
            for near_column in range(column - 1, column + 2):
                if ink[near_row, near_column] != 0:
                    return True
    return False
