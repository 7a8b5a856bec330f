"""Which units of a network may change places without changing its function, and doing so.

For a chain of layers the symmetries follow from the modules; for anything else, such as a network with shortcuts, they
are given as a ``PermutationSpec``: layers whose outputs are added move together, so they are one group.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from meta_baseline.errors import UsageError
from meta_baseline.layers import Layer, list_layers

ModelT = TypeVar("ModelT", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class PermutedAxis:
    """One axis of one tensor of the state dict that follows a layer's units; each unit owns ``block`` entries."""

    tensor: str
    axis: int
    block: int = 1


@dataclass(frozen=True, kw_only=True)
class UnitGroup:
    """The output units of one hidden layer, and every axis that has to move with them."""

    role: str
    num_units: int
    axes: tuple[PermutedAxis, ...]


@dataclass(frozen=True, kw_only=True)
class PermutationSpec:
    """The permutation symmetries of a network; ``fixed`` says why the units of some layers cannot move."""

    groups: tuple[UnitGroup, ...]
    fixed: dict[str, str]


def derive_permutations(model: nn.Module, layers: Sequence[Layer] | None = None) -> PermutationSpec:
    """Every permutation of hidden units that leaves the function of a chain of layers unchanged."""
    layers = list_layers(model) if layers is None else layers
    state = model.state_dict()
    groups: list[UnitGroup] = []
    fixed: dict[str, str] = {layers[-1].role: "its units are the logits"} if layers else {}
    for layer, following in pairwise(layers):
        num_units = layer.shape[0]
        if reason := _why_fixed(model, layer, following):
            fixed[layer.role] = reason
            continue
        own = [f"{layer.name}.{name}" for name in ("weight", "bias")]
        if layer.norm is not None:
            own += [f"{layer.norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        axes = [PermutedAxis(tensor=name, axis=0) for name in own if name in state]
        block = following.shape[1] // num_units
        axes.append(PermutedAxis(tensor=f"{following.name}.weight", axis=1, block=block))
        groups.append(UnitGroup(role=layer.role, num_units=num_units, axes=tuple(axes)))
    return PermutationSpec(groups=tuple(groups), fixed=fixed)


def check_permutations(model: nn.Module, spec: PermutationSpec) -> None:
    """Refuse a specification that does not fit the network.

    Raises:
        UsageError: for a tensor or axis that the network does not have, or one of another length.
    """
    state = model.state_dict()
    for group in spec.groups:
        for axis in group.axes:
            if axis.tensor not in state:
                known = ", ".join(list(state)[:8])
                raise UsageError(
                    f"The permutation of {group.role!r} names {axis.tensor!r}, which the network does not have. "
                    f"Its tensors: {known}, ..."
                )
            shape = tuple(state[axis.tensor].shape)
            length = shape[axis.axis] if axis.axis < len(shape) else 0
            if length != group.num_units * axis.block:
                raise UsageError(
                    f"The permutation of {group.role!r} has {group.num_units} units of {axis.block}, but axis "
                    f"{axis.axis} of {axis.tensor!r} has {length} entries (shape {shape}). Correct the specification."
                )


def apply_permutation(
    model: ModelT, permutations: Mapping[str, Int[np.ndarray, " U"]], spec: PermutationSpec | None = None
) -> ModelT:
    """A copy of ``model`` whose unit i of each named layer is the old unit ``permutations[role][i]``; same function.

    ``spec`` says what moves with the units; by default it is derived from a chain of layers.
    """
    permuted = copy.deepcopy(model)
    state = permuted.state_dict()
    with torch.no_grad():
        for group in (derive_permutations(model) if spec is None else spec).groups:
            if group.role not in permutations:
                continue
            for axis in group.axes:
                tensor = state[axis.tensor]
                index = torch.from_numpy(expand_permutation(permutations[group.role], axis.block)).to(tensor.device)
                tensor.copy_(tensor.index_select(axis.axis, index))
    return permuted


def expand_permutation(permutation: Int[np.ndarray, " U"], block: int) -> Int[np.ndarray, " B"]:
    """The permutation of an axis on which each unit owns ``block`` neighbouring entries."""
    return (permutation[:, None] * block + np.arange(block)[None, :]).reshape(-1)


def _why_fixed(model: nn.Module, layer: Layer, following: Layer) -> str:
    norm = None if layer.norm is None else model.get_submodule(layer.norm)
    module = model.get_submodule(following.name)
    if isinstance(norm, nn.GroupNorm) and 1 < norm.num_groups < norm.num_channels:
        return f"group norm ties its units into {norm.num_groups} groups"
    if getattr(module, "groups", 1) != 1:
        return f"{following.role} is a grouped convolution"
    inputs, units = following.shape[1], layer.shape[0]
    flattened = layer.kind == "conv" and following.kind == "linear"
    if inputs != units and not (flattened and inputs % units == 0):
        return f"{following.role} reads {inputs} inputs, which are not its {units} units"
    return ""
