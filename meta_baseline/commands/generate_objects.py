"""``--objects``: a user's own object images as a set of same-different scenes, to be exported like any other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta_baseline.commits import hash_values
from meta_baseline.datasets.objects import read_objects
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.stimuli import Split, Task
from meta_baseline.stimuli.compositor import ObjectImages, ObjectScenes, Variety, list_objects
from meta_baseline.stimuli.compositor.scenes import CODE
from meta_baseline.stimuli.generation import SPLITS
from meta_baseline.stimuli.scene import list_latents
from meta_baseline.stimuli.stimulus_set import Columns

_ORDER_STREAM = 2


def _refuse(*_: Any) -> Any:
    raise AssertionError("scenes of objects are drawn from their pictures")


_ABOUT = Task(
    name="objects",
    code=CODE,
    rule="Two pictured objects that do not overlap; in class 0 they are different ones.",
    class_1_means="both objects are the same",
    shortcuts=("equal objects have equal sizes and colours",),
    identity="a group of objects of which both are taken",
    latents=list_latents(("object", "rotation", "scale")),
    colour=True,
    draw_batch=_refuse,
)


@dataclass(frozen=True, kw_only=True)
class ObjectSet:
    """Scenes of the objects in a folder; as ``stimulus_set.StimulusSet``, drawn from pictures.

    Attributes:
        folder: PNG files, one object each; what it is called is no part of what is made.
        digest: of the pictures, so that those of another day are not taken for the same.
        variety: rotation, scale and size of the objects.
    """

    folder: Path = field(repr=False)
    digest: str
    variety: Variety
    seed: int
    split: Split
    image_size: int
    identities: int | None

    task = name = _ABOUT.name
    about = _ABOUT
    varied = None

    def check(self) -> None:
        """Refuse numbers that no scenes can be made from.

        Raises:
            UsageError: naming the number and what it may be.
        """
        self._scenes().check()

    def label(self, index: int) -> int:
        """The class of an image."""
        return index % 2

    def identity(self, index: int) -> int:
        """The group of objects that an image shows, or a number of its own."""
        return index if self.identities is None else index // 2 % self.identities

    def draw(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], Columns]:
        """RGB images uint8 [N, H, W, 3] of these numbers, and the columns of their table."""
        return self._scenes().draw(indices)

    def shuffling_generator(self, *numbers: int) -> np.random.Generator:
        """A generator for an order of these images, keyed by numbers of the caller's."""
        key = (SPLITS.index(self.split), CODE, _ORDER_STREAM, *numbers)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))

    def list_objects(self) -> str:
        """A table in CSV: which file the number of an object stands for, and its split."""
        return list_objects(_read(self.folder, self.digest)).to_csv(index=False, lineterminator="\n")

    def _scenes(self) -> ObjectScenes:
        return ObjectScenes(
            objects=_read(self.folder, self.digest),
            variety=self.variety,
            seed=self.seed,
            split=self.split,
            image_size=self.image_size,
            identities=self.identities,
        )


def read_object_set(options: argparse.Namespace) -> ObjectSet:
    """The set that the command's options describe.

    Raises:
        StimulusError: when the folder or an image cannot be used.
        UsageError: for a number that makes no sense, or an option of other stimuli.
    """
    if options.minimal_pairs is not None:
        raise UsageError("Scenes of objects have no minimal pairs. Leave --minimal-pairs out.")
    defaults = Variety()
    folder = Path(options.objects)
    one = ObjectSet(
        folder=folder,
        digest=_hash_objects(read_objects(folder)),
        variety=Variety(
            object_size=defaults.object_size if options.object_size is None else options.object_size,
            rotation=options.rotation or defaults.rotation,
            scale=options.scale or defaults.scale,
        ),
        seed=options.seed,
        split=options.split,
        image_size=options.image_size,
        identities=options.identities,
    )
    one.check()
    return one


@cache
def _read(folder: Path, digest: str) -> ObjectImages:
    objects = read_objects(folder)
    if _hash_objects(objects) != digest:
        raise StimulusError(f"The object images in {folder} changed while scenes were made of them. Start again.")
    return objects


def _hash_objects(objects: ObjectImages) -> str:
    return hash_values(objects.names, objects.digests)
