"""From an image to its minimal pair: other contours at the same places for the other class, or one object moved."""

from __future__ import annotations

import math

from meta_baseline.stimuli.svrt.contour import copy_contour
from meta_baseline.stimuli.svrt.kernels import NUM_BASE_SLOTS, kernel
from meta_baseline.stimuli.svrt.placing import draw_inside, place, start_image

NO_CHANGE, OTHER_CLASS, OTHER_PLACE = range(3)
_NUM_TRIES = 100


@kernel
def change_image(desk, problem, change):
    """Change the image on the desk; False where the change leaves no room."""
    count = desk.num_placed
    if change == OTHER_PLACE:
        return _place_again(desk, count - 1) and _move_last(desk, count - 1)
    _exchange_contours(desk, problem, count)
    return _place_again(desk, count)


@kernel
def _exchange_contours(desk, problem, count):
    """What class 1 shows at the places of an image of class 0."""
    placed, first = desk.placed, desk.order[0]
    if problem == 16:
        copy_contour(desk, first, NUM_BASE_SLOTS, -1.0, 0.0, 0.0, 1.0)
        for number in range(1, count, 2):
            placed[number, 0] = NUM_BASE_SLOTS
            desk.details[number, 0] = 1
    elif problem == 19 or problem == 21:
        scale, angle = desk.details[1, 0] / desk.scale[0], desk.details[1, 1]
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        copy_contour(desk, first, NUM_BASE_SLOTS + 1, cosine, -sine, sine, cosine)
    elif problem == 20:
        angle = 2.0 * math.atan2(placed[1, 1] - placed[0, 1], placed[0, 2] - placed[1, 2])
        cosine, sine = math.cos(angle), math.sin(angle)
        copy_contour(desk, first, NUM_BASE_SLOTS, cosine, sine, sine, -cosine)
        placed[1, 0] = NUM_BASE_SLOTS
    else:
        per_contour = 2 if problem == 5 else count
        for number in range(count):
            placed[number, 0] = placed[number - number % per_contour, 0]
            desk.details[number, 0] = number // per_contour


@kernel
def _place_again(desk, count):
    """Place the first objects anew where they are."""
    start_image(desk)
    for number in range(count):
        if not place(desk, desk.placed[number, 0], desk.placed[number, 1], desk.placed[number, 2]):
            return False
    return True


@kernel
def _move_last(desk, number):
    slot = desk.placed[number, 0]
    for _ in range(_NUM_TRIES):
        column, row = draw_inside(desk, slot)
        if place(desk, slot, column, row):
            return True
    return False
