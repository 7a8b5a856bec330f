"""One dictionary of one layer of one network: its size, its training, its measures on held-out images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from meta_baseline.activations import LayerActivations
from meta_baseline.dictionaries.autoencoder import TrainedAutoencoder
from meta_baseline.dictionaries.facts import DictionaryFacts
from meta_baseline.dictionaries.fidelity import (
    bootstrap_fve,
    deviations,
    draw_gaussian_twin,
    explained,
    measure_fidelity,
    principal_axes,
    reconstruct_by_pca,
    squared_distances,
)
from meta_baseline.dictionaries.training import TrainingOptions, train_dictionary

ATOMS_PER_CHANNEL = 2
LARGEST_DICTIONARY = 384
SAMPLES_PER_ATOM = 10
WIDE_LAYER = 256
VARIANTS = ("topk", "l1", "frozen", "gaussian")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One dictionary.

    Attributes:
        facts: what was measured.
        autoencoder: the dictionary.
        codes: at all positions, training and held-out; TopK only, as the others are not matched.
        bootstrap: held-out FVE on resampled images.
    """

    facts: DictionaryFacts
    autoencoder: TrainedAutoencoder
    codes: Float32[ndarray, "M A"]
    bootstrap: Float[ndarray, " R"]


class Samples:
    """One layer of one network, split by image, with the principal axes of its training positions."""

    def __init__(self, layer: LayerActivations, train_images: Bool[ndarray, " N"]) -> None:
        self.layer = layer
        self.in_train = train_images[layer.position_image]
        self.axes = principal_axes(layer.positions[self.in_train])


def choose_options(num_channels: int, num_samples: int) -> TrainingOptions:
    """Two atoms per channel, as long as there are ten samples to each; as many active as an eighth of the channels.

    With four per channel the same positions are explained no better after 500 steps, more atoms die, and two
    dictionary seeds have less in common (matched correlation .21 instead of .32 in a trained network). At most 384
    atoms: between 512 and 1024 the variance explained of a 288-channel layer changes in the third digit, at twice the
    time. Wide layers get 300 steps instead of 500, which costs them about .006 of the variance explained and is half of
    the whole time for a conv6 pair. At most 60 epochs, so that the few samples of a fully connected layer are not
    learnt by heart.
    """
    wanted = min(ATOMS_PER_CHANNEL * num_channels, LARGEST_DICTIONARY, num_samples // SAMPLES_PER_ATOM)
    num_atoms = max(8, wanted)
    num_steps = 60 * num_samples // TrainingOptions.batch_size
    return TrainingOptions(
        num_atoms=num_atoms,
        sparsity=int(np.clip(min(num_channels, num_atoms) // 8, 3, 32)),
        num_steps=int(np.clip(num_steps, 100, 300 if num_channels >= WIDE_LAYER else 500)),
    )


def fit_dictionary(
    samples: Samples,
    options: TrainingOptions,
    *,
    network: str,
    variant: str,
    seed: int,
    entropy: list[int],
    image_weights: Float[ndarray, "R N"],
    device: str = "cpu",
) -> Fit:
    """Train and measure the dictionary; ``entropy`` is the same for both networks: same first atoms, same batches."""
    layer, in_train = samples.layer, samples.in_train
    randomness = np.random.SeedSequence([*entropy, seed, VARIANTS.index(variant)])
    positions = layer.positions
    if variant == "gaussian":
        positions = draw_gaussian_twin(positions, np.random.default_rng(randomness.spawn(1)[0]))
    train, held = positions[in_train], positions[~in_train]
    autoencoder = train_dictionary(
        torch.from_numpy(train).to(device),
        replace(options, variant="l1" if variant == "l1" else "topk", train_decoder=variant != "frozen"),
        torch.Generator().manual_seed(int(randomness.generate_state(1, np.uint64)[0] >> 1)),
    )
    keep_all = variant == "topk"
    codes = autoencoder.encode(torch.from_numpy(positions if keep_all else held))
    held_codes = codes[torch.from_numpy(~in_train)] if keep_all else codes
    rebuilt = autoencoder.decode(held_codes).numpy()
    foreground = layer.position_foreground[~in_train]
    fidelity = measure_fidelity(held, rebuilt, held_codes.numpy(), foreground=foreground)
    pca_fve, pca_fve_foreground = float("nan"), float("nan")
    if variant != "gaussian":
        num_components = max(1, round(fidelity.l0))
        by_pca = reconstruct_by_pca(held, axes=samples.axes, mean=autoencoder.mean, num_components=num_components)
        errors = squared_distances(held, by_pca)
        pca_fve, pca_fve_foreground = explained(errors, held), explained(errors[foreground], held[foreground])
    held_image = layer.position_image[~in_train]
    resampled = bootstrap_fve(squared_distances(held, rebuilt), held, held_image, image_weights)
    low, high = interval(resampled)
    spread = float(np.sqrt(deviations(train).mean()))
    facts = DictionaryFacts(
        layer=layer.role,
        network=network,
        variant=variant,
        seed=seed,
        num_channels=train.shape[1],
        num_atoms=autoencoder.num_atoms,
        sparsity=autoencoder.sparsity,
        fidelity=fidelity,
        fve_low=low,
        fve_high=high,
        pca_fve=pca_fve,
        pca_fve_foreground=pca_fve_foreground,
        mean_ratio=float(np.linalg.norm(autoencoder.mean)) / spread if spread > 0 else float("nan"),
        l1_coefficient=autoencoder.l1_coefficient,
        num_train=len(train),
        num_held_out=len(held),
        num_held_out_images=len(np.unique(held_image)),
    )
    kept = codes.numpy() if keep_all else np.empty((0, autoencoder.num_atoms), dtype=np.float32)
    return Fit(facts=facts, autoencoder=autoencoder, codes=kept, bootstrap=resampled)


def interval(resampled: Float[ndarray, " R"]) -> tuple[float, float]:
    """Middle 95 % of the resamples; NaN where the layer is constant."""
    if not np.isfinite(resampled).all():
        return float("nan"), float("nan")
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
