"""What the inner loop changes: theta_0 -> theta_k on stated supports, layer by layer and network by network.

A meta-learned initialisation is made to be adapted, so it has to be looked at after adaptation too. Here the meta
network, its baseline and an untrained network go through the same episodes, of one task each, and are asked what they
gain, which layers have to move for it, how far weights and representations move, and whether episodes agree on the
direction. ``docs`` of every number: ``adaptation_space``.

    compare_adaptation(subjects, tasks, rng=...) -> AdaptationResult
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from meta_baseline.adaptation_space.checks import list_checks
from meta_baseline.adaptation_space.drawing import draw_episodes
from meta_baseline.adaptation_space.estimates import list_estimates
from meta_baseline.adaptation_space.facts import AdaptationFacts
from meta_baseline.adaptation_space.findings import list_findings
from meta_baseline.adaptation_space.settings import AdaptationSettings, Subject, TaskStimuli
from meta_baseline.adaptation_space.subject import measure_subject
from meta_baseline.datasets import Stimuli, StimulusDataset
from meta_baseline.results import Check, Estimate, Finding

__all__ = ["AdaptationResult", "AdaptationSettings", "Subject", "TaskStimuli", "compare_adaptation", "take_stimuli"]


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
        subjects: "meta" and "baseline", then "untrained" and the like.
        tasks: images of one task each.
        rng: draws episodes and shuffled labels.
        settings: how to adapt.
        workers: episodes at a time.
        progress: as ``progress(iterable, desc=..., total=...)``.

    Raises:
        UsageError: when the images do not suffice for four episodes.
    """
    settings = settings or AdaptationSettings()
    episodes = draw_episodes(tasks, settings, rng)
    records = tuple(
        measure_subject(subject, tasks, episodes, settings, workers=workers, progress=progress) for subject in subjects
    )
    used = {episode.task for episode in episodes}
    facts = AdaptationFacts(
        settings=settings,
        tasks=tuple(task.name for number, task in enumerate(tasks) if number in used),
        num_episodes=len(episodes),
        num_queries=len(episodes[0].query),
        repeats_identities=any(len(np.unique(task.groups)) < len(task.groups) for task in tasks),
        subjects=records,
    )
    return AdaptationResult(
        facts=facts,
        estimates=list_estimates(facts),
        checks=list_checks(facts),
        findings=list_findings(facts),
    )


def take_stimuli(stimuli: Stimuli) -> TaskStimuli:
    """The stimuli of a study as one task, read from disk as episodes ask for them."""
    dataset = StimulusDataset(stimuli)

    def read(rows: np.ndarray) -> torch.Tensor:
        return torch.stack([image for image, _, _ in dataset.__getitems__([int(row) for row in rows])])

    return TaskStimuli(name=stimuli.name, labels=stimuli.labels, groups=stimuli.groups, read=read)
