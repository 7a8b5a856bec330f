"""Similarity of matched layers as tables: every measure beside its controls, and the images that a CKA rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import pandas as pd

from meta_baseline.representations.agreement import MatchedLayer


def tabulate_similarity_measures(matched: Sequence[MatchedLayer]) -> dict[str, pd.DataFrame]:
    """Tables by file name: measures (one row per layer and measure) and influential (one row per layer and image)."""
    measures = [
        {
            "layer": layer.role,
            "measure": found.name.replace("_", " "),
            "meta with baseline": found.value,
            "low": found.low,
            "high": found.high,
            "untrained pairs": found.control,
            "band low": found.band_low,
            "band high": found.band_high,
            "unrelated": found.chance,
            "images": found.num_images,
        }
        for layer in matched
        for found in layer.measures
        if np.isfinite(found.value)
    ]
    influential = [
        {
            "layer": layer.role,
            "image": PurePath(image.path).name or str(image.image + 1),
            "class": image.label,
            "CKA with it minus without": image.influence,
        }
        for layer in matched
        for image in layer.influential
    ]
    return {
        "measures": pd.DataFrame(measures, columns=list(_MEASURES)),
        "influential": pd.DataFrame(influential, columns=list(_INFLUENTIAL)),
    }


_MEASURES = (
    "layer",
    "measure",
    "meta with baseline",
    "low",
    "high",
    "untrained pairs",
    "band low",
    "band high",
    "unrelated",
    "images",
)
_INFLUENTIAL = ("layer", "image", "class", "CKA with it minus without")
