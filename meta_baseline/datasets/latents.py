"""Latents from ``latents.csv`` beside the images, matched by file name; a table that does not fit is not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.stimuli.folder import LATENTS_FILE

_MAX_BYTES = 256 * 2**20
_NOT_LATENTS = ("file", "label", "seed", "index")


def read_latents_file(paths: tuple[Path, ...], labels: Int64[ndarray, " N"]) -> tuple[pd.DataFrame | None, str]:
    """The table's row for every image, or None with the reason.

    The table lies in the folder of the images or, where classes have folders of their own, one above. Only numeric
    columns are latents; ``label`` has to agree with the file names.
    """
    table = next((path for path in _candidates(paths[0]) if path.is_file() and not path.is_symlink()), None)
    if table is None:
        return None, f"there is no {LATENTS_FILE}"
    try:
        if table.stat().st_size > _MAX_BYTES:
            return None, f"{LATENTS_FILE} is larger than {_MAX_BYTES // 2**20} MiB"
        frame = pd.read_csv(table, low_memory=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        return None, f"{LATENTS_FILE} cannot be read ({str(error).splitlines()[0]})"
    if "file" not in frame or frame["file"].duplicated().any():
        return None, f"{LATENTS_FILE} has no column 'file' with every image once"
    frame = frame.set_index("file").reindex([path.name for path in paths])
    if "label" in frame and not np.array_equal(frame["label"].to_numpy(), labels):
        return None, f"{LATENTS_FILE} does not give every image the class of its name"
    numeric = frame.drop(columns=[name for name in _NOT_LATENTS if name in frame]).select_dtypes("number")
    if numeric.empty or not np.isfinite(numeric.to_numpy(dtype=np.float64)).all():
        return None, f"{LATENTS_FILE} does not give every image a number for every latent"
    return numeric.reset_index(drop=True), ""


def _candidates(image: Path) -> tuple[Path, Path]:
    return image.parent / LATENTS_FILE, image.parent.parent / LATENTS_FILE
