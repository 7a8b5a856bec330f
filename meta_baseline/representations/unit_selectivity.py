"""Which units follow the class or a latent: more of them, and more closely, than chance and selection bring about.

With a hundred units and ten latents some pair always correlates. So a unit counts as selective only beyond what the
best of all pairs of its layer reaches when the images' latents change places; and the best unit is chosen on one half
of the identities and measured on the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from scipy.stats import rankdata

from meta_baseline.representations.shuffles import bound_largest


@dataclass(frozen=True, kw_only=True)
class UnitSelectivity:
    """How the units of one layer follow one target; a convolution's unit is a channel, its mean over positions.

    Attributes:
        network, role: of the layer.
        target: "class" or a latent.
        num_units: units that vary.
        num_selective: those whose absolute Spearman correlation with the target exceeds ``chance``.
        chance: bound on the absolute correlation that any unit exceeds with any target in 5 % of the cases when the
            targets change places among the images, whole identities together: no false claim in the layer.
        best: the unit with the largest absolute correlation.
        correlation: its Spearman correlation over all images, which being the best makes too large.
        held_out: the same without that: chosen on one half of the identities, measured on the other, both ways, a mean
            of the two with the sign that the choosing half gave.
    """

    network: str
    role: str
    target: str
    num_units: int
    num_selective: int
    chance: float
    best: int
    correlation: float
    held_out: float


def measure_units(
    pooled: Float[ndarray, "N C"],
    targets: Float[ndarray, "N V"],
    target_names: Sequence[str],
    *,
    network: str,
    role: str,
    halves: Int[ndarray, " N"],
    shuffles: Int[ndarray, "R N"],
) -> tuple[UnitSelectivity, ...]:
    """Selectivity of a layer's units for every target.

    Args:
        pooled: one number per image and unit.
        targets: one number per image and target.
        target_names: of the columns of ``targets``.
        network, role: of the layer.
        halves: 0 or 1, whole identities together.
        shuffles: which image's targets each image gets, for the null.
    """
    alive = np.flatnonzero(np.ptp(pooled, axis=0) > 0)
    if not len(alive) or not len(target_names):
        return ()
    units, wanted = _rank(pooled[:, alive]), _rank(targets)
    correlation = units.T @ wanted
    null = np.stack([units.T @ wanted[shuffle] for shuffle in shuffles])
    chance = bound_largest(np.abs(null).max(axis=1), np.sqrt((null.astype(np.float64) ** 2).mean(axis=(0, 1))))
    two_halves = len(np.unique(halves)) > 1
    held_out = np.full(len(target_names), 0.0 if two_halves else math.nan)
    for half in (0, 1) if two_halves else ():
        chosen = _correlate(pooled[np.ix_(halves == half, alive)], targets[halves == half])
        best = np.abs(chosen).argmax(axis=0)
        measured = _correlate(pooled[np.ix_(halves != half, alive[best])], targets[halves != half])
        held_out += np.diagonal(measured) * np.sign(chosen[best, np.arange(len(best))]) / 2
    best = np.abs(correlation).argmax(axis=0)
    return tuple(
        UnitSelectivity(
            network=network,
            role=role,
            target=name,
            num_units=len(alive),
            num_selective=int((np.abs(correlation[:, v]) > chance[v]).sum()),
            chance=float(chance[v]),
            best=int(alive[best[v]]),
            correlation=float(correlation[best[v], v]),
            held_out=float(held_out[v]),
        )
        for v, name in enumerate(target_names)
    )


def _correlate(first: Float[ndarray, "N C"], second: Float[ndarray, "N V"]) -> Float[ndarray, "C V"]:
    return _rank(first).T @ _rank(second)


def _rank(values: Float[ndarray, "N C"]) -> Float32[ndarray, "N C"]:
    """Ranks of each column, centred and of length 1; zero where it does not vary."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.linalg.norm(ranks, axis=0)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0).astype(np.float32)
