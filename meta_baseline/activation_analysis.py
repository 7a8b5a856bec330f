"""Do two networks represent the same images alike, layer by layer, beyond what any two networks would?

Everything is computed from what one pass per network left behind (``activations.Stores``); images are read again only
to show a few. The measurements live in ``representations``; here they are made in one go over the layers, so that only
the Gram matrices of one layer are held at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline import similarity
from meta_baseline.activations import Stores
from meta_baseline.datasets import Stimuli
from meta_baseline.errors import UsageError
from meta_baseline.representations.agreement import (
    MAX_IMAGES_DISTANCES,
    MatchedLayer,
    iterate_grams,
    match_layer,
    tabulate_similarity,
)
from meta_baseline.representations.checks import FEWEST_GROUPS, list_checks
from meta_baseline.representations.design import design_contrasts
from meta_baseline.representations.dimension import LocalDimension, measure_local_dimension
from meta_baseline.representations.estimates import list_estimates
from meta_baseline.representations.explained import ExplainedShare
from meta_baseline.representations.extremes import LayerExtremes, ShownChannel, find_extremes, show_channels
from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.representations.findings import list_findings
from meta_baseline.representations.layer_statistics import LayerStatistics, deal_folds, describe_layer
from meta_baseline.representations.planes import PrincipalPlane, choose_latents, find_plane, strongest_latent
from meta_baseline.representations.unit_selectivity import UnitSelectivity
from meta_baseline.results import Check, Estimate, Finding

MAX_IMAGES = 1000
"""Images for Gram matrices [N, N]; more are sampled down to this, evenly at random."""

_OWN = ("meta", "baseline")

NUM_SHOWN_LAYERS = 4
"""Layers of which channels are shown, from first to last."""


@dataclass(frozen=True, kw_only=True)
class ActivationResult:
    """The measurements of two networks' activations and what they come to."""

    facts: RepresentationFacts
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def compare_activations(
    stores: Stores, *, rng: np.random.Generator, stimuli: Stimuli | None = None
) -> ActivationResult:
    """Similarity, statistics, latents and principal planes of every layer, beside untrained networks and the pixels.

    Args:
        stores: both networks, their untrained controls and the pixels over the same images.
        rng: draws images where there are more than are needed, folds and parts, and shuffles for the nulls.
        stimuli: the images of the stores, for those that are shown; without them none is.

    Raises:
        UsageError: when there are fewer images than the estimates can be made of.
    """
    num_images = stores.meta.num_images
    if num_images < similarity.FEWEST_IMAGES:
        raise UsageError(f"Similarity of layers needs at least 4 images; found {num_images}. Use more images.")
    facts = _measure(stores, rng, stimuli)
    return ActivationResult(
        facts=facts,
        estimates=list_estimates(facts),
        checks=list_checks(facts),
        findings=list_findings(facts),
    )


