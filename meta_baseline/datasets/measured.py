"""Latents measured from pixels, for images that come without: what can be said without knowing the generator.

The names mean the same as those of generated stimuli, so that probes of one can be read beside probes of the other.
What cannot mean the same has a name of its own: ``num_components`` counts pieces of ink, which need not be objects.
Parts that touch, also by a corner, are one component, and a speck is one too: nothing is left out for being small.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from meta_baseline.stimuli.canvas import to_grey
from meta_baseline.stimuli.scene import Latents, PlacedObject, describe_pair

_WHITE = 255
_SHIFT = 2
_MOST_FOR_SHORT_LABELS = 256 * 256
"""Pixels up to which the number of components, at most one in four, fits 16 bits, which is three times as fast."""


@dataclass(frozen=True, slots=True)
class Components:
    """The 8-connected pieces of ink of one image, K of them.

    Attributes:
        boxes: left, top, width, height and number of ink pixels of each.
        centroids: x and y of each.
        labels: the piece that a pixel belongs to, from 1; 0 for paper.
        grey: the image in grey.
    """

    boxes: Int[ndarray, "K 5"]
    centroids: ndarray
    labels: Int[ndarray, "H W"]
    grey: UInt8[ndarray, "H W"]

    @property
    def areas(self) -> Int[ndarray, " K"]:
        """Ink pixels of each piece."""
        return self.boxes[:, cv2.CC_STAT_AREA]


def find_components(image: UInt8[ndarray, "H W 3"] | UInt8[ndarray, "H W"]) -> Components:
    """The pieces of ink; ink is every pixel whose grey level is not the most frequent one."""
    grey = to_grey(image)
    ink = (grey != _find_paper(grey)).view(np.uint8)
    kind = cv2.CV_16U if grey.size <= _MOST_FOR_SHORT_LABELS else cv2.CV_32S
    _, labels, boxes, centroids = cv2.connectedComponentsWithStatsWithAlgorithm(ink, 8, kind, cv2.CCL_SPAGHETTI)
    return Components(boxes[1:], centroids[1:], labels, grey)


def measure_latents(image: UInt8[ndarray, "H W 3"] | UInt8[ndarray, "H W"], *, overlap: bool = True) -> Latents:
    """What can be measured of the objects of one image.

    Returns:
        ink; num_components; largest_component and smallest_component (px of ink). With two or more components, of the
        two with the most ink, the left one first: x, y, width, height, size, ink with 1 and 2, then distance, angle
        and size_ratio, as ``scene.read_latents`` defines them; and overlap, as ``measure_overlap`` does. Positions and
        sizes are in px of this image.
    """
    return describe_components(find_components(image), overlap=overlap)


def describe_components(components: Components, *, overlap: bool = True) -> Latents:
    """The latents of ``measure_latents``, where components have been found already."""
    areas = components.areas.tolist()
    latents: Latents = {
        "ink": sum(areas),
        "num_components": len(areas),
        "largest_component": max(areas, default=0),
        "smallest_component": min(areas, default=0),
    }
    if len(areas) < 2:
        return latents
    one, other = sorted(range(len(areas)), key=areas.__getitem__, reverse=True)[:2]
    latents |= describe_pair(_place(components, one), _place(components, other))
    if overlap:
        latents["overlap"] = measure_overlap(components, one, other)
    return latents


def measure_overlap(components: Components, one: int, other: int) -> float:
    """How far two pieces cover each other when laid on each other: pixels of both over pixels of either, in [0, 1].

    Centroids are laid on each other, then the best of all whole shifts by up to 2 px is taken (Jaccard 1912, New
    Phytologist 11:37). 1 exactly for one shape at two places; rotated, scaled or mirrored shapes are not matched up.
    """
    (mask1, x1, y1), (mask2, x2, y2) = _cut_out(components, one), _cut_out(components, other)
    height, width = mask2.shape
    # The second piece slides over a sheet that holds the first one where their centroids meet, give or take a shift.
    sheet = np.zeros((height + 2 * _SHIFT, width + 2 * _SHIFT), np.uint8)
    left, top = round(x1 - x2) - _SHIFT, round(y1 - y2) - _SHIFT
    rows = slice(max(top, 0), min(top + sheet.shape[0], mask1.shape[0]))
    columns = slice(max(left, 0), min(left + sheet.shape[1], mask1.shape[1]))
    part = mask1[rows, columns]
    sheet[rows.start - top : rows.start - top + part.shape[0], columns.start - left :][:, : part.shape[1]] = part
    shared = round(float(cv2.matchTemplate(sheet, mask2, cv2.TM_CCORR).max()))
    return shared / (int(components.areas[one]) + int(components.areas[other]) - shared)


def _find_paper(grey: UInt8[ndarray, "H W"]) -> int:
    # Mostly white is mostly so, and counting the other levels would take as long as everything else.
    if 2 * np.count_nonzero(grey == _WHITE) > grey.size:
        return _WHITE
    return int(np.bincount(grey.ravel(), minlength=256).argmax())


def _place(components: Components, number: int) -> PlacedObject:
    left, top, width, height, area = components.boxes[number].tolist()
    return PlacedObject((left, top, width, height), {"ink": area})


def _cut_out(components: Components, number: int) -> tuple[UInt8[ndarray, "H W"], float, float]:
    left, top, width, height, _ = components.boxes[number].tolist()
    x, y = components.centroids[number].tolist()
    piece: Bool[ndarray, "H W"] = components.labels[top : top + height, left : left + width] == number + 1
    return piece.view(np.uint8), x - left, y - top
