"""What the most selective feature of a layer says about the label and each latent, against the best by chance.

With hundreds of features one of them correlates with anything. So the best feature's correlation stands beside the
best that the same features reach when images are shuffled: a selection is judged by a maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

NUM_PERMUTATIONS = 200
_NOT_QUANTITIES = ("identity", "group")


@dataclass(frozen=True, kw_only=True)
class Selectivity:
    """The feature of one layer and network that follows one target most closely.

    Attributes:
        layer, network: whose dictionary it is.
        target: "label", or the name of a latent.
        feature: number of the atom with the largest absolute correlation.
        correlation: Spearman's, of its largest code in each image with the target.
        auc: for the label: probability that an image of class 1 has the larger code (ties count half); else NaN.
        chance: 95th percentile of the largest absolute correlation over all features when images are shuffled.
        num_features, num_images: how many of each there were.
    """

    layer: str
    network: str
    target: str
    feature: int
    correlation: float
    auc: float
    chance: float
    num_features: int
    num_images: int


def choose_targets(labels: Int[ndarray, " N"], latents: pd.DataFrame) -> dict[str, Float[ndarray, " N"]]:
    """The label and every latent that varies, is finite, is a quantity and is not the label again."""
    targets = {"label": labels.astype(np.float64)}
    for name in latents.columns:
        values = latents[name].to_numpy(dtype=np.float64)
        if str(name) in _NOT_QUANTITIES or not np.isfinite(values).all() or np.ptp(values) == 0:
            continue
        if len(np.unique(values)) == 2 and np.ptp(labels) and abs(np.corrcoef(values, labels)[0, 1]) > 1 - 1e-9:
            continue
        targets[str(name)] = values
    return {name: values for name, values in targets.items() if np.ptp(values) > 0}


def measure_selectivity(
    codes: Float[ndarray, "N A"],
    targets: dict[str, Float[ndarray, " N"]],
    groups: Int[ndarray, " N"],
    rng: np.random.Generator,
    *,
    layer: str = "",
    network: str = "",
    num_permutations: int = NUM_PERMUTATIONS,
) -> tuple[Selectivity, ...]:
    """For each target the best feature of ``codes`` (largest code per image), and the best by chance.

    Whole groups of images (those of one shape identity) are shuffled together, as images of one group are alike.
    """
    alive = np.flatnonzero(np.ptp(codes, axis=0) > 0)
    if len(alive) == 0 or not targets:
        return ()
    features = _standardised_ranks(codes[:, alive])
    names = list(targets)
    wanted = _standardised_ranks(np.stack([targets[name] for name in names], axis=1))
    correlation = features.T @ wanted
    best = np.abs(correlation).argmax(axis=0)
    largest = np.empty((num_permutations, len(names)))
    for r in range(num_permutations):
        largest[r] = np.abs(features.T @ wanted[shuffle_groups(groups, rng)]).max(axis=0)
    chance = np.quantile(largest, 0.95, axis=0)
    return tuple(
        Selectivity(
            layer=layer,
            network=network,
            target=name,
            feature=int(alive[best[t]]),
            correlation=float(correlation[best[t], t]),
            auc=_auc(codes[:, alive[best[t]]], targets[name]) if name == "label" else float("nan"),
            chance=float(chance[t]),
            num_features=len(alive),
            num_images=len(codes),
        )
        for t, name in enumerate(names)
    )


def shuffle_groups(groups: Int[ndarray, " N"], rng: np.random.Generator) -> Int[ndarray, " N"]:
    """For each image the number of an image of the group that takes its group's place.

    With one image per group this is a permutation of the images. Within a group the order is drawn too: where images
    lie class by class, labels would stay in place otherwise. Where the two groups differ in size, the images of the new
    one are gone through in a circle.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(groups))
    members = order[np.argsort(inverse[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    within = np.empty(len(groups), dtype=np.int64)
    within[members] = np.arange(len(groups)) - np.repeat(starts, counts)
    taken = rng.permutation(len(counts))[inverse]
    return members[starts[taken] + within % counts[taken]]


def _standardised_ranks(values: Float[ndarray, "N A"]) -> Float[ndarray, "N A"]:
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    return ranks / np.linalg.norm(ranks, axis=0)


def _auc(codes: Float[ndarray, " N"], labels: Float[ndarray, " N"]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U)."""
    ranks = rankdata(codes)
    positive = int((labels > 0).sum())
    return float((ranks[labels > 0].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))