def _measure(stores: Stores, rng: np.random.Generator, stimuli: Stimuli | None) -> RepresentationFacts:
    labels, groups = stores.meta.labels, stores.meta.groups
    chosen = _draw(len(labels), MAX_IMAGES, rng)
    distance_images = _draw(len(chosen), MAX_IMAGES_DISTANCES, rng)
    folds = deal_folds(labels, groups, rng)
    pixels = similarity.gram_matrix(stores.pixels[chosen])
    latent_names = choose_latents(stores.meta.latents.iloc[chosen], labels[chosen])
    latents = stores.meta.latents[list(latent_names)].to_numpy(dtype=np.float64)[chosen]
    roles = tuple(pair.role for pair in stores.pairing.pairs)
    followed = ("meta", "baseline", stores.untrained_meta[0].network)
    design = design_contrasts(
        labels[chosen], groups[chosen], latents, latent_names, distance_images, rng=rng.spawn(1)[0]
    )
    by_network = {store.network: store for store in stores.networks}
    explained: list[ExplainedShare] = []
    corners: dict[tuple[str, str], Float[ndarray, "n n"]] = {}
    matched: list[MatchedLayer] = []
    planes: list[PrincipalPlane] = []
    geometries: dict[str, dict[str, Float[ndarray, " NN"]]] = {store.network: {} for store in stores.networks}
    dimensions: dict[tuple[str, str], tuple[float, LocalDimension]] = {}
    for role, grams in iterate_grams(stores, chosen):
        units = {network: similarity.unit_geometry(gram) for network, gram in grams.items()}
        for network, gram in grams.items():
            geometries[network][role] = units[network].astype(np.float32)
            dimensions[network, role] = (
                similarity.participation_ratio(gram),
                measure_local_dimension(gram, design.parts),
            )
            grid = by_network[network].layers[role].grid[chosen]
            explained.extend(design.explain(gram, grid, network=network, role=role, judged=network in _OWN))
            if role != "classifier":
                corners[network, role] = gram[np.ix_(distance_images, distance_images)]
            if network in followed:
                planes.append(find_plane(gram, network=network, role=role, latents=latents))
        if role in roles:
            own_groups = groups[chosen] if len(np.unique(groups[chosen])) >= FEWEST_GROUPS else None
            matched.append(
                match_layer(role, grams, units, pixels, stores, groups=own_groups, distance_images=distance_images)
            )
    statistics: list[LayerStatistics] = [
        describe_layer(
            layer,
            network=store.network,
            labels=labels,
            folds=folds,
            participation_ratio=dimensions[store.network, layer.role][0],
            local_dimension=dimensions[store.network, layer.role][1],
        )
        for store in stores.networks
        for layer in store.layers.values()
    ]
    units = tuple(
        found
        for store in stores.networks
        for layer in store.layers.values()
        if layer.role != "classifier"
        for found in design.measure_units(layer.pooled[chosen], network=store.network, role=layer.role)
    )
    extremes = tuple(
        found
        for store in stores.networks
        if store.network in followed
        for layer in store.layers.values()
        if layer.role != "classifier" and (found := find_extremes(layer, network=store.network)) is not None
    )
    strongest = strongest_latent([plane for plane in planes if plane.network in ("meta", "baseline")], latent_names)
    return RepresentationFacts(
        roles=roles,
        networks=tuple(store.network for store in stores.networks),
        untrained_meta=tuple(store.network for store in stores.untrained_meta),
        untrained_baseline=tuple(store.network for store in stores.untrained_baseline),
        shared_initial=stores.shared_initial,
        num_images=len(labels),
        num_images_similarity=len(chosen),
        num_groups=len(np.unique(groups)),
        matched=tuple(matched),
        tables=tabulate_similarity(geometries, stores, pixels),
        statistics=tuple(statistics),
        planes=tuple(planes),
        explained=tuple(explained),
        units=units,
        paths=design.trace(corners, pixels, followed=followed),
        followed=followed,
        extremes=extremes,
        shown=() if stimuli is None else _show(extremes, units, stores, stimuli),
        mean_maps=design.average(stores, chosen),
        labels=labels[chosen],
        latent_names=latent_names,
        strongest_latent=strongest,
        strongest_values=latents[:, latent_names.index(strongest)] if strongest else np.zeros(len(chosen)),
        notes=tuple((store.network, store.notes) for store in stores.networks),
        recorded_before_non_linearity=_unhooked_roles(stores),
    )


def _show(
    extremes: tuple[LayerExtremes, ...], units: tuple[UnitSelectivity, ...], stores: Stores, stimuli: Stimuli
) -> tuple[ShownChannel, ...]:
    """Pictures of two channels of each layer shown: the one closest to the class, and the one that varies most."""
    roles = list(dict.fromkeys(one.role for one in extremes))
    chosen = {roles[place] for place in np.linspace(0, len(roles) - 1, NUM_SHOWN_LAYERS).round().astype(int)}
    layers = {store.network: store.layers for store in stores.networks}
    shown: list[ShownChannel] = []
    for one in extremes:
        if one.role not in chosen or one.network not in _OWN:
            continue
        best = next((u.best for u in units if (u.network, u.role, u.target) == (one.network, one.role, "class")), None)
        channels = [] if best is None else [(best, "closest to the class")]
        order = np.argsort(-layers[one.network][one.role].channel_sd, kind="stable")
        channels += [(int(channel), "varies most") for channel in order if channel != best][:1]
        shown.extend(show_channels(one, channels, stimuli))
    return tuple(shown)


def _draw(num: int, most: int, rng: np.random.Generator) -> Int[ndarray, " n"]:
    """``most`` of ``num`` indices at random, in order; all of them where there are no more."""
    return np.sort(rng.permutation(num)[:most]) if num > most else np.arange(num)


def _unhooked_roles(stores: Stores) -> tuple[str, ...]:
    return tuple(
        pair.role
        for pair in stores.pairing.pairs
        if pair.role != "classifier"
        and any(layer.activation in (layer.name, layer.norm) for layer in (pair.meta, pair.baseline))
    )
