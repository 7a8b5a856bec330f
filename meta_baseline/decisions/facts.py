"""What was measured of two networks' decisions, in one value: what estimates, findings, figures and tables read."""

from __future__ import annotations

from dataclasses import dataclass

from meta_baseline.decisions.agreement import AnswerAgreement
from meta_baseline.decisions.sensitivity import LatentCurve, Slope
from meta_baseline.decisions.stimuli import AttributedStimulus, ShownStimulus


@dataclass(frozen=True, kw_only=True)
class TaskConfusion:
    """Images of one task by class and answer of one network; ``true_1`` are those of class 1 called class 1."""

    network: str
    task: str
    true_1: int
    false_1: int
    true_0: int
    false_0: int


@dataclass(frozen=True, kw_only=True)
class DecisionFacts:
    """The decisions of two networks over the same images.

    Attributes:
        agreements: meta with baseline first, then pairs of untrained networks.
        confusions: of every network, by task.
        slopes: of every network and of meta - baseline, over every latent.
        curves: accuracy along the latents with the largest slopes beside their bounds.
        num_only_meta, num_only_baseline: images on which one of the two alone is right.
        disagreements: the most decided of them.
        attributed: stimuli that were looked into; none where ``no_attribution`` says why.
        num_images, num_groups: how many images, and shape identities in them.
    """

    agreements: tuple[AnswerAgreement, ...]
    confusions: tuple[TaskConfusion, ...]
    slopes: tuple[Slope, ...]
    curves: tuple[LatentCurve, ...]
    num_only_meta: int
    num_only_baseline: int
    disagreements: tuple[ShownStimulus, ...]
    attributed: tuple[AttributedStimulus, ...]
    no_attribution: str
    num_images: int
    num_groups: int

    @property
    def over(self) -> str:
        """What intervals are over, in words."""
        return "images" if self.num_groups == self.num_images else f"{self.num_groups} shape identities"

    def slope(self, network: str, measure: str, latent: str) -> Slope:
        """One slope."""
        return next(s for s in self.slopes if (s.network, s.measure, s.latent) == (network, measure, latent))
