"""The measurements as estimates: each number with its interval, its control, its unit and n."""

from __future__ import annotations

import math
from collections.abc import Iterator

from meta_baseline.representations.agreement import MatchedLayer
from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.results import Estimate
from meta_baseline.similarity import LEVEL


def list_estimates(facts: RepresentationFacts) -> tuple[Estimate, ...]:
    """Every number that may be cited, named like ``conv3.cka.meta_baseline``."""
    return (
        *(e for layer in facts.matched for e in (*_of_pair(layer), *_of_measures(layer))),
        *_of_layers(facts),
        *_of_targets(facts),
    )


_MEASURES = {
    "whole_maps": "debiased CKA of whole maps",
    "channel_means": "debiased CKA of channel means",
    "rbf": "debiased CKA of near images (Gaussian kernel)",
    "neighbours": "shared nearest neighbours",
    "rank": "RSA (Spearman) with its interval",
    "rank_partial": "RSA (Spearman), pixels held fixed,",
    "canonical": "mean squared canonical correlation of channel means, chance taken off,",
}
"""Of ``representations.measures``; Procrustes is there as an angle."""


def _of_measures(layer: MatchedLayer) -> Iterator[Estimate]:
    for found in layer.measures:
        if found.name not in _MEASURES or not math.isfinite(found.value):
            continue
        has_interval, pairs = math.isfinite(found.low), len(found.controls)
        yield Estimate(
            name=f"{layer.role}.{found.name}.meta_baseline",
            label=f"{_MEASURES[found.name]} of meta and baseline in {layer.role}",
            value=found.value,
            low=found.low if has_interval else None,
            high=found.high if has_interval else None,
            level=LEVEL,
            interval="jackknife over images or groups of images" if has_interval else "",
            reference=found.control if pairs else None,
            reference_label=f"untrained networks, mean of {pairs} pair{'s' if pairs > 1 else ''}" if pairs else "",
            n=found.num_images,
            n_unit="images",
        )


def _of_pair(layer: MatchedLayer) -> Iterator[Estimate]:
    role = layer.role
    pairs = len(layer.controls)
    control = f"untrained networks, mean of {pairs} pair{'s' if pairs > 1 else ''}" if pairs else ""

    def descriptive(name: str, label: str, value: float, measure: str = "", unit: str = "") -> Estimate:
        few = name in ("procrustes", "rank_agreement")
        reference = layer.control(measure)[0] if measure and pairs else None
        return Estimate(
            name=f"{role}.{name}",
            label=f"{label} in {role}",
            value=value,
            unit=unit,
            reference=reference,
            reference_label=control if reference is not None else "",
            n=layer.num_images_distances if few else layer.num_images,
            n_unit="images",
        )

    for name, label, value, low, high, measure in (
        ("cka.meta_baseline", "debiased CKA of meta and baseline", layer.cka, layer.cka_low, layer.cka_high, "cka"),
        (
            "partial_cka.meta_baseline",
            "debiased CKA of meta and baseline, pixels taken out,",
            layer.partial_cka,
            layer.partial_low,
            layer.partial_high,
            "partial_cka",
        ),
    ):
        reference = layer.control(measure)[0]
        yield Estimate(
            name=f"{role}.{name}",
            label=f"{label} in {role}",
            value=value,
            low=low,
            high=high,
            level=LEVEL,
            interval=layer.interval,
            reference=reference if pairs else None,
            reference_label=control,
            n=layer.num_images,
            n_unit="images",
        )
    yield descriptive("biased_cka.meta_baseline", "biased CKA of meta and baseline", layer.biased_cka, "biased_cka")
    yield descriptive("procrustes", "Procrustes angle of meta and baseline", layer.procrustes, "procrustes", "radians")
    yield descriptive("rank_agreement", "RSA (Spearman) of meta and baseline", layer.rank_agreement, "rank_agreement")
    for name, label, value in (
        ("cka.meta_pixels", "debiased CKA of meta and pixels", layer.pixels_meta),
        ("cka.baseline_pixels", "debiased CKA of baseline and pixels", layer.pixels_baseline),
        ("cka.meta_untrained", "debiased CKA of meta and untrained networks", layer.meta_untrained),
        ("cka.baseline_untrained", "debiased CKA of baseline and untrained networks", layer.baseline_untrained),
        ("cka.meta_initial", "debiased CKA of meta and its own step 0", layer.meta_initial),
        ("cka.baseline_initial", "debiased CKA of baseline and its own step 0", layer.baseline_initial),
    ):
        if math.isfinite(value):
            yield descriptive(name, label, value)


