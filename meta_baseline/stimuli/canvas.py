"""The sheet that stimuli are drawn on: 128 x 128 pixels, ink first, paper last.

Drawing happens on an ink mask (255 where there is ink, 0 elsewhere) because OpenCV finds contours of what is not
zero. Turning the mask into a picture, black on white or in a colour, is the last step.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CANVAS_SIZE = 128

Ink = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, width, height of an object in px, both edges included in the width and height."""


def blank_ink() -> Ink:
    """An ink mask [H, W] without ink."""
    return np.zeros((CANVAS_SIZE, CANVAS_SIZE), np.uint8)


def black_on_white(ink: Ink) -> NDArray[np.uint8]:
    """Grey image [H, W]: 0 where there is ink, 255 elsewhere."""
    return cv2.bitwise_not(ink)  # pyright: ignore[reportReturnType]


def colour_on_white(ink: Ink, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """RGB image [H, W, 3] with the ink in one colour."""
    image = np.full((*ink.shape, 3), 255, np.uint8)
    image[ink != 0] = colour
    return image


def to_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma [H, W] of an RGB image (ITU-R BT.601, rounded); a grey image is returned as it is."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # pyright: ignore[reportReturnType]


def shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The image at ``size`` x ``size`` px by area averaging, which keeps the amount of ink."""
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)  # pyright: ignore[reportReturnType]


def boxes_are_clear(first: Box, second: Box) -> bool:
    """True when at least one white pixel lies between two boxes, so that what is in them cannot touch or nest."""
    left1, top1, width1, height1 = first
    left2, top2, width2, height2 = second
    return (
        left1 + width1 < left2
        or left2 + width2 < left1
        or top1 + height1 < top2
        or top2 + height2 < top1
    )  # fmt: skip


def has_two_outlines(ink: Ink) -> bool:
    """True when the ink has exactly two external contours: two objects, neither touching nor inside the other.

    The published rule thresholds the grey image with Otsu's method first. On an image of two grey levels that
    gives back the ink whenever the ink is not as light as the paper, so the mask is used directly.
    """
    contours, _ = cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return len(contours) == 2
