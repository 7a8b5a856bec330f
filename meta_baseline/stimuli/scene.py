"""A drawn image together with what was drawn: the place of every latent, whatever the task.

Objects are numbered from left to right (the upper one first where two are equally far left), because the order in
which a generator happened to draw them cannot be seen in an image and so could never be decoded from it.
Positions and sizes are those of an object's bounding box, in px of the 128 px canvas: one meaning for every task, and
one that can also be measured on images that come without latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import atan2, degrees, dist, hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import Box

Latents = dict[str, float | int]

SHARED_LATENTS = ("same", "distance", "angle", "size_ratio", "ink")
SHARED_LATENTS_OF_MANY = ("same", "num_objects", "distance", "distance_min", "size_ratio", "ink")
OBJECT_LATENTS = ("x", "y", "width", "height", "size")


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """One object of an image: its bounding box in px, and what the task knows about it besides."""

    box: Box
    details: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image with its objects in drawing order, and what they have in common.

    Attributes:
        image: uint8, grey [H, W] or RGB [H, W, 3], white 255.
        objects: two or more.
        shared: latents of the image as a whole, e.g. the line width.
    """

    image: NDArray[np.uint8]
    objects: tuple[PlacedObject, ...]
    shared: Mapping[str, float | int] = field(default_factory=dict)


def read_latents(scene: Scene, label: int) -> Latents:
    """Every latent of a scene by name.

    Returns:
        same (0 or 1); x1, y1, x2, y2 (centres, px); width1, height1, size1, ... (px; size is the square root of the
        box's area); distance (px between the centres); angle of the line from object 1 to 2 (degrees in [-90, 90],
        0 level, positive downwards); size_ratio (smaller over larger, in (0, 1]); ink (number of pixels that are not
        white); then the task's own latents of each object, numbered in the same way, and its shared ones. Where there
        are more than two objects: num_objects, distance as the mean over all pairs, distance_min as the least, and
        size_ratio of the smallest to the largest; no angle.
    """
    white = (scene.image == 255) if scene.image.ndim == 2 else (scene.image == 255).all(axis=2)
    return {
        "same": label,
        **describe_objects(scene.objects),
        "ink": int(white.size - np.count_nonzero(white)),
        **scene.shared,
    }


def describe_pair(first: PlacedObject, second: PlacedObject) -> Latents:
    """Position, size and details of two objects, the left one as object 1, and how they lie to each other."""
    return describe_objects((first, second))


def describe_objects(objects: Sequence[PlacedObject]) -> Latents:
    """Position, size and details of two or more objects, numbered left to right, and how they lie to each other."""
    latents: Latents = {}
    for number, thing in enumerate(sorted(objects, key=lambda thing: _centre(thing.box)), start=1):
        x, y = _centre(thing.box)
        width, height = thing.box[2:]
        own = {"x": x, "y": y, "width": width, "height": height, "size": sqrt(width * height), **thing.details}
        latents |= {f"{name}{number}": value for name, value in own.items()}
    sizes = [latents[f"size{number}"] for number in range(1, len(objects) + 1)]
    ratio = {"size_ratio": min(sizes) / max(sizes)}
    if len(objects) == 2:
        dx, dy = latents["x2"] - latents["x1"], latents["y2"] - latents["y1"]
        return latents | {"distance": hypot(dx, dy), "angle": degrees(atan2(dy, dx))} | ratio
    distances = [dist(_centre(one.box), _centre(other.box)) for one, other in combinations(objects, 2)]
    nearest: Latents = {"distance": sum(distances) / len(distances), "distance_min": min(distances)}
    return latents | {"num_objects": len(objects)} | nearest | ratio


def list_latents(own: tuple[str, ...] = (), shared: tuple[str, ...] = (), *, num_objects: int = 2) -> tuple[str, ...]:
    """Names of the latents that ``read_latents`` gives for a task with these latents of its own."""
    numbers = range(1, num_objects + 1)
    objects = tuple(f"{name}{number}" for number in numbers for name in (*OBJECT_LATENTS, *own))
    return ("same", *objects, *(SHARED_LATENTS if num_objects == 2 else SHARED_LATENTS_OF_MANY)[1:], *shared)


def _centre(box: Box) -> tuple[float, float]:
    left, top, width, height = box
    return left + (width - 1) / 2, top + (height - 1) / 2
