"""Problems of a big contour and small ones inside or outside of it: 2, 4, 8 and 23.

Boards say where a small contour may not have a pixel. A place whose own pixel is on such a board is refused before a
contour is drawn for it: the contour goes round that pixel and would have to cross what it may not touch.
"""

from __future__ import annotations

from meta_baseline.stimuli.svrt.boards import (
    add_outline,
    clear,
    copy,
    fill_complement,
    flood,
    grow,
    holds,
    join,
    meets,
    widen,
)
from meta_baseline.stimuli.svrt.contour import copy_contour
from meta_baseline.stimuli.svrt.kernels import NUM_BASE_SLOTS, kernel
from meta_baseline.stimuli.svrt.placing import (
    can_hold,
    draw_inside,
    draw_place,
    get_part,
    lies_inside,
    measure_gap,
    record,
    start_image,
)
from meta_baseline.stimuli.svrt.randomness import draw_uniform

_OUTLINE, _INSIDE, _NOT_INSIDE, _NOT_OUTSIDE, _MASK, _SCRATCH = range(1, 7)
_NUM_TRIES = 10
_MAX_TRIES = 100_000
_SMALL, _SMALL_HOLE = 10.0, 1.0


@kernel
def compose_problem_2(desk, label):
    """A small contour inside a big one, far from its outline or close to it."""
    column, row = _place_big(desk)
    mask, closed = desk.boards[_MASK], desk.boards[_NOT_INSIDE]
    copy(mask, desk.boards[_OUTLINE])
    grow(mask, 16 if label == 0 else 1)
    widen(mask)
    tries = 0
    for _ in range(_MAX_TRIES):
        across = column + int((draw_uniform(desk) - 0.5) * 96.0)
        down = row + int((draw_uniform(desk) - 0.5) * 96.0)
        if not can_hold(across, down, _SMALL_HOLE) or holds(closed, across, down):
            continue
        small = get_part(desk, 1, _SMALL, _SMALL_HOLE)
        if not lies_inside(desk, small, across, down) or meets(closed, desk, small, across, down):
            continue
        if meets(mask, desk, small, across, down) == (label == 1):
            record(desk, small, across, down)
            desk.shared[0] = measure_gap(desk)
            return True
        tries += 1
        if tries == _NUM_TRIES:
            return False
    return False


@kernel
def compose_problem_4(desk, label):
    """A small contour outside of a big one, or inside."""
    _place_big(desk)
    closed = desk.boards[_NOT_INSIDE if label == 1 else _NOT_OUTSIDE]
    return _place_small(desk, 1, closed, closed)


@kernel
def compose_problem_8(desk, label):
    """A contour and its reduced copy inside; or the copy outside, or another contour inside."""
    inside = label == 1 or draw_uniform(desk) < 0.5
    same = label == 1 or not inside
    _place_big(desk)
    slot = desk.order[0] if same else get_part(desk, 1, 48.0, 21.0)
    copy_contour(desk, slot, NUM_BASE_SLOTS, 0.5, 0.0, 0.0, 0.5)
    closed = desk.boards[_NOT_INSIDE if inside else _NOT_OUTSIDE]
    desk.shared[0], desk.shared[1] = inside, same
    for _ in range(_NUM_TRIES):
        across, down = draw_place(desk), draw_place(desk)
        if lies_inside(desk, NUM_BASE_SLOTS, across, down) and not meets(closed, desk, NUM_BASE_SLOTS, across, down):
            record(desk, NUM_BASE_SLOTS, across, down)
            return True
    return False


@kernel
def compose_problem_23(desk, label):
    """Two small contours, both inside or both outside of a big one; or one inside and one outside."""
    inside = draw_uniform(desk) < 0.5
    _place_big(desk)
    desk.shared[0] = 1.0 if label == 1 else 2.0 * inside
    desk.details[0, 0], desk.details[1, 0] = 0.0, inside
    desk.details[2, 0] = inside if label == 0 else not inside
    closed = desk.boards[_NOT_INSIDE if inside else _NOT_OUTSIDE]
    if not _place_small(desk, 1, closed, closed):
        return False
    if label == 1:
        closed = desk.boards[_NOT_OUTSIDE if inside else _NOT_INSIDE]
        return _place_small(desk, 2, closed, closed)
    slot, column, row = desk.placed[1, 0], desk.placed[1, 1], desk.placed[1, 2]
    outline, scratch = desk.boards[_OUTLINE], desk.boards[_SCRATCH]
    clear(outline)
    add_outline(outline, desk, slot, column, row)
    if not flood(scratch, outline, column, row, row + desk.extent[slot, 2], row + desk.extent[slot, 3]):
        # The published program fills all that is round it, so that there is no room for the other one.
        return False
    join(outline, scratch)
    widen(outline)
    copy(scratch, closed)
    join(closed, outline)
    return _place_small(desk, 2, closed, scratch)


@kernel
def _place_big(desk):
    """Place the big contour, and set the boards of where nothing inside and nothing outside of it may have a pixel."""
    start_image(desk)
    slot = get_part(desk, 0, 48.0, 21.0)
    column, row = draw_inside(desk, slot)
    record(desk, slot, column, row)
    outline, inside = desk.boards[_OUTLINE], desk.boards[_INSIDE]
    not_inside, not_outside = desk.boards[_NOT_INSIDE], desk.boards[_NOT_OUTSIDE]
    clear(outline)
    add_outline(outline, desk, slot, column, row)
    flood(inside, outline, column, row, row + desk.extent[slot, 2], row + desk.extent[slot, 3])
    fill_complement(not_inside, inside)
    widen(not_inside)
    copy(not_outside, outline)
    join(not_outside, inside)
    widen(not_outside)
    return column, row


@kernel
def _place_small(desk, part, closed, barred):
    """Try places anywhere, each with a new contour; False when none of the tries succeeds.

    Args:
        desk: to draw on.
        part: that the contour plays.
        closed: where it may not have a pixel.
        barred: where its centre may not be either: what no small contour can go round.
    """
    for _ in range(_NUM_TRIES):
        column, row = draw_place(desk), draw_place(desk)
        if not can_hold(column, row, _SMALL_HOLE) or holds(barred, column, row):
            continue
        slot = get_part(desk, part, _SMALL, _SMALL_HOLE)
        if lies_inside(desk, slot, column, row) and not meets(closed, desk, slot, column, row):
            record(desk, slot, column, row)
            return True
    return False
