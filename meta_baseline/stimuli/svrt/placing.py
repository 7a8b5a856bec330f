"""Objects on the canvas: whether a contour fits at a place, drawing it there, and the finished image.

A contour fits where all its pixels lie in columns and rows 1 to 126 and no pixel lies on or next to ink that is already
there, so that at least one white pixel separates objects. Objects whose boxes lie apart are not compared pixel by
pixel: only when boxes come close is what was placed before marked on the board of taken pixels.
"""

from __future__ import annotations

import math

import numpy as np

from meta_baseline.stimuli.svrt.boards import clear, meets
from meta_baseline.stimuli.svrt.contour import draw_contour
from meta_baseline.stimuli.svrt.kernels import kernel
from meta_baseline.stimuli.svrt.randomness import draw_uniform

TAKEN = 0
_SEVEN, _WORD = np.uint64(7), np.uint64(64)


@kernel
def start_image(desk):
    """Take every object off the canvas."""
    desk.num_placed = 0
    if desk.num_marked > 0:
        clear(desk.boards[TAKEN])
        desk.num_marked = 0


@kernel
def get_part(desk, part, radius, hole):
    """The slot of a contour that plays a part, newly drawn unless it belongs to an identity."""
    slot = desk.order[part]
    if not desk.fixed:
        draw_contour(desk, slot, radius, hole)
    return slot


@kernel
def draw_place(desk):
    """A column or row uniform over the canvas."""
    return int(128.0 * draw_uniform(desk))


@kernel
def draw_inner_place(desk):
    """A column or row uniform over 10 to 117."""
    return int(108.0 * draw_uniform(desk)) + 10


@kernel
def set_spot(desk, number, column, row):
    """Note a place for an object that is to be drawn."""
    desk.spot[number, 0], desk.spot[number, 1] = column, row


@kernel
def can_hold(column, row, hole):
    """Whether a contour with this hole can keep off the border at all: it has pixels on every side of the hole."""
    return hole < column < 128.0 - hole and hole < row < 128.0 - hole


@kernel
def lies_inside(desk, slot, column, row):
    """Whether a contour keeps off the border when placed."""
    extent = desk.extent[slot]
    return extent[0] + column >= 1 and extent[1] + column <= 126 and extent[2] + row >= 1 and extent[3] + row <= 126


@kernel
def draw_inside(desk, slot):
    """A column and row uniform over the places where a contour keeps off the border."""
    extent = desk.extent[slot]
    columns, rows = 126 + extent[0] - extent[1], 126 + extent[2] - extent[3]
    column = 1 - extent[0] + int(columns * draw_uniform(desk))
    return column, 1 - extent[2] + int(rows * draw_uniform(desk))


@kernel
def record(desk, slot, column, row):
    """Place a contour, whether it fits or not."""
    number = desk.num_placed
    desk.placed[number, 0], desk.placed[number, 1], desk.placed[number, 2] = slot, column, row
    desk.num_placed = number + 1


@kernel
def fits(desk, slot, column, row):
    """Whether a contour can be placed: inside the border, not touching what is there."""
    if not lies_inside(desk, slot, column, row):
        return False
    extent = desk.extent[slot]
    for number in range(desk.num_placed):
        other = desk.extent[desk.placed[number, 0]]
        across, down = desk.placed[number, 1] - column, desk.placed[number, 2] - row
        if (
            extent[0] <= other[1] + across + 1
            and extent[1] >= other[0] + across - 1
            and extent[2] <= other[3] + down + 1
            and extent[3] >= other[2] + down - 1
        ):
            mark_placed(desk)
            return not meets(desk.boards[TAKEN], desk, slot, column, row)
    return True


@kernel
def place(desk, slot, column, row):
    """Place a contour where it fits; False, with nothing placed, where it does not."""
    if not fits(desk, slot, column, row):
        return False
    record(desk, slot, column, row)
    return True


@kernel
def mark_placed(desk):
    """Bring the board of taken pixels up to date: the ink of all placed objects and the pixels round it."""
    taken = desk.boards[TAKEN]
    for number in range(desk.num_marked, desk.num_placed):
        slot, column, row = desk.placed[number, 0], desk.placed[number, 1], desk.placed[number, 2]
        columns, rows = desk.columns[slot], desk.rows[slot]
        for pixel in range(desk.num_pixels[slot]):
            first, middle = columns[pixel] + column - 1, rows[pixel] + row
            word, bit = first >> 6, np.uint64(first & 63)
            for near in range(middle - 1, middle + 2):
                taken[near, word] |= _SEVEN << bit
            if first & 63 > 61:
                for near in range(middle - 1, middle + 2):
                    taken[near, 1] |= _SEVEN >> (_WORD - bit)
    desk.num_marked = desk.num_placed


@kernel
def measure_gap(desk):
    """Distance in px between the nearest pixels of the first two objects placed."""
    placed, columns, rows = desk.placed, desk.columns, desk.rows
    one, other = placed[0, 0], placed[1, 0]
    across, down = placed[1, 1] - placed[0, 1], placed[1, 2] - placed[0, 2]
    least = np.int64(1 << 30)
    for pixel in range(desk.num_pixels[other]):
        column, row = columns[other, pixel] + across, rows[other, pixel] + down
        for near in range(desk.num_pixels[one]):
            dx, dy = columns[one, near] - column, rows[one, near] - row
            least = min(least, dx * dx + dy * dy)
    return math.sqrt(least)


@kernel
def paint(desk, image, boxes, counts):
    """Draw the placed objects black on white, and note their boxes and the number of black pixels.

    Args:
        image: uint8 [H, W].
        boxes: int16 [K, 4], receives left, top, width and height in px.
        counts: int64 [1], receives the number of black pixels.
    """
    for row in range(128):
        for column in range(128):
            image[row, column] = 255
    ink = 0
    for number in range(desk.num_placed):
        slot, column, row = desk.placed[number, 0], desk.placed[number, 1], desk.placed[number, 2]
        columns, rows, extent = desk.columns[slot], desk.rows[slot], desk.extent[slot]
        for pixel in range(desk.num_pixels[slot]):
            across, down = columns[pixel] + column, rows[pixel] + row
            ink += image[down, across] & 1
            image[down, across] = 0
        boxes[number, 0], boxes[number, 1] = extent[0] + column, extent[2] + row
        boxes[number, 2], boxes[number, 3] = extent[1] - extent[0] + 1, extent[3] - extent[2] + 1
    counts[0] = ink
