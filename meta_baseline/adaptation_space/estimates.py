"""Every number of the adaptation analysis that may be cited, beside its untrained control."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.adaptation_space.contrasts import average
from meta_baseline.adaptation_space.facts import AdaptationFacts
from meta_baseline.adaptation_space.sharpness import RADIUS
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.results import Estimate

_OVER = "Student's interval over episodes"


def list_estimates(facts: AdaptationFacts) -> tuple[Estimate, ...]:
    """Of every network, then meta against baseline; all descriptive: they speak of these networks on more episodes."""
    return (
        *(estimate for subject in facts.subjects for estimate in _describe_subject(facts, subject)),
        *_describe_difference(facts),
    )


def _describe_subject(facts: AdaptationFacts, subject: SubjectRecord) -> Iterator[Estimate]:
    control = facts.control_of(subject)
    control = None if control is subject or control is None or control.roles != subject.roles else control
    settings, key = facts.settings, subject.name.replace(" ", "_")
    after = f"after {settings.layer_steps} steps"

    def estimate(
        name: str, label: str, values: Float[ndarray, " E"], unit: str, beside: Float[ndarray, " E"] | None
    ) -> Estimate:
        return _estimate(facts, f"{name}.{key}", f"{label}, {subject.name}", values, unit, beside)

    for z, size in enumerate(settings.support_sizes):
        for k, steps in enumerate(settings.steps):
            if steps or size == settings.num_support:
                yield estimate(
                    f"accuracy.support_{size}.steps_{steps}",
                    f"accuracy after {steps} steps on {size} supports",
                    subject.accuracy[:, z, k],
                    "accuracy",
                    None if control is None else control.accuracy[:, z, k],
                )
    yield estimate(
        "gain.all",
        f"gain of adapting everything {after}",
        subject.gain,
        "accuracy",
        None if control is None else control.gain,
    )
    below = subject.ladder[:, 0] - subject.ladder[:, -1]
    of_control = None if control is None else control.ladder[:, 0] - control.ladder[:, -1]
    yield estimate("gain.below_head", "what all layers below the head add to it", below, "accuracy", of_control)
    yield estimate(
        "accuracy.refitted",
        "accuracy without a step, batch norm refitted on the support's images",
        subject.refitted,
        "accuracy",
        None if control is None else control.refitted,
    )
    for number, factor in enumerate(settings.rate_factors):
        yield estimate(
            f"gain.rate_{factor * settings.learning_rate:g}",
            f"gain of adapting everything {after} at {factor:g} times the rate",
            subject.other_rates[:, number] - subject.nothing,
            "accuracy",
            None if control is None else control.other_rates[:, number] - control.nothing,
        )
    for name, label in (("before", "before adaptation"), ("after", after)):
        attribute = f"without_head_{name}"
        yield estimate(
            f"without_head.{name}",
            f"accuracy without a head (cosine similarity to supports), {label}",
            getattr(subject, attribute),
            "accuracy",
            None if control is None else getattr(control, attribute),
        )
        attribute = f"sharpness_{name}"
        yield estimate(
            f"sharpness.{name}",
            f"steepest rise of the query loss within {RADIUS:.0%} of the parameters' length, {label}",
            getattr(subject, attribute),
            "nats",
            None if control is None else getattr(control, attribute),
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
            beside = None if control is None else getattr(control, measure)[:, layer]
            yield estimate(f"{role}.{measure}", f"{role}: {label}", getattr(subject, measure)[:, layer], unit, beside)
    for what, coherences in (("path", subject.path_coherence), ("gradient", subject.gradient_coherence)):
        whole = coherences[-1]
        yield Estimate(
            name=f"coherence.{what}.{key}",
            label=f"mean cosine of {what}s of different episodes beyond shuffled labels, {subject.name}",
            value=whole.beyond,
            low=whole.low,
            high=whole.high,
            interval="jackknife over episodes",
            reference=0.0,
            reference_label=f"shuffled labels (their own mean cosine is {whole.null:.3f})",
            n=facts.num_episodes,
            n_unit="episodes",
        )


def _describe_difference(facts: AdaptationFacts) -> Iterator[Estimate]:
    meta, baseline = facts.find("meta"), facts.find("baseline")
    if meta is None or baseline is None:
        return
    differences = meta.accuracy[:, -1] - baseline.accuracy[:, -1]
    for k, steps in enumerate(facts.settings.steps):
        label = f"accuracy, meta minus baseline, after {steps} steps"
        yield _estimate(facts, f"difference.steps_{steps}", label, differences[:, k], "accuracy", None)
    last = facts.settings.steps.index(facts.settings.layer_steps)
    yield _estimate(
        facts,
        "difference.by_adaptation",
        f"what {facts.settings.layer_steps} steps add to the difference meta minus baseline",
        differences[:, last] - differences[:, 0],
        "accuracy",
        None,
    )


def _estimate(
    facts: AdaptationFacts,
    name: str,
    label: str,
    values: Float[ndarray, " E"],
    unit: str,
    beside: Float[ndarray, " E"] | None,
) -> Estimate:
    mean = average(values, most=1.0 if unit == "accuracy" or ".cka." in name else math.inf)
    known = int(np.isfinite(values).sum())
    return Estimate(
        name=name,
        label=label,
        value=mean.value,
        unit=unit,
        low=mean.low if known > 1 else None,
        high=mean.high if known > 1 else None,
        interval=_OVER if known > 1 else "",
        reference=None if beside is None else average(beside).value,
        reference_label="" if beside is None else "untrained network of the same architecture, same episodes",
        n=known,
        n_unit="episodes",
    )
