"""Where in a map the objects of an image are, from the latents that say where they were drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32
from numpy import ndarray

MOST_OBJECTS = 2
"""The first two: most tasks are about two, and all have as many features then."""


def read_boxes(latents: pd.DataFrame, image_shape: tuple[int, int]) -> Float[ndarray, "N O 4"]:
    """Top, bottom, left and right of the first O <= 2 objects as fractions of the image; NaN where one is not there.

    Read from the columns x1, y1, width1, height1, x2, ... (centres and sizes in px); O is 0 where there are none.
    """
    found = []
    for number in range(1, MOST_OBJECTS + 1):
        names = [f"{name}{number}" for name in ("x", "y", "width", "height")]
        if not set(names) <= set(latents.columns):
            break
        x, y, width, height = latents[names].to_numpy(dtype=np.float64).T
        edges = [y - height / 2, y + height / 2, x - width / 2, x + width / 2]
        found.append(np.stack(edges, axis=1) / np.repeat(image_shape, 2))
    return np.stack(found, axis=1) if found else np.zeros((len(latents), 0, 4))


def weigh_cells(boxes: Float[ndarray, "n O 4"], height: int, width: int) -> Float32[ndarray, "n O hw"]:
    """How much of each object's box lies in each cell of a map; sums to 1 over the cells, NaN without a box.

    A cell stands for its share of the image, the first of h for the topmost h-th, whatever the padding on the way.
    """
    rows, columns = (_overlap(boxes[..., low : low + 2], size) for low, size in ((0, height), (2, width)))
    weights = (rows[..., :, None] * columns[..., None, :]).reshape(*boxes.shape[:2], height * width)
    total = weights.sum(axis=2, keepdims=True)
    return (weights / np.where(total > 0, total, np.nan)).astype(np.float32)


def _overlap(edges: Float[ndarray, "n O 2"], size: int) -> Float[ndarray, "n O s"]:
    low, high = (np.clip(edges[..., side, None], 0, 1) for side in (0, 1))
    cells = np.arange(size) / size
    return np.clip(np.minimum(high, cells + 1 / size) - np.maximum(low, cells), 0, None)
