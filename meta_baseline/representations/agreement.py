"""One role across networks: how alike meta and baseline are, and how alike networks are that learned nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline import similarity
from meta_baseline.activations import ActivationStore, Stores
from meta_baseline.representations.control_band import predict_band
from meta_baseline.representations.measures import InfluentialImage, Measure, find_influential, measure_further

MAX_IMAGES_DISTANCES = 300
"""Images for Procrustes distance and RSA, which cost N^3 and N^2 log N."""

SMALLEST_DIFFERENCE = 0.05
"""In CKA; below it a layer is not called more or less alike than its control."""

Grams = Mapping[str, Float[ndarray, "N N"]]


@dataclass(frozen=True, kw_only=True)
class Control:
    """The measures of ``MatchedLayer`` for one pair of untrained networks with different weights."""

    first: str
    second: str
    cka: float
    biased_cka: float
    partial_cka: float
    procrustes: float
    rank_agreement: float


@dataclass(frozen=True, kw_only=True)
class MatchedLayer:
    """One role in the meta and in the baseline network, on the 4 x 4 grid.

    Attributes:
        role: of the pair.
        num_images: for CKA; ``num_images_distances`` for Procrustes and rank agreement.
        cka, cka_low, cka_high: debiased, with its interval over images.
        interval: how the interval was made.
        biased_cka: the usual estimate.
        partial_cka, partial_low, partial_high: debiased CKA with the pixel geometry projected out.
        procrustes: angle in radians.
        rank_agreement: Spearman correlation of distances between images.
        pixels_meta, pixels_baseline, pixels_untrained: debiased CKA with the pixels; the last a mean over networks.
        meta_untrained, baseline_untrained: debiased CKA with untrained networks other than the own step 0, a mean.
        meta_initial, baseline_initial: debiased CKA with the own step 0; NaN where it is unknown.
        controls: pairs of untrained networks.
        measures: further measures of similarity; see ``representations.measures``.
        influential: the images that ``cka`` rests on most.
    """

    role: str
    num_images: int
    num_images_distances: int
    cka: float
    cka_low: float
    cka_high: float
    interval: str
    biased_cka: float
    partial_cka: float
    partial_low: float
    partial_high: float
    procrustes: float
    rank_agreement: float
    pixels_meta: float
    pixels_baseline: float
    pixels_untrained: float
    meta_untrained: float
    baseline_untrained: float
    meta_initial: float
    baseline_initial: float
    controls: tuple[Control, ...]
    measures: tuple[Measure, ...] = ()
    influential: tuple[InfluentialImage, ...] = ()

    def control(self, measure: str) -> tuple[float, float, float]:
        """Mean, lowest and highest of a measure over the untrained pairs; NaN without any."""
        values = np.array([getattr(control, measure) for control in self.controls])
        if not len(values):
            return np.nan, np.nan, np.nan
        return float(values.mean()), float(values.min()), float(values.max())

    def band(self, measure: str) -> tuple[float, float]:
        """Where ``cka`` or ``partial_cka`` of one more untrained pair would lie with probability .95."""
        pairs = [(control.first, control.second) for control in self.controls]
        return predict_band([getattr(control, measure) for control in self.controls], pairs)

    @property
    def verdict(self) -> Literal["less", "more", "within", "unknown"]:
        """How alike meta and baseline are beside untrained pairs: their interval lies below, above or in the band.

        Differences from the control's mean under .05 count as "within": near 1, bands are thinner than what matters.
        """
        low, high = self.band("cka")
        if not (math.isfinite(low) and math.isfinite(self.cka_low)):
            return "unknown"
        if abs(self.cka - self.control("cka")[0]) < SMALLEST_DIFFERENCE:
            return "within"
        return "less" if self.cka_high < low else "more" if self.cka_low > high else "within"


@dataclass(frozen=True, kw_only=True)
class SimilarityTable:
    """Debiased CKA of every layer of one network (rows) with every layer of another (columns).

    ``without_pixels``: after what they share with the pixels was taken out.
    """

    name: str
    title: str
    row_network: str
    column_network: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[ndarray, "L1 L2"]
    without_pixels: bool = False


def untrained_pairs(stores: Stores) -> tuple[tuple[str, str], ...]:
    """Names of pairs of untrained networks with different weights: meta's architecture first, baseline's second."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for first in stores.untrained_meta:
        for second in stores.untrained_baseline:
            if first is not second:
                pairs.setdefault(frozenset((first.network, second.network)), (first.network, second.network))
    return tuple(pairs.values())


def iterate_grams(stores: Stores, chosen: Int[ndarray, " n"]) -> Iterator[tuple[str, Grams]]:
    """Role by role, the Gram matrices of all networks that have it, over the chosen images."""
    roles = dict.fromkeys(role for store in stores.networks for role in store.layers)
    for role in roles:
        yield (
            role,
            {
                store.network: similarity.gram_matrix(store.layers[role].grid[chosen])
                for store in stores.networks
                if role in store.layers
            },
        )


