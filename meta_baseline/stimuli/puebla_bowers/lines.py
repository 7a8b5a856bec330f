"""Task lines: two open polylines along the sides of two squares; "different" shows one and its mirror image.

There is no shape besides the size: every image of one size and class shows the same two figures.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from meta_baseline.stimuli.canvas import black_on_white, blank_ink, boxes_are_clear, has_two_outlines
from meta_baseline.stimuli.scene import PlacedObject, Scene

_MIN_SIZE, _MAX_SIZE = 10, 24
# In units of the size; the second is the first mirrored top to bottom.
_FIGURE = np.array([(0, 1), (0, 0), (1, 0), (1, 1), (1, 2), (2, 2), (2, 1)], np.int32)
_MIRRORED = np.array([(0, 1), (0, 2), (1, 2), (1, 1), (1, 0), (2, 0), (2, 1)], np.int32)


def draw_shapes(rng: Generator) -> int:
    """Side of the squares in px, 10 to 24."""
    return _MIN_SIZE + int(rng.random() * (_MAX_SIZE - _MIN_SIZE + 1))


def compose(rng: Generator, label: int, size: int | None = None) -> Scene | None:
    """Both figures at uniform places, of this size or a new one; None when they touch."""
    size = size or draw_shapes(rng)
    x1, y1, x2, y2 = (1 + int(value * (126 - 2 * size)) for value in rng.random(4).tolist())
    ink, extent = blank_ink(), 2 * size + 1
    cv2.polylines(ink, [_FIGURE * size + np.array((x1, y1), np.int32)], False, 255)
    cv2.polylines(ink, [(_FIGURE if label else _MIRRORED) * size + np.array((x2, y2), np.int32)], False, 255)
    box1, box2 = (x1, y1, extent, extent), (x2, y2, extent, extent)
    if not (boxes_are_clear(box1, box2) or has_two_outlines(ink)):
        return None
    objects = (PlacedObject(box1, {"mirrored": 0}), PlacedObject(box2, {"mirrored": 1 - label}))
    return Scene(black_on_white(ink), objects, {"side": size})
