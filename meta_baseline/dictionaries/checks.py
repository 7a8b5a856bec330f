"""What limits the conclusions that may be drawn from the dictionaries; each check has a code, a verdict, a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from meta_baseline.dictionaries.estimates import NETWORKS
from meta_baseline.dictionaries.facts import DictionaryFacts, DictionaryStudy, LayerFacts
from meta_baseline.dictionaries.fits import SAMPLES_PER_ATOM
from meta_baseline.results import Check

SMALL_LAYER = 16
MANY_DEAD = 0.5
FEW_DEAD = 0.1
L0_TOLERANCE = 0.3
STABLE = 0.6


def list_checks(study: DictionaryStudy) -> tuple[Check, ...]:
    """Every check, those that limit most first."""
    checks = [
        *_check_constant(study),
        *_check_dead(study),
        *_check_pca(study),
        *_check_gaussian(study),
        *_check_frozen(study),
        *_check_stable(study),
        *_check_sparsity(study),
        *_check_shrinkage(study),
        *_check_samples(study),
        *_check_small(study),
        *_check_places(study),
        *_check_controls(study),
    ]
    order = ("fail", "warn", "note", "pass")
    return tuple(sorted(checks, key=lambda check: order.index(check.verdict)))


def _check_constant(study: DictionaryStudy) -> Iterator[Check]:
    constant = _where(study, "topk", lambda facts: bool(np.isnan(facts.fidelity.fve)))
    if constant:
        yield Check(
            code="autoencoder.constant_layer",
            verdict="warn",
            sentence=f"Constant on these stimuli, so that there is nothing to explain: {_join(constant)}.",
        )
    for reason in study.skipped:
        yield Check(code="autoencoder.skipped", verdict="note", sentence=reason)


def _check_dead(study: DictionaryStudy) -> Iterator[Check]:
    half = _where(study, "topk", lambda facts: facts.fidelity.dead_fraction >= MANY_DEAD)
    some = _where(study, "topk", lambda facts: FEW_DEAD < facts.fidelity.dead_fraction < MANY_DEAD, _dead)
    if half:
        yield Check(
            code="autoencoder.dead",
            verdict="warn",
            sentence=f"Half of the latents or more are dead in {_join(half)}: these dictionaries are in effect smaller "
            "than stated.",
        )
    if some:
        yield Check(
            code="autoencoder.dead",
            verdict="note",
            sentence=f"More than {FEW_DEAD:.0%} of the TopK latents are never active on held-out images in "
            f"{_join(some)}.",
        )
    if not half and not some:
        yield Check(
            code="autoencoder.dead",
            verdict="pass",
            sentence=f"At most {FEW_DEAD:.0%} of the TopK latents are dead on held-out images in every layer of both "
            "networks.",
        )


def _check_pca(study: DictionaryStudy) -> Iterator[Check]:
    below = _where(study, "topk", lambda facts: facts.fidelity.fve <= facts.pca_fve)
    yield Check(
        code="autoencoder.beats_pca",
        verdict="warn" if below else "pass",
        sentence=f"PCA with as many components explains at least as much as the TopK dictionary in {_join(below)}: it "
        "was not trained well there."
        if below
        else "Every TopK dictionary explains more held-out variance than PCA with as many components.",
    )


def _check_gaussian(study: DictionaryStudy) -> Iterator[Check]:
    excess = {
        f"{layer.layer} {network}": facts.fidelity.fve - twin.fidelity.fve
        for layer in study.layers
        for network in NETWORKS
        if (facts := layer.find(network)) and (twin := layer.find(network, "gaussian"))
    }
    below = [name for name, value in excess.items() if not value > 0]
    if below:
        yield Check(
            code="autoencoder.beats_gaussian",
            verdict="warn",
            sentence=f"A Gaussian of the same covariance is explained as well in {_join(below)}: no sparse structure "
            "is shown there.",
        )
    elif excess:
        yield Check(
            code="autoencoder.beats_gaussian",
            verdict="pass",
            sentence=f"Every TopK dictionary explains {min(excess.values()):.3f} to {max(excess.values()):.3f} more of "
            "the held-out variance than one of a Gaussian of the same covariance: that much is more than covariance.",
        )


def _check_frozen(study: DictionaryStudy) -> Iterator[Check]:
    pairs = [
        (layer.layer, network, trained, frozen)
        for layer in study.layers
        for network in NETWORKS
        if (trained := layer.find(network)) and (frozen := layer.find(network, "frozen"))
    ]
    if not pairs:
        return
    gains = [trained.fidelity.fve - frozen.fidelity.fve for _, _, trained, frozen in pairs]
    below = [f"{layer} ({network})" for (layer, network, *_), gain in zip(pairs, gains) if not gain > 0]
    yield Check(
        code="autoencoder.frozen_decoder",
        verdict="warn" if below else "pass",
        sentence=f"Training the atoms adds nothing over random directions of the same covariance in {_join(below)}."
        if below
        else "Training the atoms adds "
        f"{min(gains):.3f} to {max(gains):.3f} of the variance over random directions of the same covariance that are "
        "read by an encoder trained alike.",
    )


def _check_stable(study: DictionaryStudy) -> Iterator[Check]:
    unstable = [
        f"{layer.layer} {matching.first} ({matching.mean:.2f})"
        for layer in study.layers
        for matching in layer.matching("seeds")
        if not matching.mean >= STABLE
    ]
    yield Check(
        code="autoencoder.stable_features",
        verdict="warn" if unstable else "pass",
        sentence="Two dictionary seeds of the same activations find different features (correlation of matched atoms "
        f"below {STABLE}) in {_join(unstable)}: do not read single features there as the network's."
        if unstable
        else "Two dictionary seeds of the same activations find the same features (correlation of matched atoms at "
        f"least {STABLE}, weighted by variance) in every layer.",
    )


def _check_sparsity(study: DictionaryStudy) -> Iterator[Check]:
    off = _where(
        study,
        "l1",
        lambda facts: abs(facts.fidelity.l0 / facts.sparsity - 1) > L0_TOLERANCE,
        lambda facts: f"{facts.fidelity.l0:.1f} v {facts.sparsity}",
    )
    if off:
        yield Check(
            code="autoencoder.equal_l0",
            verdict="note",
            sentence=f"The L1 dictionary has another number of active atoms than TopK in {_join(off)}; compare each "
            "with PCA at its own L0.",
        )


def _check_shrinkage(study: DictionaryStudy) -> Iterator[Check]:
    below = _where(study, "l1", lambda facts: facts.fidelity.fve <= facts.pca_fve)
    if below:
        yield Check(
            code="autoencoder.l1_shrinkage",
            verdict="note",
            sentence=f"The L1 dictionary explains no more than PCA with as many components in {_join(below)}: its "
            "penalty shrinks every code. Read TopK there.",
        )


def _check_samples(study: DictionaryStudy) -> Iterator[Check]:
    few = _where(study, "topk", lambda facts: facts.num_train < SAMPLES_PER_ATOM * facts.num_atoms)
    if few:
        yield Check(
            code="autoencoder.few_samples",
            verdict="warn",
            sentence=f"Fewer than {SAMPLES_PER_ATOM} training samples per atom in {_join(few)}: use more images.",
        )
    narrow = _where(
        study,
        "topk",
        lambda facts: facts.num_atoms < facts.num_channels,
        lambda facts: f"{facts.num_atoms} atoms for {facts.num_channels} channels, {facts.num_train} samples",
    )
    if narrow:
        yield Check(
            code="autoencoder.not_overcomplete",
            verdict="note",
            sentence=f"Too few samples for an overcomplete dictionary in {_join(narrow)}: it can show clusters and "
            "directions, not superposition.",
        )


def _check_small(study: DictionaryStudy) -> Iterator[Check]:
    small = _where(
        study,
        "topk",
        lambda facts: facts.num_channels <= SMALL_LAYER,
        lambda facts: (
            f"{facts.num_channels} channels: PCA with {facts.sparsity} components explains "
            f"{facts.pca_fve:.2f}, TopK {facts.fidelity.fve:.2f}"
        ),
    )
    if small:
        yield Check(
            code="autoencoder.small_layer",
            verdict="note",
            sentence=f"So few channels leave no room for superposition: {_join(small)}. Read the channels themselves.",
        )


def _check_places(study: DictionaryStudy) -> Iterator[Check]:
    by_image = [
        layer.layer
        for layer in study.layers
        if len(layer.map_shape) == 3 and any(matching.unit == "images" for matching in layer.matching("networks"))
    ]
    if by_image:
        yield Check(
            code="autoencoder.matched_by_image",
            verdict="note",
            sentence=f"The maps of the two networks differ in size in {_join(by_image)}: features are matched by their "
            "largest response in each image, not place by place.",
        )
    other_width = [layer.layer for layer in study.layers if not layer.same_width]
    if other_width:
        yield Check(
            code="autoencoder.other_width",
            verdict="warn",
            sentence=f"The two networks have different numbers of channels in {_join(other_width)}: variance explained "
            "is not comparable there.",
        )


def _check_controls(study: DictionaryStudy) -> Iterator[Check]:
    names = " and ".join(dict.fromkeys(study.controls[network] for network in NETWORKS))
    yield Check(
        code="autoencoder.one_control",
        verdict="note",
        sentence=f"The control of the dictionaries is one untrained network per architecture ({names}), so its own "
        "spread over initialisations is not in the numbers.",
    )


def _where(
    study: DictionaryStudy,
    variant: str,
    holds: Callable[[DictionaryFacts], bool],
    describe: Callable[[DictionaryFacts], str] | None = None,
) -> list[str]:
    """Layer and network of each dictionary of the two networks for which ``holds``, with its description."""
    found: list[str] = []
    for layer in study.layers:
        for facts in _of_networks(layer, variant):
            if holds(facts):
                found.append(f"{layer.layer} {facts.network}" + (f" ({describe(facts)})" if describe else ""))
    return found


def _of_networks(layer: LayerFacts, variant: str) -> Iterator[DictionaryFacts]:
    for network in NETWORKS:
        facts = layer.find(network, variant)
        if facts is not None:
            yield facts


def _dead(facts: DictionaryFacts) -> str:
    return f"{facts.fidelity.dead_fraction:.0%}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)
