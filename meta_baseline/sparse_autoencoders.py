"""Which sparse features the activations of two networks are made of, and whether the two share them.

From a script, after ``collect_activations``:

    activations = collect_activations(model, loader, ["pool3"])
    dictionary = train_sparse_autoencoder(activations["pool3"], generator=torch.Generator().manual_seed(0))
    codes = dictionary.encode(activations["pool3"])          # [N * H * W, A], non-negative, at most k active
    print(dictionary.measure(held_out))                      # variance explained, L0, dead and dense atoms

``compare_dictionaries`` does the whole comparison for a pair: it trains on some images and measures on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from meta_baseline.activations import ActivationStore, Stores, collect_activations
from meta_baseline.cores import map_in_threads
from meta_baseline.dictionaries.autoencoder import TrainedAutoencoder, Variant, as_samples
from meta_baseline.dictionaries.checks import list_checks
from meta_baseline.dictionaries.estimates import list_estimates
from meta_baseline.dictionaries.facts import DictionaryStudy
from meta_baseline.dictionaries.fidelity import draw_image_weights
from meta_baseline.dictionaries.findings import list_findings
from meta_baseline.dictionaries.fits import choose_options
from meta_baseline.dictionaries.layer import LayerTask, study_layer
from meta_baseline.dictionaries.selectivity import choose_targets
from meta_baseline.dictionaries.training import train_dictionary
from meta_baseline.errors import InputError, UsageError
from meta_baseline.results import Check, Estimate, Finding

__all__ = [
    "AutoencoderResult",
    "TrainedAutoencoder",
    "collect_activations",
    "compare_dictionaries",
    "train_sparse_autoencoder",
]

HELD_OUT_FRACTION = 0.25
NUM_RESAMPLES = 500
SMALLEST_STUDY = 12
_SMALLEST_LAYER = 4


@dataclass(frozen=True, kw_only=True)
class AutoencoderResult:
    """Sparse dictionaries of both networks and their controls, layer by layer.

    Attributes:
        study: everything that was measured; ``study.layers[i].autoencoders["meta"]`` is ready for use.
        estimates, checks, findings: see ``results``.
    """

    study: DictionaryStudy
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


@overload
def train_sparse_autoencoder(
    activations: Mapping[str, Tensor],
    *,
    num_atoms: int | None = None,
    variant: Variant = "topk",
    sparsity: int | None = None,
    num_steps: int | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, TrainedAutoencoder]: ...


@overload
def train_sparse_autoencoder(
    activations: Tensor,
    *,
    num_atoms: int | None = None,
    variant: Variant = "topk",
    sparsity: int | None = None,
    num_steps: int | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> TrainedAutoencoder: ...


def train_sparse_autoencoder(
    activations: Float[Tensor, "M C"] | Float[Tensor, "N C H W"] | Mapping[str, Tensor],
    *,
    num_atoms: int | None = None,
    variant: Variant = "topk",
    sparsity: int | None = None,
    num_steps: int | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> TrainedAutoencoder | dict[str, TrainedAutoencoder]:
    """A sparse dictionary of channel vectors; for a mapping of layers, one dictionary each.

    A sample is the channel vector at one spatial position: maps [N, C, H, W] are taken apart into N * H * W of them.
    What is None is chosen by size: two atoms per channel (at most 384, and one to ten samples), as many active as an
    eighth of the channels, 500 steps of 256 samples or 60 epochs.

    Args:
        activations: [M, C], [N, C, H, W], or a mapping as ``collect_activations`` returns it.
        num_atoms: size of the dictionary.
        variant: "topk" keeps the ``sparsity`` largest codes of each sample; "l1" penalises their sum, steered so that
            as many are active on average.
        sparsity: active atoms per sample.
        num_steps, batch_size: the whole budget.
        generator: on the CPU; without one, seed 0.
        device: where to train.

    Raises:
        UsageError: for activations of another shape, with too few or not finite values, or options that do not fit.
    """
    if isinstance(activations, Mapping):
        generator = generator or torch.Generator().manual_seed(0)
        return {
            layer: train_sparse_autoencoder(
                values,
                num_atoms=num_atoms,
                variant=variant,
                sparsity=sparsity,
                num_steps=num_steps,
                batch_size=batch_size,
                generator=generator,
                device=device,
            )
            for layer, values in activations.items()
        }
    samples = as_samples(activations)
    if len(samples) < 2 or not bool(torch.isfinite(samples).all()):
        raise UsageError(
            f"Activations of shape {tuple(activations.shape)} with fewer than 2 samples or values that are not finite. "
            "Give at least 2 finite samples."
        )
    options = choose_options(samples.shape[1], len(samples))
    if num_atoms is not None:
        options = replace(
            options, num_atoms=num_atoms, sparsity=sparsity or max(1, min(options.sparsity, num_atoms // 2))
        )
    chosen = {"sparsity": sparsity, "num_steps": num_steps, "batch_size": batch_size}
    options = replace(options, variant=variant, **{name: value for name, value in chosen.items() if value is not None})
    return train_dictionary(samples.to(device), options, generator or torch.Generator().manual_seed(0))


def compare_dictionaries(
    stores: Stores,
    *,
    images: UInt8[ndarray, "N h w"] | None = None,
    rng: np.random.Generator,
    device: str = "cpu",
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> AutoencoderResult:
    """Train dictionaries of every paired layer of both networks and of an untrained one, and compare them.

    Per layer: TopK dictionaries of both networks (two seeds), of the control and of Gaussian numbers with the
    covariance of each, all of one size and sparsity; in the first, middle and last convolutional layer (fully
    connected, where there is none) also L1 dictionaries and dictionaries with frozen random decoders. Images are split
    once, three quarters for training, images of one shape identity on one side; every number is measured on the others.
    Layers with fewer than 4 channels are left out, the classifier among them.

    Args:
        stores: from ``activations.collect_stores``.
        images: the stimuli in grey (white 255), for the patches that features respond to; None for no galleries.
        rng: of the split, the dictionaries and the resamples.
        device: where dictionaries are trained.
        workers: layers at a time, each on one thread; the result does not depend on it.
        progress: wraps the layers, e.g. in a progress bar.

    Raises:
        InputError: with fewer than 12 images, or no layer that both networks have.
    """
    num_images = stores.meta.num_images
    if num_images < SMALLEST_STUDY:
        raise InputError(
            f"{num_images} images are too few for sparse autoencoders. Give at least {SMALLEST_STUDY}, better 1000."
        )
    train_images = split_images(stores.meta.groups, rng)
    weights = np.zeros((NUM_RESAMPLES, num_images))
    weights[:, ~train_images] = draw_image_weights(int((~train_images).sum()), NUM_RESAMPLES, rng)
    networks, controls = _choose_networks(stores)
    roles, skipped = _choose_layers(networks, [pair.role for pair in stores.pairing.pairs], train_images)
    if not roles:
        raise InputError(
            "No layer of at least 4 channels that both networks have in common, so no dictionaries can be compared. "
            "Leave --train-autoencoders out for this pair."
        )
    seed = int(rng.integers(2**63))
    targets = choose_targets(stores.meta.labels, stores.meta.latents)
    thorough = _choose_thorough(networks["meta"], roles)
    tasks = [
        LayerTask(
            layer=role,
            networks={name: store.layers[role] for name, store in networks.items()},
            controls=controls,
            train_images=train_images,
            image_weights=weights,
            targets=targets,
            groups=stores.meta.groups,
            images=images,
            all_variants=role in thorough,
            seed=seed,
            device=device,
        )
        for role in roles
    ]
    study = DictionaryStudy(
        layers=tuple(map_in_threads(study_layer, tasks, workers=workers, progress=progress, desc="dictionaries")),
        controls=controls,
        skipped=tuple(skipped),
        num_images=num_images,
        num_held_out_images=int((~train_images).sum()),
    )
    return AutoencoderResult(
        study=study,
        estimates=list_estimates(study),
        checks=list_checks(study),
        findings=list_findings(study),
    )


def split_images(groups: Int[ndarray, " N"], rng: np.random.Generator) -> Bool[ndarray, " N"]:
    """True for three quarters of the images, for training; images of one group are on one side.

    With very few groups the held-out share is as near to a quarter as whole groups allow, and never empty.
    """
    names, counts = np.unique(groups, return_counts=True)
    if len(names) < 2:
        # One identity in all images: there is nothing to hold out but images.
        names, counts, groups = np.arange(len(groups)), np.ones(len(groups)), np.arange(len(groups))
    order = rng.permutation(len(names))
    reached = np.cumsum(counts[order])
    num_held = int(np.argmin(np.abs(reached - HELD_OUT_FRACTION * reached[-1]))) + 1
    return ~np.isin(groups, names[order[: min(num_held, len(names) - 1)]])


def _choose_networks(stores: Stores) -> tuple[dict[str, ActivationStore], dict[str, str]]:
    """Both networks and one untrained control each: its own step 0 where that is known."""
    of_meta = stores.meta_initial or stores.untrained_meta[0]
    of_baseline = stores.baseline_initial or stores.untrained_baseline[0]
    networks = {"meta": stores.meta, "baseline": stores.baseline}
    if of_meta is of_baseline:
        return {**networks, "untrained": of_meta}, {"meta": "untrained", "baseline": "untrained"}
    names = {"meta": "untrained meta", "baseline": "untrained baseline"}
    return {**networks, names["meta"]: of_meta, names["baseline"]: of_baseline}, names


def _choose_layers(
    networks: Mapping[str, ActivationStore], roles: Iterable[str], train_images: Bool[ndarray, " N"]
) -> tuple[list[str], list[str]]:
    """Roles to study, and a sentence for each that is left out for want of samples."""
    chosen: list[str] = []
    skipped: list[str] = []
    for role in roles:
        layers = [store.layers[role] for store in networks.values() if role in store.layers]
        if len(layers) < len(networks) or min(layer.positions.shape[1] for layer in layers) < _SMALLEST_LAYER:
            continue
        in_train = [train_images[layer.position_image] for layer in layers]
        if min(min(inside.sum(), (~inside).sum()) for inside in in_train) < 2:
            skipped.append(f"{role} was left out: fewer than 2 sampled positions in the training or held-out images.")
            continue
        chosen.append(role)
    return chosen, skipped


def _choose_thorough(store: ActivationStore, roles: list[str]) -> set[str]:
    """First, middle and last convolutional layer, where the L1 and the frozen dictionaries are trained as well."""
    convolutional = [role for role in roles if store.layers[role].is_convolutional] or roles
    return {convolutional[0], convolutional[(len(convolutional) - 1) // 2], convolutional[-1]}
