"""What the inner loop changes: theta_0 -> theta_k on stated supports, layer by layer and network by network.

A meta-learned initialisation is made to be adapted, so it has to be looked at after adaptation too. Here the meta
network, its baseline and untrained networks go through the same episodes, of one task each, and are asked what they
gain, which layers have to move for it, how far weights and representations move, and whether episodes agree on the
direction. ``docs`` of every number: ``adaptation_space``.

    compare_adaptation(subjects, tasks, rng=...) -> AdaptationResult
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from meta_baseline.adaptation_space.checks import list_checks
from meta_baseline.adaptation_space.cost import choose_settings
from meta_baseline.adaptation_space.drawing import AdaptationEpisode, draw_episodes
from meta_baseline.adaptation_space.estimates import list_estimates
from meta_baseline.adaptation_space.facts import AdaptationFacts
from meta_baseline.adaptation_space.findings import list_findings
from meta_baseline.adaptation_space.fresh import draw_fresh_tasks
from meta_baseline.adaptation_space.origin import find_held_out, read_origin
from meta_baseline.adaptation_space.resemblance import compare_pairs
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject, TaskStimuli
from meta_baseline.adaptation_space.subject import measure_subject
from meta_baseline.datasets import Stimuli, StimulusDataset
from meta_baseline.results import Check, Estimate, Finding

__all__ = [
    "AdaptationResult",
    "AdaptationSettings",
    "Subject",
    "TaskStimuli",
    "choose_settings",
    "compare_adaptation",
    "draw_fresh_tasks",
    "find_held_out",
    "read_origin",
    "take_stimuli",
]


@dataclass(frozen=True, kw_only=True)
class AdaptationResult:
    """What adaptation changes in every network; ``facts`` holds the numbers of every episode."""

    facts: AdaptationFacts
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def compare_adaptation(
    subjects: Sequence[Subject],
    tasks: Sequence[TaskStimuli],
    *,
    rng: np.random.Generator,
    settings: AdaptationSettings | None = None,
    workers: int = 1,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> AdaptationResult:
    """Adapt every network in the same episodes and say what that changes; no network is changed.

    Memory does not grow with the number of images: they are read episode by episode, and of activations and paths
    only inner products are kept.

    Args:
        subjects: "meta" and "baseline", then untrained ones, whose names begin so.
        tasks: images of one task each; those held out are spoken of apart.
        rng: draws episodes and shuffled labels.
        settings: how to adapt; by default the usual ones, with fewer episodes for a large network.
        workers: episodes at a time.
        progress: as ``progress(iterable, desc=..., total=...)``.

    Raises:
        UsageError: when the images do not suffice for four episodes.
    """
    settings = settings or choose_settings(subjects[0].network, tasks[0])
    episodes = draw_episodes(tasks, settings, rng)
    for_controls = _shorten(episodes, tasks, settings.control_episodes)
    measured = [
        measure_subject(
            subject,
            tasks,
            for_controls if subject.is_control else episodes,
            settings,
            workers=workers,
            progress=progress,
        )
        for subject in subjects
    ]
    facts = AdaptationFacts(
        settings=settings,
        tasks=tuple(task.name for task in tasks),
        held_out=np.array([task.held_out for task in tasks]),
        episodes=np.arange(len(episodes)),
        episode_tasks=np.array([episode.task for episode in episodes]),
        num_queries=np.array([len(episode.query) for episode in episodes]),
        repeats_identities=any(len(np.unique(task.groups)) < len(task.groups) for task in tasks),
        subjects=tuple(record for record, _ in measured),
        resemblances=compare_pairs(
            [seen for _, seen in measured], [subject.name for subject in subjects if not subject.is_control]
        ),
    )
    return AdaptationResult(
        facts=facts,
        estimates=list_estimates(facts),
        checks=list_checks(facts),
        findings=list_findings(facts),
    )


def _shorten(
    episodes: Sequence[AdaptationEpisode], tasks: Sequence[TaskStimuli], count: int
) -> tuple[AdaptationEpisode, ...]:
    """The first so many of the study's images, and of tasks held out, as they are; the others brief."""
    seen = {False: 0, True: 0}
    shortened: list[AdaptationEpisode] = []
    for episode in episodes:
        held_out = tasks[episode.task].held_out
        seen[held_out] += 1
        shortened.append(episode if seen[held_out] <= count else dataclasses.replace(episode, depth="brief"))
    return tuple(shortened)


def take_stimuli(stimuli: Stimuli) -> TaskStimuli:
    """The stimuli of a study as one task, read from disk as episodes ask for them."""
    dataset = StimulusDataset(stimuli)

    def read(rows: np.ndarray) -> torch.Tensor:
        return torch.stack([image for image, _, _ in dataset.__getitems__([int(row) for row in rows])])

    return TaskStimuli(name=stimuli.name, labels=stimuli.labels, groups=stimuli.groups, read=read)
