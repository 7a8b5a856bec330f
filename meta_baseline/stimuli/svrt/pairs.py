"""Problems of two contours, the one repeated or transformed in class 1: 1, 19, 20, 21; and 9, three of one contour.

Whatever fails, all is drawn anew. A contour is thrown away when its anchors do not fit the place that was drawn for
it, before the rest of it is drawn; two contours that depend on each other through touching only are each drawn until
they keep off the border. Neither changes the distribution.
"""

from __future__ import annotations

import math

from meta_baseline.stimuli.svrt.boards import add_outline, clear, flood
from meta_baseline.stimuli.svrt.contour import anchors_fit, copy_contour, draw_turn, finish_contour, start_contour
from meta_baseline.stimuli.svrt.kernels import NUM_BASE_SLOTS, kernel
from meta_baseline.stimuli.svrt.placing import draw_place, lies_inside, place, start_image
from meta_baseline.stimuli.svrt.randomness import draw_uniform

_FIRST_COPY = NUM_BASE_SLOTS


@kernel
def compose_problem_1(desk, label):
    """Two independent contours, or the same one twice."""
    start_image(desk)
    if label == 0:
        return _place_anywhere(desk, 0, 26.25, 2.5) and _place_anywhere(desk, 1, 26.25, 2.5)
    slot = desk.order[0]
    column1, row1, column2, row2 = draw_place(desk), draw_place(desk), draw_place(desk), draw_place(desk)
    if not desk.fixed:
        if not start_contour(desk, 26.25, 2.5):
            return False
        turn = draw_turn(desk)
        if not (anchors_fit(desk, 1.0, turn, 1, column1, row1) and anchors_fit(desk, 1.0, turn, 1, column2, row2)):
            return False
        if not finish_contour(desk, 26.25, 2.5, turn, slot):
            return False
    return place(desk, slot, column1, row1) and place(desk, slot, column2, row2)


@kernel
def compose_problem_9(desk, label):
    """Two small and one big copy of a contour on a line: the big one in the middle, or at an end."""
    start_image(desk)
    column1, row1, column2, row2 = draw_place(desk), draw_place(desk), draw_place(desk), draw_place(desk)
    share = 0.25 + 0.5 * draw_uniform(desk)
    middle, centre = int(share * column1 + (1 - share) * column2), int(share * row1 + (1 - share) * row2)
    if label == 1:
        column2, row2, middle, centre = middle, centre, column2, row2
    slot = desk.order[0]
    if not desk.fixed:
        if not start_contour(desk, 21.0, 2.0):
            return False
        turn = draw_turn(desk)
        if not (
            anchors_fit(desk, 1.0, turn, 1, middle, centre)
            and anchors_fit(desk, 0.5, turn, 1, column1, row1)
            and anchors_fit(desk, 0.5, turn, 1, column2, row2)
            and finish_contour(desk, 21.0, 2.0, turn, slot)
        ):
            return False
    if not lies_inside(desk, slot, middle, centre):
        return False
    copy_contour(desk, slot, _FIRST_COPY, 0.5, 0.0, 0.0, 0.5)
    for number in range(3):
        desk.details[number, 0] = 0.5 if number < 2 else 1.0
    if not (
        place(desk, _FIRST_COPY, column1, row1)
        and place(desk, _FIRST_COPY, column2, row2)
        and place(desk, slot, middle, centre)
    ):
        return False
    # Each contour is filled before the next one is placed; where that fills what is round it, nothing else fits.
    outline, extent = desk.boards[1], desk.extent[_FIRST_COPY]
    clear(outline)
    add_outline(outline, desk, _FIRST_COPY, column1, row1)
    return flood(desk.boards[2], outline, column1, row1, row1 + extent[2], row1 + extent[3])


@kernel
def compose_problem_19(desk, label, turned):
    """Two contours of different sizes, independent or the same; also turned in problem 21."""
    start_image(desk)
    if desk.fixed:
        largest = desk.scale[0]
        scale1, scale2 = largest, 1.0 + (largest - 1.0) * draw_uniform(desk)
        if draw_uniform(desk) < 0.5:
            scale1, scale2 = scale2, scale1
    else:
        scale1, scale2 = 1.0 + 3.0 * draw_uniform(desk), 1.0 + 3.0 * draw_uniform(desk)
        largest = max(scale1, scale2)
        desk.scale[0] = largest
    for number in range(2):
        desk.details[number, 0] = scale1 if number == 0 else scale2
        desk.details[number, 1] = draw_turn(desk) if turned else 0.0
        desk.spot[number, 0], desk.spot[number, 1] = draw_place(desk), draw_place(desk)
    for number in range(2):
        slot = desk.order[0 if label == 1 else number]
        if not desk.fixed and (number == 0 or label == 0):
            if not start_contour(desk, 10.5 * largest, largest):
                return False
            turn = draw_turn(desk)
            for shown in range(number, 2 if label == 1 else number + 1):
                scale, angle = desk.details[shown, 0] / largest, desk.details[shown, 1] + turn
                if not anchors_fit(desk, scale, angle, 1, desk.spot[shown, 0], desk.spot[shown, 1]):
                    return False
            if not finish_contour(desk, 10.5 * largest, largest, turn, slot):
                return False
        scale, angle = desk.details[number, 0] / largest, desk.details[number, 1]
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        copy_contour(desk, slot, _FIRST_COPY + number, cosine, -sine, sine, cosine)
        if not place(desk, _FIRST_COPY + number, desk.spot[number, 0], desk.spot[number, 1]):
            return False
    return True


@kernel
def compose_problem_20(desk, label):
    """Two independent contours, or one and its mirror image across the line halfway between."""
    start_image(desk)
    if label == 0:
        return _place_anywhere(desk, 0, 16.0, 2.0) and _place_anywhere(desk, 1, 16.0, 2.0)
    slot = desk.order[0]
    column1, row1, column2, row2 = draw_place(desk), draw_place(desk), draw_place(desk), draw_place(desk)
    across, down = column2 - column1, row2 - row1
    if across == 0 and down == 0:
        return False
    # Mirroring negates the component along the way from one to the other: an angle of 2 phi, where phi is the axis.
    angle = 2.0 * math.atan2(across, -down)
    if not desk.fixed:
        if not start_contour(desk, 16.0, 2.0):
            return False
        turn = draw_turn(desk)
        if not (
            anchors_fit(desk, 1.0, turn, 1, column1, row1)
            and anchors_fit(desk, 1.0, angle - turn, -1, column2, row2)
            and finish_contour(desk, 16.0, 2.0, turn, slot)
        ):
            return False
    if not place(desk, slot, column1, row1):
        return False
    cosine, sine = math.cos(angle), math.sin(angle)
    copy_contour(desk, slot, _FIRST_COPY, cosine, sine, sine, -cosine)
    return place(desk, _FIRST_COPY, column2, row2)


@kernel
def _place_anywhere(desk, part, radius, hole):
    slot = desk.order[part]
    if desk.fixed:
        return place(desk, slot, draw_place(desk), draw_place(desk))
    while True:
        column, row = draw_place(desk), draw_place(desk)
        if not start_contour(desk, radius, hole):
            continue
        turn = draw_turn(desk)
        if (
            anchors_fit(desk, 1.0, turn, 1, column, row)
            and finish_contour(desk, radius, hole, turn, slot)
            and lies_inside(desk, slot, column, row)
        ):
            return place(desk, slot, column, row)
