"""Small networks, in-memory images and hand-made stores for tests of activations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from meta_baseline.activations import ActivationStore, LayerActivations, Stores
from meta_baseline.datasets import Stimuli
from meta_baseline.layers import Layer, LayerPair, LayerPairing


def make_network(seed: int = 0, *, norm: bool = True, width: int = 6) -> nn.Sequential:
    """Two convolutions with pools and two linear layers, with batch-norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    for i, (before, after) in enumerate(((3, width), (width, 9)), start=1):
        model.add_module(f"conv{i}", nn.Conv2d(before, after, 3, padding=1))
        if norm:
            model.add_module(f"bn{i}", nn.BatchNorm2d(after))
        model.add_module(f"relu{i}", nn.ReLU())
        model.add_module(f"pool{i}", nn.MaxPool2d(2))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc1", nn.Linear(9 * 6 * 6, 12))
    model.add_module("fc_relu1", nn.ReLU())
    model.add_module("dropout", nn.Dropout(0.5))
    model.add_module("classifier", nn.Linear(12, 2))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.train()


def make_images(num: int = 14, size: int = 24, seed: int = 0) -> torch.Tensor:
    """White images [N, H, W, 3] with two small dark squares; the last one is blank."""
    rng = np.random.default_rng(seed)
    images = np.full((num, size, size, 3), 255, dtype=np.uint8)
    for image in images[:-1]:
        for _ in range(2):
            row, column = rng.integers(1, size - 6, 2)
            image[row : row + 4, column : column + 5] = rng.integers(0, 120, 3)
    return torch.from_numpy(images)


def make_loader(images: torch.Tensor, batch_size: int = 5) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches as ``datasets.build_loader`` gives them."""
    labels, index = torch.arange(len(images)) % 2, torch.arange(len(images))
    return list(zip(images.split(batch_size), labels.split(batch_size), index.split(batch_size)))


def make_stimuli(num: int) -> Stimuli:
    """Stimuli without files: labels, groups and latents of ``make_images``."""
    return Stimuli(
        paths=(Path("none.png"),) * num,
        labels=np.arange(num) % 2,
        latents=pd.DataFrame({"size1": np.arange(num, dtype=float)}),
        groups=np.arange(num),
        name="squares",
        image_shape=(24, 24),
        checks=(),
    )


def make_store(
    network: str, features: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray | None = None
) -> ActivationStore:
    """A store of fully connected layers with the given features [N, U] by role."""
    num = len(labels)
    layers = {}
    for role, values in features.items():
        values = values.astype(np.float32)
        layers[role] = LayerActivations(
            role=role,
            name=role,
            map_shape=(values.shape[1],),
            pooled=values,
            grid=values,
            positions=values,
            position_image=np.arange(num),
            position_row=np.full(num, -1),
            position_column=np.full(num, -1),
            position_foreground=np.ones(num, dtype=bool),
            channel_mean=values.mean(axis=0, dtype=np.float64),
            channel_sd=values.std(axis=0, dtype=np.float64),
            channel_zero_fraction=(values == 0).mean(axis=0),
            channel_max=values.max(axis=0).astype(np.float64),
        )
    margin = np.zeros(num, dtype=np.float32)
    return ActivationStore(
        network=network,
        labels=labels,
        groups=np.arange(num) if groups is None else groups,
        latents=pd.DataFrame({"size1": np.arange(num, dtype=float), "same": labels}),
        logits=margin[:, None],
        margin=margin,
        layers=layers,
        notes=("Made by hand.",),
    )


def make_stores(
    meta: Mapping[str, np.ndarray],
    baseline: Mapping[str, np.ndarray],
    untrained: list[Mapping[str, np.ndarray]],
    *,
    labels: np.ndarray,
    pixels: np.ndarray,
    groups: np.ndarray | None = None,
) -> Stores:
    """A study of one architecture from features by role."""
    controls = tuple(make_store(f"untrained {i}", own, labels, groups) for i, own in enumerate(untrained, start=1))
    return Stores(
        meta=make_store("meta", meta, labels, groups),
        baseline=make_store("baseline", baseline, labels, groups),
        untrained_meta=controls,
        untrained_baseline=controls,
        meta_initial=None,
        baseline_initial=None,
        pixels=pixels.astype(np.float32),
        pairing=LayerPairing(pairs=tuple(_pair(role) for role in meta if role in baseline), unpaired=()),
        image_paths=("",) * len(labels),
    )


def _pair(role: str) -> LayerPair:
    layer = Layer(
        role=role, name=role, kind="linear", norm=None, activation=f"{role}.relu", pooled=f"{role}.relu", shape=(1, 1)
    )
    return LayerPair(role=role, meta=layer, baseline=layer, comparable_weights=True)
