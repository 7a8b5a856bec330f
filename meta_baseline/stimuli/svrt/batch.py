"""Many images of a problem at once: the one kernel that is entered from Python, and the arrays it fills.

Every image has a stream of random numbers of its own, started at its key; with identities, the contours have one
started at the key of the identity. An identity is the contours of an image of class 0, tested to have room in class 1
whichever contour plays which part; every image deals the parts anew among contours that the rule treats alike, so that
class 1 repeats each of them as often as the others.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.svrt.changes import NO_CHANGE, change_image
from meta_baseline.stimuli.svrt.contact import compose_problem_3, compose_problem_11, compose_problem_13
from meta_baseline.stimuli.svrt.containment import (
    compose_problem_2,
    compose_problem_4,
    compose_problem_8,
    compose_problem_23,
)
from meta_baseline.stimuli.svrt.contour import draw_contour
from meta_baseline.stimuli.svrt.kernels import NUM_BASE_SLOTS, NUM_DETAILS, kernel, new_desk
from meta_baseline.stimuli.svrt.pairs import (
    compose_problem_1,
    compose_problem_9,
    compose_problem_19,
    compose_problem_20,
)
from meta_baseline.stimuli.svrt.patterns import (
    compose_halves,
    compose_problem_6,
    compose_problem_10,
    compose_problem_12,
    compose_problem_14,
    compose_problem_15,
    compose_problem_17,
    compose_problem_22,
    compose_scattered,
)
from meta_baseline.stimuli.svrt.placing import paint
from meta_baseline.stimuli.svrt.randomness import draw_uniform, seed_generator

_MAX_TRIES_OF_IDENTITY = 1000


@kernel
def compose(desk, problem, label):
    """One attempt at an image; False where the rule throws it away."""
    if problem == 1:
        return compose_problem_1(desk, label)
    if problem == 2:
        return compose_problem_2(desk, label)
    if problem == 3:
        return compose_problem_3(desk, label)
    if problem == 4:
        return compose_problem_4(desk, label)
    if problem == 5:
        return compose_scattered(desk, 4, 2 if label == 1 else 1)
    if problem == 6:
        return compose_problem_6(desk, label)
    if problem == 7:
        return compose_scattered(desk, 6, 3 if label == 1 else 2)
    if problem == 8:
        return compose_problem_8(desk, label)
    if problem == 9:
        return compose_problem_9(desk, label)
    if problem == 10:
        return compose_problem_10(desk, label)
    if problem == 11:
        return compose_problem_11(desk, label)
    if problem == 12:
        return compose_problem_12(desk, label)
    if problem == 13:
        return compose_problem_13(desk, label)
    if problem == 14:
        return compose_problem_14(desk, label)
    if problem == 15:
        return compose_problem_15(desk, label)
    if problem == 16:
        return compose_halves(desk, label == 1, True)
    if problem == 17:
        return compose_problem_17(desk, label)
    if problem == 18:
        return compose_halves(desk, False, label == 1)
    if problem == 19:
        return compose_problem_19(desk, label, False)
    if problem == 20:
        return compose_problem_20(desk, label)
    if problem == 21:
        return compose_problem_19(desk, label, True)
    if problem == 22:
        return compose_problem_22(desk, label)
    return compose_problem_23(desk, label)


@kernel
def _draw_contours(desk, sizes):
    """Contours that may become an identity, each one playing its own part."""
    desk.scale[0] = max(1.0 + 3.0 * draw_uniform(desk), 1.0 + 3.0 * draw_uniform(desk))
    for part in range(sizes.shape[0]):
        desk.order[part] = part
        # Problems 19 and 21 draw their contours at the scale of the larger object.
        scale = desk.scale[0] if sizes[part, 0] == 10.5 else 1.0
        draw_contour(desk, part, scale * sizes[part, 0], scale * sizes[part, 1])


@kernel
def _deal_parts(desk, num_alike):
    """The parts of an image, by chance among contours that the rule treats alike where these are an identity's."""
    for part in range(NUM_BASE_SLOTS):
        desk.order[part] = part
    if desk.fixed:
        for part in range(num_alike - 1):
            other = part + int((num_alike - part) * draw_uniform(desk))
            desk.order[part], desk.order[other] = desk.order[other], desk.order[part]


