"""Everything that was measured, in one value: what estimates, checks, findings, figures and tables read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.representations.agreement import MatchedLayer, SimilarityTable
from meta_baseline.representations.explained import ExplainedShare
from meta_baseline.representations.extremes import LayerExtremes, ShownChannel
from meta_baseline.representations.layer_statistics import LayerStatistics
from meta_baseline.representations.mean_maps import MeanMap
from meta_baseline.representations.paths import Paths
from meta_baseline.representations.planes import PrincipalPlane
from meta_baseline.representations.unit_selectivity import UnitSelectivity


@dataclass(frozen=True, kw_only=True)
class RepresentationFacts:
    """The measurements of an activation analysis.

    Attributes:
        roles: paired layers, from the image on.
        networks: "meta", "baseline", then the untrained ones.
        untrained_meta, untrained_baseline: names of the untrained networks of each architecture.
        num_images: all; ``num_images_similarity`` of them, drawn at random, for similarity and planes.
        num_groups: distinct shape identities; ``num_images`` where they are unknown.
        matched: one entry per role.
        tables: layer-by-layer similarity.
        statistics: one entry per network and layer.
        planes: meta, baseline and the first untrained network, one entry per layer.
        explained: share of every layer's variance that goes with the class, each latent and all of them; with
            intervals and nulls for meta and baseline.
        units: selectivity of every layer's units for the class and each latent, of every network.
        paths: how images move through the layers of the networks of ``followed``.
        followed: meta, baseline and the first untrained network.
        extremes: most and least driving images of every channel of the networks of ``followed``.
        shown: a few channels with pictures; none where no images were given.
        mean_maps: of every network and convolution.
        labels: of the images of the planes.
        latent_names: latents that vary and are not the label; ``latent_shares`` of the planes are in this order.
        strongest_latent: the one that colours the planes; "" when no latent is known.
        strongest_values: its values for the images of the planes.
        notes: of the passes, by network.
        recorded_before_non_linearity: roles whose non-linearity is no module and could not be hooked.
    """

    roles: tuple[str, ...]
    networks: tuple[str, ...]
    untrained_meta: tuple[str, ...]
    untrained_baseline: tuple[str, ...]
    shared_initial: bool
    num_images: int
    num_images_similarity: int
    num_groups: int
    matched: tuple[MatchedLayer, ...]
    tables: tuple[SimilarityTable, ...]
    statistics: tuple[LayerStatistics, ...]
    planes: tuple[PrincipalPlane, ...]
    explained: tuple[ExplainedShare, ...]
    units: tuple[UnitSelectivity, ...]
    paths: Paths
    followed: tuple[str, ...]
    extremes: tuple[LayerExtremes, ...]
    shown: tuple[ShownChannel, ...]
    mean_maps: tuple[MeanMap, ...]
    labels: Int[ndarray, " n"]
    latent_names: tuple[str, ...]
    strongest_latent: str
    strongest_values: Float[ndarray, " n"]
    notes: tuple[tuple[str, tuple[str, ...]], ...]
    recorded_before_non_linearity: tuple[str, ...]

    @property
    def hidden_roles(self) -> tuple[str, ...]:
        """Paired layers without the classifier, whose outputs are the answer and not a representation."""
        return tuple(role for role in self.roles if role != "classifier")

    def layer(self, network: str, role: str) -> LayerStatistics | None:
        """Statistics of one layer, None where the network has none of that role."""
        return next((s for s in self.statistics if s.network == network and s.role == role), None)

    def agreement(self, role: str) -> MatchedLayer:
        """The pair of one role."""
        return next(layer for layer in self.matched if layer.role == role)

    def untrained(self, role: str, measure: str, network: str = "") -> Float[ndarray, " S"]:
        """A statistic of the untrained networks of the ``network``'s architecture (of all of them by default)."""
        named = {"meta": self.untrained_meta, "baseline": self.untrained_baseline}
        names = named.get(network, tuple(dict.fromkeys(self.untrained_meta + self.untrained_baseline)))
        layers = [layer for name in names if (layer := self.layer(name, role)) is not None]
        return np.array([float(getattr(layer, measure)) for layer in layers])
