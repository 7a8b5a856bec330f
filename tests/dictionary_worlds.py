"""Activations with known atoms, and stores of convolutional layers made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meta_baseline.activations import ActivationStore, LayerActivations, Stores
from meta_baseline.layers import Layer, LayerPair, LayerPairing


@dataclass(frozen=True, kw_only=True)
class SparseWorld:
    """Samples [M, C] = codes [M, A] @ atoms [A, C] + noise, with ``active`` of the A codes positive in each row."""

    samples: np.ndarray
    codes: np.ndarray
    atoms: np.ndarray


def make_codes(num: int, num_atoms: int, active: int, seed: int) -> np.ndarray:
    """Non-negative codes, exactly ``active`` of them positive in each row, between 1 and 2."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((num, num_atoms), dtype=np.float32)
    chosen = np.argsort(rng.random(codes.shape), axis=1)[:, :active]
    np.put_along_axis(codes, chosen, rng.uniform(1, 2, chosen.shape).astype(np.float32), axis=1)
    return codes


def make_atoms(num_atoms: int, num_channels: int, seed: int) -> np.ndarray:
    """Random directions of norm 1."""
    atoms = np.random.default_rng(seed).standard_normal((num_atoms, num_channels)).astype(np.float32)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def make_sparse_world(num: int, *, num_channels: int, num_atoms: int, active: int, seed: int) -> SparseWorld:
    """A world without noise to speak of."""
    codes = make_codes(num, num_atoms, active, seed)
    atoms = make_atoms(num_atoms, num_channels, seed + 1)
    noise = 0.01 * np.random.default_rng(seed + 2).standard_normal((num, num_channels))
    return SparseWorld(samples=(codes @ atoms + noise).astype(np.float32), codes=codes, atoms=atoms)


def make_map_layer(role: str, positions: np.ndarray, *, num_images: int, side: int) -> LayerActivations:
    """A layer whose maps [side, side] were sampled whole; ``positions`` [num_images * side * side, C]."""
    image = np.repeat(np.arange(num_images), side * side)
    row, column = np.tile(np.repeat(np.arange(side), side), num_images), np.tile(np.arange(side), num_images * side)
    values = positions.astype(np.float32)
    pooled = values.reshape(num_images, side * side, -1).mean(axis=1)
    return LayerActivations(
        role=role,
        name=role,
        map_shape=(values.shape[1], side, side),
        pooled=pooled,
        grid=pooled,
        positions=values,
        position_image=image,
        position_row=row,
        position_column=column,
        position_foreground=(row + column + image) % 4 > 0,
        channel_mean=values.mean(axis=0, dtype=np.float64),
        channel_sd=values.std(axis=0, dtype=np.float64),
        channel_zero_fraction=(values == 0).mean(axis=0),
        channel_max=values.max(axis=0).astype(np.float64),
    )


def make_map_store(network: str, layers: Mapping[str, LayerActivations], num_images: int) -> ActivationStore:
    """A store of the given layers with a label and two latents that know nothing of them."""
    labels = np.arange(num_images) % 2
    rng = np.random.default_rng(7)
    return ActivationStore(
        network=network,
        labels=labels,
        groups=np.arange(num_images),
        latents=pd.DataFrame({"same": labels, "size1": rng.random(num_images), "x1": rng.random(num_images)}),
        logits=np.zeros((num_images, 1), dtype=np.float32),
        margin=np.zeros(num_images, dtype=np.float32),
        layers=dict(layers),
    )


def make_map_stores(
    meta: Mapping[str, LayerActivations],
    baseline: Mapping[str, LayerActivations],
    untrained: Mapping[str, LayerActivations],
    *,
    num_images: int,
) -> Stores:
    """A study of one architecture with one untrained network."""
    control = (make_map_store("untrained 1", untrained, num_images),)
    return Stores(
        meta=make_map_store("meta", meta, num_images),
        baseline=make_map_store("baseline", baseline, num_images),
        untrained_meta=control,
        untrained_baseline=control,
        meta_initial=None,
        baseline_initial=None,
        pixels=np.zeros((num_images, 4), dtype=np.float32),
        pairing=LayerPairing(pairs=tuple(_pair(role) for role in meta), unpaired=()),
        image_paths=("",) * num_images,
    )


def _pair(role: str) -> LayerPair:
    layer = Layer(role=role, name=role, kind="conv", norm=None, activation=role, pooled=role, shape=(1, 1, 1, 1))
    return LayerPair(role=role, meta=layer, baseline=layer, comparable_weights=True)
