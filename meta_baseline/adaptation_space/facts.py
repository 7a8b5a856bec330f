"""What was measured of all networks, before it is put into estimates, checks and sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray

from meta_baseline.adaptation_space.coherence import Coherence, compare_directions
from meta_baseline.adaptation_space.contrasts import (
    LayerVerdict,
    NetworkVerdict,
    judge_layers,
    judge_network,
    predict_difference,
    predict_next,
)
from meta_baseline.adaptation_space.resemblance import Resemblance
from meta_baseline.adaptation_space.settings import AdaptationSettings
from meta_baseline.adaptation_space.subject import SubjectRecord

FEWEST_CONTROLS = 3
"""Untrained networks of one architecture without which nothing is said of what one more would do."""

Measure = Callable[[SubjectRecord], Float[ndarray, "E ..."]]
"""Numbers of each episode of a network."""


@dataclass(frozen=True, kw_only=True)
class AdaptationFacts:
    """All networks in the same episodes; of untrained ones less is measured in most of them.

    Attributes:
        settings: how they were adapted.
        tasks: names.
        held_out: whether a task's images are fresh ones of a task that no network was trained on.
        episodes: their numbers.
        episode_tasks: the task of each.
        num_queries: of each episode.
        repeats_identities: whether shapes come back between episodes (never between support and queries of one).
        subjects: "meta" and "baseline" first, then untrained controls.
        resemblances: of meta and baseline, and of untrained networks with each other.
    """

    settings: AdaptationSettings
    tasks: tuple[str, ...]
    held_out: Bool[ndarray, " T"]
    episodes: Int64[ndarray, " E"]
    episode_tasks: Int64[ndarray, " E"]
    num_queries: Int64[ndarray, " E"]
    repeats_identities: bool
    subjects: tuple[SubjectRecord, ...]
    resemblances: tuple[Resemblance, ...]

    @property
    def num_episodes(self) -> int:
        """What intervals rest on."""
        return len(self.episodes)

    @property
    def used_tasks(self) -> tuple[str, ...]:
        """The names of the tasks of these episodes."""
        return tuple(self.tasks[number] for number in dict.fromkeys(self.episode_tasks.tolist()))

    @property
    def is_held_out(self) -> bool:
        """Whether all episodes are of tasks held out."""
        return bool(self.held_out[self.episode_tasks].all())

    @property
    def parts(self) -> tuple[AdaptationFacts, ...]:
        """The episodes on the images of the study, then those on tasks held out, where there are any."""
        of_held_out = self.held_out[self.episode_tasks]
        return tuple(self.among(own) for own in (~of_held_out, of_held_out) if own.any())

    def among(self, chosen: Bool[ndarray, " E"]) -> AdaptationFacts:
        """The same of some episodes alone."""
        episodes = self.episodes[chosen]
        return dataclasses.replace(
            self,
            episodes=episodes,
            episode_tasks=self.episode_tasks[chosen],
            num_queries=self.num_queries[chosen],
            subjects=tuple(subject.among(episodes) for subject in self.subjects),
            resemblances=tuple(
                dataclasses.replace(own, before=own.before[chosen], after=own.after[chosen])
                for own in self.resemblances
            ),
        )

    @property
    def resemblance(self) -> Resemblance | None:
        """Of meta and baseline; None where one of them is not there."""
        return next((own for own in self.resemblances if own.networks == ("meta", "baseline")), None)

    @property
    def untrained_resemblances(self) -> tuple[Resemblance, ...]:
        """Of pairs of untrained networks with the layers of meta and baseline."""
        pair = self.resemblance
        return tuple(own for own in self.resemblances if own is not pair and pair and own.roles == pair.roles)

    @property
    def trained(self) -> tuple[SubjectRecord, ...]:
        """The networks that are no controls."""
        return tuple(subject for subject in self.subjects if not subject.is_control)

    def find(self, name: str) -> SubjectRecord | None:
        """A network by its name; None where there is none."""
        return next((subject for subject in self.subjects if subject.name == name), None)

    def controls_of(self, subject: SubjectRecord) -> tuple[SubjectRecord, ...]:
        """The untrained networks of the same architecture that were adapted beside it."""
        controls = [own for own in self.subjects if own.is_control and own.roles == subject.roles]
        named = [f"untrained {trained.name}" for trained in self.trained]
        own = [control for control in controls if control.name.startswith(f"untrained {subject.name}")]
        return tuple(own or [control for control in controls if not control.name.startswith(tuple(named))])

    def band(self, subject: SubjectRecord, measure: Measure) -> tuple[ndarray, ndarray] | None:
        """The smallest and the largest mean over episodes of the untrained networks; None where there are none."""
        controls = self.controls_of(subject)
        if not controls:
            return None
        means = np.array([average_episodes(measure(control)) for control in controls])
        return means.min(axis=0), means.max(axis=0)

    def is_beyond_controls(self, subject: SubjectRecord, measure: Measure) -> bool | None:
        """Whether a number of a network lies where one more untrained network surely would not; None without three.

        The range of three networks is what figures show, but a fourth would fall outside it half of the time.
        """
        means = self._means_of_controls(subject, measure)
        if means is None:
            return None
        low, high = predict_next(means)
        return not low <= float(average_episodes(measure(subject))) <= high

    def predict_difference(self, subject: SubjectRecord, measure: Measure) -> float | None:
        """What two more untrained networks like those of a network would differ by at most; None without three."""
        means = self._means_of_controls(subject, measure)
        return None if means is None else predict_difference(means)

    def _means_of_controls(self, subject: SubjectRecord, measure: Measure) -> list[float] | None:
        means = [float(average_episodes(measure(control))) for control in self.controls_of(subject)]
        return means if len(means) >= FEWEST_CONTROLS and np.isfinite(means).all() else None

    def compare_tasks(self, subject: SubjectRecord) -> tuple[Coherence, Coherence] | None:
        """How far paths of one task agree, and those of different tasks; None where all are of one."""
        tasks = subject.tasks
        if len(set(tasks.tolist())) < 2:
            return None
        same = tasks[:, None] == tasks[None]
        whole = subject.paths[-1], subject.shuffled_paths[-1]
        return compare_directions(*whole, counted=same), compare_directions(*whole, counted=~same)

    @property
    def layer_verdicts(self) -> dict[str, tuple[LayerVerdict, ...]]:
        """By network, from the image to the answer."""
        return {subject.name: judge_layers(subject.gain, subject.added, subject.tasks) for subject in self.subjects}

    @property
    def verdicts(self) -> dict[str, NetworkVerdict]:
        """By network."""
        return {
            subject.name: judge_network(subject.gain, subject.below_head, subject.tasks) for subject in self.subjects
        }


def describe_tasks(facts: AdaptationFacts) -> str:
    """Which images these are, for a sentence."""
    names = ", ".join(facts.used_tasks)
    return f"fresh images of held-out {names}" if facts.is_held_out else names


def average_episodes(values: Float[ndarray, "E ..."]) -> ndarray:
    """Over the episodes in which a number is defined; NaN where it is in none."""
    defined = np.isfinite(values)
    total, number = np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
