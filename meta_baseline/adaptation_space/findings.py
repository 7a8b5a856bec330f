"""What adaptation changes, in a few sentences with their numbers, intervals over episodes and untrained control."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.adaptation_space.contrasts import (
    EpisodeMean,
    NetworkVerdict,
    average,
    describe_mean,
    name_layers,
)
from meta_baseline.adaptation_space.facts import AdaptationFacts
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.results import Finding

_WORDS: dict[NetworkVerdict, str] = {
    "rapid learning": "rapid learning: layers below the head have to adapt",
    "feature reuse": "feature reuse: adapting the head gives most of it",
    "both": "mostly feature reuse, with a part that only layers below the head can learn",
    "open": "undecided between rapid learning and feature reuse on so few episodes",
}


def list_findings(facts: AdaptationFacts) -> tuple[Finding, ...]:
    """A verdict on each trained network, whether meta and baseline differ before or by adaptation, and coherence."""
    return tuple(_findings(facts))


def _findings(facts: AdaptationFacts) -> Iterator[Finding]:
    for subject in facts.trained:
        yield _judge(facts, subject)
    if (difference := _attribute(facts)) is not None:
        yield difference
    if (change := _describe_change(facts)) is not None:
        yield change
    yield from _describe_coherence(facts)


def _judge(facts: AdaptationFacts, subject: SubjectRecord) -> Finding:
    """Rapid learning or feature reuse, layer by layer."""
    gain, below = average(subject.gain), average(subject.ladder[:, 0] - subject.ladder[:, -1])
    control = facts.control_of(subject)
    beside = f"; untrained {describe_mean(average(control.gain))}" if control is not None else ""
    given = (
        f"{facts.settings.layer_steps} steps on {facts.settings.num_support} supports change the accuracy of the "
        f"{subject.name} network by {describe_mean(gain)} ({facts.num_episodes} episodes{beside})"
    )
    names = (f"gain.all.{subject.name}", f"gain.below_head.{subject.name}")
    verdict = facts.verdicts[subject.name]
    if verdict == "no gain":
        reason = "it loses by adaptation" if gain.high < 0 else "no gain is established"
        sentence = f"{given}: {reason}, so there is neither rapid learning nor feature reuse to tell apart."
        return Finding(sentence=sentence, importance=0.45, estimates=names, beyond_control=False)
    verdicts = facts.layer_verdicts[subject.name]
    parts = [
        f"{words} {layers}"
        for words, layers in (
            ("adapting adds to all layers above in", name_layers(subject.roles, verdicts, "learns")),
            ("reused as they are:", name_layers(subject.roles, verdicts, "reused")),
            ("open:", name_layers(subject.roles, verdicts, "open")),
        )
        if layers
    ]
    sentence = (
        f"{given}. This is {_WORDS[verdict]} (layers below the head add {describe_mean(below)}). "
        f"Layer by layer, {'; '.join(parts)}."
    )
    return Finding(sentence=sentence, importance=0.6, estimates=names, beyond_control=_beyond(subject, control))


def _beyond(subject: SubjectRecord, control: SubjectRecord | None) -> bool | None:
    """Whether adaptation gains the network more, or less, than its untrained twin; paired by episode."""
    return None if control is None else _excludes_zero(average(subject.gain - control.gain))


def _attribute(facts: AdaptationFacts) -> Finding | None:
    """Is what differs between meta and baseline there at theta_0, or does it appear with adaptation?"""
    meta, baseline = facts.find("meta"), facts.find("baseline")
    if meta is None or baseline is None:
        return None
    steps = facts.settings.layer_steps
    differences = meta.accuracy[:, -1] - baseline.accuracy[:, -1]
    before, after = differences[:, 0], differences[:, facts.settings.steps.index(steps)]
    at_start, at_end, by_steps = average(before), average(after), average(after - before)
    numbers = (
        f"meta minus baseline is {describe_mean(at_start)} before and {describe_mean(at_end)} after {steps} steps; "
        f"adaptation adds {describe_mean(by_steps)} ({facts.num_episodes} episodes, one pair)"
    )
    there, appears = _excludes_zero(at_start), _excludes_zero(by_steps)
    if not there and not appears and _excludes_zero(at_end):
        word = "The two networks differ in accuracy after adaptation; whether they did before stays open"
    elif not there and not appears:
        word = "Neither before nor by adaptation do the two networks come apart in accuracy"
    elif there and not appears:
        word = "What differs in accuracy is there before adaptation, which does not change it noticeably"
    elif appears and not there:
        word = "What differs in accuracy appears with adaptation"
    else:
        shrinks = at_start.value * by_steps.value < 0
        change = "smaller" if shrinks else "larger"
        word = f"The difference in accuracy is there before adaptation, which makes it {change}"
    return Finding(
        sentence=f"{word}: {numbers}.",
        importance=0.65 if appears else 0.5,
        estimates=("difference.steps_0", f"difference.steps_{steps}", "difference.by_adaptation"),
        beyond_control=there or appears or _excludes_zero(at_end),
    )


def _describe_change(facts: AdaptationFacts) -> Finding | None:
    """In which layer activations change most, beside what the same steps do to an untrained network."""
    parts: list[str] = []
    names: list[str] = []
    for subject in facts.trained:
        means = np.array([average(own).value for own in subject.cka[:, :-1].T])
        if not len(means) or not np.isfinite(means).any():
            continue
        layer = int(np.nanargmin(means))
        role, cka = subject.roles[layer], average(subject.cka[:, layer], most=1.0)
        weights = average(subject.weight_change[:, layer])
        control = facts.control_of(subject)
        beside = ""
        if control is not None and control.roles == subject.roles:
            beside = f", untrained {average(control.cka[:, layer]).value:.3f}"
        parts.append(
            f"{subject.name} {role}, CKA {cka.value:.3f} [{cka.low:.3f}, {cka.high:.3f}]{beside}, its weights moved by "
            f"{weights.value:.2%}"
        )
        names.append(f"{role}.cka.{subject.name}")
    if not parts:
        return None
    sentence = (
        f"Below the head, {facts.settings.layer_steps} steps change activations most in: {'; '.join(parts)} "
        "(CKA of the same queries before and after; 1 is no change)."
    )
    return Finding(sentence=sentence, importance=0.35, estimates=tuple(names))


def _describe_coherence(facts: AdaptationFacts) -> Iterator[Finding]:
    parts: list[str] = []
    beyond = False
    for subject in facts.subjects:
        whole = subject.path_coherence[-1]
        parts.append(
            f"{subject.name} {whole.value:.2f} (shuffled labels {whole.null:.2f}; beyond them {whole.beyond:+.2f} "
            f"[{whole.low:+.2f}, {whole.high:+.2f}])"
        )
        beyond |= not subject.is_control and whole.low > 0
    sentence = f"Mean cosine of the paths of different episodes: {'; '.join(parts)}."
    names = tuple(f"coherence.path.{subject.name.replace(' ', '_')}" for subject in facts.subjects)
    yield Finding(sentence=sentence, importance=0.3, estimates=names, beyond_control=beyond)


def _excludes_zero(mean: EpisodeMean) -> bool:
    return mean.low > 0 or mean.high < 0
