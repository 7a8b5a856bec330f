"""Latents measured from pixels, for images that come without: what can be said without knowing the generator.

The names mean the same as those of generated stimuli, so that probes of one can be read beside probes of the other.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from meta_baseline.stimuli.canvas import to_grey
from meta_baseline.stimuli.scene import Latents, PlacedObject, describe_pair


def measure_latents(image: UInt8[ndarray, "H W 3"]) -> Latents:
    """Ink, number of 8-connected components, and the boxes of the two largest components and how they lie.

    Ink is every pixel whose grey level is not the most frequent one. With fewer than two components only ``ink`` and
    ``num_components`` come back.
    """
    grey = to_grey(image)
    paper = np.bincount(grey.ravel(), minlength=256).argmax()
    ink = (grey != paper).astype(np.uint8)
    count, _, statistics, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    components = statistics[1:]
    latents: Latents = {
        "ink": int(components[:, cv2.CC_STAT_AREA].sum()),
        "num_components": count - 1,
    }
    if len(components) >= 2:
        largest = np.argsort(-components[:, cv2.CC_STAT_AREA], kind="stable")[:2]
        first, second = (PlacedObject(tuple(components[row, :4].tolist())) for row in largest)
        latents |= describe_pair(first, second)
    return latents
