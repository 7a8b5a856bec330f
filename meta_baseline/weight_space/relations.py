"""How the layers of two networks lie to each other, and to where they started; each relation with its control.

Matching alone brings unrelated networks closer, and a joint basis alone explains some variance of anything; so every
relation between the two networks is also measured between untrained networks that went through the same matching.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import nn

from meta_baseline.alignment import (
    Alignment,
    PermutationSpec,
    PermutedAxis,
    apply_permutation,
    match_weights,
    scale_layer,
)
from meta_baseline.layers import Layer, list_layers
from meta_baseline.weight_space.layer_statistics import cosine_and_distance
from meta_baseline.weight_space.projections import (
    JointProjection,
    bootstrap_stability,
    principal_axes,
    project_jointly,
    share_on_two_axes,
    subspace_cosines,
)
from meta_baseline.weight_space.spectra import largest_singular_value
from meta_baseline.weight_space.threads import run_in_threads

FEWEST_UNITS = 4
"""Layers with fewer units have no spread worth a projection."""

NUM_RESAMPLES = 20
"""Bootstrap resamples of a layer's units; their mean is wanted, not their tails."""


@dataclass(frozen=True, kw_only=True)
class LayerRelation:
    """One layer of two networks, before and after the units of the second were matched to the first.

    Attributes:
        form: how the weights were scaled; see ``alignment.ScaledLayer``.
        cosine_unaligned, cosine_aligned: of the scaled weights.
        distance_unaligned, distance_aligned: relative, in [0, 2]; see ``cosine_and_distance``.
        moved_fraction: share of units whose match has another index; NaN where units were not matched.
        axis_cosines: [k] cosines of the principal angles between the two layers' own leading subspaces, after matching.
    """

    role: str
    form: str
    num_weights: int
    num_units: int
    cosine_unaligned: float
    cosine_aligned: float
    distance_unaligned: float
    distance_aligned: float
    moved_fraction: float
    axis_cosines: Float[np.ndarray, " k"]

    @property
    def overlap(self) -> float:
        """Mean squared cosine of the principal angles: 1 for equal subspaces, about k / D for random ones."""
        return float(np.mean(self.axis_cosines**2)) if len(self.axis_cosines) else float("nan")


@dataclass(frozen=True, kw_only=True)
class NetworkRelation:
    """Two networks after matching: the alignment, every comparable layer, and all of them taken together."""

    alignment: Alignment
    layers: tuple[LayerRelation, ...]

    @property
    def moved_fraction(self) -> float:
        """Share of all matched units whose match has another index."""
        moved = [share_moved(permutation) * len(permutation) for permutation in self.alignment.permutations.values()]
        units = sum(len(permutation) for permutation in self.alignment.permutations.values())
        return float(sum(moved) / units) if units else float("nan")

    @property
    def cosine_unaligned(self) -> float:
        """Cosine of the scaled weights of all layers together, before matching."""
        return pool_by_units(
            [layer.num_units for layer in self.layers], [layer.cosine_unaligned for layer in self.layers]
        )

    @property
    def cosine_aligned(self) -> float:
        """Cosine of the scaled weights of all layers together, after matching."""
        return pool_by_units(
            [layer.num_units for layer in self.layers], [layer.cosine_aligned for layer in self.layers]
        )

    def by_role(self, role: str) -> LayerRelation:
        """The relation of one layer."""
        return next(layer for layer in self.layers if layer.role == role)


@dataclass(frozen=True, kw_only=True)
class LayerProjection:
    """One layer of both networks and of an untrained one in a joint basis.

    ``control_explained`` is what two axes explain when they are fitted on another pair instead, by name of the pair:
    "untrained", "shuffled", and "meta seeds" or "baseline seeds" where there are any. ``stability`` and
    ``control_stability`` [R] are how much of the plane, and of that of the untrained, stays when units are drawn again.
    """

    role: str
    projection: JointProjection
    control_explained: dict[str, float]
    stability: Float[np.ndarray, " R"]
    control_stability: Float[np.ndarray, " R"]


@dataclass(frozen=True, kw_only=True)
class LayerDisplacement:
    """How far training moved one layer from the network's own initialisation.

    Attributes:
        displacement: |W - W0| / |W0| of the scaled weights; 0 for no movement, 1.41 for an unrelated direction.
        stored_displacement: the same of the weights as stored, in which growth counts too.
        cosine: of scaled W with scaled W0; ``untrained_cosine``: [S] with fresh initialisations instead.
        stable_rank: of the scaled displacement; ``random_stable_rank``: of the difference between step 0 and a fresh
            initialisation, which is a random displacement of this shape.
        seeds: the same of further networks of this condition from their own step 0, where these were given.
    """

    role: str
    network: str
    displacement: float
    stored_displacement: float
    cosine: float
    stable_rank: float
    untrained_cosine: Float[np.ndarray, " S"]
    random_stable_rank: float
    seeds: tuple[LayerDisplacement, ...] = ()


