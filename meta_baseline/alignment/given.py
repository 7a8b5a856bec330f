"""Matching by symmetries that were given, for networks that are no chain of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from meta_baseline.alignment.permutations import PermutationSpec, PermutedAxis, check_permutations, expand_permutation
from meta_baseline.alignment.scaling import normalises_filters, scale_layer
from meta_baseline.layers import list_layers

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Term:
    """One parameter of both networks, scaled, and the groups that its axes belong to."""

    meta: Array
    baseline: Array
    axes: tuple[tuple[str, PermutedAxis], ...]


class GivenProblem:
    """Two networks with the same given symmetries; every parameter that these name enters the objective.

    Weights of the layers that ``list_layers`` lists are scaled as by ``scale_layer``, others as a whole. Where both
    axes of a tensor belong to one group the objective is quadratic; a step is then taken only if the whole gains.
    """

    def __init__(self, meta: nn.Module, baseline: nn.Module, spec: PermutationSpec) -> None:
        for model in (meta, baseline):
            check_permutations(model, spec)
        self.num_units = {group.role: group.num_units for group in spec.groups}
        self.fixed = dict(spec.fixed)
        owners: dict[str, list[tuple[str, PermutedAxis]]] = {}
        for group in spec.groups:
            for axis in group.axes:
                owners.setdefault(axis.tensor, []).append((group.role, axis))
        scaled = [_scaled_parameters(model, set(owners)) for model in (meta, baseline)]
        self._terms = [
            _Term(meta=scaled[0][name], baseline=scaled[1][name], axes=tuple(axes))
            for name, axes in owners.items()
            if name in scaled[0] and name in scaled[1]
        ]

    def neighbours(self, role: str) -> set[str]:
        """Groups that share a tensor with this one, itself included where it has two axes of one."""
        beside: set[str] = set()
        for term in self._terms:
            groups = [name for name, _ in term.axes]
            if role in groups:
                groups.remove(role)
                beside |= set(groups)
        return beside

    def accepts(self, role: str, found: Array, permutations: Mapping[str, Array]) -> bool:
        """True where no tensor has the group on two axes, or the whole gains nevertheless."""
        if role not in self.neighbours(role):
            return True
        return self._inner({**permutations, role: found}) > self._inner(permutations)

    def similarity(self, permutations: Mapping[str, Array]) -> float:
        """Cosine of all scaled parameters."""
        possible = sum(float(np.linalg.norm(term.meta) * np.linalg.norm(term.baseline)) for term in self._terms)
        return self._inner(permutations) / possible if possible else float("nan")

    def unit_similarities(self, role: str, permutations: Mapping[str, Array]) -> Array:
        """[U, U] what pairing a unit of the meta network with one of the baseline's adds, the other groups kept."""
        num_units = self.num_units[role]
        total = np.zeros((num_units, num_units))
        for term in self._terms:
            for position, (name, axis) in enumerate(term.axes):
                if name == role:
                    others = term.axes[:position] + term.axes[position + 1 :]
                    moved = _permuted(term.baseline, others, permutations)
                    total += _units_first(term.meta, axis, num_units) @ _units_first(moved, axis, num_units).T
        return total

    def _inner(self, permutations: Mapping[str, Array]) -> float:
        return sum(float(np.vdot(term.meta, _permuted(term.baseline, term.axes, permutations))) for term in self._terms)


def _permuted(tensor: Array, axes: tuple[tuple[str, PermutedAxis], ...], permutations: Mapping[str, Array]) -> Array:
    for role, axis in axes:
        tensor = np.take(tensor, expand_permutation(permutations[role], axis.block), axis=axis.axis)
    return tensor


def _units_first(tensor: Array, axis: PermutedAxis, num_units: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(tensor, axis.axis, 0)).reshape(num_units, -1)


def _scaled_parameters(model: nn.Module, names: set[str]) -> dict[str, Array]:
    layers = {f"{layer.name}.weight": layer for layer in list_layers(model)}
    without_effect = {f"{layer.name}.bias" for layer in layers.values() if normalises_filters(model, layer)}
    scaled: dict[str, Array] = {}
    for name, parameter in model.named_parameters():
        if name not in names or name in without_effect:
            continue
        if name in layers:
            scaled[name] = scale_layer(model, layers[name]).weight
            continue
        values = parameter.detach().to("cpu").double().numpy()
        size = np.linalg.norm(values) / np.sqrt(len(values))
        scaled[name] = (values / size if size > 0 else values).astype(np.float32)
    return scaled
