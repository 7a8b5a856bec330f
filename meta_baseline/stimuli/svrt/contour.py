"""Random closed contours: drawn, transformed and traced.

One anchor in each quadrant, uniform in the annulus hole <= |p| <= radius; every chord longer than a quarter of a pixel
(in x or y) is replaced by two through a midpoint displaced uniformly in a disc of a fifth of its length, drawn again
while outside the radius. A vertex in the hole restarts the whole contour; a whole one is turned by a uniform angle.

The rule is recursive. Here the first levels are drawn for all chords before the finer ones, which gives the same
distribution and meets a bad vertex earlier. The displacement is a point of the unit disc multiplied, as a complex
number, by a fifth of the chord: uniform in the disc in question, whatever the chord's direction, without a root.
"""

from __future__ import annotations

import math

import numpy as np

from meta_baseline.stimuli.svrt.kernels import MAX_VERTICES, POOL_SIZE, kernel
from meta_baseline.stimuli.svrt.randomness import draw_uniform, fill_pool

_LONGEST_STEP = 0.25
_ROUGHNESS = 0.2
_NUM_COARSE_LEVELS = 3


@kernel
def draw_contour(desk, slot, radius, hole):
    """A contour into a slot, with its pixels."""
    while not (start_contour(desk, radius, hole) and finish_contour(desk, radius, hole, draw_turn(desk), slot)):
        pass


@kernel
def draw_turn(desk):
    """A uniform angle in radians."""
    return 2.0 * math.pi * draw_uniform(desk)


@kernel
def start_contour(desk, radius, hole):
    """Anchors and the midpoints between them, each one tested as soon as its chord is there; False for a bad one."""
    x, y, arcs = desk.ring_x[0], desk.ring_y[0], desk.ring_arcs
    size = 0
    for corner in range(4):
        while True:
            if desk.pool_next == POOL_SIZE:
                fill_pool(desk)
            across = radius * abs(desk.pool_u[desk.pool_next])
            down = radius * abs(desk.pool_v[desk.pool_next])
            desk.pool_next += 1
            if across * across + down * down >= hole * hole:
                break
        across = -across if corner == 1 or corner == 2 else across
        down = -down if corner >= 2 else down
        if corner > 0:
            size = _halve_chord(desk, x, y, size, across, down, radius, hole)
            if size < 0:
                return False
        arcs[corner] = size
        x[size], y[size] = across, down
        size += 1
    size = _halve_chord(desk, x, y, size, x[0], y[0], radius, hole)
    arcs[4] = size
    return size > 0


@kernel
def _halve_chord(desk, x, y, size, end_x, end_y, radius, hole):
    """Put a midpoint behind the last vertex where the chord to the end is long; -1 where it lies in the hole."""
    start_x, start_y = x[size - 1], y[size - 1]
    dx, dy = end_x - start_x, end_y - start_y
    if max(abs(dx), abs(dy)) <= _LONGEST_STEP:
        return size
    while True:
        if desk.pool_next == POOL_SIZE:
            fill_pool(desk)
        u, v = _ROUGHNESS * desk.pool_u[desk.pool_next], _ROUGHNESS * desk.pool_v[desk.pool_next]
        desk.pool_next += 1
        middle_x = 0.5 * (start_x + end_x) + (u * dx - v * dy)
        middle_y = 0.5 * (start_y + end_y) + (u * dy + v * dx)
        squared = middle_x * middle_x + middle_y * middle_y
        if squared <= radius * radius:
            break
    x[size], y[size] = middle_x, middle_y
    return size + 1 if squared >= hole * hole else -1


@kernel
def anchors_fit(desk, scale, turn, flip, column, row):
    """Whether the anchors lie inside the border when placed: pixels that are always traced.

    Args:
        desk: with a contour that was started.
        scale, turn, flip: the placed contour is the started one with y times ``flip`` (1 or -1), turned by an angle in
            radians and scaled.
        column, row: the place.
    """
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    for arc in range(4):
        x, y = desk.ring_x[0, desk.ring_arcs[arc]], flip * desk.ring_y[0, desk.ring_arcs[arc]]
        across = math.floor(cosine * x - sine * y) + column
        down = math.floor(sine * x + cosine * y) + row
        if across < 1 or across > 126 or down < 1 or down > 126:
            return False
    return True


@kernel
def finish_contour(desk, radius, hole, turn, slot):
    """Refine what ``start_contour`` began, turn it and trace it; False where a vertex lies in the hole."""
    ring = 0
    for _ in range(_NUM_COARSE_LEVELS):
        if not _halve_ring(desk, ring, radius, hole):
            return False
        ring = 1 - ring
    num_vertices = _refine_ring(desk, ring, radius, hole, slot)
    if num_vertices < 0:
        return False
    _transform(desk, slot, slot, math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn))
    trace_contour(desk, slot)
    return True


@kernel
def _halve_ring(desk, ring, radius, hole):
    from_x, from_y, to_x, to_y = desk.ring_x[ring], desk.ring_y[ring], desk.ring_x[1 - ring], desk.ring_y[1 - ring]
    arcs = desk.ring_arcs
    num_vertices, size, vertex = arcs[4], 0, 0
    for arc in range(4):
        first = size
        while vertex < arcs[arc + 1]:
            to_x[size], to_y[size] = from_x[vertex], from_y[vertex]
            vertex += 1
            end = vertex if vertex < num_vertices else 0
            size = _halve_chord(desk, to_x, to_y, size + 1, from_x[end], from_y[end], radius, hole)
            if size < 0:
                return False
        arcs[arc] = first
    arcs[4] = size
    return True


