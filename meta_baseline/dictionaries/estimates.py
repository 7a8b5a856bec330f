"""The numbers of the dictionary study that may go into a paper, each with its control."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.dictionaries.facts import DictionaryFacts, DictionaryStudy, LayerFacts, Matching
from meta_baseline.results import Estimate

NETWORKS = ("meta", "baseline")
VARIANT_NAMES = {
    "topk": "TopK",
    "l1": "ReLU + L1",
    "frozen": "frozen random decoder",
    "gaussian": "TopK on the Gaussian twin",
}
_UNIT = "fraction of variance"
_OVER_IMAGES = "bootstrap over held-out images, dictionary fixed"


def list_estimates(study: DictionaryStudy) -> tuple[Estimate, ...]:
    """Every estimate, layer by layer, then the means over layers."""
    by_layer = [estimate for layer in study.layers for estimate in _list_of_layer(layer, study.controls)]
    return (*by_layer, *_list_means(study))


def mean_over_layers(study: DictionaryStudy, network: str, variant: str = "topk") -> float:
    """Mean held-out FVE over the layers where it is defined; NaN where there is none."""
    found = (layer.find(network, variant) for layer in study.layers)
    return _mean([facts.fidelity.fve for facts in found if facts is not None])


def mean_excess(study: DictionaryStudy, network: str) -> float:
    """Mean over layers of the held-out FVE beyond that of the same dictionary of a Gaussian twin."""
    return _mean([value for layer in study.layers if (value := _excess(layer, network)) is not None])


def mean_matching(study: DictionaryStudy, kind: str) -> float:
    """Mean over layers (and, where there is one per network, over networks) of the mean matched correlation."""
    return _mean([matching.mean for layer in study.layers for matching in layer.matching(kind)])


def _list_of_layer(layer: LayerFacts, controls: dict[str, str]) -> Iterator[Estimate]:
    for facts in layer.dictionaries:
        if facts.seed == 0 and facts.variant != "gaussian":
            yield from _list_of_dictionary(layer, facts, controls)
    difference = layer.difference
    yield Estimate(
        name=f"{layer.layer}.fve_difference.topk",
        label=f"{layer.layer}: held-out variance explained, meta minus baseline, TopK, mean of 2 seeds",
        value=difference.value,
        unit=_UNIT,
        low=difference.low,
        high=difference.high,
        interval=f"{_OVER_IMAGES}, both networks on the same resamples",
        reference=difference.between_seeds,
        reference_label="largest difference between two dictionary seeds of one network",
        n=_num_images(layer),
        n_unit="held-out images",
    )
    for stability in layer.stability:
        yield Estimate(
            name=f"{layer.layer}.stability.{stability.network}",
            label=f"{layer.layer}: mean max cosine between dictionary seeds, {stability.network}",
            value=stability.cosine,
            unit="cosine",
            reference=stability.chance,
            reference_label="random directions, as many in as many dimensions",
            n=2,
            n_unit="dictionary seeds",
        )
    floor = _mean([matching.mean for matching in layer.matching("shuffled")])
    for matching in layer.matchings:
        if matching.kind != "shuffled":
            yield _of_matching(layer, matching, floor)


def _list_of_dictionary(layer: LayerFacts, facts: DictionaryFacts, controls: dict[str, str]) -> Iterator[Estimate]:
    network = facts.network.replace(" ", "_")
    where = f"{layer.layer}: {{}}, {VARIANT_NAMES[facts.variant]}, {facts.network}"
    control = layer.find(controls.get(facts.network, "")) if facts.variant == "topk" else layer.find(facts.network)
    control_label = "untrained network, same dictionary settings" if facts.variant == "topk" else "TopK, same network"
    n = {"n": facts.num_held_out_images, "n_unit": "held-out images"}
    yield Estimate(
        name=f"{layer.layer}.fve.{facts.variant}.{network}",
        label=where.format("held-out variance explained"),
        value=facts.fidelity.fve,
        unit=_UNIT,
        low=facts.fve_low,
        high=facts.fve_high,
        interval=_OVER_IMAGES,
        reference=control.fidelity.fve if control else None,
        reference_label=control_label if control else "",
        **n,
    )
    yield Estimate(
        name=f"{layer.layer}.fve_foreground.{facts.variant}.{network}",
        label=where.format("held-out variance explained at positions with ink"),
        value=facts.fidelity.fve_foreground,
        unit=_UNIT,
        reference=facts.pca_fve_foreground,
        reference_label="PCA with as many components",
        **n,
    )
    yield Estimate(
        name=f"{layer.layer}.fve_over_pca.{facts.variant}.{network}",
        label=where.format("held-out variance explained beyond PCA with as many components"),
        value=facts.fidelity.fve - facts.pca_fve,
        unit=_UNIT,
        reference=control.fidelity.fve - control.pca_fve if control else None,
        reference_label=control_label if control else "",
        **n,
    )
    twin = layer.find(facts.network, "gaussian")
    if facts.variant == "topk" and twin is not None:
        yield Estimate(
            name=f"{layer.layer}.fve_over_gaussian.{network}",
            label=where.format("held-out variance explained beyond the same dictionary of a Gaussian twin"),
            value=facts.fidelity.fve - twin.fidelity.fve,
            unit=_UNIT,
            low=facts.fve_low - twin.fidelity.fve,
            high=facts.fve_high - twin.fidelity.fve,
            interval=f"{_OVER_IMAGES}, twin fixed",
            reference=_excess(layer, controls.get(facts.network, "")),
            reference_label=control_label if control else "",
            **n,
        )
    for name, label, value, unit in (
        ("l0", "active atoms per position", facts.fidelity.l0, "atoms"),
        ("dead", "atoms never active on held-out images", facts.fidelity.dead_fraction, "fraction of atoms"),
        ("dense", "atoms active at over half of the positions", facts.fidelity.dense_fraction, "fraction of atoms"),
    ):
        yield Estimate(
            name=f"{layer.layer}.{name}.{facts.variant}.{network}",
            label=where.format(label),
            value=value,
            unit=unit,
            n=facts.num_held_out,
            n_unit="held-out positions",
        )
    if facts.variant == "topk":
        yield Estimate(
            name=f"{layer.layer}.gamma.{network}",
            label=f"{layer.layer}: |mean| / |sd| of the channel vectors, {facts.network}",
            value=facts.mean_ratio,
            n=facts.num_train,
            n_unit="training positions",
        )


def _of_matching(layer: LayerFacts, matching: Matching, floor: float) -> Estimate:
    names = {
        "networks": ("meta_baseline", "meta and baseline"),
        "untrained": (f"{matching.first}_untrained", f"{matching.first} and its untrained control"),
        "seeds": (f"{matching.first}_seeds", f"two dictionary seeds of {matching.first}"),
    }
    name, label = names[matching.kind]
    return Estimate(
        name=f"{layer.layer}.matching.{name}",
        label=f"{layer.layer}: correlation of matched atoms, weighted by variance, {label}",
        value=matching.mean,
        unit="correlation",
        reference=floor,
        reference_label="meta and baseline on different images",
        n=len(matching.correlations),
        n_unit=f"matched pairs of atoms, over {matching.unit}",
    )


def _list_means(study: DictionaryStudy) -> Iterator[Estimate]:
    n = {"n": len(study.layers), "n_unit": "layers"}
    for network in NETWORKS:
        yield Estimate(
            name=f"mean.fve.topk.{network}",
            label=f"mean over layers: held-out variance explained, TopK, {network}",
            value=mean_over_layers(study, network),
            unit=_UNIT,
            reference=mean_over_layers(study, study.controls[network]),
            reference_label="untrained network, same dictionary settings",
            **n,
        )
    for network in NETWORKS:
        yield Estimate(
            name=f"mean.fve_over_gaussian.{network}",
            label=f"mean over layers: held-out variance explained beyond a Gaussian twin, TopK, {network}",
            value=mean_excess(study, network),
            unit=_UNIT,
            reference=mean_excess(study, study.controls[network]),
            reference_label="untrained network, same dictionary settings",
            **n,
        )
    yield Estimate(
        name="mean.fve_difference.topk",
        label="mean over layers: held-out variance explained, meta minus baseline, TopK",
        value=_mean([layer.difference.value for layer in study.layers]),
        unit=_UNIT,
        reference=_mean([layer.difference.between_seeds for layer in study.layers]),
        reference_label="mean over layers of the largest difference between two dictionary seeds",
        **n,
    )
    for kind, name, label in (
        ("networks", "meta_baseline", "meta and baseline"),
        ("untrained", "untrained", "trained networks and their untrained controls"),
        ("seeds", "seeds", "two dictionary seeds of one network"),
        ("shuffled", "shuffled", "meta and baseline on different images"),
    ):
        yield Estimate(
            name=f"mean.matching.{name}",
            label=f"mean over layers: correlation of matched atoms, weighted by variance, {label}",
            value=mean_matching(study, kind),
            unit="correlation",
            **n,
        )


def _excess(layer: LayerFacts, network: str) -> float | None:
    facts, twin = layer.find(network), layer.find(network, "gaussian")
    return facts.fidelity.fve - twin.fidelity.fve if facts is not None and twin is not None else None


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _num_images(layer: LayerFacts) -> int:
    return min(facts.num_held_out_images for facts in layer.dictionaries)