def _of_layers(facts: RepresentationFacts) -> Iterator[Estimate]:
    measures = (
        ("zero_fraction", "share of zeros", "fraction of values", facts.num_images),
        ("num_dead", "dead channels", "channels", facts.num_images),
        ("participation_ratio", "effective dimensions", "dimensions", facts.num_images_similarity),
        ("separability", "class separability d'", "sd within a class", facts.num_images),
        ("num_always_on", "channels that are always on", "channels", facts.num_images),
        ("lifetime_sparseness", "sparseness of channels over images", "", facts.num_images),
        ("twonn", "TwoNN dimension", "dimensions", facts.num_images_similarity),
    )
    for layer in facts.statistics:
        if layer.network not in ("meta", "baseline"):
            continue
        for measure, label, unit, n in measures:
            untrained = facts.untrained(layer.role, measure, layer.network)
            bounds = {
                "separability": (layer.separability_low, layer.separability_high, "large-sample", "left-out images"),
                "twonn": (layer.local_dimension.low, layer.local_dimension.high, "jackknife", "parts of the images"),
            }
            low, high, kind, over = bounds.get(measure, (math.nan, math.nan, "", ""))
            has_interval = math.isfinite(low)
            yield Estimate(
                name=f"{layer.role}.{measure}.{layer.network}",
                label=f"{label} in {layer.role} of {layer.network}",
                value=float(getattr(layer, measure)),
                unit=unit,
                low=low if has_interval else None,
                high=high if has_interval else None,
                level=LEVEL,
                interval=f"{kind} interval over {over}" if has_interval else "",
                reference=float(untrained.mean()) if len(untrained) else None,
                reference_label=f"untrained networks, mean of {len(untrained)}" if len(untrained) else "",
                n=n,
                n_unit="images",
            )


def _of_targets(facts: RepresentationFacts) -> Iterator[Estimate]:
    """Shares of variance with their null, and shares of selective units beside those of untrained networks."""
    for share in facts.explained:
        if share.network not in ("meta", "baseline") or not math.isfinite(share.share):
            continue
        judged = math.isfinite(share.chance)
        has_interval = math.isfinite(share.low)
        yield Estimate(
            name=f"{share.role}.explained.{share.target.replace(' ', '_')}.{share.network}",
            label=f"share of the variance of {share.role} of {share.network} that goes with {share.target}",
            value=share.share,
            unit="fraction of variance",
            low=share.low if has_interval else None,
            high=share.high if has_interval else None,
            level=LEVEL,
            interval="jackknife interval over parts of the images" if has_interval else "",
            reference=share.chance if judged else None,
            reference_label="bound that any target of the layer exceeds in 5 % of shuffles" if judged else "",
            n=facts.num_images_similarity,
            n_unit="images",
        )
    for unit in facts.units:
        if unit.network not in ("meta", "baseline"):
            continue
        own = facts.untrained_meta if unit.network == "meta" else facts.untrained_baseline
        others = [
            other.num_selective / other.num_units
            for other in facts.units
            if other.network in own and (other.role, other.target) == (unit.role, unit.target)
        ]
        yield Estimate(
            name=f"{unit.role}.selective_units.{unit.target}.{unit.network}",
            label=f"share of the units of {unit.role} of {unit.network} that follow {unit.target} beyond chance",
            value=unit.num_selective / unit.num_units,
            unit="fraction of units",
            reference=sum(others) / len(others) if others else None,
            reference_label=f"untrained networks, mean of {len(others)}" if others else "",
            n=facts.num_images_similarity,
            n_unit="images",
        )
