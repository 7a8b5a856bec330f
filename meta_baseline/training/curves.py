"""The learning curve that a training run leaves beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from meta_baseline.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Accuracy and loss on images not seen before, along training; every training image is used once.

    Attributes:
        network: "meta" or "baseline".
        images: seen when the point was taken.
        loss, accuracy: of the network as it was, in nats and in [0, 1], each a mean over about a thousand images;
            batch norm normalised with the batch's own statistics.
        adapted_accuracy: on query images after the inner loop; NaN where nothing is adapted in training.
    """

    network: str
    images: Int64[ndarray, " E"]
    loss: Float[ndarray, " E"]
    accuracy: Float[ndarray, " E"]
    adapted_accuracy: Float[ndarray, " E"]

    def plateau_end(self, level: float = 0.6) -> int | None:
        """Images seen when accuracy passed ``level`` for good; None if it never did."""
        below = np.flatnonzero(self.accuracy < level)
        first = int(below[-1]) + 1 if len(below) else 0
        return int(self.images[first]) if first < len(self.images) else None


def read_learning_curve(path: str | Path, network: str) -> LearningCurve:
    """The curve in a run's ``metrics.jsonl``.

    Raises:
        InputError: when it is missing or damaged.
    """
    try:
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        columns = {
            name: np.array([np.nan if line[name] is None else line[name] for line in lines], dtype=np.float64)
            for name in ("loss", "accuracy", "adapted_accuracy")
        }
        images = np.array([line["images"] for line in lines], dtype=np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"No learning curve in {path}: {error}. Train the network again.") from error
    return LearningCurve(network=network, images=images, **columns)
