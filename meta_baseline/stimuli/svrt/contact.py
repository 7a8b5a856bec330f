"""Problems of contact and distance between contours: 3, 11 and 13.

Two contours are in contact where their areas, outline and inside, share a few pixels. Each image has a hundred tries;
then all begins anew. A try whose place alone shows that no contour there can succeed is counted without drawing one.
"""

from __future__ import annotations

import math

from meta_baseline.stimuli.svrt.boards import (
    add_outline,
    clear,
    copy,
    count_common,
    fill_complement,
    flood,
    grow,
    holds,
    join,
    meets,
    widen,
)
from meta_baseline.stimuli.svrt.kernels import kernel
from meta_baseline.stimuli.svrt.placing import (
    can_hold,
    draw_place,
    fits,
    get_part,
    lies_inside,
    measure_gap,
    record,
    start_image,
)

_NUM_TRIES = 100
_FILLED, _MASK, _DEEP, _OUTLINE, _AREA = range(1, 6)
_FREE, _CLEAR, _TOUCHING, _TOUCHING_AND_CLEAR = range(4)


@kernel
def compose_problem_3(desk, label):
    """Four contours: one alone and three in contact, or two pairs in contact."""
    start_image(desk)
    clear(desk.boards[_FILLED])
    clear(desk.boards[_MASK])
    tries = 0
    for number in range(4):
        in_contact = number == 3 or (number == 1 if label == 1 else number == 2)
        tries = _place_area(desk, number, 21.0, 2.0, in_contact, 3, tries)
        if tries > _NUM_TRIES:
            return False
        if number == label:
            # What comes later keeps 16 px away from what is there now.
            _set_mask(desk, 16)
            widen(desk.boards[_MASK])
        desk.details[number, 0] = number > label
    return True


@kernel
def compose_problem_11(desk, label):
    """A big and a small contour, apart or in contact."""
    start_image(desk)
    filled, mask = desk.boards[_FILLED], desk.boards[_MASK]
    clear(filled)
    clear(mask)
    tries = _place_area(desk, 0, 48.0, 16.0, False, 0, 0)
    if tries > _NUM_TRIES:
        return False
    if label == 1:
        if _place_area(desk, 1, 21.0, 7.0, True, 4, tries) > _NUM_TRIES:
            return False
        desk.shared[0] = measure_gap(desk)
        return True
    _set_mask(desk, 10)
    while tries < _NUM_TRIES:
        tries += 1
        column, row = draw_place(desk), draw_place(desk)
        if not can_hold(column, row, 7.0) or holds(mask, column, row):
            continue
        slot = get_part(desk, 1, 21.0, 7.0)
        if not lies_inside(desk, slot, column, row) or meets(mask, desk, slot, column, row):
            continue
        if _set_area(desk, slot, column, row) and count_common(desk.boards[_AREA], mask) == 0:
            record(desk, slot, column, row)
            desk.shared[0] = measure_gap(desk)
            return True
    return False


@kernel
def compose_problem_13(desk, label):
    """Two pairs of a big and a small contour, the second one arranged differently from the first, or like it."""
    start_image(desk)
    big, small = get_part(desk, 0, 32.0, 16.0), get_part(desk, 1, 10.0, 5.0)
    tries = _place_fitting(desk, big, 0, False)
    tries = _place_fitting(desk, small, tries, True)
    tries = _place_fitting(desk, big, tries, False)
    if tries > _NUM_TRIES:
        return False
    placed = desk.placed
    column = placed[1, 1] - placed[0, 1] + placed[2, 1]
    row = placed[1, 2] - placed[0, 2] + placed[2, 2]
    if not fits(desk, small, column, row):
        return False
    desk.shared[0] = 0.0
    for number in range(4):
        desk.details[number, 0] = number % 2 == 0
    if label == 1:
        record(desk, small, column, row)
        return True
    while tries < _NUM_TRIES:
        tries = _place_fitting(desk, small, tries, True)
        if tries > _NUM_TRIES:
            return False
        desk.shared[0] = math.hypot(placed[3, 1] - column, placed[3, 2] - row)
        if desk.shared[0] >= 32.0:
            return True
        desk.num_placed = 3
    return False


