"""The sentences of the dictionary study: what is explained, what is shared, what is selective."""

from __future__ import annotations

import math
from collections.abc import Iterator

from meta_baseline.dictionaries.estimates import NETWORKS, mean_excess, mean_matching, mean_over_layers
from meta_baseline.dictionaries.facts import DictionaryStudy
from meta_baseline.results import Finding

_CLEAR_EXCESS = 0.05


def list_findings(study: DictionaryStudy) -> tuple[Finding, ...]:
    """At most three sentences; none where no layer could be compared."""
    return (*_find_explained(study), *_find_shared(study), *_find_selective(study))


def _find_explained(study: DictionaryStudy) -> Iterator[Finding]:
    meta, baseline = (mean_over_layers(study, network) for network in NETWORKS)
    control = {network: mean_over_layers(study, study.controls[network]) for network in NETWORKS}
    differences = [layer.difference for layer in study.layers if math.isfinite(layer.difference.value)]
    if not differences:
        return
    difference = sum(d.value for d in differences) / len(differences)
    by_seeds = sum(d.between_seeds for d in differences) / len(differences)
    by_architecture = abs(control["meta"] - control["baseline"])
    yardstick = by_seeds + by_architecture
    agreeing = sum(d.sign == (1 if difference > 0 else -1) for d in differences)
    beyond = abs(difference) > 2 * yardstick and agreeing > len(differences) / 2
    networks = dict.fromkeys((*NETWORKS, *study.controls.values()))
    excess = ", ".join(f"{name} {100 * mean_excess(study, name):+.1f}" for name in networks)
    causes = "dictionary seeds and architectures" if by_architecture else "dictionary seeds"
    yield Finding(
        sentence=f"At equal sparsity, dictionaries explain {meta:.1%} (meta) and {baseline:.1%} (baseline) of the "
        f"held-out variance, mean of {len(differences)} layers; untrained {_name_controls(control)}. "
        f"Points beyond a Gaussian of the same covariance: {excess}. The difference of {100 * difference:+.1f} points "
        f"({causes} make {100 * yardstick:.1f}) is clear in {agreeing} of {len(differences)} layers; with one pair of "
        "checkpoints, other training seeds may undo it.",
        importance=0.5 if beyond else 0.4,
        beyond_control=beyond,
        estimates=(
            *(f"mean.{name}.{network}" for name in ("fve.topk", "fve_over_gaussian") for network in NETWORKS),
            "mean.fve_difference.topk",
        ),
    )


def _find_shared(study: DictionaryStudy) -> Iterator[Finding]:
    names = ("networks", "untrained", "seeds", "shuffled")
    shared, untrained, ceiling, floor = (mean_matching(study, kind) for kind in names)
    if not all(math.isfinite(value) for value in (shared, untrained, ceiling, floor)):
        return
    excess = shared - untrained
    verdict = (
        "they share more features with each other than with an untrained network"
        if excess > _CLEAR_EXCESS
        else "they share no more features with each other than each does with an untrained network"
        if excess > -_CLEAR_EXCESS
        else "each shares more features with its untrained network than with the other"
    )
    yield Finding(
        sentence=f"Features of the two networks matched by when they are active correlate at {shared:.2f} (weighted by "
        f"variance, held-out images); with an untrained network {untrained:.2f}, ceiling (two dictionaries of one "
        f"network) {ceiling:.2f}, floor (different images) {floor:.2f}: {verdict}.",
        importance=0.45 if abs(excess) > _CLEAR_EXCESS else 0.4,
        beyond_control=excess > _CLEAR_EXCESS,
        estimates=tuple(f"mean.matching.{name}" for name in ("meta_baseline", "untrained", "seeds", "shuffled")),
    )


def _find_selective(study: DictionaryStudy) -> Iterator[Finding]:
    """Layers are counted, and the best is not quoted: best of layers would be a second selection."""
    counts: dict[str, list[bool]] = {}
    for layer in study.layers:
        for row in layer.selectivity:
            if row.target == "label":
                counts.setdefault(row.network, []).append(abs(row.correlation) > row.chance)
    if not all(network in counts for network in NETWORKS):
        return
    described = ", ".join(f"{network} {sum(hits)} of {len(hits)} layers" for network, hits in counts.items())
    yield Finding(
        sentence="Single features that follow the label more closely than the best feature does by chance "
        f"(95th percentile, images shuffled; 5 % of layers would by chance): {described}.",
        importance=0.3,
    )


def _name_controls(control: dict[str, float]) -> str:
    if control["meta"] == control["baseline"]:
        return f"{control['meta']:.1%}"
    return f"{control['meta']:.1%} and {control['baseline']:.1%}"
