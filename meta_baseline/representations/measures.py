"""One role across networks by further measures, each beside the same of untrained pairs, and the images it rests on.

whole_maps       debiased CKA of whole maps, every cell of them
channel_means    debiased CKA of the channels' means, which do not say where
rbf              debiased CKA with a Gaussian kernel: near images only
neighbours       share of the ten nearest images in common
rank             RSA: Spearman correlation of the distances between images
rank_partial     the same with the distances in the pixels held fixed
procrustes       cosine of the angle after the best rotation
canonical        mean squared canonical correlation of channel means, chance taken off, where N >= 10 d
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline import similarity
from meta_baseline.activations import Stores
from meta_baseline.activations.collection import GRAM_IMAGES, spread_evenly
from meta_baseline.errors import UsageError
from meta_baseline.representations.control_band import predict_band

NUM_INFLUENTIAL = 6
"""Images that are listed for each role."""

Grams = Mapping[str, Float[ndarray, "n n"]]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of meta and baseline in one role.

    Attributes:
        name: of the measure, as in this module's table.
        value: of meta with baseline; NaN where it is undefined or too few images for it.
        low, high: interval over images; NaN where none is made.
        controls: of each untrained pair, in the order of ``MatchedLayer.controls``.
        band_low, band_high: where one more untrained pair would lie with probability .95; NaN under three pairs.
        chance: what unrelated layers give; NaN where that depends on the layers.
        num_images: that it was measured on.
    """

    name: str
    value: float
    low: float
    high: float
    controls: tuple[float, ...]
    band_low: float
    band_high: float
    chance: float
    num_images: int

    @property
    def control(self) -> float:
        """Mean over the untrained pairs; NaN without any."""
        return float(np.mean(self.controls)) if self.controls else math.nan


@dataclass(frozen=True, kw_only=True)
class InfluentialImage:
    """An image by what it contributes to the CKA of meta and baseline: that of all images minus that without it."""

    image: int
    path: str
    label: int
    influence: float


def measure_further(
    role: str,
    corners: Grams,
    pixels: Float[ndarray, "n n"],
    stores: Stores,
    pairs: Sequence[tuple[str, str]],
    *,
    groups: Int[ndarray, " n"] | None,
) -> tuple[Measure, ...]:
    """All further measures of one role.

    Args:
        role: of the layers.
        corners: Gram matrices of the grid over the images for distances, by network.
        pixels: of the images themselves, over the same.
        stores: for whole maps and channel means.
        pairs: of untrained networks.
        groups: of the images for distances that are left out together for intervals; None for one at a time.
    """
    rows = images_of_grams(stores)
    own_groups = stores.meta.groups[rows] if groups is not None else None
    present = [store for store in stores.networks if role in store.layers]
    pooled = {store.network: similarity.gram_matrix(store.layers[role].pooled[rows]) for store in present}
    whole = {store.network: store.layers[role].gram for store in present}
    found: list[Measure] = []

    def add(
        name: str,
        compare: Callable[[str, str], float],
        num_images: int,
        interval: tuple[float, float] = (math.nan, math.nan),
        chance: float = 0.0,
    ) -> None:
        controls = tuple(compare(*pair) for pair in pairs)
        low, high = predict_band(controls, list(pairs))
        found.append(
            Measure(
                name=name,
                value=compare("meta", "baseline"),
                low=interval[0],
                high=interval[1],
                controls=controls,
                band_low=low,
                band_high=high,
                chance=chance,
                num_images=num_images,
            )
        )

    for name, grams in (("whole_maps", whole), ("channel_means", pooled)):
        if all(len(gram) == len(rows) for gram in grams.values()):
            units = {network: similarity.unit_geometry(gram) for network, gram in grams.items()}
            over = similarity.cka_interval(grams["meta"], grams["baseline"], groups=own_groups)
            add(name, lambda a, b, units=units: float(units[a] @ units[b]), len(rows), (over.low, over.high))
    count = len(pixels)
    kernels = {network: _kernel_geometry(gram) for network, gram in corners.items()}
    add("rbf", lambda a, b: float(kernels[a] @ kernels[b]), count)
    if count >= similarity.NUM_NEIGHBOURS + 2:
        near = {network: similarity.mark_neighbours(gram) for network, gram in corners.items()}
        add(
            "neighbours",
            lambda a, b: similarity.overlap_of(near[a], near[b]),
            count,
            chance=similarity.chance_overlap(count),
        )
    ranks = {network: similarity.rank_distances(gram) for network, gram in corners.items()}
    over = similarity.rank_interval(corners["meta"], corners["baseline"], groups=groups)
    add("rank", lambda a, b: float(ranks[a] @ ranks[b]), count, (over.low, over.high))
    shared = similarity.rank_distances(pixels)
    add("rank_partial", lambda a, b: _partial(ranks[a] @ ranks[b], ranks[a] @ shared, ranks[b] @ shared), count)
    axes = {network: similarity.unit_scores(gram) for network, gram in corners.items()}
    add("procrustes", lambda a, b: math.cos(similarity.procrustes_angle(axes[a], axes[b])), count, chance=math.nan)
    if similarity.IMAGES_PER_DIMENSION * max(store.layers[role].pooled.shape[1] for store in present) <= len(rows):
        add("canonical", lambda a, b: _canonical(pooled[a], pooled[b]), len(rows))
    return tuple(found)


def find_influential(role: str, stores: Stores) -> tuple[InfluentialImage, ...]:
    """The images that change the debiased CKA of meta and baseline most when they are left out, largest first."""
    rows = images_of_grams(stores)
    grams = [similarity.gram_matrix(store.layers[role].grid[rows]) for store in (stores.meta, stores.baseline)]
    influence = similarity.cka_influence(grams[0], grams[1])
    if not bool(np.isfinite(influence).all()):
        return ()
    order = np.argsort(-np.abs(influence), kind="stable")[:NUM_INFLUENTIAL]
    return tuple(
        InfluentialImage(
            image=int(rows[place]),
            path=stores.image_paths[rows[place]],
            label=int(stores.meta.labels[rows[place]]),
            influence=float(influence[place]),
        )
        for place in order
    )


def images_of_grams(stores: Stores) -> Int[ndarray, " n"]:
    """The images that whole maps are compared on; the same number, spread evenly, where no whole maps were kept."""
    rows = stores.meta.gram_rows
    return rows if len(rows) else spread_evenly(stores.meta.num_images, GRAM_IMAGES)


def _kernel_geometry(gram: Float[ndarray, "n n"]) -> Float[ndarray, " D"]:
    kernel = similarity.rbf_gram(gram)
    if not bool(np.isfinite(kernel).all()):
        return np.full(len(gram) * (len(gram) - 1) // 2, np.nan)
    return similarity.unit_geometry(kernel)


def _partial(*correlations: float | ndarray) -> float:
    return similarity.partial_out(*map(float, correlations))


def _canonical(first: Float[ndarray, "n n"], second: Float[ndarray, "n n"]) -> float:
    try:
        return similarity.canonical_correlation(first, second).adjusted
    except UsageError:  # a constant layer
        return math.nan
