"""Whether different episodes move a network in the same direction, against the same episodes with shuffled labels.

The measure of Guiroy, Verma and Pal 2019 (arXiv:1907.07287): cosines between the displacements theta_k - theta_0 of
different episodes, and between their gradients at theta_0. Episodes of one task share images of one kind, and labels
that are half "same" whatever the image; what shuffled labels have in common is therefore no sign of a shared rule.
"""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import special

SKETCH = 2**14
"""Numbers that stand for a layer's parameters, where it has more; inner products then err by a hundredth of lengths."""

FEWEST = 3
"""Episodes or points without which there is neither an interval nor a plane."""


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """Mean cosine of different episodes, with its null, and the interval of what is beyond it."""

    value: float
    null: float
    beyond: float
    low: float
    high: float


def sketch(vector: Float[ndarray, " P"], seed: int) -> Float[ndarray, " M"]:
    """A short vector whose inner products estimate those of ``vector``, without bias; itself where it is short.

    Count sketch: every parameter is added, with a random sign, to a random one of the numbers (Charikar, Chen and
    Farach-Colton 2004, doi:10.1016/S0304-3975(03)00400-6). Vectors of one layer share ``seed``.
    """
    if len(vector) <= SKETCH:
        return vector.astype(np.float32)
    places, signs = _draw_sketch(len(vector), seed)
    return np.bincount(places, weights=vector * signs, minlength=SKETCH).astype(np.float32)


def blank(vector: Float[ndarray, " P"]) -> Float[ndarray, " M"]:
    """In place of a sketch, where there is nothing to be sketched: not a number."""
    return np.full(min(len(vector), SKETCH), np.nan, dtype=np.float32)


def compare_directions(
    gram: Float[ndarray, "E E"],
    null: Float[ndarray, "E E"],
    *,
    counted: Bool[ndarray, "E E"] | None = None,
    level: float = 0.95,
) -> Coherence:
    """Coherence from the inner products of all episodes' displacements, with true and with shuffled labels.

    The interval leaves out one episode at a time (Arvesen 1969, doi:10.1214/aoms/1177697287: the estimate is a
    U-statistic), from both; Student's t. Episodes in which adaptation diverged are left out.

    Args:
        gram: with true labels.
        null: with shuffled labels.
        counted: pairs of episodes that count, such as those of different tasks; None means all.
        level: of the interval.
    """
    finite = np.isfinite(np.diag(gram)) & np.isfinite(np.diag(null))
    num = int(finite.sum())
    chosen = np.ix_(finite, finite)
    pairs = np.triu(np.ones_like(gram, dtype=bool) if counted is None else counted, k=1)[chosen]
    left = [_without(pairs, i) for i in range(num)]
    if num < FEWEST or not all(own.any() for own in left):
        return Coherence(value=math.nan, null=math.nan, beyond=math.nan, low=math.nan, high=math.nan)
    cosines, shuffled = _cosines(gram[chosen]), _cosines(null[chosen])
    value, null_value = float(cosines[pairs].mean()), float(shuffled[pairs].mean())
    beyond = value - null_value
    left_out = np.array([cosines[own].mean() - shuffled[own].mean() for own in left])
    error = math.sqrt((num - 1) / num * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(special.stdtrit(num - 1, (1 + level) / 2)) * error
    return Coherence(value=value, null=null_value, beyond=beyond, low=beyond - half, high=beyond + half)


def principal_plane(gram: Float[ndarray, "T T"]) -> tuple[Float[ndarray, "T 2"], Float[ndarray, " 2"]]:
    """Coordinates of T points on their two first principal axes, and the shares of variance; exact, from Grams.

    Points that are not finite are left out and get no place.
    """
    finite = np.isfinite(np.diag(gram))
    places = np.full((len(gram), 2), np.nan)
    if finite.sum() < FEWEST:
        return places, np.full(2, np.nan)
    gram = gram[np.ix_(finite, finite)]
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float(np.trace(centred))
    shares = np.clip(values, 0, None) / total if total > 0 else np.full(2, np.nan)
    places[finite] = vectors * np.sqrt(np.clip(values, 0, None))
    return places, shares


@lru_cache(maxsize=16)
def _draw_sketch(num: int, seed: int) -> tuple[Int[ndarray, " P"], Int[ndarray, " P"]]:
    rng = np.random.default_rng(seed)
    places = rng.integers(0, SKETCH, num, dtype=np.int32)
    return places, (2 * rng.integers(0, 2, num, dtype=np.int8) - 1).astype(np.int8)


def _cosines(gram: Float[ndarray, "E E"]) -> Float[ndarray, "E E"]:
    lengths = np.sqrt(np.diag(gram))
    scale = np.outer(lengths, lengths)
    return np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0)


def _without(pairs: Bool[ndarray, "E E"], episode: int) -> Bool[ndarray, "E E"]:
    kept = pairs.copy()
    kept[episode] = kept[:, episode] = False
    return kept
