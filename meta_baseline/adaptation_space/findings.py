"""What adaptation changes, in a few sentences with their numbers, intervals over episodes and untrained controls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from meta_baseline.adaptation_space.contrasts import (
    NetworkVerdict,
    describe_mean,
    find_sufficient,
    name_layers,
)
from meta_baseline.adaptation_space.estimates import name_estimate
from meta_baseline.adaptation_space.facts import AdaptationFacts, describe_tasks
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
    for part in facts.parts:
        for subject in part.trained:
            yield _judge(part, subject)
        if (difference := _attribute(part)) is not None:
            yield difference
        if (growth := _attribute_layers(part)) is not None:
            yield growth
    if (change := _describe_change(facts.parts[0])) is not None:
        yield change
    yield from _describe_coherence(facts)


def _judge(facts: AdaptationFacts, subject: SubjectRecord) -> Finding:
    """Rapid learning or feature reuse, layer by layer."""
    gain, below = subject.average(subject.gain), subject.average(subject.below_head)
    given = (
        f"On {describe_tasks(facts)}, {facts.settings.layer_steps} steps on {facts.settings.num_support} supports "
        f"change the accuracy of the {subject.name} network by {describe_mean(gain)} ({facts.num_episodes} episodes"
        f"{_name_band(facts, subject)})"
    )
    names = tuple(name_estimate(facts, f"gain.{what}.{subject.name}") for what in ("all", "below_head"))
    verdict = facts.verdicts[subject.name]
    if verdict == "no gain":
        reason = "it loses by adaptation" if gain.high < 0 else "no gain is established"
        sentence = f"{given}: {reason}, so there is neither rapid learning nor feature reuse to tell apart."
        return Finding(sentence=sentence, importance=0.45, estimates=names, beyond_control=False)
    verdicts = facts.layer_verdicts[subject.name]
    sufficient = find_sufficient(subject.alone - subject.nothing[:, None], subject.tasks)
    parts = [
        f"{words} {layers}"
        for words, layers in (
            ("adapting adds to all layers above in", name_layers(subject.roles, verdicts, "learns")),
            ("reused as they are:", name_layers(subject.roles, verdicts, "reused")),
            ("open:", name_layers(subject.roles, verdicts, "open")),
            ("each alone gains something:", ", ".join(np.array(subject.roles)[sufficient].tolist())),
        )
        if layers
    ]
    sentence = (
        f"{given}. This is {_WORDS[verdict]} (layers below the head add {describe_mean(below)}). "
        f"Layer by layer, {'; '.join(parts)}."
    )
    beyond = facts.is_beyond_controls(subject, lambda own: own.gain)
    return Finding(sentence=sentence, importance=0.6, estimates=names, beyond_control=beyond)


def _name_band(facts: AdaptationFacts, subject: SubjectRecord) -> str:
    """What the untrained networks gain, for a sentence."""
    band, number = facts.band(subject, lambda own: own.gain), len(facts.controls_of(subject))
    if band is None:
        return ""
    low, high = (f"{100 * float(end):+.1f}" for end in band)
    return f"; untrained {low} points" if number == 1 else f"; {number} untrained networks {low} to {high}"


def _attribute(facts: AdaptationFacts) -> Finding | None:
    """Is what differs between meta and baseline there at theta_0, or does it appear with adaptation?"""
    meta, baseline = facts.find("meta"), facts.find("baseline")
    if meta is None or baseline is None:
        return None
    steps = facts.settings.layer_steps
    differences = meta.accuracy[:, -1] - baseline.accuracy[:, -1]
    before, after = differences[:, 0], differences[:, facts.settings.steps.index(steps)]
    at_start, at_end, by_steps = (meta.average(own) for own in (before, after, after - before))
    there, appears = at_start.excludes_zero, by_steps.excludes_zero
    if not there and not appears and at_end.excludes_zero:
        word = "The two networks differ in accuracy after adaptation; whether they did before stays open"
    elif not there and not appears:
        word = "Neither before nor by adaptation do the two networks come apart in accuracy"
    elif there and not appears:
        word = "What differs in accuracy is there before adaptation, which does not change it noticeably"
    elif appears and not there:
        word = "What differs in accuracy appears with adaptation"
    elif not at_end.excludes_zero:
        word = "What differs in accuracy is there before adaptation, and after it no difference is left to be seen"
    else:
        change = "smaller" if abs(at_end.value) < abs(at_start.value) else "larger"
        word = f"The difference in accuracy is there before adaptation, which makes it {change}"
    # What untrained networks differ by in what the sentence is about.
    last = facts.settings.steps.index(steps)
    about, spread = next(
        (mean, facts.predict_difference(meta, measure))
        for mean, measure, chosen in (
            (by_steps, lambda own: own.gain, appears),
            (at_start, lambda own: own.nothing, there),
            (at_end, lambda own: own.accuracy[:, -1, last], True),
        )
        if chosen
    )
    beside = "" if spread is None else f"; two untrained networks would differ by up to {100 * spread:.1f} points there"
    sentence = (
        f"{word}: on {describe_tasks(facts)}, meta minus baseline is {describe_mean(at_start)} before and "
        f"{describe_mean(at_end)} after {steps} steps; adaptation adds {describe_mean(by_steps)} "
        f"({facts.num_episodes} episodes, one pair{beside})."
    )
    names = ("difference.steps_0", f"difference.steps_{steps}", "difference.by_adaptation")
    return Finding(
        sentence=sentence,
        importance=0.65 if appears else 0.5,
        estimates=tuple(name_estimate(facts, name) for name in names),
        beyond_control=about.excludes_zero and (spread is None or abs(about.value) > spread),
    )


def _attribute_layers(facts: AdaptationFacts) -> Finding | None:
    """In which layers meta and baseline see the same queries more or less alike after adaptation than before."""
    pair, meta = facts.resemblance, facts.find("meta")
    if pair is None or meta is None:
        return None
    level = 1 - 0.05 / len(pair.roles)
    means = [value for own in pair.before.T if not math.isnan(value := meta.average(own).value)]
    if not means:
        return None
    changed: list[str] = []
    names: list[str] = []
    for layer, role in enumerate(pair.roles):
        change = meta.average(pair.after[:, layer] - pair.before[:, layer], level=level)
        if change.excludes_zero:
            before, after = (meta.average(own[:, layer]).value for own in (pair.before, pair.after))
            changed.append(f"{role} ({before:.2f} to {after:.2f}, by [{change.low:+.2f}, {change.high:+.2f}])")
            names.append(name_estimate(facts, f"{role}.cka.meta_baseline.by_adaptation"))
    where = f"On {describe_tasks(facts)}"
    if changed:
        sentence = (
            f"{where}, adaptation changes how much alike meta and baseline see the same queries in "
            f"{', '.join(changed)}; what differs elsewhere is there before it (CKA; simultaneous over layers)."
        )
    else:
        sentence = (
            f"{where}, how much alike meta and baseline see the same queries is there before adaptation (CKA "
            f"{min(means):.2f} to {max(means):.2f} over layers), and in no layer does adaptation surely change it."
        )
        names = [name_estimate(facts, f"{role}.cka.meta_baseline.before") for role in pair.roles]
    return Finding(sentence=sentence, importance=0.4, estimates=tuple(names))


def _describe_change(facts: AdaptationFacts) -> Finding | None:
    """In which layer activations change most, beside what the same steps do to untrained networks."""
    parts: list[str] = []
    names: list[str] = []
    for subject in facts.trained:
        means = np.array([subject.average(own).value for own in subject.cka[:, :-1].T])
        if not len(means) or not np.isfinite(means).any():
            continue
        layer = int(np.nanargmin(means))
        role, cka = subject.roles[layer], subject.average(subject.cka[:, layer], most=1.0)
        weights = subject.average(subject.weight_change[:, layer])
        band = facts.band(subject, lambda own, layer=layer: own.cka[:, layer])
        beside = "" if band is None else f", untrained {float(band[0]):.3f} to {float(band[1]):.3f}"
        parts.append(
            f"{subject.name} {role}, CKA {cka.value:.3f} [{cka.low:.3f}, {cka.high:.3f}]{beside}, its weights moved by "
            f"{weights.value:.2%}"
        )
        names.append(name_estimate(facts, f"{role}.cka.{subject.name}"))
    if not parts:
        return None
    sentence = (
        f"Below the head, {facts.settings.layer_steps} steps change activations most in: {'; '.join(parts)} "
        f"(CKA of the same queries of {describe_tasks(facts)} before and after; 1 is no change)."
    )
    return Finding(sentence=sentence, importance=0.35, estimates=tuple(names))


def _describe_coherence(facts: AdaptationFacts) -> Iterator[Finding]:
    """Whether episodes share a direction beyond shuffled labels; within and between tasks where there are several."""
    parts: list[str] = []
    names: list[str] = []
    beyond = False
    for subject in facts.trained:
        key = subject.name.replace(" ", "_")
        compared = facts.compare_tasks(subject)
        if compared is None:
            given = {"": subject.path_coherence[-1]}
            names.append(name_estimate(facts, f"coherence.path.{key}"))
        else:
            given = dict(zip((" of one task", " of different tasks"), compared))
            names.extend(f"coherence.{which}_tasks.{key}" for which in ("within", "between"))
        for words, own in given.items():
            if math.isnan(own.value):  # adaptation diverges
                continue
            parts.append(
                f"{subject.name}{words} {own.value:.2f} (beyond shuffled labels {own.beyond:+.2f} "
                f"[{own.low:+.2f}, {own.high:+.2f}])"
            )
            beyond |= own.low > 0
    if not parts:
        return
    controls = [subject.path_coherence[-1].beyond for subject in facts.subjects if subject.is_control]
    controls = [beyond_null for beyond_null in controls if not math.isnan(beyond_null)]
    beside = f"; untrained, beyond shuffled labels, {min(controls):+.2f} to {max(controls):+.2f}" if controls else ""
    sentence = f"Mean cosine of the paths of different episodes: {'; '.join(parts)}{beside}."
    yield Finding(sentence=sentence, importance=0.3, estimates=tuple(names), beyond_control=beyond)
