"""Scenes of objects as files: PNG images in the layout of the SVRT generator, their latents, and the objects' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meta_baseline.stimuli.compositor.objects import ObjectImages, split_objects
from meta_baseline.stimuli.compositor.scenes import ObjectScenes
from meta_baseline.stimuli.folder import LATENTS_FILE, name_image, slice_range
from meta_baseline.stimuli.generation import CHUNK_SIZE, Progress, check_options
from meta_baseline.stimuli.png import encode_png

OBJECTS_FILE = "objects.csv"


def write_scene_folder(
    folder: str | Path,
    scenes: ObjectScenes,
    *,
    num_images: int,
    progress: Progress = lambda items, **_: items,
) -> pd.DataFrame:
    """Write ``sample_<class>_<index>.png``, ``latents.csv`` and ``objects.csv`` into an existing folder.

    ``objects.csv`` says which file the number of an object stands for and which split it belongs to.

    Args:
        progress: called as ``progress(chunks, desc=..., total=...)``, e.g. ``tqdm.tqdm``.

    Returns:
        What ``latents.csv`` holds, one row per image.

    Raises:
        UsageError: for a number, size or range that makes no sense.
    """
    check_options(num_images=num_images, image_size=scenes.image_size, seed=scenes.seed, identities=None, workers=1)
    scenes.check()
    folder = Path(folder)
    jobs = slice_range(num_images, CHUNK_SIZE)
    chunks = (_write_chunk(scenes, folder, chunk) for chunk in jobs)
    made = list(progress(chunks, desc=f"objects, {scenes.split}", total=len(jobs)))
    table = pd.DataFrame({name: np.concatenate([chunk[name] for chunk in made]) for name in made[0]})
    table.to_csv(folder / LATENTS_FILE, index=False, float_format="%.6g", lineterminator="\n")
    list_objects(scenes.objects).to_csv(folder / OBJECTS_FILE, index=False, lineterminator="\n")
    return table


def list_objects(objects: ObjectImages) -> pd.DataFrame:
    """Which file the number of an object stands for, and which split it belongs to: object, name, split."""
    split_of = {number: split for split, numbers in split_objects(objects).items() for number in numbers}
    listing = {"object": list(split_of), "name": [objects.names[k] for k in split_of], "split": split_of.values()}
    return pd.DataFrame(listing).sort_values("object")


def _write_chunk(scenes: ObjectScenes, folder: Path, chunk: range) -> dict[str, NDArray[Any]]:
    images, columns = scenes.draw(chunk)
    files = [name_image(index % 2, index) for index in chunk]
    for file, image in zip(files, images):
        (folder / file).write_bytes(encode_png(image))
    return {"file": np.array(files), **columns}
