"""What is asked of a layer: the label and the latents of the stimuli that vary, as columns a probe can predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

Kind = Literal["binary", "continuous", "circular"]

MAX_LATENTS = 8
PREFERRED = (
    "x1",
    "y1",
    "size1",
    "distance",
    "size_ratio",
    "num_sides1",
    "rotation1",
    "ink",
    "angle",
    "x2",
    "y2",
    "size2",
)
"""Latents probed first where a task has more than ``MAX_LATENTS``; the rest follow in the order of their columns."""

BOOKKEEPING = ("identity", "seed", "index", "file", "path", "image", "label", "split", "task", "row")
"""Columns, by their first word, that say where an image comes from and not what is on it."""

PERIODS = {"rotation": 360.0, "angle": 180.0, "orientation": 180.0}
"""Latents on a circle, by their name without the object's number, and the degrees of one turn."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing to read out.

    Attributes:
        name: "label", or the latent's.
        kind: "binary" is probed by logistic regression, "continuous" by ridge, "circular" by ridge on the sine and the
            cosine of the angle together.
        columns: 0 or 1, values, or the pair of sine and cosine.
    """

    name: str
    kind: Kind
    columns: Float[ndarray, "N D"]


def choose_targets(
    labels: Int[ndarray, " N"], latents: pd.DataFrame, *, max_latents: int = MAX_LATENTS
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The label and at most ``max_latents`` latents, and those left out, with the reason in brackets.

    Left out are bookkeeping, constants, values that are missing somewhere, and whatever another target already says
    (a correlation beyond .999 with it). The choice depends on names and values alone.
    """
    targets = [Target(name="label", kind="binary", columns=labels[:, None].astype(np.float64))]
    left_out: list[str] = []
    too_many: list[str] = []
    for name in _in_order([str(name) for name in latents.columns]):
        if isinstance(target := _build_target(name, pd.Series(latents[name])), str):
            left_out.append(f"{name} ({target})")
        elif twin := _find_twin(target, targets):
            left_out.append(f"{name} (the same as {twin})")
        elif len(targets) > max_latents:
            too_many.append(name)
        else:
            targets.append(target)
    if too_many:
        left_out.append(f"{', '.join(too_many)} (no more than {max_latents} are)")
    return tuple(targets), tuple(left_out)


def measure_explained(target: Target, label: Float[ndarray, " N"]) -> float:
    """Share of a target's variance that the label alone explains, in [0, 1]: what reading the label would give."""
    centred = target.columns - target.columns.mean(axis=0)
    contrast = label - label.mean()
    explained = (contrast @ centred) ** 2 / (contrast**2).sum()
    return float(explained.sum() / (centred**2).sum())


def _in_order(columns: Sequence[str]) -> list[str]:
    wanted = [name for name in columns if not name.lower().startswith(BOOKKEEPING)]
    return [name for name in PREFERRED if name in wanted] + [name for name in wanted if name not in PREFERRED]


def _build_target(name: str, column: pd.Series) -> Target | str:
    """The target, or the reason why there is none."""
    if not pd.api.types.is_numeric_dtype(column):
        return "not a number"
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(values).all():
        return "missing on some images"
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        return "constant"
    if len(distinct) == 2:
        if counts.min() < 20:
            return "almost constant"
        return Target(name=name, kind="binary", columns=(values == distinct[1])[:, None].astype(np.float64))
    period = PERIODS.get(name.rstrip("0123456789").rstrip("_"))
    if period is None:
        return Target(name=name, kind="continuous", columns=values[:, None])
    phase = 2 * np.pi * values / period
    return Target(name=name, kind="circular", columns=np.stack([np.sin(phase), np.cos(phase)], axis=1))


def _find_twin(target: Target, others: Sequence[Target]) -> str | None:
    for other in others:
        if other.columns.shape == target.columns.shape:
            pairs = zip(target.columns.T, other.columns.T)
            if all(abs(np.corrcoef(mine, theirs)[0, 1]) > 0.999 for mine, theirs in pairs):
                return other.name
    return None
