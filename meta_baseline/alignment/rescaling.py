"""The size of a unit may stand in its own gain or in the weights that read it: one function, two sets of weights.

A ReLU lets positive factors pass, so a unit can answer twice as strongly and be read half as strongly (Neyshabur,
Salakhutdinov & Srebro 2015, arXiv:1506.02617, section 2). Weights are compared as they are stored; how much their
statistics depend on where sizes stand is seen in a copy in which they all stand with the readers.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from meta_baseline.alignment.permutations import derive_permutations
from meta_baseline.layers import Layer, list_layers

ModelT = TypeVar("ModelT", bound=nn.Module)

HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.PReLU)
"""Non-linearities that let positive factors pass, as pooling does."""


def move_sizes_to_readers(model: ModelT) -> ModelT:
    """A copy of the same function in which the units of a layer have gain and shift (or weights and bias) of one size.

    Only in a chain of layers, as ``derive_permutations`` takes it to be, and only behind a non-linearity that lets
    positive factors pass; other layers stay as they are, and so do units without any size.
    """
    moved = copy.deepcopy(model)
    layers = list_layers(moved)
    movable = {group.role for group in derive_permutations(moved, layers).groups}
    with torch.no_grad():
        for layer, reader in pairwise(layers):
            if layer.role in movable and isinstance(moved.get_submodule(layer.activation), HOMOGENEOUS):
                _move(moved, layer, reader)
    return moved


def _move(model: nn.Module, layer: Layer, reader: Layer) -> None:
    owner = model.get_submodule(layer.name if layer.norm is None else layer.norm)
    own = [value for value in (owner.weight, owner.bias) if isinstance(value, Tensor) and len(value) == layer.shape[0]]
    if not own:
        return
    sizes = torch.stack([value.reshape(len(value), -1).square().sum(dim=1) for value in own]).sum(dim=0).sqrt()
    sizes = sizes / sizes.square().mean().sqrt()
    sizes = torch.where((sizes > 0) & sizes.isfinite(), sizes, 1.0)
    for value in own:
        value /= sizes.view(-1, *[1] * (value.ndim - 1))
    weight = model.get_parameter(f"{reader.name}.weight")
    columns = sizes.repeat_interleave(weight.shape[1] // len(sizes))
    weight *= columns.view(1, -1, *[1] * (weight.ndim - 2))