def relate_networks(
    meta: nn.Module, baseline: nn.Module, roles: Collection[str], spec: PermutationSpec | None = None
) -> tuple[NetworkRelation, nn.Module]:
    """Match the baseline to the meta network and measure every layer of ``roles``; also the reordered baseline.

    ``spec`` gives the symmetries of networks that are no chain of layers.
    """
    alignment = match_weights(meta, baseline, roles=roles, spec=spec)
    aligned = apply_permutation(baseline, alignment.permutations, spec)
    layers = zip(_chosen(meta, roles), _chosen(baseline, roles), strict=True)
    relations = tuple(
        _relate_layer(one, other, models=(meta, baseline, aligned), moved=_order_of(one, alignment, spec))
        for one, other in layers
    )
    return NetworkRelation(alignment=alignment, layers=relations), aligned


def project_layers(
    networks: tuple[nn.Module, nn.Module],
    controls: Mapping[str, tuple[nn.Module, nn.Module]],
    roles: Collection[str],
    rng: np.random.Generator,
    workers: int = 1,
) -> tuple[LayerProjection, ...]:
    """Every layer of ``roles`` with enough units in a basis fitted on the meta network and the matched baseline.

    ``controls`` are other matched pairs, each of networks of one of the two architectures; "untrained" is among them.
    """
    layers = zip(*(_chosen(network, roles) for network in networks), strict=True)
    wide = [(one, other) for one, other in layers if one.shape[0] >= FEWEST_UNITS]

    def project(task: tuple[tuple[Layer, Layer], np.random.Generator]) -> LayerProjection:
        (one, other), own_rng = task
        rows = unit_matrix(networks[0], one), unit_matrix(networks[1], other)
        twins = {name: tuple(_rows_of(network, one.role) for network in pair) for name, pair in controls.items()}
        fresh = twins["untrained"]
        stability, control_stability = (
            bootstrap_stability(*pair, num_resamples=NUM_RESAMPLES, rng=own_rng) for pair in (rows, fresh)
        )
        return LayerProjection(
            role=one.role,
            projection=project_jointly(*rows, fresh[0]),
            control_explained={name: share_on_two_axes(*pair) for name, pair in twins.items()},
            stability=stability,
            control_stability=control_stability,
        )

    return tuple(run_in_threads(project, list(zip(wide, rng.spawn(len(wide)))), workers))


def measure_displacements(
    ends: Sequence[tuple[nn.Module, nn.Module]],
    untrained: Sequence[nn.Module],
    *,
    network: str,
    roles: Collection[str],
    workers: int = 1,
) -> tuple[LayerDisplacement, ...]:
    """Every layer of ``roles`` against the same layer of the network's own step 0, and of fresh initialisations.

    ``ends``: the network and its step 0, then those of further seeds.
    """
    chosen = _chosen(ends[0][0], roles)
    return tuple(run_in_threads(lambda layer: _displace(ends, untrained, layer, network), chosen, workers))


def displacement_cosines(
    networks: tuple[nn.Module, nn.Module], initial: nn.Module, roles: Collection[str]
) -> dict[str, float]:
    """Cosine of the displacements of two networks with one step 0, by layer: did training move them alike?

    What lies along the initial weights is taken out first (for each filter where filters are scaled): weights of
    constant norm that move anywhere lose the same part along where they were, which alone makes a positive cosine.
    0 is expected of unrelated directions.
    """
    cosines: dict[str, float] = {}
    for layers in zip(*(_chosen(network, roles) for network in networks), strict=True):
        starts = scale_layer(initial, layers[0])
        start = starts.weight.reshape(len(starts.weight), -1).astype(np.float64)
        groups = start if starts.form == "filters at equal norm" else start.reshape(1, -1)
        moved: list[np.ndarray] = []
        for network, layer in zip(networks, layers):
            now = unit_matrix(network, layer).astype(np.float64).reshape(groups.shape)
            along = np.sum(now * groups, axis=1) / np.maximum(np.sum(groups**2, axis=1), 1e-300)
            moved.append((now - along[:, None] * groups).reshape(-1))
        sizes = np.linalg.norm(moved[0]) * np.linalg.norm(moved[1])
        # A displacement of rounding size has no direction.
        known = min(np.linalg.norm(part) for part in moved) > 1e-6 * np.linalg.norm(start)
        cosines[layers[0].role] = float(moved[0] @ moved[1] / sizes) if known else float("nan")
    return cosines


def share_moved(permutation: Int[np.ndarray, " U"]) -> float:
    """Share of units that do not keep their index."""
    return float(np.mean(permutation != np.arange(len(permutation))))


