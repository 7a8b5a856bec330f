"""Hidden units have no order and filters before batch norm no size: both are settled here before weights are compared.

A permutation of the units of one layer acts on its weights (rows), its bias, the normalisation after it, and the input
axis of the next layer; where a map is flattened before a dense layer, every unit owns a block of H * W inputs. Weight
matching finds the permutations that bring one network closest to another (Git Re-Basin, Ainsworth, Hayase & Srinivasa
2023, arXiv:2209.04836, algorithm 1). Networks must be chains of the layers that ``list_layers`` lists; for anything
else ``apply_permutation`` changes the function, which the caller can see in the logits.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meta_baseline.layers import Layer, list_layers, pair_layers

ModelT = TypeVar("ModelT", bound=nn.Module)

Array = np.ndarray

LEAST_GAIN = 1e-3
"""A layer is reordered only when that raises its part of the objective by this share.

One mistaken pair in 1024 units costs more; unrelated networks would go on exchanging equally bad assignments.
"""


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


@dataclass(frozen=True, kw_only=True)
class ScaledLayer:
    """One layer's parameters with what its normalisation ignores taken out; the mean squared row norm is 1.

    Attributes:
        form: "filters at equal norm" where each filter is normalised on its own (batch norm follows), "layer at equal
            norm" otherwise.
        weight: [C, ...] in the shape of the parameter.
        vectors: [C, V] the other parameters of each unit: gain and shift of the normalisation, and the bias unless
            batch norm removes it.
    """

    role: str
    form: str
    weight: Float[np.ndarray, "C ..."]
    vectors: Float[np.ndarray, "C V"]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Unit ``permutations[role][i]`` of the baseline corresponds to unit i of the meta network.

    Attributes:
        similarity_before, similarity_after: cosine of the scaled weights of all layers that were used, taken together;
            1 for networks equal up to permutation and scale.
        num_sweeps: passes over all layers; ``converged`` is False when the limit stopped them.
        fixed: layers whose units were not moved, and why.
    """

    permutations: dict[str, Int[np.ndarray, " U"]]
    similarity_before: float
    similarity_after: float
    num_sweeps: int
    converged: bool
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


def apply_permutation(model: ModelT, permutations: Mapping[str, Int[np.ndarray, " U"]]) -> ModelT:
    """A copy of ``model`` whose unit i of each named layer is the old unit ``permutations[role][i]``; same function."""
    permuted = copy.deepcopy(model)
    state = permuted.state_dict()
    with torch.no_grad():
        for group in derive_permutations(model).groups:
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


def fold_batch_norm(
    model: nn.Module, layer: Layer
) -> tuple[Float[np.ndarray, "C ..."], Float[np.ndarray, " C"]] | None:
    """Weight and bias of the layer that does in evaluation what this one and its batch norm do together.

    w' = w g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + h, with gain g, shift h and running mean and variance
    m, v. None where no batch norm with running statistics follows.
    """
    norm = _norm_of(model, layer)
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        return None
    weight, bias = _parameter(model, f"{layer.name}.weight"), _parameter(model, f"{layer.name}.bias")
    gain, shift = _parameter(model, f"{layer.norm}.weight"), _parameter(model, f"{layer.norm}.bias")
    assert weight is not None
    scale = (1.0 if gain is None else gain) / np.sqrt(_to_numpy(norm.running_var) + norm.eps)
    folded_bias = ((0.0 if bias is None else bias) - _to_numpy(norm.running_mean)) * scale
    rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return weight * rows, folded_bias + (0.0 if shift is None else shift)


def normalises_filters(model: nn.Module, layer: Layer) -> bool:
    """True where each filter is normalised on its own after the layer, so that its size has no effect."""
    norm = _norm_of(model, layer)
    if isinstance(norm, nn.GroupNorm):
        return norm.num_groups == norm.num_channels
    return isinstance(norm, _BatchNorm)


