"""Two pictured objects on white paper: the same object twice, or two different ones.

Objects are chosen first, placed afterwards, and only places are drawn again where objects would touch: so neither
class favours small or narrow objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from meta_baseline.errors import UsageError
from meta_baseline.stimuli.canvas import CANVAS_SIZE, Box, boxes_are_clear, shrink
from meta_baseline.stimuli.compositor.objects import ObjectImages, cut, find_extent, split_objects
from meta_baseline.stimuli.generation import SPLITS, Split, Stimulus
from meta_baseline.stimuli.scene import Latents, PlacedObject, Scene, read_latents

Choice = Literal["none", "same", "each"]

CODE = 301
"""Keys the generators beside those of the tasks in the registry."""

LARGEST = CANVAS_SIZE // 2 - 2
"""Two objects of this extent always find room beside each other."""

_WHITE = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Variety:
    """In what objects vary besides their places.

    Attributes:
        object_size: the longer side of an object in px of the 128 px canvas, before it is scaled.
        rotation: "none", "same" for one angle for both objects of an image, "each" for one angle each; uniform.
        scale: the same for the factor of the size.
        scale_range: from which factors are drawn, uniformly.
    """

    object_size: int = 40
    rotation: Choice = "none"
    scale: Choice = "none"
    scale_range: tuple[float, float] = (0.45, 0.9)

    def check(self) -> None:
        """Refuse what does not fit the canvas.

        Raises:
            UsageError: naming the size or range and what it may be.
        """
        low, high = self.scale_range
        if not 0 < low <= high <= 1:
            raise UsageError(f"Cannot scale objects by {low} to {high}. Choose factors in (0, 1], the smaller first.")
        # A turned square reaches as far as its diagonal, and a pixel more on either side by interpolation.
        reach = LARGEST if self.rotation == "none" else (LARGEST - 2) / sqrt(2)
        largest = int(reach / (high if self.scale != "none" else 1))
        smallest = ceil(4 / (low if self.scale != "none" else 1))
        if not smallest <= self.object_size <= largest:
            raise UsageError(f"Cannot place objects of {self.object_size} px. Choose {smallest} to {largest} px.")


@dataclass(frozen=True, kw_only=True)
class ObjectScenes:
    """Scenes of some objects that share seed, split and size; image ``index`` has label ``index % 2``.

    An image depends on the objects, the variety, seed, split, its index and ``identities`` alone.

    Attributes:
        objects: those of all splits.
        identities: into how many groups the objects of the split are dealt out; image ``index`` shows objects of group
            ``(index // 2) % identities``, its identity, so that folds by identity share no object. None for any two
            objects of the split, and an identity of each image's own.
    """

    objects: ObjectImages
    variety: Variety = Variety()
    seed: int = 0
    split: Split = "test"
    image_size: int = CANVAS_SIZE
    identities: int | None = None

    def check(self) -> None:
        """Refuse numbers that no scenes can be made from.

        Raises:
            UsageError: naming the number and what it may be.
        """
        self.variety.check()
        most = len(self._numbers) // 2
        if self.identities is not None and not 1 <= self.identities <= most:
            raise UsageError(
                f"Cannot deal out the objects of {self.split} to {self.identities} identities. Choose 1 to {most}: "
                "each needs two objects."
            )

    def compose(self, index: int) -> Stimulus:
        """One image at the full size, RGB [128, 128, 3], with its latents.

        Besides those of every image of two objects: object (its number), rotation (degrees) and scale of each.
        """
        key = SeedSequence(self.seed, spawn_key=(SPLITS.index(self.split), CODE, index))
        rng = np.random.Generator(np.random.PCG64(key))
        label, identity = index % 2, index if self.identities is None else (index // 2) % self.identities
        numbers = self._numbers
        if self.identities is not None:
            numbers = numbers[identity :: self.identities]
        first, second = (int(numbers[k]) for k in rng.choice(len(numbers), size=2, replace=False))
        scene = _compose(rng, self.objects, self.variety, (first, first if label else second))
        return Stimulus(image=scene.image, label=label, latents=read_latents(scene, label), identity=identity)

    def draw(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]:
        """RGB images uint8 [N, H, W, 3] and the columns of their table [N]: label, identity, seed, index, latents."""
        images: list[NDArray[np.uint8]] = []
        rows: list[Latents] = []
        for index in indices:
            stimulus = self.compose(index)
            images.append(shrink(stimulus.image, self.image_size))
            key: Latents = {"label": stimulus.label, "identity": stimulus.identity, "seed": self.seed, "index": index}
            rows.append(key | stimulus.latents)
        table = pd.DataFrame(rows)
        return np.stack(images), {str(name): table[name].to_numpy() for name in table}

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        return split_objects(self.objects)[self.split]


def _compose(rng: Generator, objects: ObjectImages, variety: Variety, numbers: tuple[int, int]) -> Scene:
    angles = _draw_two(rng, variety.rotation, 0.0, 360.0, otherwise=0.0)
    scales = _draw_two(rng, variety.scale, *variety.scale_range, otherwise=1.0)
    pictures = [
        _transform(objects.pixels[number], variety.object_size * scale, angle)
        for number, scale, angle in zip(numbers, scales, angles)
    ]
    while True:
        first, second = (_draw_place(rng, picture) for picture in pictures)
        if boxes_are_clear(first, second):
            break
    image = np.full((CANVAS_SIZE, CANVAS_SIZE, 3), 255, np.uint8)
    placed: list[PlacedObject] = []
    for box, picture, number, angle, scale in zip((first, second), pictures, numbers, angles, scales):
        left, top, width, height = box
        image[top : top + height, left : left + width] = picture
        placed.append(PlacedObject(box, {"object": number, "rotation": angle, "scale": scale}))
    return Scene(image, (placed[0], placed[1]))


def _draw_two(rng: Generator, choice: Choice, low: float, high: float, *, otherwise: float) -> tuple[float, float]:
    if choice == "none":
        return otherwise, otherwise
    first, second = rng.uniform(low, high, 2).tolist()
    return first, first if choice == "same" else second


def _transform(image: NDArray[np.uint8], longest: float, angle: float) -> NDArray[np.uint8]:
    # Averaging first, then turning: a turn with a change of size in one step would skip pixels of large pictures.
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(image, size, interpolation=method)
    if angle:
        side = ceil(sqrt(size[0] ** 2 + size[1] ** 2)) + 2
        turn = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), angle, 1.0)
        turn[:, 2] += (side - size[0]) / 2, (side - size[1]) / 2
        picture = cv2.warpAffine(
            picture, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_WHITE
        )
    box = find_extent(picture)  # pyright: ignore[reportArgumentType]
    # A faint object can fade to white when it is made small; its place is kept all the same.
    return cut(picture, box or (0, 0, *size))  # pyright: ignore[reportArgumentType]


def _draw_place(rng: Generator, picture: NDArray[np.uint8]) -> Box:
    height, width = picture.shape[:2]
    left, top = (1 + int(rng.random() * (CANVAS_SIZE - 1 - extent)) for extent in (width, height))
    return left, top, width, height
