"""What all contrasts of one analysis share: targets, parts to leave out, and shuffles, the same for every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.activations import Stores
from meta_baseline.representations.explained import BinnedTargets, ExplainedShare, bin_targets, explain_layer
from meta_baseline.representations.mean_maps import MeanMap, average_maps
from meta_baseline.representations.paths import NUM_SHUFFLES as NUM_PATH_SHUFFLES
from meta_baseline.representations.paths import Paths, trace_paths
from meta_baseline.representations.shuffles import deal_parts, shuffle_groups
from meta_baseline.representations.unit_selectivity import UnitSelectivity, measure_units

NUM_PARTS = 20
NUM_SHUFFLES = 100
"""For shares of variance and units: the 95th percentile of a maximum."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Images, targets and shuffles of an analysis; layers are put in one by one.

    Attributes:
        labels: 0 or 1.
        targets: class and latents in bins.
        values: the same as numbers, the class first.
        names: of the columns of ``values``.
        parts: for jackknives, whole identities together.
        halves: for choosing on one half and measuring on the other.
        shuffles: which image's targets each image gets, whole identities together.
        few: the images of ``trace``.
        few_shuffles: the same among those.
    """

    labels: Int[ndarray, " N"]
    targets: BinnedTargets
    values: Float[ndarray, "N V"]
    names: tuple[str, ...]
    parts: Int[ndarray, " N"]
    halves: Int[ndarray, " N"]
    shuffles: Int[ndarray, "R N"]
    few: Int[ndarray, " n"]
    few_shuffles: Int[ndarray, "R n"]

    def explain(
        self,
        gram: Float[ndarray, "N N"],
        features: Float[ndarray, "N U"],
        *,
        network: str,
        role: str,
        judged: bool,
    ) -> tuple[ExplainedShare, ...]:
        """Shares of a layer's variance, given by its features too; with intervals and a null where ``judged``."""
        parts, shuffles = (self.parts, self.shuffles) if judged else (None, None)
        return explain_layer(
            gram, self.targets, network=network, role=role, parts=parts, shuffles=shuffles, features=features
        )

    def measure_units(self, pooled: Float[ndarray, "N C"], *, network: str, role: str) -> tuple[UnitSelectivity, ...]:
        """Selectivity of a layer's units for every target."""
        return measure_units(
            pooled, self.values, self.names, network=network, role=role, halves=self.halves, shuffles=self.shuffles
        )

    def trace(
        self,
        corners: Mapping[tuple[str, str], Float[ndarray, "n n"]],
        pixels: Float[ndarray, "N N"],
        *,
        followed: Sequence[str],
    ) -> Paths:
        """Paths of images through the layers whose Gram matrices over the ``few`` images are given."""
        return trace_paths(
            corners,
            pixels[np.ix_(self.few, self.few)],
            images=self.few,
            followed=tuple(followed),
            labels=self.labels[self.few],
            latents=self.values[self.few, 1:],
            latent_names=self.names[1:],
            shuffles=self.few_shuffles,
        )

    def average(self, stores: Stores, chosen: Int[ndarray, " N"]) -> tuple[MeanMap, ...]:
        """Mean maps of all convolutions of all networks over the chosen images, those of this design."""
        every = stores.meta.labels
        assert np.array_equal(every[chosen], self.labels), "the design is of these images"
        shuffles = chosen[self.shuffles]
        return tuple(
            found
            for store in stores.networks
            for layer in store.layers.values()
            if (found := average_maps(layer, self.labels, every[shuffles], chosen, network=store.network)) is not None
        )


def design_contrasts(
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"],
    latents: Float[ndarray, "N V"],
    latent_names: Sequence[str],
    few: Int[ndarray, " n"],
    *,
    rng: np.random.Generator,
) -> Design:
    """The design of an analysis of these images; ``few`` of them are followed through the layers."""
    return Design(
        labels=labels,
        targets=bin_targets(labels, latents, latent_names),
        values=np.concatenate([labels[:, None].astype(np.float64), latents], axis=1),
        names=("class", *latent_names),
        parts=deal_parts(groups, NUM_PARTS, rng),
        halves=deal_parts(groups, 2, rng),
        shuffles=np.stack([shuffle_groups(groups, rng) for _ in range(NUM_SHUFFLES)]),
        few=few,
        few_shuffles=np.stack([shuffle_groups(groups[few], rng) for _ in range(NUM_PATH_SHUFFLES)]),
    )
