"""A folder of object images, and same-different scenes made of it.

This lies above ``stimuli.compositor``, which takes pixels, because PNG files of unknown origin are read in one place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8
from numpy import ndarray

from meta_baseline.datasets.images import UnreadableImage, read_image
from meta_baseline.datasets.walk import Walk
from meta_baseline.errors import StimulusError
from meta_baseline.stimuli import Split, check_options
from meta_baseline.stimuli.compositor import ObjectImages, ObjectScenes, Variety, build_objects

MAX_OBJECTS = 20_000


def read_objects(folder: str | Path) -> ObjectImages:
    """The PNG files of a folder as objects, by name; transparency becomes white paper.

    Raises:
        StimulusError: when the folder or an image cannot be used; the message names the first such image.
        EnvironmentProblem: when the folder may not be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StimulusError(f"No folder {folder}. Name a folder of PNG files, one object each.")
    walk = Walk(folder.resolve())
    paths = [path for path, is_folder in walk.entries(folder) if not is_folder and path.suffix.lower() == ".png"]
    if not paths:
        raise StimulusError(f"No PNG file in {folder}{walk.describe_skipped()}. Put one PNG file per object there.")
    if len(paths) > MAX_OBJECTS:
        raise StimulusError(f"{len(paths)} object images in {folder}, more than {MAX_OBJECTS}. Choose some of them.")
    return build_objects((path.name, _read(path)) for path in paths)


def compose_objects(
    folder: str | Path,
    *,
    num_images: int,
    seed: int = 0,
    split: Split = "test",
    image_size: int = 128,
    identities: int | None = None,
    variety: Variety | None = None,
) -> tuple[UInt8[ndarray, "N H W 3"], Int64[ndarray, " N"], pd.DataFrame]:
    """Images 0 to ``num_images - 1`` of a user's own objects, alternating between the classes.

    Objects of one split are in no other, whatever the seed. ``compositor.write_scene_folder`` writes the same images.

    Returns:
        images uint8, labels (1 = the same object twice), and the table of latents, one row per image.

    Raises:
        StimulusError: when the folder or an image cannot be used.
        UsageError: for a number, size or range that makes no sense.
    """
    check_options(num_images=num_images, image_size=image_size, seed=seed, identities=None, workers=1)
    scenes = ObjectScenes(
        objects=read_objects(folder),
        variety=variety or Variety(),
        seed=seed,
        split=split,
        image_size=image_size,
        identities=identities,
    )
    scenes.check()
    images, columns = scenes.draw(range(num_images))
    return images, np.arange(num_images) % 2, pd.DataFrame(columns)


def _read(path: Path) -> UInt8[ndarray, "H W 3"]:
    try:
        return read_image(path)
    except UnreadableImage as error:
        raise StimulusError(f"{path}: {error}. Remove it or save it again as PNG.") from error