def scale_layer(model: nn.Module, layer: Layer) -> ScaledLayer:
    """The layer's parameters brought to a common scale; unchanged when a filter before batch norm is scaled.

    Parameters only: running statistics do not enter. Filters that are zero stay zero.
    """
    weight, bias = _parameter(model, f"{layer.name}.weight"), _parameter(model, f"{layer.name}.bias")
    assert weight is not None, f"{layer.name} has no weight"
    norms = np.sqrt(np.square(weight.reshape(len(weight), -1), dtype=np.float64).sum(axis=1))
    vectors: list[Array] = []
    if normalises_filters(model, layer):
        form, size = "filters at equal norm", norms
    else:
        form, size = "layer at equal norm", np.full(len(norms), np.sqrt(np.mean(norms**2)))
        if bias is not None:
            vectors.append((bias / _nonzero(size))[:, None])
    affine = [] if layer.norm is None else [_parameter(model, f"{layer.norm}.{name}") for name in ("weight", "bias")]
    if columns := [vector for vector in affine if vector is not None and vector.shape == norms.shape]:
        pair = np.stack(columns, axis=1)
        vectors.append(pair / _nonzero(np.sqrt(np.square(pair).sum(axis=1).mean())))
    scaled = weight / _nonzero(size).reshape(-1, *[1] * (weight.ndim - 1))
    joined = np.concatenate(vectors, axis=1) if vectors else np.zeros((len(weight), 0))
    return ScaledLayer(role=layer.role, form=form, weight=scaled.astype(np.float32), vectors=joined.astype(np.float32))


def match_weights(
    meta: nn.Module, baseline: nn.Module, *, roles: Collection[str] | None = None, max_sweeps: int = 100
) -> Alignment:
    """Permute the baseline's hidden units so that its scaled parameters come closest to the meta network's.

    Coordinate descent over layers, from input to output until nothing changes; each step solves one linear assignment
    exactly, so the objective never falls. It starts from the given order, so that networks that still share the order
    of a common initialisation keep it. Only ``roles`` enter the objective (default: all that ``pair_layers`` calls
    comparable), each scaled as by ``scale_layer``.
    """
    if roles is None:
        roles = [pair.role for pair in pair_layers(meta, baseline).pairs if pair.comparable_weights]
    problem = _Problem(meta, baseline, roles)
    movable = list(problem.num_units)
    best = {role: np.arange(num) for role, num in problem.num_units.items()}
    before = problem.similarity(best)
    pending, num_sweeps = set(movable), 0
    while pending and num_sweeps < max_sweeps:
        num_sweeps += 1
        for role in movable:
            if role not in pending:
                continue
            pending.discard(role)
            gains = problem.unit_similarities(role, best)
            found = linear_sum_assignment(gains, maximize=True)[1]
            units = np.arange(len(found))
            value, reached = gains[units, found].sum(), gains[units, best[role]].sum()
            if value > reached + LEAST_GAIN * max(abs(reached), 1e-3 * len(found)):
                best[role] = found
                pending |= problem.neighbours(role)
    return Alignment(
        permutations=best,
        similarity_before=before,
        similarity_after=problem.similarity(best),
        num_sweeps=num_sweeps,
        converged=not pending,
        fixed=problem.fixed,
    )


