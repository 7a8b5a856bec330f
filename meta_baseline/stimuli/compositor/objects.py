"""Object images: cut to the object, each one different, and dealt out to train, val and test once and for all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meta_baseline.errors import StimulusError
from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.generation import SPLITS, Split

SHARES: dict[Split, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
"""How the objects are dealt out; every split gets two at least."""

MIN_OBJECTS = 2 * len(SPLITS)

MAX_SIDE = 2 * CANVAS_SIZE
"""Of the pictures that are kept; objects in scenes are a quarter of that at most."""


@dataclass(frozen=True, kw_only=True)
class ObjectImages:
    """Pictures of objects; an object's number is its position here.

    Attributes:
        names: one for each object, as the file was called.
        pixels: RGB uint8 [H, W, 3] of each object, white paper cut away on all sides.
        digests: SHA-256 of each object's pixels.
    """

    names: tuple[str, ...]
    pixels: tuple[NDArray[np.uint8], ...]
    digests: tuple[str, ...]


def build_objects(images: Iterable[tuple[str, NDArray[np.uint8]]]) -> ObjectImages:
    """Objects from names and RGB images uint8 [H, W, 3] on white paper, in the order of the names.

    Large pictures are averaged down to what scenes can show, one at a time.

    Raises:
        StimulusError: for a picture without an object, two pictures of one object, or too few objects.
    """
    found: list[tuple[str, str, NDArray[np.uint8]]] = []
    seen: dict[str, str] = {}
    for name, image in images:
        pixels = _cut_out(name, image)
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        if digest in seen:
            raise StimulusError(
                f"{seen[digest]} and {name} show the same object, and would be called different. Remove one."
            )
        seen[digest] = name
        found.append((name, digest, pixels))
    if len(found) < MIN_OBJECTS:
        raise StimulusError(
            f"{len(found)} object images are too few: train, val and test need two objects each of their own. "
            f"Give {MIN_OBJECTS} or more."
        )
    names, digests, pictures = zip(*sorted(found, key=lambda one: one[0]))
    return ObjectImages(names=names, pixels=pictures, digests=digests)


def split_objects(objects: ObjectImages) -> dict[Split, tuple[int, ...]]:
    """Numbers of the objects of each split: no object is in two.

    The order in which they are dealt out is that of their pixels' digests: it depends on neither a seed nor the file
    names, so that an object of "test" is never in the "train" of another seed.
    """
    order = sorted(range(len(objects.digests)), key=lambda number: objects.digests[number])
    counts = {split: max(2, int(share * len(order))) for split, share in SHARES.items()}
    counts["train"] = len(order) - counts["val"] - counts["test"]
    dealt, start = {}, 0
    for split in SPLITS:
        dealt[split] = tuple(sorted(order[start : start + counts[split]]))
        start += counts[split]
    return dealt


def find_extent(image: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of what is not white in an RGB image; None where everything is."""
    ink = (image != 255).any(axis=2)
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def cut(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """What lies in a box."""
    left, top, width, height = box
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _cut_out(name: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    box = find_extent(image)
    if box is None:
        raise StimulusError(f"{name} shows no object: every pixel is white. Remove it.")
    width, height = box[2:]
    if max(width, height) <= MAX_SIDE:
        return cut(image, box)
    size = (max(1, width * MAX_SIDE // max(width, height)), max(1, height * MAX_SIDE // max(width, height)))
    return cv2.resize(cut(image, box), size, interpolation=cv2.INTER_AREA)  # pyright: ignore[reportReturnType]
