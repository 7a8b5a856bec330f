"""What every number about two networks' weights stands beside: untrained, shuffled and further networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from meta_baseline.alignment import scale_layer
from meta_baseline.layers import list_layers
from meta_baseline.models import untrained_copy
from meta_baseline.weight_space.facts import LayerWeights
from meta_baseline.weight_space.inputs import list_damaged
from meta_baseline.weight_space.layer_statistics import LayerMeasurement, measure_layer

ModelT = TypeVar("ModelT", bound=nn.Module)

MANY_WEIGHTS = 1_000_000
"""Networks with more weights have fewer controls: they take seconds each, and vary less."""

NUM_UNTRAINED, FEWER_UNTRAINED = 8, 4

Measured = dict[str, LayerMeasurement]


def draw_untrained(model: ModelT, rng: np.random.Generator) -> list[ModelT]:
    """Fresh initialisations of the same network, an even number: yardstick pairs share none."""
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    count = NUM_UNTRAINED if num_weights <= MANY_WEIGHTS else FEWER_UNTRAINED
    return [untrained_copy(model, torch.Generator().manual_seed(int(rng.integers(2**62)))) for _ in range(count)]


def shuffle_weights(model: ModelT, rng: np.random.Generator) -> ModelT:
    """A copy in which the weights of every layer stand in random places: all that is left is their distribution.

    That of the scaled weights, sorted before they are shuffled: neither the order of units nor the size of filters
    before batch norm changes the copy. Layers that are not finite stay as they are.
    """
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    with torch.no_grad():
        damaged = {item.role for item in list_damaged("", model)}
        for layer in (layer for layer in list_layers(shuffled) if layer.role not in damaged):
            weight = shuffled.get_parameter(f"{layer.name}.weight")
            scaled = torch.from_numpy(np.sort(scale_layer(model, layer).weight, axis=None))
            scaled *= float(weight.float().norm()) / max(float(scaled.norm()), 1e-30)
            order = torch.randperm(weight.numel(), generator=generator)
            weight.copy_(scaled[order].view_as(weight))
    return shuffled


def measure_network(model: nn.Module, skipped: frozenset[str] = frozenset()) -> Measured:
    """The statistics of every layer but those of ``skipped``."""
    return {layer.role: measure_layer(model, layer) for layer in list_layers(model) if layer.role not in skipped}


def values_of(measured: Measured) -> dict[str, dict[str, float]]:
    """The bare statistics, by role and name."""
    return {role: layer.values for role, layer in measured.items()}


def collect_layers(
    network: str,
    model: nn.Module,
    *,
    measured: Measured,
    initial: Measured,
    shuffled: Measured,
    untrained: Sequence[Measured],
    seeds: Sequence[Measured],
    moved: Measured,
) -> list[LayerWeights]:
    """Every measured layer of one network beside its controls; ``initial`` and ``moved`` may be empty."""
    return [
        LayerWeights(
            role=layer.role,
            network=network,
            shape=layer.shape,
            form=own.form,
            values=own.values,
            initial=initial[layer.role].values if initial else {},
            shuffled=shuffled[layer.role].values,
            untrained=_by_name(own, untrained),
            seeds=_by_name(own, seeds),
            moved=moved[layer.role].values if moved else {},
            survival=own.survival,
            untrained_survival=np.stack([other[layer.role].survival for other in untrained]),
            seed_survival=_stack([other[layer.role].survival for other in seeds], own.survival),
            singular_values=own.singular_values,
            shuffled_singular_values=shuffled[layer.role].singular_values,
            untrained_singular_values=np.stack([other[layer.role].singular_values for other in untrained]),
            seed_singular_values=_stack([other[layer.role].singular_values for other in seeds], own.singular_values),
            tail=own.tail,
        )
        for layer in list_layers(model)
        if (own := measured.get(layer.role)) is not None
    ]


def _stack(rows: Sequence[np.ndarray], alike: np.ndarray) -> np.ndarray:
    return np.array(rows).reshape(len(rows), len(alike))


def _by_name(own: LayerMeasurement, others: Sequence[Measured]) -> dict[str, np.ndarray]:
    if not others:
        return {}
    return {name: np.array([other[own.role].values[name] for other in others]) for name in own.values}