class _Problem:
    """Two chains of layers; ``roles`` enter the objective, ``num_units`` lists the layers whose units may move."""

    def __init__(self, meta: nn.Module, baseline: nn.Module, roles: Collection[str]) -> None:
        chains = [list_layers(model) for model in (meta, baseline)]
        specs = [derive_permutations(model, layers) for model, layers in zip((meta, baseline), chains)]
        links = [{(one.role, other.role) for one, other in pairwise(layers)} for layers in chains]
        self._before = {other: one for one, other in links[0] & links[1]}
        self._after = {one: other for other, one in self._before.items()}
        self._meta, self._baseline = (
            {layer.role: scale_layer(model, layer) for layer in layers if layer.role in roles}
            for model, layers in zip((meta, baseline), chains)
        )
        units, other_units = ({group.role: group.num_units for group in spec.groups} for spec in specs)
        read = {role for role in units if role in self._meta or self._after.get(role) in self._meta}
        self.num_units = {role: num for role, num in units.items() if role in read and other_units.get(role) == num}
        self.fixed = {layer.role: "not compared" for layer in chains[1] if layer.role not in self.num_units}
        self.fixed |= specs[0].fixed | specs[1].fixed
        self._halves: dict[tuple[str, str], tuple[Array | None, Array]] = {}

    def neighbours(self, role: str) -> set[str]:
        """Movable layers whose best assignment depends on this one's."""
        beside = (self._before.get(role), self._after.get(role))
        return {other for other in beside if other is not None and other in self.num_units}

    def similarity(self, permutations: Mapping[str, Array]) -> float:
        """Cosine of all scaled weights; the objective without the gains, which are alike in any two networks."""
        found = possible = 0.0
        for role, first in self._meta.items():
            weight = self._permuted_weight(role, permutations)
            found += float(np.vdot(first.weight, weight))
            possible += float(np.linalg.norm(first.weight) * np.linalg.norm(weight))
        return found / possible if possible else float("nan")

    def unit_similarities(self, role: str, permutations: Mapping[str, Array]) -> Array:
        """[U, U] what pairing a unit of the meta network with one of the baseline's adds, the other layers kept."""
        before, after = self._before.get(role), self._after.get(role)
        total = np.zeros((self.num_units[role], self.num_units[role]))
        if role in self._meta:
            total += self._half("own weights", role, None if before is None else permutations.get(before))
        if after is not None and after in self._meta:
            total += self._half("weights that read it", role, permutations.get(after))
        return total

    def _half(self, half: str, role: str, permutation: Array | None) -> Array:
        # Each half depends on one neighbouring layer only, and most neighbours stay as they are.
        known = self._halves.get((half, role))
        if known is None or known[0] is not permutation:
            compare = self._compare_own if half == "own weights" else self._compare_readers
            known = permutation, compare(role, permutation)
            self._halves[half, role] = known
        return known[1]

    def _compare_own(self, role: str, inputs: Array | None) -> Array:
        one, other = self._meta[role], self._baseline[role]
        weight = _reordered_inputs(other.weight, inputs)
        num = len(weight)
        return one.weight.reshape(num, -1) @ weight.reshape(num, -1).T + one.vectors @ other.vectors.T

    def _compare_readers(self, role: str, readers: Array | None) -> Array:
        one, other = self._meta[self._after[role]].weight, self._baseline[self._after[role]].weight
        num = self.num_units[role]
        return _by_input(one, num) @ _by_input(other if readers is None else other[readers], num).T

    def _permuted_weight(self, role: str, permutations: Mapping[str, Array]) -> Array:
        before = self._before.get(role)
        weight = self._baseline[role].weight
        weight = _reordered_inputs(weight, None if before is None else permutations.get(before))
        return weight[permutations[role]] if role in permutations else weight


def _reordered_inputs(weight: Array, permutation: Array | None) -> Array:
    if permutation is None:
        return weight
    return np.take(weight, expand_permutation(permutation, weight.shape[1] // len(permutation)), axis=1)


def _by_input(weight: Array, num_units: int) -> Array:
    """[units of the layer before, everything that reads from that unit]."""
    return np.ascontiguousarray(weight.reshape(len(weight), num_units, -1).transpose(1, 0, 2).reshape(num_units, -1))


def _why_fixed(model: nn.Module, layer: Layer, following: Layer) -> str:
    norm, module = _norm_of(model, layer), model.get_submodule(following.name)
    if isinstance(norm, nn.GroupNorm) and 1 < norm.num_groups < norm.num_channels:
        return f"group norm ties its units into {norm.num_groups} groups"
    if getattr(module, "groups", 1) != 1:
        return f"{following.role} is a grouped convolution"
    inputs, units = following.shape[1], layer.shape[0]
    flattened = layer.kind == "conv" and following.kind == "linear"
    if inputs != units and not (flattened and inputs % units == 0):
        return f"{following.role} reads {inputs} inputs, which are not its {units} units"
    return ""


def _norm_of(model: nn.Module, layer: Layer) -> nn.Module | None:
    return None if layer.norm is None else model.get_submodule(layer.norm)


def _parameter(model: nn.Module, name: str) -> Array | None:
    owner, _, leaf = name.rpartition(".")
    value = getattr(model.get_submodule(owner), leaf, None)
    return None if value is None else _to_numpy(value)


def _to_numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _nonzero(sizes: Array) -> Array:
    return np.where(sizes > 0, sizes, 1.0)
