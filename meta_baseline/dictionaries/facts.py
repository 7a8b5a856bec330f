"""Everything that was measured of two networks' sparse dictionaries, before anything is said about it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from meta_baseline.dictionaries.autoencoder import TrainedAutoencoder
from meta_baseline.dictionaries.features import Gallery
from meta_baseline.dictionaries.fidelity import Fidelity
from meta_baseline.dictionaries.selectivity import Selectivity


@dataclass(frozen=True, kw_only=True)
class DictionaryFacts:
    """One dictionary on held-out images.

    Attributes:
        layer, network: what it was trained on; network is "meta", "baseline" or an untrained control.
        variant: "topk", "l1", "frozen" (TopK over random directions: only the reading of them is trained) or "gaussian"
            (TopK trained and measured on a Gaussian twin of the activations, see ``draw_gaussian_twin``).
        seed: 0, or 1 for the second dictionary of the same activations.
        fidelity: see there.
        fve_low, fve_high: 95 % interval of the fraction of variance explained, bootstrap over held-out images.
        pca_fve, pca_fve_foreground: what as many principal components explain as atoms are active on average.
        mean_ratio: |mean| / |sd| of the training positions (gamma), which subtracting the mean takes away.
        l1_coefficient: weight of the penalty at the end; NaN for the others.
    """

    layer: str
    network: str
    variant: str
    seed: int
    num_channels: int
    num_atoms: int
    sparsity: int
    fidelity: Fidelity
    fve_low: float
    fve_high: float
    pca_fve: float
    pca_fve_foreground: float
    mean_ratio: float
    l1_coefficient: float
    num_train: int
    num_held_out: int
    num_held_out_images: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Held-out FVE of TopK dictionaries, meta - baseline, mean of two seeds, on the same resampled images.

    Attributes:
        value, low, high: with its 95 % interval, bootstrap over held-out images.
        between_seeds: largest absolute difference between two dictionary seeds of one network: what the training of
            dictionaries alone makes.
    """

    value: float
    low: float
    high: float
    between_seeds: float

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is beyond both its interval and what dictionary seeds make, else 0."""
        if abs(self.value) <= self.between_seeds:
            return 0
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Mean cosine of each atom to the most similar one under another dictionary seed, and between random directions."""

    layer: str
    network: str
    cosine: float
    chance: float


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Atoms of two dictionaries matched by when they are active, and how well that holds on held-out images.

    Attributes:
        kind: "networks" (meta and baseline), "untrained" (a trained network and its untrained control), "seeds" (two
            dictionaries of one network: the ceiling) or "shuffled" (meta and baseline on different images: the floor).
        first, second: the networks.
        unit: "positions", or "images" (largest code in each) where the two maps were not sampled at the same places.
        mean: mean correlation over the matched pairs, each weighted by the share of code variance that its two atoms
            have in their dictionaries: rare atoms are many, carry little and are found again by chance.
        plain_mean: the same without weights.
        correlations: of all pairs, in falling order.
    """

    layer: str
    kind: str
    first: str
    second: str
    unit: str
    mean: float
    plain_mean: float
    correlations: Float[ndarray, " P"]


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """All dictionaries of one layer of both networks and their controls.

    Attributes:
        same_width: False where the layer has another number of channels in the two networks.
        autoencoders: the first TopK dictionaries of "meta" and "baseline", ready for use.
    """

    layer: str
    map_shape: tuple[int, ...]
    same_width: bool
    dictionaries: tuple[DictionaryFacts, ...]
    difference: Difference
    stability: tuple[Stability, ...]
    matchings: tuple[Matching, ...]
    selectivity: tuple[Selectivity, ...]
    galleries: tuple[Gallery, ...]
    autoencoders: dict[str, TrainedAutoencoder]

    def find(self, network: str, variant: str = "topk", seed: int = 0) -> DictionaryFacts | None:
        """The dictionary of that network, variant and seed; None where it was not trained."""
        for facts in self.dictionaries:
            if (facts.network, facts.variant, facts.seed) == (network, variant, seed):
                return facts
        return None

    def matching(self, kind: str) -> tuple[Matching, ...]:
        """The matchings of that kind: one, or one per network."""
        return tuple(matching for matching in self.matchings if matching.kind == kind)


@dataclass(frozen=True, kw_only=True)
class DictionaryStudy:
    """Layers in the order of the networks, and which untrained network is the control of which.

    Attributes:
        controls: "meta" and "baseline" to the name of the control, the same where the architectures are the same.
        control_notes: how each control was made, a sentence each.
        skipped: layers that were left out, each with its reason, as one sentence.
        num_images, num_held_out_images: of which the latter were kept from all dictionaries.
    """

    layers: tuple[LayerFacts, ...]
    controls: dict[str, str]
    skipped: tuple[str, ...]
    num_images: int
    num_held_out_images: int