def match_layer(
    role: str,
    grams: Grams,
    geometries: Mapping[str, Float[ndarray, " NN"]],
    pixels: Float[ndarray, "N N"],
    stores: Stores,
    *,
    groups: Int[ndarray, " N"] | None,
    distance_images: Int[ndarray, " n"],
) -> MatchedLayer:
    """Compare one role of meta and baseline, and of all untrained pairs, by every measure.

    Args:
        role: of the layers.
        grams, geometries: of that role, by network; the second is ``similarity.unit_geometry`` of the first.
        pixels: Gram matrix of the images themselves.
        stores: says which networks are which.
        groups: images that are left out together for intervals; None for one at a time.
        distance_images: the images for Procrustes distance and rank agreement.
    """
    meta, baseline = grams["meta"], grams["baseline"]
    interval = similarity.cka_interval(meta, baseline, groups=groups)
    partial = similarity.cka_interval(meta, baseline, confound=pixels, groups=groups)
    corner = np.ix_(distance_images, distance_images)
    corners = {name: gram[corner] for name, gram in grams.items()}
    ranks = {name: similarity.rank_distances(gram) for name, gram in corners.items()}
    scores = {name: similarity.unit_scores(gram) for name, gram in corners.items()}

    image_geometry = similarity.unit_geometry(pixels)

    def cka(first: Float[ndarray, " NN"], second: Float[ndarray, " NN"]) -> float:
        return float(similarity.align(first[None], second[None])[0, 0])

    with_pixels = {name: cka(geometry, image_geometry) for name, geometry in geometries.items()}

    def measure(first: str, second: str) -> dict[str, float]:
        agreement = cka(geometries[first], geometries[second])
        return {
            "cka": agreement,
            "biased_cka": similarity.biased_cka(grams[first], grams[second]),
            "partial_cka": similarity.partial_out(agreement, with_pixels[first], with_pixels[second]),
            "procrustes": similarity.procrustes_angle(scores[first], scores[second]),
            "rank_agreement": float(ranks[first] @ ranks[second]),
        }

    def mean_cka(network: str, others: list[str]) -> float:
        return float(np.mean([cka(geometries[network], geometries[name]) for name in others])) if others else np.nan

    def initial_cka(network: str, initial: ActivationStore | None) -> float:
        return mean_cka(network, [initial.network] if initial is not None else [])

    pairs = [pair for pair in untrained_pairs(stores) if pair[0] in grams and pair[1] in grams]
    own = [store.network for store in (stores.meta_initial, stores.baseline_initial) if store is not None]
    fresh = [store.network for store in stores.untrained if store.network not in own and store.network in grams]
    return MatchedLayer(
        role=role,
        num_images=len(meta),
        num_images_distances=len(distance_images),
        cka_low=interval.low,
        cka_high=interval.high,
        interval=interval.method,
        partial_low=partial.low,
        partial_high=partial.high,
        pixels_meta=with_pixels["meta"],
        pixels_baseline=with_pixels["baseline"],
        pixels_untrained=float(np.mean([with_pixels[s.network] for s in stores.untrained if s.network in grams])),
        meta_untrained=mean_cka("meta", fresh),
        baseline_untrained=mean_cka("baseline", fresh),
        meta_initial=initial_cka("meta", stores.meta_initial),
        baseline_initial=initial_cka("baseline", stores.baseline_initial),
        controls=tuple(Control(first=first, second=second, **measure(first, second)) for first, second in pairs),
        measures=measure_further(
            role,
            corners,
            pixels[corner],
            stores,
            pairs,
            groups=None if groups is None else groups[distance_images],
        ),
        influential=find_influential(role, stores),
        **measure("meta", "baseline"),
    )


def tabulate_similarity(
    geometries: Mapping[str, Mapping[str, Float[ndarray, " NN"]]],
    stores: Stores,
    pixels: Float[ndarray, "N N"] | None = None,
) -> tuple[SimilarityTable, ...]:
    """Layer by layer tables: within meta, within baseline, between them, and between untrained networks (a mean).

    Args:
        geometries: ``similarity.unit_geometry`` by network and role.
        stores: says which networks are which.
        pixels: Gram matrix of the images; with it the same tables follow with what all share with the pixels taken out.
    """
    stacked = {name: np.stack(list(roles.values())) for name, roles in geometries.items()}
    with_pixels: dict[str, Float[ndarray, " L"]] = {}
    if pixels is not None:
        images = similarity.unit_geometry(pixels, np.float32)
        with_pixels = {name: similarity.align(layers, images[None])[:, 0] for name, layers in stacked.items()}
    plain = _tabulate(geometries, stores, lambda first, second: similarity.align(stacked[first], stacked[second]))
    if pixels is None:
        return plain

    def without_pixels(first: str, second: str) -> Float[ndarray, "L1 L2"]:
        cross = similarity.align(stacked[first], stacked[second])
        return similarity.partial_correlation(cross, with_pixels[first][:, None], with_pixels[second])

    partial = _tabulate(geometries, stores, without_pixels)
    return plain + tuple(replace(table, name=f"{table.name}_without_pixels", without_pixels=True) for table in partial)


def _tabulate(
    geometries: Mapping[str, Mapping[str, Float[ndarray, " NN"]]],
    stores: Stores,
    values: Callable[[str, str], Float[ndarray, "L1 L2"]],
) -> tuple[SimilarityTable, ...]:
    def table(name: str, title: str, pairs: list[tuple[str, str]]) -> SimilarityTable:
        first, second = pairs[0]
        return SimilarityTable(
            name=name,
            title=title,
            row_network=first,
            column_network=second,
            rows=tuple(geometries[first]),
            columns=tuple(geometries[second]),
            values=np.mean([values(*pair) for pair in pairs], axis=0),
        )

    tables = [
        table("meta_meta", "meta with itself", [("meta", "meta")]),
        table("baseline_baseline", "baseline with itself", [("baseline", "baseline")]),
        table("meta_baseline", "meta with baseline", [("meta", "baseline")]),
    ]
    if pairs := untrained_pairs(stores):
        title = f"untrained pairs, mean of {len(pairs)}" if len(pairs) > 1 else "one untrained pair"
        tables.append(table("untrained_untrained", title, list(pairs)))
    return tuple(tables)