@kernel
def _refine_ring(desk, ring, radius, hole, slot):
    """Halve every chord of the ring until it is short, chord by chord; number of vertices, or -1 for a bad one."""
    ring_x, ring_y, ring_arcs = desk.ring_x[ring], desk.ring_y[ring], desk.ring_arcs
    x, y, arcs, ends_x, ends_y = desk.x[slot], desk.y[slot], desk.arcs[slot], desk.stack_x, desk.stack_y
    u_pool, v_pool, pool_next = desk.pool_u, desk.pool_v, desk.pool_next
    outer, inner = radius * radius, hole * hole
    num_ring, size, arc = ring_arcs[4], 0, 0
    start_x, start_y = ring_x[0], ring_y[0]
    for vertex in range(num_ring):
        if vertex == ring_arcs[arc]:
            arcs[arc] = size
            arc += 1
        following = vertex + 1 if vertex + 1 < num_ring else 0
        ends_x[0], ends_y[0] = ring_x[following], ring_y[following]
        depth = 0
        while depth >= 0:
            end_x, end_y = ends_x[depth], ends_y[depth]
            dx, dy = end_x - start_x, end_y - start_y
            if max(abs(dx), abs(dy)) <= _LONGEST_STEP:
                x[size], y[size] = start_x, start_y
                size += 1
                start_x, start_y = end_x, end_y
                depth -= 1
                continue
            while True:
                if pool_next == POOL_SIZE:
                    fill_pool(desk)
                    pool_next = 0
                u, v = _ROUGHNESS * u_pool[pool_next], _ROUGHNESS * v_pool[pool_next]
                pool_next += 1
                middle_x = 0.5 * (start_x + end_x) + (u * dx - v * dy)
                middle_y = 0.5 * (start_y + end_y) + (u * dy + v * dx)
                squared = middle_x * middle_x + middle_y * middle_y
                if squared <= outer:
                    break
            # A contour that would not fit the memory is as good as impossible (ten times the usual length).
            if squared < inner or size >= MAX_VERTICES - 64:
                desk.pool_next = pool_next
                return -1
            depth += 1
            ends_x[depth], ends_y[depth] = middle_x, middle_y
    desk.pool_next = pool_next
    arcs[4] = size
    return size


@kernel
def _transform(desk, source, slot, xx, xy, yx, yy):
    from_x, from_y, to_x, to_y = desk.x[source], desk.y[source], desk.x[slot], desk.y[slot]
    for vertex in range(desk.arcs[source, 4]):
        x, y = from_x[vertex], from_y[vertex]
        to_x[vertex] = xx * x + xy * y
        to_y[vertex] = yx * x + yy * y


@kernel
def copy_contour(desk, source, slot, xx, xy, yx, yy):
    """The contour of one slot in another, under the linear map x' = xx x + xy y, y' = yx x + yy y, and traced."""
    for arc in range(5):
        desk.arcs[slot, arc] = desk.arcs[source, arc]
    _transform(desk, source, slot, xx, xy, yx, yy)
    trace_contour(desk, slot)


@kernel
def trace_contour(desk, slot):
    """Pixels of a contour, relative to the pixel of its centre, and the columns and rows they span.

    An arc between two vertices is halved by index while its ends lie more than one pixel apart; otherwise the first
    end is drawn. Stopping that early thins the line and cuts tiny loops, as the published images have it. The rule
    truncates the coordinates of the placed contour: inside the canvas that is the floor, and outside is refused.
    """
    x, y, arcs = desk.x[slot], desk.y[slot], desk.arcs[slot]
    columns, rows = desk.columns[slot], desk.rows[slot]
    ends, end_columns, end_rows = desk.stack_end, desk.stack_column, desk.stack_row
    num_vertices, size = arcs[4], 0
    left, right, top, bottom = 1000, -1000, 1000, -1000
    column, row = math.floor(x[0]), math.floor(y[0])
    for arc in range(4):
        vertex = arcs[arc]
        last = arcs[arc + 1] if arcs[arc + 1] < num_vertices else 0
        ends[0], end_columns[0], end_rows[0] = arcs[arc + 1], math.floor(x[last]), math.floor(y[last])
        depth = 0
        while depth >= 0:
            end, end_column, end_row = ends[depth], end_columns[depth], end_rows[depth]
            if vertex + 1 < end and max(abs(end_column - column), abs(end_row - row)) > 1:
                middle = (vertex + end) // 2
                depth += 1
                ends[depth], end_columns[depth] = middle, math.floor(x[middle])
                end_rows[depth] = math.floor(y[middle])
                continue
            columns[size], rows[size] = np.int16(column), np.int16(row)
            size += 1
            left, right = min(left, column), max(right, column)
            top, bottom = min(top, row), max(bottom, row)
            vertex, column, row = end, end_column, end_row
            depth -= 1
    desk.num_pixels[slot] = size
    extent = desk.extent[slot]
    extent[0], extent[1], extent[2], extent[3] = left, right, top, bottom