@kernel
def _finish(desk, row, images, boxes, details, shared, ink):
    paint(desk, images[row], boxes[row], ink[row : row + 1])
    for detail in range(NUM_DETAILS):
        shared[row, detail] = desk.shared[detail]
        for thing in range(details.shape[1]):
            details[row, thing, detail] = desk.details[thing, detail]


@cache
def _compile_batch(version: str) -> Any:
    # All that calls ``compose`` stands here: a kernel that did would be compiled with the whole of it once more.
    def draw_images(
        desk, problem, sizes, num_alike, change, labels, keys, identity_keys, order, images, boxes, details, shared, ink
    ):
        _ = version  # numba's cache notices a change in this function alone; so it holds what stands for the others
        desk.fixed = identity_keys.size > 0
        previous = -1
        for number in order:
            found = not desk.fixed or (previous >= 0 and identity_keys[number] == identity_keys[previous])
            if not found:
                seed_generator(desk, identity_keys[number])
            while not found:
                _draw_contours(desk, sizes)
                found = compose(desk, problem, 0)
                for turn in range(num_alike):
                    for part in range(num_alike):
                        desk.order[part] = (part + turn) % num_alike
                    tries = 0
                    while found and not compose(desk, problem, 1):
                        tries += 1
                        found = tries < _MAX_TRIES_OF_IDENTITY
            previous = number
            seed_generator(desk, keys[number])
            _deal_parts(desk, num_alike)
            done = False
            while not done:
                if compose(desk, problem, labels[number]):
                    _finish(desk, number, images, boxes, details, shared, ink)
                    done = change == NO_CHANGE
                    if not done and change_image(desk, problem, change):
                        _finish(desk, labels.size + number, images, boxes, details, shared, ink)
                        done = True

    try:
        return numba.njit(cache=True)(draw_images)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile again in every process.
        return numba.njit(draw_images)


@contextmanager
def _pause_collector() -> Iterator[None]:
    """Compiling makes millions of small objects that stay; looking for garbage among them takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _hash_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def draw_images(
    problem: int,
    sizes: NDArray[np.float64],
    num_alike: int,
    num_objects: int,
    labels: NDArray[np.int64],
    keys: NDArray[np.uint64],
    identity_keys: NDArray[np.uint64],
    change: int = NO_CHANGE,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Images of one problem.

    Args:
        problem: its number.
        sizes: radius and hole in px of the contours of an identity [P, 2].
        num_alike: how many of them, the first ones, the rule treats alike.
        num_objects: in an image.
        labels, keys: of the images [N].
        identity_keys: of the images [N]; empty for contours of the images' own.
        change: by which each image becomes the first of a minimal pair; see ``changes``.

    Returns:
        images [N, H, W], black on white; boxes [N, K, 4]; the problem's details of each object [N, K, 2] and of the
        image [N, 2]; number of black pixels [N]. Of minimal pairs the N second images come after the N first ones.
    """
    draw = _compile_batch(_hash_sources())
    size = len(labels) * (1 if change == NO_CHANGE else 2)
    images = np.empty((size, CANVAS_SIZE, CANVAS_SIZE), np.uint8)
    boxes, details = np.empty((size, num_objects, 4), np.int64), np.empty((size, num_objects, NUM_DETAILS))
    shared, ink = np.empty((size, NUM_DETAILS)), np.empty(size, np.int64)
    # Images of one identity come after each other, so that it is drawn once.
    order = np.argsort(identity_keys, kind="stable") if identity_keys.size else np.arange(len(labels))
    with nullcontext() if draw.signatures else _pause_collector():
        draw(
            new_desk(), problem, sizes, num_alike, change, labels, keys, identity_keys, order,
            images, boxes, details, shared, ink,
        )  # fmt: skip
    return images, boxes, details, shared, ink
