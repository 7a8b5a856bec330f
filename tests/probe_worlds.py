"""Stores made by hand, with something planted in them or nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.activations import ActivationStore, LayerActivations, Stores
from meta_baseline.layers import Layer, LayerPair, LayerPairing


def make_layer(role: str, grid: np.ndarray) -> LayerActivations:
    """A layer of which only what probes look at is real."""
    grid = np.asarray(grid, dtype=np.float32)
    none = np.zeros(0, dtype=np.int64)
    per_channel = np.zeros(grid.shape[1])
    return LayerActivations(
        role=role,
        name=role,
        map_shape=(grid.shape[1],),
        pooled=grid,
        grid=grid,
        positions=np.zeros((0, grid.shape[1]), dtype=np.float32),
        position_image=none,
        position_row=none,
        position_column=none,
        position_foreground=none.astype(bool),
        channel_mean=per_channel,
        channel_sd=per_channel,
        channel_zero_fraction=per_channel,
        channel_max=per_channel,
    )


def make_store(
    network: str, layers: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, latents: pd.DataFrame
) -> ActivationStore:
    num = len(labels)
    return ActivationStore(
        network=network,
        labels=labels,
        groups=groups,
        latents=latents,
        logits=np.zeros((num, 1), dtype=np.float32),
        margin=np.zeros(num, dtype=np.float32),
        layers={role: make_layer(role, grid) for role, grid in layers.items()},
    )


def make_stores(
    features: dict[str, dict[str, np.ndarray]],
    *,
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    latents: pd.DataFrame | None = None,
    pixels: np.ndarray | None = None,
) -> Stores:
    """Stores of networks by name ("meta", "baseline", "untrained 1", ...), each a dict of layers by role."""
    num = len(labels)
    groups = np.arange(num) if groups is None else groups
    latents = pd.DataFrame(index=range(num)) if latents is None else latents
    stores = {name: make_store(name, layers, labels, groups, latents) for name, layers in features.items()}
    untrained = tuple(store for name, store in stores.items() if name.startswith("untrained"))
    pairs = tuple(
        LayerPair(role=role, meta=_layer(role), baseline=_layer(role), comparable_weights=True)
        for role in features["meta"]
    )
    return Stores(
        meta=stores["meta"],
        baseline=stores["baseline"],
        untrained_meta=untrained,
        untrained_baseline=untrained,
        meta_initial=None,
        baseline_initial=None,
        pixels=np.zeros((num, 4), dtype=np.float32) if pixels is None else pixels.astype(np.float32),
        pairing=LayerPairing(pairs=pairs, unpaired=()),
        image_paths=("",) * num,
    )


def _layer(role: str) -> Layer:
    return Layer(role=role, name=role, kind="linear", norm=None, activation=role, pooled=role, shape=(1, 1))
