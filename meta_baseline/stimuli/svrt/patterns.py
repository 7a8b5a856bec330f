"""Problems of several small contours in a spatial pattern: 5, 6, 7, 10, 12, 14, 15, 16, 17, 18 and 22.

Where whatever fails lets all be drawn anew, the places come first: they are refused where the rule refuses them or
where no contour could lie inside the border, before any contour is drawn.
"""

from __future__ import annotations

import math

from meta_baseline.stimuli.svrt.contour import anchors_fit, copy_contour, draw_turn, finish_contour, start_contour
from meta_baseline.stimuli.svrt.kernels import NUM_BASE_SLOTS, kernel
from meta_baseline.stimuli.svrt.placing import (
    can_hold,
    draw_inner_place,
    draw_inside,
    draw_place,
    get_part,
    place,
    set_spot,
    start_image,
)
from meta_baseline.stimuli.svrt.randomness import draw_uniform

_APART = 21
_MAX_TRIES = 20_000


@kernel
def compose_scattered(desk, count, per_contour):
    """Contours of problems 5 and 7 anywhere, each one placed again until it fits.

    The published program tries for ever; here an image without room for its next contour is given up.
    """
    start_image(desk)
    slot = 0
    for number in range(count):
        if number % per_contour == 0:
            slot = get_part(desk, number // per_contour, 21.0, 2.0)
        desk.details[number, 0] = number // per_contour
        for _ in range(_MAX_TRIES):
            column, row = draw_inside(desk, slot)
            if place(desk, slot, column, row):
                break
        if desk.num_placed == number:
            return False
    return True


@kernel
def compose_problem_6(desk, label):
    """Two pairs; the distances within them differ, or are equal."""
    if label == 0:
        for number in range(4):
            set_spot(desk, number, int(107.0 * draw_uniform(desk)), int(107.0 * draw_uniform(desk)))
    else:
        reach = 128.0 * draw_uniform(desk)
        for pair in range(2):
            column, row, angle = 107.0 * draw_uniform(desk), 107.0 * draw_uniform(desk), draw_turn(desk)
            across, down = reach * math.cos(angle), reach * math.sin(angle)
            set_spot(desk, 2 * pair, int(column + across), int(row + down))
            set_spot(desk, 2 * pair + 1, int(column - across), int(row - down))
    difference = abs(_distance(desk, 0, 1) - _distance(desk, 2, 3))
    desk.shared[0] = difference
    if label == 0 and difference < _APART:
        return False
    return _are_apart(desk, 4) and _place_at_spots(desk, 4, 2, 10.0, 1.0)


@kernel
def compose_problem_10(desk, label):
    """Four of one contour: anywhere, or at the corners of a square."""
    if label == 0:
        for number in range(4):
            set_spot(desk, number, draw_place(desk), draw_place(desk))
    else:
        _set_square(desk)
    return _are_apart(desk, 4) and _place_at_spots(desk, 4, 4, 10.0, 1.0)


@kernel
def compose_problem_12(desk, label):
    """Two small contours and a big one; the big one is near one of the small ones, or far from both."""
    column, row = 32.0 + 64.0 * draw_uniform(desk), 32.0 + 64.0 * draw_uniform(desk)
    reach, angle = 128.0 * (0.1 + 0.5 * draw_uniform(desk)), draw_turn(desk)
    half = 0.5 * math.pi * (0.1 + 0.4 * draw_uniform(desk))
    # Objects 0 and 1 are small, 2 is big; two lie close together, and the third alone, opposite to them.
    alone = 2 if label == 1 else 1
    for number in range(3):
        side = half if number == 2 or number < label else -half
        turn = angle if number == alone else angle + math.pi + side
        set_spot(desk, number, int(column + reach * math.cos(turn)), int(row + reach * math.sin(turn)))
    for number in range(3):
        if not can_hold(desk.spot[number, 0], desk.spot[number, 1], 10.0 if number == 2 else 5.0):
            return False
    start_image(desk)
    for number in range(3):
        desk.details[number, 0] = number == 2
        slot = get_part(desk, number, 21.0 if number == 2 else 10.0, 10.0 if number == 2 else 5.0)
        if not place(desk, slot, desk.spot[number, 0], desk.spot[number, 1]):
            return False
    return True


@kernel
def compose_problem_14(desk, label):
    """Three of one contour, not on a line or on a line."""
    if label == 1:
        _set_line(desk)
    else:
        for number in range(3):
            set_spot(desk, number, draw_inner_place(desk), draw_inner_place(desk))
    nearest = 1000.0
    for number in range(3):
        nearest = min(nearest, _distance_to_segment(desk, number, (number + 1) % 3, (number + 2) % 3))
    desk.shared[0] = nearest
    if label == 0 and nearest < 6.0:
        return False
    return _place_at_spots(desk, 3, 3, 10.0, 1.0)


@kernel
def compose_problem_15(desk, label):
    """Four contours at the corners of a square, all different or the same."""
    _set_square(desk)
    return _are_apart(desk, 4) and _place_at_spots(desk, 4, 4 if label == 1 else 1, 10.0, 1.0)


@kernel
def compose_halves(desk, mirrored, opposite):
    """Six of one contour in problems 16 and 18: three anywhere, three in as many rows.

    Args:
        desk: to draw on.
        mirrored: whether the second three are mirrored, left to right.
        opposite: whether they are at the columns opposite to the first three, or anywhere in their rows.
    """
    slot = get_part(desk, 0, 10.0, 1.0)
    other = slot
    if mirrored:
        other = NUM_BASE_SLOTS
        copy_contour(desk, slot, other, -1.0, 0.0, 0.0, 1.0)
    while True:
        start_image(desk)
        for _ in range(3):
            column, row = draw_inner_place(desk), draw_inner_place(desk)
            partner = 128 - column if opposite else draw_inner_place(desk)
            if not (place(desk, slot, column, row) and place(desk, other, partner, row)):
                break
        if desk.num_placed == 6:
            break
    for number in range(6):
        desk.details[number, 0] = number % 2 if mirrored else 0
    return True


@kernel
def compose_problem_17(desk, label):
    """Three of one contour and another one, which is off the centre of the circle through the three, or on it."""
    for number in range(3 + (label == 0)):
        column, row = int(107.0 * draw_uniform(desk)) + 10, int(107.0 * draw_uniform(desk)) + 10
        set_spot(desk, number, column, row)
    spot = desk.spot
    x1, y1 = spot[1, 0] - spot[0, 0], spot[1, 1] - spot[0, 1]
    x2, y2 = spot[2, 0] - spot[0, 0], spot[2, 1] - spot[0, 1]
    area = 2.0 * (x1 * y2 - x2 * y1)
    if area == 0.0:
        return False
    square1, square2 = x1 * x1 + y1 * y1, x2 * x2 + y2 * y2
    column = spot[0, 0] + (y2 * square1 - y1 * square2) / area
    row = spot[0, 1] + (x1 * square2 - x2 * square1) / area
    if label == 1:
        if abs(column) > 200.0 or abs(row) > 200.0:
            return False
        set_spot(desk, 3, int(column), int(row))
    desk.shared[0] = math.hypot(spot[3, 0] - column, spot[3, 1] - row)
    if label == 0 and desk.shared[0] < _APART:
        return False
    return _are_apart(desk, 4) and _place_at_spots(desk, 4, 3, 10.0, 1.0)


@kernel
def compose_problem_22(desk, label):
    """Three contours on a line, all different or the same."""
    _set_line(desk)
    return _place_at_spots(desk, 3, 3 if label == 1 else 1, 10.0, 1.0)


@kernel
def _set_square(desk):
    column, row = 128.0 * draw_uniform(desk) + 10.0, 128.0 * draw_uniform(desk) + 10.0
    reach, angle = 64.0 * draw_uniform(desk), draw_turn(desk)
    across, down = reach * math.sin(angle), reach * math.cos(angle)
    for number in range(4):
        set_spot(desk, number, int(column + across), int(row + down))
        across, down = down, -across


@kernel
def _set_line(desk):
    for number in range(2):
        set_spot(desk, number, draw_inner_place(desk), draw_inner_place(desk))
    share, spot = draw_uniform(desk), desk.spot
    column, row = share * spot[0, 0] + (1 - share) * spot[1, 0], share * spot[0, 1] + (1 - share) * spot[1, 1]
    set_spot(desk, 2, int(column), int(row))


@kernel
def _distance(desk, one, other):
    return math.hypot(desk.spot[one, 0] - desk.spot[other, 0], desk.spot[one, 1] - desk.spot[other, 1])


@kernel
def _distance_to_segment(desk, number, one, other):
    spot = desk.spot
    x, y = spot[number, 0] - spot[one, 0], spot[number, 1] - spot[one, 1]
    along_x, along_y = spot[other, 0] - spot[one, 0], spot[other, 1] - spot[one, 1]
    squared = along_x * along_x + along_y * along_y
    share = 0.0 if squared == 0 else min(1.0, max(0.0, (x * along_x + y * along_y) / squared))
    return math.hypot(x - share * along_x, y - share * along_y)


@kernel
def _are_apart(desk, count):
    for one in range(count):
        for other in range(one):
            across, down = desk.spot[one, 0] - desk.spot[other, 0], desk.spot[one, 1] - desk.spot[other, 1]
            if abs(across) < _APART and abs(down) < _APART:
                return False
    return True


@kernel
def _place_at_spots(desk, count, per_contour, radius, hole):
    """Contours at the places noted, each one at so many of them; False where one does not fit."""
    for number in range(count):
        desk.details[number, 0] = number // per_contour
        if not can_hold(desk.spot[number, 0], desk.spot[number, 1], hole):
            return False
    start_image(desk)
    slot = desk.order[0]
    if not desk.fixed:
        # Given up for its anchors, the contour takes the places with it, as everything else that fails here does.
        if not start_contour(desk, radius, hole):
            return False
        turn = draw_turn(desk)
        for number in range(per_contour):
            if not anchors_fit(desk, 1.0, turn, 1, desk.spot[number, 0], desk.spot[number, 1]):
                return False
        if not finish_contour(desk, radius, hole, turn, slot):
            return False
    for number in range(count):
        if number > 0 and number % per_contour == 0:
            slot = get_part(desk, number // per_contour, radius, hole)
        if not place(desk, slot, desk.spot[number, 0], desk.spot[number, 1]):
            return False
    return True