def unit_matrix(model: nn.Module, layer: Layer) -> Float[np.ndarray, "C D"]:
    """The scaled weights of a layer, one row per unit."""
    weight = scale_layer(model, layer).weight
    return weight.reshape(len(weight), -1)


def _rows_of(model: nn.Module, role: str) -> Float[np.ndarray, "C D"]:
    return unit_matrix(model, next(layer for layer in list_layers(model) if layer.role == role))


def pool_by_units(num_units: Sequence[int], values: Sequence[float]) -> float:
    """Mean over layers, weighted by their units, of what is known; of cosines: the cosine of all layers together.

    That is exact because every layer's scaled rows have mean squared norm 1.
    """
    weights, known = np.array(num_units, dtype=np.float64), np.isfinite(values)
    return float(weights[known] @ np.array(values)[known] / weights[known].sum()) if known.any() else float("nan")


def _order_of(layer: Layer, alignment: Alignment, spec: PermutationSpec | None) -> np.ndarray | None:
    """The order found for the units of one layer; None where they do not move."""
    if spec is None:
        return alignment.permutations.get(layer.role)
    axis = PermutedAxis(tensor=f"{layer.name}.weight", axis=0)
    return next((alignment.permutations[group.role] for group in spec.groups if axis in group.axes), None)


def _relate_layer(
    one: Layer, other: Layer, *, models: tuple[nn.Module, nn.Module, nn.Module], moved: np.ndarray | None
) -> LayerRelation:
    meta, baseline, aligned = models
    first, second, matched = scale_layer(meta, one), scale_layer(baseline, other), scale_layer(aligned, other)
    cosine_unaligned, distance_unaligned = cosine_and_distance(first, second)
    cosine_aligned, distance_aligned = cosine_and_distance(first, matched)
    matrices = [layer.weight.reshape(len(layer.weight), -1) for layer in (first, matched)]
    return LayerRelation(
        role=one.role,
        form=first.form,
        num_weights=first.weight.size,
        num_units=len(first.weight),
        cosine_unaligned=cosine_unaligned,
        cosine_aligned=cosine_aligned,
        distance_unaligned=distance_unaligned,
        distance_aligned=distance_aligned,
        moved_fraction=float("nan") if moved is None else share_moved(moved),
        axis_cosines=_axis_cosines(matrices[0], matrices[1]),
    )


def _axis_cosines(meta: np.ndarray, baseline: np.ndarray) -> Float[np.ndarray, " k"]:
    # At most half of the smaller dimension, so that two subspaces are not bound to meet.
    num_axes = min(5, (min(meta.shape) - 1) // 2)
    if len(meta) < FEWEST_UNITS or num_axes < 1:
        return np.zeros(0)
    own = [principal_axes(matrix - matrix.mean(axis=0), num_axes)[0] for matrix in (meta, baseline)]
    return subspace_cosines(own[0], own[1]) if min(axes.shape[1] for axes in own) else np.zeros(0)


def _displace(
    ends: Sequence[tuple[nn.Module, nn.Module]], untrained: Sequence[nn.Module], layer: Layer, network: str
) -> LayerDisplacement:
    (model, initial), *others = ends
    now, start = scale_layer(model, layer), scale_layer(initial, layer)
    fresh = [scale_layer(other, layer) for other in untrained]
    cosine, _ = cosine_and_distance(now, start)
    stored = [dict(net.named_parameters())[f"{layer.name}.weight"].detach().cpu().double() for net in (model, initial)]
    size = float(np.linalg.norm(start.weight))
    stored_size = float(stored[1].norm())
    return LayerDisplacement(
        role=layer.role,
        network=network,
        displacement=float(np.linalg.norm(now.weight - start.weight)) / size if size else float("nan"),
        stored_displacement=float((stored[0] - stored[1]).norm()) / stored_size if stored_size else float("nan"),
        cosine=cosine,
        stable_rank=_difference_rank(now.weight, start.weight),
        untrained_cosine=np.array([cosine_and_distance(now, other)[0] for other in fresh]),
        random_stable_rank=_difference_rank(fresh[0].weight, start.weight),
        seeds=tuple(_displace([other], untrained[:1], layer, network) for other in others),
    )


def _difference_rank(now: np.ndarray, start: np.ndarray) -> float:
    difference = (now - start).reshape(len(now), -1)
    size = float(np.linalg.norm(difference))
    # Equal weights differ by rounding at most; such a difference has no rank.
    moved = size > 1e-6 * float(np.linalg.norm(start))
    return (size / largest_singular_value(difference)) ** 2 if moved else float("nan")


def _chosen(model: nn.Module, roles: Collection[str]) -> list[Layer]:
    return [layer for layer in list_layers(model) if layer.role in roles]
