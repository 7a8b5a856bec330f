"""Random closed contours: drawn, traced and placed, compiled.

Importing this module imports numba, which takes a moment; only code that is about to draw contours imports it. The
kernels compile at their first call (some seconds, once per machine: the result is kept beside the package). Kernels
that call each other have to stay in one file, because numba's cache does not notice a change in another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_LONGEST_STEP = 0.25
_ROUGHNESS = 5.0


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile again in every process.
        return numba.njit(function)


@_kernel
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
        x, y = _draw_anchors(rng, radius, hole)
        x, y, arcs, complete = _refine(rng, x, y, radius, hole)
        if complete:
            x, y = _rotate(x, y, 2.0 * math.pi * rng.random())
            return x, y, arcs


@_kernel
def draw_pair(
    rng: Generator, radius: float, hole: float, same: bool, ink: NDArray[np.uint8], boxes: NDArray[np.int64]
) -> None:
    """Draw two contours on blank ink, equal or independent, at uniform places; whatever fails, all is drawn anew.

    An attempt ends as soon as an anchor falls off the canvas, before the rest of its contour is drawn: an anchor is
    always traced, so the attempt would fail anyway, and the distribution stays what it is.

    Args:
        ink: uint8 [H, W], zero; 255 where something was drawn.
        boxes: int64 [2, 4], receives the bounding boxes (left, top, width, height) in px.
    """
    height, width = ink.shape
    while True:
        column1, row1 = int(width * rng.random()), int(height * rng.random())
        column2, row2 = int(width * rng.random()), int(height * rng.random())
        x, y = _draw_anchors(rng, radius, hole)
        turn = 2.0 * math.pi * rng.random()
        if not _anchors_fit(x, y, turn, column1, row1, width, height):
            continue
        if same and not _anchors_fit(x, y, turn, column2, row2, width, height):
            continue
        x, y, arcs, complete = _refine(rng, x, y, radius, hole)
        if not complete:
            continue
        x, y = _rotate(x, y, turn)
        if not _place(x, y, arcs, column1, row1, ink, boxes[0]):
            continue
        if not same:
            x, y = _draw_anchors(rng, radius, hole)
            turn = 2.0 * math.pi * rng.random()
            complete = _anchors_fit(x, y, turn, column2, row2, width, height)
            if complete:
                x, y, arcs, complete = _refine(rng, x, y, radius, hole)
                x, y = _rotate(x, y, turn)
        if complete and _place(x, y, arcs, column2, row2, ink, boxes[1]):
            return
        ink[:] = 0


@_kernel
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
    return _place(x, y, arcs, int(width * rng.random()), int(height * rng.random()), ink, box)


@_kernel
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


@_kernel
def _draw_anchors(rng, radius, hole):
    x, y = np.empty(4), np.empty(4)
    for corner in range(4):
        while True:
            x[corner], y[corner] = radius * rng.random(), radius * rng.random()
            squared = x[corner] ** 2 + y[corner] ** 2
            if hole * hole <= squared <= radius * radius:
                break
        if corner == 1 or corner == 2:
            x[corner] = -x[corner]
        if corner >= 2:
            y[corner] = -y[corner]
    return x, y


@_kernel
def _anchors_fit(x, y, turn, column, row, width, height):
    turned_x, turned_y = _rotate(x, y, turn)
    for corner in range(4):
        # The same truncation as in the trace, so that this never rejects what the trace would accept.
        across, down = int(turned_x[corner] + column), int(turned_y[corner] + row)
        if across < 1 or across > width - 2 or down < 1 or down > height - 2:
            return False
    return True


@_kernel
def _rotate(x, y, turn):
    cosine, sine = math.cos(turn), math.sin(turn)
    return cosine * x - sine * y, sine * x + cosine * y


@_kernel
def _refine(rng, x, y, radius, hole):
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


@_kernel
def _place(x, y, arcs, column, row, ink, box):
    pixels = trace_contour(x, y, arcs, column, row)
    if _collides(pixels, ink):
        return False
    left, top, right, bottom = ink.shape[1], ink.shape[0], 0, 0
    for i in range(pixels.shape[0]):
        across, down = pixels[i, 0], pixels[i, 1]
        ink[down, across] = 255
        left, right = min(left, across), max(right, across)
        top, bottom = min(top, down), max(bottom, down)
    box[0], box[1], box[2], box[3] = left, top, right - left + 1, bottom - top + 1
    return True


@_kernel
def _draw_in_disc(rng, radius):
    while True:
        x, y = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0
        if x * x + y * y <= 1.0:
            return radius * x, radius * y


@_kernel
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
