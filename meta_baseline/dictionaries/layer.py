"""One layer, all dictionaries: a pure function of arrays, options and a seed, so that layers may run anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from numpy import ndarray

from meta_baseline.activations import LayerActivations
from meta_baseline.dictionaries.autoencoder import TrainedAutoencoder
from meta_baseline.dictionaries.facts import DictionaryFacts, Difference, LayerFacts, Matching, Stability
from meta_baseline.dictionaries.features import Gallery, make_gallery
from meta_baseline.dictionaries.fidelity import (
    bootstrap_fve,
    deviations,
    explained,
    measure_fidelity,
    principal_axes,
    reconstruct_by_pca,
    squared_distances,
)
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
from meta_baseline.dictionaries.training import TrainingOptions, train_dictionary

ATOMS_PER_CHANNEL = 2
LARGEST_DICTIONARY = 384
SAMPLES_PER_ATOM = 10
_NETWORKS = ("meta", "baseline")
_VARIANTS = ("topk", "l1", "frozen")


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


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """One dictionary with its codes at all positions (TopK only: the others are not matched) and its resampled FVE."""

    facts: DictionaryFacts
    autoencoder: TrainedAutoencoder
    codes: Float32[ndarray, "M A"]
    bootstrap: Float[ndarray, " R"]


def choose_options(num_channels: int, num_samples: int) -> TrainingOptions:
    """Two atoms per channel, as long as there are ten samples to each; as many active as an eighth of the channels.

    With four per channel the same positions are explained no better after 500 steps, more atoms die, and two
    dictionary seeds have less in common (matched correlation .21 instead of .32 in a trained network). At most 384
    atoms: between 512 and 1024 the variance explained of a 288-channel layer changes in the third digit, at twice the
    time. At most 60 epochs, so that the few samples of a fully connected layer are not learnt by heart.
    """
    wanted = min(ATOMS_PER_CHANNEL * num_channels, LARGEST_DICTIONARY, num_samples // SAMPLES_PER_ATOM)
    num_atoms = max(8, wanted)
    batch_size = TrainingOptions.batch_size
    return TrainingOptions(
        num_atoms=num_atoms,
        sparsity=int(np.clip(min(num_channels, num_atoms) // 8, 3, 32)),
        num_steps=int(np.clip(60 * num_samples // batch_size, 100, 500)),
    )


def study_layer(task: LayerTask) -> LayerFacts:
    """Train, measure and compare every dictionary of one layer."""
    networks = task.networks
    num_channels = min(layer.positions.shape[1] for layer in networks.values())
    num_samples = min(int(task.train_images[layer.position_image].sum()) for layer in networks.values())
    options = choose_options(num_channels, num_samples)
    fits = {key: _fit(task, *key, options) for key in _list_runs(task)}
    meta, baseline = fits["meta", "topk", 0], fits["baseline", "topk", 0]
    low, high = _interval(meta.bootstrap - baseline.bootstrap)
    between_seeds = [
        abs(fits[network, "topk", 0].facts.fidelity.fve - fits[network, "topk", 1].facts.fidelity.fve)
        for network in _NETWORKS
    ]
    rng = np.random.default_rng([task.seed, *task.layer.encode()])
    return LayerFacts(
        layer=task.layer,
        map_shape=networks["meta"].map_shape,
        same_width=networks["meta"].positions.shape[1] == networks["baseline"].positions.shape[1],
        dictionaries=tuple(fit.facts for fit in fits.values()),
        difference=Difference(
            value=meta.facts.fidelity.fve - baseline.facts.fidelity.fve,
            low=low,
            high=high,
            between_seeds=max(between_seeds),
        ),
        stability=tuple(_measure_stability(task, fits, network, rng) for network in _NETWORKS),
        matchings=tuple(_match_all(task, fits, rng)),
        selectivity=tuple(_measure_selectivity(task, fits, rng)),
        galleries=tuple(_make_galleries(task, fits, rng)),
        autoencoders={network: fits[network, "topk", 0].autoencoder for network in _NETWORKS},
    )


def _list_runs(task: LayerTask) -> list[tuple[str, str, int]]:
    runs = [(network, "topk", 0) for network in task.networks]
    runs += [(network, "topk", 1) for network in _NETWORKS]
    if task.all_variants:
        runs += [(network, variant, 0) for variant in ("l1", "frozen") for network in _NETWORKS]
    return runs


def _fit(task: LayerTask, network: str, variant: str, seed: int, options: TrainingOptions) -> _Fit:
    """Both networks get the same generator: the same initial atoms and the same batches."""
    layer = task.networks[network]
    in_train = task.train_images[layer.position_image]
    train, held = layer.positions[in_train], layer.positions[~in_train]
    foreground = layer.position_foreground[~in_train]
    entropy = np.random.SeedSequence([task.seed, seed, _VARIANTS.index(variant), *task.layer.encode()])
    autoencoder = train_dictionary(
        torch.from_numpy(train).to(task.device),
        replace(options, variant="l1" if variant == "l1" else "topk", train_decoder=variant != "frozen"),
        torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1)),
    )
    codes = autoencoder.encode(torch.from_numpy(layer.positions))
    rebuilt = autoencoder.decode(codes).numpy()[~in_train]
    fidelity = measure_fidelity(held, rebuilt, codes.numpy()[~in_train], foreground=foreground)
    num_components = max(1, round(fidelity.l0))
    by_pca = reconstruct_by_pca(held, axes=principal_axes(train), mean=autoencoder.mean, num_components=num_components)
    pca_errors = squared_distances(held, by_pca)
    held_image = layer.position_image[~in_train]
    resampled = bootstrap_fve(squared_distances(held, rebuilt), held, held_image, task.image_weights)
    low, high = _interval(resampled)
    spread = float(np.sqrt(deviations(train).mean()))
    return _Fit(
        facts=DictionaryFacts(
            layer=task.layer,
            network=network,
            variant=variant,
            seed=seed,
            num_channels=train.shape[1],
            num_atoms=autoencoder.num_atoms,
            sparsity=autoencoder.sparsity,
            fidelity=fidelity,
            fve_low=low,
            fve_high=high,
            pca_fve=explained(pca_errors, held),
            pca_fve_foreground=explained(pca_errors[foreground], held[foreground]),
            mean_ratio=float(np.linalg.norm(autoencoder.mean)) / spread if spread > 0 else float("nan"),
            l1_coefficient=autoencoder.l1_coefficient,
            num_train=len(train),
            num_held_out=len(held),
            num_held_out_images=len(np.unique(held_image)),
        ),
        autoencoder=autoencoder,
        codes=codes.numpy() if variant == "topk" else np.empty((0, autoencoder.num_atoms), dtype=np.float32),
        bootstrap=resampled,
    )


def _measure_stability(
    task: LayerTask, fits: Mapping[tuple[str, str, int], _Fit], network: str, rng: np.random.Generator
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
    task: LayerTask, fits: Mapping[tuple[str, str, int], _Fit], rng: np.random.Generator
) -> Iterable[Matching]:
    """Always between different dictionary seeds, as two that start from the same atoms keep some of them."""
    pairs = [("networks", ("meta", 0), ("baseline", 1)), ("shuffled", ("meta", 0), ("baseline", 1))]
    pairs += [("untrained", (network, 1), (task.controls[network], 0)) for network in _NETWORKS]
    pairs += [("seeds", (network, 0), (network, 1)) for network in _NETWORKS]
    for kind, first, second in pairs:
        left, right = fits[first[0], "topk", first[1]], fits[second[0], "topk", second[1]]
        yield _match(task, kind, left, right, rng)


def _match(task: LayerTask, kind: str, first: _Fit, second: _Fit, rng: np.random.Generator) -> Matching:
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
    task: LayerTask, fits: Mapping[tuple[str, str, int], _Fit], rng: np.random.Generator
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
    task: LayerTask, fits: Mapping[tuple[str, str, int], _Fit], rng: np.random.Generator
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


def _interval(resampled: Float[ndarray, " R"]) -> tuple[float, float]:
    """Middle 95 % of the resamples; NaN where the layer is constant."""
    if not np.isfinite(resampled).all():
        return float("nan"), float("nan")
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
