"""Everything that was measured of two networks' weights, before anything is said about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meta_baseline.layers import LayerPairing
from meta_baseline.weight_space.connectivity import Connectivity
from meta_baseline.weight_space.first_layer import FirstLayer
from meta_baseline.weight_space.heavy_tails import TailFit
from meta_baseline.weight_space.inputs import NotCompared
from meta_baseline.weight_space.on_images import MatchAgreement
from meta_baseline.weight_space.relations import LayerDisplacement, LayerProjection, NetworkRelation
from meta_baseline.weight_space.running_statistics import RunningStatistics
from meta_baseline.weight_space.trajectories import NetworkProjection
from meta_baseline.weight_space.yardstick import Yardstick


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """The statistics of one layer of one network, and of the same layer of untrained networks.

    Attributes:
        network: "meta" or "baseline".
        form: how weights were scaled for all statistics but the norms; see ``alignment.ScaledLayer``.
        values: by name of ``layer_statistics.STATISTICS``; NaN where a statistic does not exist.
        initial: the same of the network's own step 0; empty when that is unknown.
        shuffled: the same of a copy whose weights stand in random places.
        untrained: [S] the same of each fresh initialisation.
        seeds: [S] the same of further networks of this condition; empty when none was given.
        moved: the same of a copy in which the sizes of units stand with their readers; empty where not tried.
        survival, untrained_survival, seed_survival: [B], [S, B], [S, B] share of weights with |w| / rms above each
            magnitude edge.
        singular_values, shuffled_singular_values, untrained_singular_values, seed_singular_values: [R], [R], [S, R],
            [S, R] of the scaled weights, in falling order.
        tail: the power law of the squared singular values, or why none may be fitted.
    """

    role: str
    network: str
    shape: tuple[int, ...]
    form: str
    values: dict[str, float]
    initial: dict[str, float]
    shuffled: dict[str, float]
    untrained: dict[str, Float[np.ndarray, " S"]]
    seeds: dict[str, Float[np.ndarray, " S"]]
    moved: dict[str, float]
    survival: Float[np.ndarray, " B"]
    untrained_survival: Float[np.ndarray, "S B"]
    seed_survival: Float[np.ndarray, "S B"]
    singular_values: Float[np.ndarray, " R"]
    shuffled_singular_values: Float[np.ndarray, " R"]
    untrained_singular_values: Float[np.ndarray, "S R"]
    seed_singular_values: Float[np.ndarray, "S R"]
    tail: TailFit

    @property
    def num_weights(self) -> int:
        """Weights in the layer, biases not counted."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """Two networks' weights side by side.

    Attributes:
        pairing: which layers correspond.
        layers: the statistics of every layer of both networks, with those of untrained networks.
        running_statistics: of every batch norm of both networks; no weights, so in no other number but the norm in use.
        relation: meta network and matched baseline; None when no layer is comparable.
        controls: pairs of untrained networks that were matched the same way.
        shuffled: both networks with their weights in random places, matched the same way.
        seed_relations: pairs of networks of one condition, matched the same way; none without further seeds.
        seed_networks: the condition of each of these pairs, "meta" or "baseline".
        yardstick: how different the layers' statistics are beside pairs of one recipe; None without a pair to compare.
        projections: joint principal components of the units of each comparable layer.
        network_projection: whole networks, with step 0 and checkpoints, on two components; None with fewer than three.
        connectivity: loss between the two networks; None where ``connectivity_reason`` says why.
        matching: matching by activations beside matching by weights; None where it could not be tried.
        first_layer: pairs of first filters; None where they do not correspond.
        displacements: how far training moved each layer; none for a network whose step 0 is unknown.
        displacement_cosines: by role, whether training moved both networks alike; empty unless they share step 0.
        not_compared: layers and parameters that were left out of some comparison, with the reason.
        damaged: those of them whose parameters are not finite.
        constant, bad_statistics: layers whose weights are all equal, or whose batch norm keeps impossible statistics.
        equal_roles: comparable layers whose parameters are equal to the last bit.
        initial_known: whether step 0 is known of the meta, and of the baseline network.
        initial_shared: both networks started from the same parameters.
        logit_change: largest change of a logit by reordering the baseline, relative to the largest logit; NaN when
            it could not be tried.
        magnitude_edges: [B] of ``LayerWeights.survival``, in units of the layer's root mean square.
    """

    pairing: LayerPairing
    layers: tuple[LayerWeights, ...]
    running_statistics: tuple[RunningStatistics, ...]
    relation: NetworkRelation | None
    controls: tuple[NetworkRelation, ...]
    shuffled: NetworkRelation | None
    seed_relations: tuple[NetworkRelation, ...]
    seed_networks: tuple[str, ...]
    yardstick: Yardstick | None
    projections: tuple[LayerProjection, ...]
    network_projection: NetworkProjection | None
    connectivity: Connectivity | None
    connectivity_reason: str
    matching: MatchAgreement | None
    first_layer: FirstLayer | None
    displacements: tuple[LayerDisplacement, ...]
    displacement_cosines: dict[str, float]
    not_compared: tuple[NotCompared, ...]
    damaged: tuple[NotCompared, ...]
    constant: tuple[NotCompared, ...]
    bad_statistics: tuple[NotCompared, ...]
    equal_roles: tuple[str, ...]
    initial_known: tuple[bool, bool]
    initial_shared: bool
    logit_change: float
    magnitude_edges: Float[np.ndarray, " B"]

    def of(self, role: str, network: str) -> LayerWeights | None:
        """The statistics of one layer of one network, None where it was left out."""
        return next((layer for layer in self.layers if (layer.role, layer.network) == (role, network)), None)

    def num_units(self, role: str, network: str = "meta") -> int:
        """Units of one layer of one network; 0 where it was left out."""
        layer = self.of(role, network)
        return layer.shape[0] if layer else 0

    def num_weights(self, role: str, network: str = "meta") -> int:
        """Weights of one layer of one network; 0 where it was left out."""
        layer = self.of(role, network)
        return layer.num_weights if layer else 0

    def control_cosines(self, role: str) -> Float[np.ndarray, " Q"]:
        """Cosine of one layer in every matched pair of untrained networks."""
        return np.array([control.by_role(role).cosine_aligned for control in self.controls])
