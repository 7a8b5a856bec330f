"""Weight matching: the order of units that brings one network closest to another.

(Git Re-Basin, Ainsworth, Hayase & Srinivasa 2023, arXiv:2209.04836, algorithm 1.) A permutation of the units of one
layer acts on its weights (rows), its bias, the normalisation after it, and the input axis of the next layer; where a
map is flattened before a dense layer, every unit owns a block of H * W inputs. Networks must be chains of the layers
that ``list_layers`` lists, or come with their symmetries; of anything else the function changes, which the caller can
see in the logits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment
from torch import nn

from meta_baseline.alignment.given import GivenProblem
from meta_baseline.alignment.permutations import PermutationSpec, derive_permutations, expand_permutation
from meta_baseline.alignment.scaling import scale_layer
from meta_baseline.layers import list_layers, pair_layers

Array = np.ndarray

LEAST_GAIN = 1e-3
"""A layer is reordered only when that raises its part of the objective by this share.

One mistaken pair in 1024 units costs more; unrelated networks would go on exchanging equally bad assignments.
"""


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


class Problem(Protocol):
    """What coordinate descent has to know of two networks."""

    @property
    def num_units(self) -> Mapping[str, int]:
        """Units of each layer that may move."""
        ...

    @property
    def fixed(self) -> dict[str, str]:
        """Layers that do not move, and why."""
        ...

    def neighbours(self, role: str) -> set[str]:
        """Movable layers whose best assignment depends on this one's."""
        ...

    def similarity(self, permutations: Mapping[str, Array]) -> float:
        """Cosine of all scaled weights."""
        ...

    def unit_similarities(self, role: str, permutations: Mapping[str, Array]) -> Array:
        """[U, U] what pairing a unit of the meta network with one of the baseline's adds, the other layers kept."""
        ...

    def accepts(self, role: str, found: Array, permutations: Mapping[str, Array]) -> bool:
        """False where the gain of one step is no gain of the whole."""
        ...


def match_weights(
    meta: nn.Module,
    baseline: nn.Module,
    *,
    roles: Collection[str] | None = None,
    spec: PermutationSpec | None = None,
    max_sweeps: int = 100,
) -> Alignment:
    """Permute the baseline's hidden units so that its scaled parameters come closest to the meta network's.

    Coordinate descent over layers, from input to output until nothing changes; each step solves one linear assignment
    exactly, so the objective never falls. It starts from the given order, so that networks that still share the order
    of a common initialisation keep it. Only ``roles`` enter the objective (default: all that ``pair_layers`` calls
    comparable), each scaled as by ``scale_layer``. With ``spec``, the symmetries are those given, which both networks
    must have, and every parameter it names enters.

    Raises:
        UsageError: when ``spec`` does not fit either network.
    """
    if spec is not None:
        return _descend(GivenProblem(meta, baseline, spec), max_sweeps)
    if roles is None:
        roles = [pair.role for pair in pair_layers(meta, baseline).pairs if pair.comparable_weights]
    return _descend(_Problem(meta, baseline, roles), max_sweeps)


def _descend(problem: Problem, max_sweeps: int) -> Alignment:
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
            gained = value > reached + LEAST_GAIN * max(abs(reached), 1e-3 * len(found))
            if gained and problem.accepts(role, found, best):
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

    def accepts(self, role: str, found: Array, permutations: Mapping[str, Array]) -> bool:
        """Always: no tensor of a chain has one layer on both axes."""
        return True

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
