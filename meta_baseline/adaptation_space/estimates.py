"""Every number of the adaptation analysis that may be cited, beside its untrained controls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.adaptation_space.coherence import Coherence
from meta_baseline.adaptation_space.facts import AdaptationFacts, Measure, average_episodes
from meta_baseline.adaptation_space.sharpness import RADIUS
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.results import Estimate

_OVER = "Student's interval over episodes of the same tasks"


def list_estimates(facts: AdaptationFacts) -> tuple[Estimate, ...]:
    """Of every network, then meta against baseline; all descriptive: they speak of these networks on more episodes.

    Numbers about tasks held out are named ``held_out. ...``; coherence within and between tasks is of all episodes.
    """
    return tuple(estimate for estimate in _estimates(facts) if estimate.n > 0)


def _estimates(facts: AdaptationFacts) -> Iterator[Estimate]:
    """Those of what was not measured in untrained networks rest on no episode."""
    for part in facts.parts:
        for subject in part.subjects:
            yield from _describe_subject(part, subject)
        yield from _describe_difference(part)
        yield from _describe_resemblance(part)
    for subject in facts.subjects:
        yield from _describe_tasks(facts, subject)


def name_estimate(facts: AdaptationFacts, name: str) -> str:
    """The name of a number about these episodes."""
    return f"held_out.{name}" if facts.is_held_out else name


def _describe_subject(facts: AdaptationFacts, subject: SubjectRecord) -> Iterator[Estimate]:
    settings, key = facts.settings, subject.name.replace(" ", "_")
    after = f"after {settings.layer_steps} steps"

    def estimate(name: str, label: str, measure: Measure, unit: str) -> Estimate:
        beside = None if subject.is_control else facts.band(subject, measure)
        values = measure(subject)
        return _estimate(facts, f"{name}.{key}", f"{label}, {subject.name}", subject, values, unit, beside)

    for z, size in enumerate(settings.support_sizes):
        for k, steps in enumerate(settings.steps):
            if steps or size == settings.num_support:
                yield estimate(
                    f"accuracy.support_{size}.steps_{steps}",
                    f"accuracy after {steps} steps on {size} supports",
                    lambda own, z=z, k=k: own.accuracy[:, z, k],
                    "accuracy",
                )
    yield estimate("gain.all", f"gain of adapting everything {after}", lambda own: own.gain, "accuracy")
    yield estimate(
        "gain.below_head", "what all layers below the head add to it", lambda own: own.below_head, "accuracy"
    )
    yield estimate(
        "accuracy.refitted",
        "accuracy without a step, batch norm refitted on the support's images",
        lambda own: own.refitted,
        "accuracy",
    )
    for number, factor in enumerate(settings.rate_factors):
        yield estimate(
            f"gain.rate_{factor * settings.learning_rate:g}",
            f"gain of adapting everything {after} at {factor:g} times the rate",
            lambda own, number=number: own.other_rates[:, number] - own.nothing,
            "accuracy",
        )
    for name, label in (("before", "before adaptation"), ("after", after)):
        yield estimate(
            f"without_head.{name}",
            f"accuracy without a head (cosine similarity to supports), {label}",
            lambda own, name=name: getattr(own, f"without_head_{name}"),
            "accuracy",
        )
        yield estimate(
            f"sharpness.{name}",
            f"steepest rise of the query loss within {RADIUS:.0%} of the parameters' length, {label}",
            lambda own, name=name: getattr(own, f"sharpness_{name}"),
            "nats",
        )
    measures = (
        ("added", "accuracy that adapting it adds to adapting all after it", "accuracy"),
        ("weight_change", "relative change of its parameters", ""),
        ("cka", "debiased CKA of activations before and after", ""),
        ("procrustes", "Procrustes angle of activations before and after", "radians"),
        ("centroid_before", "accuracy by nearest class mean before adaptation", "accuracy"),
        ("centroid_after", "accuracy by nearest class mean after adaptation", "accuracy"),
    )
    for layer, role in enumerate(subject.roles):
        for measure, label, unit in measures:
            yield estimate(
                f"{role}.{measure}",
                f"{role}: {label}",
                lambda own, measure=measure, layer=layer: getattr(own, measure)[:, layer],
                unit,
            )
    for what, coherences in (("path", subject.path_coherence), ("gradient", subject.gradient_coherence)):
        name, label = f"coherence.{what}.{key}", f"mean cosine of {what}s of different episodes"
        yield _estimate_coherence(facts, name, label, subject, coherences[-1])


def _describe_tasks(facts: AdaptationFacts, subject: SubjectRecord) -> Iterator[Estimate]:
    compared = facts.compare_tasks(subject)
    key = subject.name.replace(" ", "_")
    for which, words, coherence in zip(("within", "between"), ("one task", "different tasks"), compared or ()):
        name, label = f"coherence.{which}_tasks.{key}", f"mean cosine of paths of episodes of {words}"
        yield _estimate_coherence(facts, name, label, subject, coherence)


def _estimate_coherence(
    facts: AdaptationFacts, name: str, label: str, subject: SubjectRecord, coherence: Coherence
) -> Estimate:
    return Estimate(
        name=name if "_tasks." in name else name_estimate(facts, name),
        label=f"{label} beyond shuffled labels, {subject.name}",
        value=coherence.beyond,
        low=coherence.low,
        high=coherence.high,
        interval="jackknife over episodes",
        reference=0.0,
        reference_label=f"shuffled labels (their own mean cosine is {coherence.null:.3f})",
        n=int(np.isfinite(np.diagonal(subject.paths[-1] + subject.shuffled_paths[-1])).sum()),
        n_unit="episodes",
    )


def _describe_difference(facts: AdaptationFacts) -> Iterator[Estimate]:
    meta, baseline = facts.find("meta"), facts.find("baseline")
    if meta is None or baseline is None:
        return
    differences = meta.accuracy[:, -1] - baseline.accuracy[:, -1]
    for k, steps in enumerate(facts.settings.steps):
        label = f"accuracy, meta minus baseline, after {steps} steps"
        yield _estimate(facts, f"difference.steps_{steps}", label, meta, differences[:, k], "accuracy", None)
    last = facts.settings.steps.index(facts.settings.layer_steps)
    yield _estimate(
        facts,
        "difference.by_adaptation",
        f"what {facts.settings.layer_steps} steps add to the difference meta minus baseline",
        meta,
        differences[:, last] - differences[:, 0],
        "accuracy",
        None,
    )


def _describe_resemblance(facts: AdaptationFacts) -> Iterator[Estimate]:
    """Meta and baseline, layer by layer: alike before adaptation, after it, and what it changes."""
    pair, meta = facts.resemblance, facts.find("meta")
    if pair is None or meta is None:
        return
    for layer, role in enumerate(pair.roles):
        for which, words, measure in (
            ("before", "before adaptation", lambda own: own.before),
            ("after", "after adaptation", lambda own: own.after),
            ("by_adaptation", "what adaptation adds to it", lambda own: own.after - own.before),
        ):
            others = [float(average_episodes(measure(own)[:, layer])) for own in facts.untrained_resemblances]
            yield _estimate(
                facts,
                f"{role}.cka.meta_baseline.{which}",
                f"{role}: debiased CKA of meta and baseline on the same queries, {words}",
                meta,
                measure(pair)[:, layer],
                "",
                (np.array(min(others)), np.array(max(others))) if others else None,
            )


def _estimate(
    facts: AdaptationFacts,
    name: str,
    label: str,
    subject: SubjectRecord,
    values: Float[ndarray, " E"],
    unit: str,
    beside: tuple[ndarray, ndarray] | None,
) -> Estimate:
    mean = subject.average(values, most=1.0 if unit == "accuracy" or ".cka." in name else math.inf)
    known = int(np.isfinite(values).sum())
    where = ", tasks held out" if facts.is_held_out else ""
    reference, label_of_it = None, ""
    if beside is not None and np.isfinite(beside[0]):
        low, high = (float(end) for end in beside)
        reference, label_of_it = (low + high) / 2, f"middle of the untrained networks' means, {low:.3g} to {high:.3g}"
    return Estimate(
        name=name_estimate(facts, name),
        label=f"{label}{where}",
        value=mean.value,
        unit=unit,
        low=mean.low if known > 1 else None,
        high=mean.high if known > 1 else None,
        interval=_OVER if known > 1 else "",
        reference=reference,
        reference_label=label_of_it,
        n=known,
        n_unit="episodes",
    )
