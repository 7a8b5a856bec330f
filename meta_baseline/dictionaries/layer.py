"""One layer, all dictionaries: a pure function of arrays, options and a seed, so that layers may run anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from meta_baseline.activations import LayerActivations
from meta_baseline.dictionaries.facts import Difference, LayerFacts, Matching, Stability
from meta_baseline.dictionaries.features import Gallery, make_gallery
from meta_baseline.dictionaries.fits import Fit, Samples, choose_options, fit_dictionary, interval
from meta_baseline.dictionaries.matching import (
    chance_cosine,
    correlate_pairs,
    match_by_activation,
    max_per_image,
    mean_max_cosine,
    pair_shuffled_images,
    weigh_pairs,
)
from meta_baseline.dictionaries.selectivity import Selectivity, measure_selectivity

_NETWORKS = ("meta", "baseline")


@dataclass(frozen=True, kw_only=True)
class LayerTask:
    """What ``study_layer`` needs of one layer.

    Attributes:
        networks: "meta", "baseline" and the untrained controls.
        controls: "meta" and "baseline" to the name of the control.
        train_images: True for images that dictionaries may see.
        image_weights: bootstrap resamples of the held-out images, zero elsewhere.
        targets: what features may be selective for.
        images: in grey, for patches; None for none.
        all_variants: also train the L1 dictionaries and those with frozen random decoders.
        seed: of everything random in this layer.
        device: where dictionaries are trained.
    """

    layer: str
    networks: Mapping[str, LayerActivations]
    controls: Mapping[str, str]
    train_images: Bool[ndarray, " N"]
    image_weights: Float[ndarray, "R N"]
    targets: Mapping[str, Float[ndarray, " N"]]
    groups: Int[ndarray, " N"]
    images: UInt8[ndarray, "N h w"] | None
    all_variants: bool
    seed: int
    device: str = "cpu"


def study_layer(task: LayerTask) -> LayerFacts:
    """Train, measure and compare every dictionary of one layer."""
    networks = task.networks
    num_channels = min(layer.positions.shape[1] for layer in networks.values())
    num_samples = min(int(task.train_images[layer.position_image].sum()) for layer in networks.values())
    options = choose_options(num_channels, num_samples)
    samples = {name: Samples(layer, task.train_images) for name, layer in networks.items()}
    fits = {
        (network, variant, seed): fit_dictionary(
            samples[network],
            options,
            network=network,
            variant=variant,
            seed=seed,
            entropy=[task.seed, *task.layer.encode()],
            image_weights=task.image_weights,
            device=task.device,
        )
        for network, variant, seed in _list_runs(task)
    }
    rng = np.random.default_rng([task.seed, *task.layer.encode()])
    return LayerFacts(
        layer=task.layer,
        map_shape=networks["meta"].map_shape,
        same_width=networks["meta"].positions.shape[1] == networks["baseline"].positions.shape[1],
        dictionaries=tuple(fit.facts for fit in fits.values()),
        difference=_measure_difference(fits),
        stability=tuple(_measure_stability(task, fits, network, rng) for network in _NETWORKS),
        matchings=tuple(_match_all(task, fits, rng)),
        selectivity=tuple(_measure_selectivity(task, fits, rng)),
        galleries=tuple(_make_galleries(task, fits, rng)),
        autoencoders={network: fits[network, "topk", 0].autoencoder for network in _NETWORKS},
    )


def _measure_difference(fits: Mapping[tuple[str, str, int], Fit]) -> Difference:
    """Of the means over both dictionary seeds."""
    fve = np.array([[fits[network, "topk", seed].facts.fidelity.fve for seed in (0, 1)] for network in _NETWORKS])
    resampled = [np.mean([fits[network, "topk", seed].bootstrap for seed in (0, 1)], axis=0) for network in _NETWORKS]
    low, high = interval(resampled[0] - resampled[1])
    return Difference(
        value=float(fve[0].mean() - fve[1].mean()),
        low=low,
        high=high,
        between_seeds=float(np.abs(fve[:, 0] - fve[:, 1]).max()),
    )


def _list_runs(task: LayerTask) -> list[tuple[str, str, int]]:
    runs = [(network, "topk", 0) for network in task.networks]
    runs += [(network, "gaussian", 0) for network in task.networks]
    runs += [(network, "topk", 1) for network in _NETWORKS]
    if task.all_variants:
        runs += [(network, variant, 0) for variant in ("l1", "frozen") for network in _NETWORKS]
    return runs


def _measure_stability(
    task: LayerTask, fits: Mapping[tuple[str, str, int], Fit], network: str, rng: np.random.Generator
) -> Stability:
    """Between the atoms of two dictionary seeds that are active at all."""
    first, second = (fits[network, "topk", seed] for seed in (0, 1))
    atoms = [fit.autoencoder.decoder[(fit.codes > 0).any(axis=0)] for fit in (first, second)]
    if min(len(rows) for rows in atoms) == 0:
        return Stability(layer=task.layer, network=network, cosine=float("nan"), chance=float("nan"))
    return Stability(
        layer=task.layer,
        network=network,
        cosine=mean_max_cosine(atoms[0], atoms[1]),
        chance=chance_cosine(len(atoms[0]), len(atoms[1]), atoms[0].shape[1], rng),
    )


def _match_all(
    task: LayerTask, fits: Mapping[tuple[str, str, int], Fit], rng: np.random.Generator
) -> Iterable[Matching]:
    """Always between different dictionary seeds, as two that start from the same atoms keep some of them."""
    pairs = [("networks", ("meta", 0), ("baseline", 1)), ("shuffled", ("meta", 0), ("baseline", 1))]
    pairs += [("untrained", (network, 1), (task.controls[network], 0)) for network in _NETWORKS]
    pairs += [("seeds", (network, 0), (network, 1)) for network in _NETWORKS]
    for kind, first, second in pairs:
        left, right = fits[first[0], "topk", first[1]], fits[second[0], "topk", second[1]]
        yield _match(task, kind, left, right, rng)


def _match(task: LayerTask, kind: str, first: Fit, second: Fit, rng: np.random.Generator) -> Matching:
    layers = [task.networks[fit.facts.network] for fit in (first, second)]
    codes = [first.codes, second.codes]
    image = layers[0].position_image
    unit = "positions"
    if not _same_places(layers[0], layers[1]):
        num_images = len(task.train_images)
        codes = [max_per_image(c, layer.position_image, num_images) for c, layer in zip(codes, layers)]
        image, unit = np.arange(num_images), "images"
    in_train = task.train_images[image]
    rows = [(part, part) for part in (np.flatnonzero(in_train), np.flatnonzero(~in_train))]
    if kind == "shuffled":
        shuffled = [(part, pair_shuffled_images(image[part], rng)) for part, _ in rows]
        rows = [(part[left], part[right]) for part, (left, right) in shuffled]
    (train_first, train_second), (held_first, held_second) = rows
    atoms_first, atoms_second = match_by_activation(codes[0][train_first], codes[1][train_second])
    held = codes[0][held_first], codes[1][held_second]
    correlations = correlate_pairs(held[0][:, atoms_first], held[1][:, atoms_second])
    weights = weigh_pairs(*held, (atoms_first, atoms_second))
    return Matching(
        layer=task.layer,
        kind=kind,
        first=first.facts.network,
        second=second.facts.network,
        unit=unit,
        mean=float(weights @ correlations) if weights.any() else float("nan"),
        plain_mean=float(correlations.mean()) if len(correlations) else float("nan"),
        correlations=np.sort(correlations)[::-1].copy(),
    )


def _same_places(first: LayerActivations, second: LayerActivations) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("position_image", "position_row", "position_column")
    )


def _measure_selectivity(
    task: LayerTask, fits: Mapping[tuple[str, str, int], Fit], rng: np.random.Generator
) -> Iterable[Selectivity]:
    """All images, as dictionaries never see a label; the images are shuffled alike for every network."""
    entropy = int(rng.integers(2**63))
    for network, layer in task.networks.items():
        yield from measure_selectivity(
            max_per_image(fits[network, "topk", 0].codes, layer.position_image, len(task.train_images)),
            dict(task.targets),
            task.groups,
            np.random.default_rng(entropy),
            layer=task.layer,
            network=network,
        )


def _make_galleries(
    task: LayerTask, fits: Mapping[tuple[str, str, int], Fit], rng: np.random.Generator
) -> Iterable[Gallery]:
    """Of held-out images; the control patches are drawn at the same places for both networks."""
    if task.images is None:
        return
    entropy = int(rng.integers(2**63))
    for network in _NETWORKS:
        yield make_gallery(
            task.networks[network],
            fits[network, "topk", 0].autoencoder,
            fits[network, "topk", 0].codes,
            images=task.images,
            from_images=~task.train_images,
            rng=np.random.default_rng(entropy),
            network=network,
        )
