"""How the drawing code is compiled, and where its state lives: one desk per thread.

Importing any module that uses this one imports numba, which takes a moment; only code that is about to draw contours
does. Kernels compile when the one that is entered from Python does (``batch.py``), which alone is cached.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload

from meta_baseline.stimuli.canvas import CANVAS_SIZE

NUM_BASE_SLOTS = 4
"""Contours of an identity; the slots after them hold scaled, turned and mirrored copies."""

MAX_OBJECTS = 6
NUM_DETAILS = 2
POOL_SIZE = 128
MAX_VERTICES = 12_000

_NUM_SLOTS = 8
_WITHOUT_WRAPPERS: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

DESK = np.dtype(
    [
        ("random_state", np.uint64, (4,)),  # of xoshiro256++
        ("pool_u", np.float64, (POOL_SIZE,)),  # points of the unit disc, drawn ahead
        ("pool_v", np.float64, (POOL_SIZE,)),
        ("pool_next", np.int64),
        ("fixed", np.bool_),  # whether the contours are those of an identity, not to be drawn again
        ("order", np.int64, (NUM_BASE_SLOTS,)),  # which base slot plays which part
        # The contour in the making: its ring of vertices, coarse then finer, and chords still to be halved.
        ("ring_x", np.float64, (2, 64)),
        ("ring_y", np.float64, (2, 64)),
        ("ring_arcs", np.int64, (5,)),
        ("stack_x", np.float64, (64,)),
        ("stack_y", np.float64, (64,)),
        ("stack_end", np.int64, (64,)),
        ("stack_column", np.int64, (64,)),
        ("stack_row", np.int64, (64,)),
        # Finished contours, round the origin in px: vertices, first vertex of each arc, pixels, and their extent.
        ("x", np.float64, (_NUM_SLOTS, MAX_VERTICES)),
        ("y", np.float64, (_NUM_SLOTS, MAX_VERTICES)),
        ("arcs", np.int64, (_NUM_SLOTS, 5)),
        ("columns", np.int16, (_NUM_SLOTS, MAX_VERTICES)),
        ("rows", np.int16, (_NUM_SLOTS, MAX_VERTICES)),
        ("num_pixels", np.int64, (_NUM_SLOTS,)),
        ("extent", np.int64, (_NUM_SLOTS, 4)),  # first and last column, first and last row
        # The image in the making: places considered, objects placed, and boards of pixels (see boards.py).
        ("spot", np.int64, (MAX_OBJECTS, 2)),
        ("num_placed", np.int64),
        ("num_marked", np.int64),  # how many of the placed objects are on the board of what is taken
        ("placed", np.int64, (MAX_OBJECTS, 3)),  # slot, column, row
        ("details", np.float64, (MAX_OBJECTS, NUM_DETAILS)),
        ("shared", np.float64, (2,)),
        ("scale", np.float64, (2,)),  # problems 19 and 21
        ("boards", np.uint64, (7, CANVAS_SIZE, 2)),  # the first: ink of marked objects and the pixels round it
    ]
)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function known to numba, for kernels to call; it is compiled together with the one that is entered.

    As an overload of itself rather than by ``njit``, which would compile it anew for every constant given to it.
    """

    def choose_implementation(*_: Any) -> Callable[..., Any]:
        return function

    choose_implementation.__signature__ = inspect.signature(function)  # pyright: ignore[reportFunctionMemberAccess]
    overload(function, jit_options=_WITHOUT_WRAPPERS)(choose_implementation)
    return function


def new_desk() -> np.void:
    """A desk to draw on."""
    return np.zeros(1, DESK)[0]
