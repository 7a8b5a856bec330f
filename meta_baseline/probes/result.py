"""What the probes found: arrays over networks, layers and targets, with everything they are judged against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.probes.scores import ScoreTable
from meta_baseline.results import Check, Estimate, Finding

TIED_TO_LABEL = 0.05
"""Share of a latent's variance explained by the label beyond which reading the one may be reading the other."""


@dataclass(frozen=True, kw_only=True)
class ControlScores:
    """The label against a control task that only memory for identities can solve, [network, layer]; NaN where not run.

    Attributes:
        split: "within identities": every tested image has companions of its identity in the training part, for the
            label and for the control task alike. "random labels": no identity repeats, the control task is noise.
        task_accuracy, control_accuracy: under that split, over the images that have companions.
        selectivity, low, high: task - control, with an interval over identities.
        num_images: images that have companions (all of them under "random labels").
    """

    split: Literal["within identities", "random labels"]
    task_accuracy: Float[ndarray, "S L"]
    control_accuracy: Float[ndarray, "S L"]
    selectivity: Float[ndarray, "S L"]
    low: Float[ndarray, "S L"]
    high: Float[ndarray, "S L"]
    num_images: int


@dataclass(frozen=True, kw_only=True)
class NullScores:
    """Best-of-layers accuracy of a least-squares classifier, for the label and for permuted labels; NaN where not run.

    Attributes:
        accuracy: [network, layer] with the real labels.
        best_null: [network, R] the largest over layers, per permutation; one permutation is shared by all layers.
        p_value: [network] share of permutations, the real labels counted among them, whose best layer is at least as
            good as the real best; about this network and these images, not about a training rule.
    """

    accuracy: Float[ndarray, "S L"]
    best_null: Float[ndarray, "S R"]
    p_value: Float[ndarray, " S"]

    @property
    def threshold(self) -> Float[ndarray, " S"]:
        """What the best of all layers stays below in 95 % of permutations."""
        return np.quantile(self.best_null, 0.95, axis=1)


@dataclass(frozen=True, kw_only=True)
class MlpScores:
    """The non-linear probe of the label, [network, layer]; NaN where not run.

    Attributes:
        accuracy, bits: of linear probe plus perceptron.
        gain, low, high: bits beyond the linear probe on the same images, with an interval over groups. A lower bound
            on what is there: more images or a better optimiser may find more.
    """

    accuracy: Float[ndarray, "S L"]
    bits: Float[ndarray, "S L"]
    gain: Float[ndarray, "S L"]
    low: Float[ndarray, "S L"]
    high: Float[ndarray, "S L"]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Meta minus baseline, [layer, target], paired over images; NaN where one network lacks the layer.

    Attributes:
        value, low, high: of the scores, with an interval for each cell alone.
        joint_low, joint_high: an interval that holds for all layers of the label at once, and for all layers and
            latents at once: the one to use when the largest difference is picked out.
        untrained_spread: largest difference between two untrained networks; NaN with fewer than two.
    """

    value: Float[ndarray, "L T"]
    low: Float[ndarray, "L T"]
    high: Float[ndarray, "L T"]
    joint_low: Float[ndarray, "L T"]
    joint_high: Float[ndarray, "L T"]
    untrained_spread: Float[ndarray, "L T"]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What can be read out of which layer of which network, on shape identities that the probe never saw.

    Attributes:
        networks: "meta", "baseline", then untrained ones; or the one network of ``probe_layer_representations``.
        layers: roles, in the order of the networks.
        targets, kinds: "label" first, then latents; "binary", "continuous" or "circular".
        scores: [network, layer, target]; NaN where a network lacks the layer.
        pixels: [target], of the same probes on the image itself; NaN when there were no pixels.
        chance: [target] score of the constant predictor at the training rate or mean.
        explained_by_label: [target] share of its variance; ``TIED_TO_LABEL`` says when that is too much.
        twins: for "meta" and "baseline", the positions of their untrained networks in ``networks``.
        control, null, mlp, differences: see their classes.
        num_images, num_groups, num_folds: what the probes were trained and tested on.
        num_available: images there were before whole identities were left out to bound the time.
        left_out: latents that were not probed, each with its reason in brackets.
        num_unconverged: logistic fits that stopped before the tolerance, of all networks.
    """

    networks: tuple[str, ...]
    layers: tuple[str, ...]
    targets: tuple[str, ...]
    kinds: tuple[str, ...]
    scores: ScoreTable
    pixels: ScoreTable
    chance: Float[ndarray, " T"]
    explained_by_label: Float[ndarray, " T"]
    twins: dict[str, tuple[int, ...]]
    control: ControlScores
    null: NullScores
    mlp: MlpScores
    differences: Differences
    num_images: int
    num_available: int
    num_groups: int
    num_folds: int
    left_out: tuple[str, ...]
    num_unconverged: int
    estimates: tuple[Estimate, ...] = ()
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()

    def untrained_mean(self, network: str) -> Float[ndarray, "L T"]:
        """Mean score of the untrained networks of this network's architecture; NaN where there are none."""
        twins = self.twins.get(network, ())
        if not twins:
            return np.full(self.scores.score.shape[1:], np.nan)
        return self.scores.score[list(twins)].mean(axis=0)