@kernel
def _place_fitting(desk, slot, tries, near):
    """Try places until a contour fits, near the outline of the last big one if asked to; the number of tries so far.

    More than ``_NUM_TRIES`` means that it was not placed.
    """
    mask = desk.boards[_MASK]
    if near and tries <= _NUM_TRIES:
        clear(mask)
        big = desk.num_placed - 1
        add_outline(mask, desk, desk.placed[big, 0], desk.placed[big, 1], desk.placed[big, 2])
        grow(mask, 32)
        widen(mask)
    while tries < _NUM_TRIES:
        tries += 1
        column, row = draw_place(desk), draw_place(desk)
        if fits(desk, slot, column, row) and (not near or meets(mask, desk, slot, column, row)):
            record(desk, slot, column, row)
            return tries
    return _NUM_TRIES + 1


@kernel
def _place_area(desk, part, radius, hole, in_contact, most_common, tries):
    """Try places, each with a new contour, until one keeps off the mask and touches other areas as it should.

    Returns:
        The number of tries so far; more than ``_NUM_TRIES`` means that it was not placed.
    """
    filled, mask, deep, area = desk.boards[_FILLED], desk.boards[_MASK], desk.boards[_DEEP], desk.boards[_AREA]
    if in_contact:
        # Pixels with filled ones all round: a contour round such a pixel shares more than a few.
        fill_complement(deep, filled)
        widen(deep)
        widen(deep)
    while tries < _NUM_TRIES:
        tries += 1
        column, row = draw_place(desk), draw_place(desk)
        if not can_hold(column, row, hole) or holds(mask, column, row):
            continue
        if in_contact and not (holds(deep, column, row) and _is_near_placed(desk, radius, column, row)):
            continue
        slot = get_part(desk, part, radius, hole)
        if not lies_inside(desk, slot, column, row) or meets(mask, desk, slot, column, row):
            continue
        if in_contact:
            _set_outline(desk, slot, column, row)
            if count_common(desk.boards[_OUTLINE], filled) > most_common:
                continue
        is_closed = _set_area(desk, slot, column, row)
        if in_contact:
            common = count_common(area, filled)
            if not is_closed or common == 0 or common > most_common:
                continue
        elif not is_closed:
            # The published program fills the canvas, so that nothing that comes later fits.
            return _NUM_TRIES + 1
        join(filled, area)
        record(desk, slot, column, row)
        return tries
    return _NUM_TRIES + 1


@kernel
def _is_near_placed(desk, radius, column, row):
    """Whether a contour of this radius could reach the box of an object."""
    for number in range(desk.num_placed):
        extent = desk.extent[desk.placed[number, 0]]
        across, down = column - desk.placed[number, 1], row - desk.placed[number, 2]
        if (
            extent[0] - radius - 1 <= across <= extent[1] + radius + 1
            and extent[2] - radius - 1 <= down <= extent[3] + radius + 1
        ):
            return True
    return False


@kernel
def _set_outline(desk, slot, column, row):
    outline = desk.boards[_OUTLINE]
    clear(outline)
    add_outline(outline, desk, slot, column, row)


@kernel
def _set_area(desk, slot, column, row):
    _set_outline(desk, slot, column, row)
    outline, area = desk.boards[_OUTLINE], desk.boards[_AREA]
    is_closed = flood(area, outline, column, row, row + desk.extent[slot, 2], row + desk.extent[slot, 3])
    join(area, outline)
    return is_closed


@kernel
def _set_mask(desk, times):
    mask = desk.boards[_MASK]
    copy(mask, desk.boards[_FILLED])
    grow(mask, times)
