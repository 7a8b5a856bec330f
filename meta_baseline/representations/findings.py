"""What differs between two networks' activations, in a few sentences with their numbers and controls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.representations.layer_statistics import LayerStatistics
from meta_baseline.results import Finding

NOTABLE_RATIO = 1.5
"""Of effective dimensions, from which a difference is worth a finding."""

_EQUAL = 0.99999
_OWN = ("meta", "baseline")


def list_findings(facts: RepresentationFacts) -> tuple[Finding, ...]:
    """The one to three sentences that matter most."""
    return tuple(_findings(facts))


def _findings(facts: RepresentationFacts) -> Iterator[Finding]:
    if agreement := _agreement_finding(facts):
        yield agreement
    if separability := _separability_finding(facts):
        yield separability
    if dimensions := _dimension_finding(facts):
        yield dimensions
    if explained := _explained_finding(facts):
        yield explained


def _agreement_finding(facts: RepresentationFacts) -> Finding | None:
    layers = [facts.agreement(role) for role in facts.hidden_roles]
    layers = [layer for layer in layers if math.isfinite(layer.cka)]
    if not layers:
        return None
    lowest, first = min(layers, key=lambda layer: layer.cka), layers[0]
    estimates = tuple(f"{layer.role}.cka.meta_baseline" for layer in layers)
    if lowest.cka > _EQUAL:
        sentence = (
            f"Both networks represent the images alike in every layer (lowest CKA {lowest.cka:.5f}): is one file given "
            "twice?"
        )
        return Finding(sentence=sentence, importance=0.95, estimates=estimates)
    sentence = f"Debiased CKA of the two networks (1: same geometry, 0: unrelated; {lowest.num_images} images) is "
    if first is not lowest:
        sentence += f"{first.cka:.2f} in {first.role} and lowest in {lowest.role}, "
    else:
        sentence += f"lowest in {lowest.role}, "
    sentence += f"{lowest.cka:.2f} [{lowest.cka_low:.2f}, {lowest.cka_high:.2f}]"
    if not lowest.controls:
        return Finding(sentence=sentence + "; there is no control.", importance=0.3, estimates=estimates)
    sentence += f", where untrained networks have {lowest.control('cka')[0]:.2f}"
    if math.isfinite(lowest.partial_cka):
        sentence += f"; without what the pixels share, {lowest.partial_cka:.2f} is left"
    less, more = ([layer.role for layer in layers if layer.verdict == verdict] for verdict in ("less", "more"))
    if any(layer.verdict == "unknown" for layer in layers):
        return Finding(sentence=sentence + ".", importance=0.3, estimates=estimates)
    if not less + more:
        sentence += f". In all {len(layers)} layers this is within what one more pair of untrained networks could show."
        return Finding(sentence=sentence, importance=0.4, estimates=estimates, beyond_control=False)
    parts = [f"{word} alike in {', '.join(roles)}" for word, roles in (("less", less), ("more", more)) if roles]
    sentence += (
        f". Beyond the band of untrained pairs, the two are {' and '.join(parts)} ({len(layers)} layers judged)."
    )
    return Finding(sentence=sentence, importance=0.7, estimates=estimates, beyond_control=True)


def _separability_finding(facts: RepresentationFacts) -> Finding | None:
    best: dict[str, LayerStatistics] = {}
    for network in _OWN:
        layers = [facts.layer(network, role) for role in facts.hidden_roles]
        known = [layer for layer in layers if layer is not None and math.isfinite(layer.separability)]
        if not known:
            return None
        best[network] = max(known, key=lambda layer: layer.separability)
    controls = np.concatenate([facts.untrained(role, "separability") for role in facts.hidden_roles])
    untrained = float(np.nanmax(controls)) if np.isfinite(controls).any() else math.nan
    estimates = tuple(f"{layer.role}.separability.{network}" for network, layer in best.items())
    meta, baseline = best["meta"], best["baseline"]
    numbers = f"{_separation(meta)} of the meta and {_separation(baseline)} of the baseline network"
    control = f"the best layer of any untrained network reaches {untrained:.1f}"
    if max(meta.separability_low, baseline.separability_low) <= untrained:
        sentence = (
            "In no layer of either network do the class means lie clearly further apart than in an untrained one: at "
            f"most {numbers} (images left out); {control}."
        )
        return Finding(sentence=sentence, importance=0.5, estimates=estimates, beyond_control=False)
    apart = meta.separability_low > baseline.separability_high or baseline.separability_low > meta.separability_high
    sentence = (
        f"Read linearly from channel means, the classes lie furthest apart in {numbers} (images left out); {control}."
    )
    beyond = True if math.isfinite(untrained) else None
    return Finding(sentence=sentence, importance=0.7 if apart else 0.4, estimates=estimates, beyond_control=beyond)


def _dimension_finding(facts: RepresentationFacts) -> Finding | None:
    """Where the two differ most in dimension; else where both left the untrained networks most."""
    apart: dict[str, float] = {}
    from_start: dict[str, float] = {}
    for role in facts.hidden_roles:
        own = np.array([_dimensions(facts, network, role) for network in _OWN])
        untrained = facts.untrained(role, "participation_ratio")
        if not ((own > 0).all() and len(untrained) and (untrained > 0).all()):
            continue
        apart[role] = abs(math.log(own[0] / own[1]))
        # The nearer of the two beside the nearest untrained network; 0 where they are not on one side.
        from_start[role] = max(math.log(untrained.min() / own.max()), math.log(own.min() / untrained.max()), 0.0)
    for distances, importance in ((apart, 0.4), (from_start, 0.3)):
        if distances and max(distances.values()) >= math.log(NOTABLE_RATIO):
            role = max(distances, key=lambda name: distances[name])
            return _describe_dimensions(facts, role, together=distances is from_start, importance=importance)
    return None


def _describe_dimensions(facts: RepresentationFacts, role: str, *, together: bool, importance: float) -> Finding:
    meta, baseline = facts.layer("meta", role), facts.layer("baseline", role)
    assert meta is not None and baseline is not None
    untrained = facts.untrained(role, "participation_ratio")
    what = "Training changed the dimension of both most" if together else "The two differ most in dimension"
    sentence = (
        f"{what} in {role}: activations vary along {_count(meta.participation_ratio)} effective dimensions in the meta "
        f"and {_count(baseline.participation_ratio)} in the baseline network (untrained {_counts(untrained)}), with "
        f"{_dead(meta)} and {_dead(baseline)} channels dead."
    )
    names = [f"{role}.{measure}.{network}" for measure in ("participation_ratio", "num_dead") for network in _OWN]
    beyond = True if together else None
    return Finding(sentence=sentence, importance=importance, estimates=tuple(names), beyond_control=beyond)


def _explained_finding(facts: RepresentationFacts) -> Finding | None:
    """The share of the class in the last hidden layer, and the latent with the largest share there."""
    role = next((role for role in reversed(facts.hidden_roles)), "")
    own = [s for s in facts.explained if s.role == role and s.network in _OWN and math.isfinite(s.chance)]
    classes = {s.network: s for s in own if s.target == "class"}
    latents = {s.network: s for s in sorted(own, key=lambda s: s.share) if s.target != "class"}
    if set(classes) != set(_OWN) or set(latents) != set(_OWN):
        return None
    untrained = [s.share for s in facts.explained if (s.role, s.target) == (role, "class") and s.network not in _OWN]
    parts = [
        f"{_percent(classes[network].share)} in {network} (by chance {_percent(classes[network].chance)}; "
        f"most with {latents[network].target}, {_percent(latents[network].share)})"
        for network in _OWN
    ]
    control = f"; untrained {_percent(float(np.mean(untrained)))}" if untrained else ""
    sentence = f"Of the variance of {role} over images, the class takes {' and '.join(parts)}{control}."
    return Finding(
        sentence=sentence,
        importance=0.25,
        estimates=tuple(f"{role}.explained.class.{network}" for network in _OWN),
        beyond_control=any(found.beyond_chance for found in classes.values()),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _dimensions(facts: RepresentationFacts, network: str, role: str) -> float:
    layer = facts.layer(network, role)
    return layer.participation_ratio if layer is not None else math.nan


def _separation(layer: LayerStatistics) -> str:
    return f"{layer.role} (d' = {layer.separability:.1f} [{layer.separability_low:.1f}, {layer.separability_high:.1f}])"


def _count(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _counts(values: Float[ndarray, " S"]) -> str:
    low, high = (_count(float(value)) for value in (np.nanmin(values), np.nanmax(values)))
    return low if low == high else f"{low} to {high}"


def _dead(layer: LayerStatistics) -> str:
    return f"{layer.num_dead} of {layer.num_channels}"
