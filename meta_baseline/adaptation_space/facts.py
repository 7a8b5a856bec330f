"""What was measured of all networks, before it is put into estimates, checks and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from meta_baseline.adaptation_space.contrasts import (
    LayerVerdict,
    NetworkVerdict,
    judge_layers,
    judge_network,
)
from meta_baseline.adaptation_space.settings import AdaptationSettings
from meta_baseline.adaptation_space.subject import SubjectRecord


@dataclass(frozen=True, kw_only=True)
class AdaptationFacts:
    """All networks in the same episodes.

    Attributes:
        settings: how they were adapted.
        tasks: names.
        num_episodes, num_queries: what intervals rest on; queries of one episode.
        repeats_identities: whether shapes come back between episodes (never between support and queries of one).
        subjects: "meta" and "baseline" first, then untrained controls.
    """

    settings: AdaptationSettings
    tasks: tuple[str, ...]
    num_episodes: int
    num_queries: int
    repeats_identities: bool
    subjects: tuple[SubjectRecord, ...]

    @property
    def trained(self) -> tuple[SubjectRecord, ...]:
        """The networks that are no controls."""
        return tuple(subject for subject in self.subjects if not subject.is_control)

    def find(self, name: str) -> SubjectRecord | None:
        """A network by its name; None where there is none."""
        return next((subject for subject in self.subjects if subject.name == name), None)

    def control_of(self, subject: SubjectRecord) -> SubjectRecord | None:
        """The untrained network of the same architecture, where one was adapted beside it."""
        return self.find(f"untrained {subject.name}") or self.find("untrained")

    @property
    def layer_verdicts(self) -> dict[str, tuple[LayerVerdict, ...]]:
        """By network, from the image to the answer."""
        return {subject.name: judge_layers(subject.gain, subject.added) for subject in self.subjects}

    @property
    def verdicts(self) -> dict[str, NetworkVerdict]:
        """By network."""
        return {
            subject.name: judge_network(subject.gain, subject.ladder[:, 0] - subject.ladder[:, -1])
            for subject in self.subjects
        }
