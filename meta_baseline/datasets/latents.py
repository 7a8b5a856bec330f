"""Latents that come with the images: from ``latents.csv`` beside them, or from the file that holds the images.

Rows of a table are matched by file name. Latents that do not fit every image are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from numpy import ndarray

from meta_baseline.datasets.sources import OpenedSet
from meta_baseline.stimuli.folder import LATENTS_FILE

_MAX_BYTES = 256 * 2**20
_NOT_LATENTS = ("file", "label", "seed", "index", "pair")
_KEYS = ("identity", "seed", "index")


def read_latents_table(image: Path) -> tuple[pd.DataFrame | None, str]:
    """The table that belongs to an image, one row per file, or None with the reason.

    It lies in the folder of the images or, where classes have folders of their own, one above.
    """
    table = next((path for path in _candidates(image) if path.is_file() and not path.is_symlink()), None)
    if table is None:
        return None, f"there is no {LATENTS_FILE}"
    try:
        if table.stat().st_size > _MAX_BYTES:
            return None, f"{LATENTS_FILE} is larger than {_MAX_BYTES // 2**20} MiB"
        frame = pd.read_csv(table, low_memory=False)
    except (OSError, ValueError, OverflowError, pd.errors.ParserError) as error:
        return None, f"{LATENTS_FILE} cannot be read ({str(error).splitlines()[0]})"
    if "file" not in frame or frame["file"].duplicated().any():
        return None, f"{LATENTS_FILE} has no column 'file' with every image once"
    return frame.set_index("file"), ""


def fit_latents_table(
    table: pd.DataFrame, paths: Sequence[Path], labels: Int64[ndarray, " N"]
) -> tuple[pd.DataFrame | None, str]:
    """The table's row for every image, or None with the reason.

    Only numeric columns are latents; ``label`` has to agree with the file names.
    """
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        return None, f"several images have the same name, which {LATENTS_FILE} cannot tell apart"
    frame = table.reindex(names)
    if "label" in frame and not np.array_equal(frame["label"].to_numpy(), labels):
        return None, f"{LATENTS_FILE} does not give every image the class of its name"
    numeric = frame.drop(columns=[name for name in _NOT_LATENTS if name in frame]).select_dtypes("number")
    if not _is_complete(numeric):
        return None, f"{LATENTS_FILE} does not give every image a number for every latent"
    return numeric.reset_index(drop=True), ""


def take_stored_latents(opened: OpenedSet, positions: Int64[ndarray, " N"]) -> tuple[pd.DataFrame | None, str]:
    """Latents that the file of the images holds, with ``identity`` where it is known; or None with the reason."""
    if opened.latents is None:
        return None, f"{opened.place.name} holds none"
    frame = opened.latents.iloc[positions].reset_index(drop=True)
    if not _is_complete(frame):
        return None, f"{opened.place.name} does not give every image a number for every latent"
    return frame if opened.identities is None else frame.assign(identity=opened.identities[positions]), ""


def number_identities(values: Float64[ndarray, " N"]) -> Int64[ndarray, " N"]:
    """Identities as whole numbers: as they are, or numbered anew where they are none. All have to be finite."""
    if (np.abs(values) < 2**53).all() and (values == np.round(values)).all():
        return values.astype(np.int64)
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def read_identity_table(image: Path) -> pd.DataFrame | None:
    """Identity of every image of a table, with seed and index where it has them; None where it has no identities."""
    table, _ = read_latents_table(image)
    if table is None or "identity" not in table:
        return None
    return table.filter(items=_KEYS).dropna()


def _is_complete(frame: pd.DataFrame) -> bool:
    return not frame.empty and bool(np.isfinite(frame.to_numpy(dtype=np.float64)).all())


def _candidates(image: Path) -> tuple[Path, ...]:
    beside = image.parent / LATENTS_FILE
    name = image.parent.name.lower()
    has_class_folder = name in ("same", "different") or name.startswith(("cat_", "class_"))
    return (beside, image.parent.parent / LATENTS_FILE) if has_class_folder else (beside,)
