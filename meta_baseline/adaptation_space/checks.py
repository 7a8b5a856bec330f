"""What limits what may be said of adaptation."""

from __future__ import annotations

from collections.abc import Iterator

from meta_baseline.adaptation_space.contrasts import describe_mean
from meta_baseline.adaptation_space.drawing import WANTED_EPISODES
from meta_baseline.adaptation_space.facts import FEWEST_CONTROLS, AdaptationFacts, describe_tasks
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.results import Check

REFIT_GAIN = 0.05
"""More than this gained by refitting batch norm says that its running statistics do not fit the images."""
CONSTANT_SHARE = 0.02
"""A network whose share of "same" lies outside [.02, .98] answers without looking."""


def list_checks(facts: AdaptationFacts) -> tuple[Check, ...]:
    """How networks were adapted, whether there were episodes enough, and networks that adaptation gains nothing."""
    return tuple(_checks(facts))


def _checks(facts: AdaptationFacts) -> Iterator[Check]:
    settings = facts.settings
    sizes = " or ".join(map(str, settings.support_sizes))
    counts = facts.num_queries
    queries = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    yield Check(
        code="adaptation.procedure",
        verdict="pass",
        sentence=f"All networks were adapted alike in the same episodes of one task each ({_count_episodes(facts)}): "
        f"{sizes} supports, {queries} other images as queries, both half same; "
        f"{max(settings.steps)} first-order steps of rate {settings.learning_rate:g} on the loss of each network's own "
        f"decision rule; batch norm with running statistics throughout. Layers are described after "
        f"{settings.layer_steps} steps on {settings.num_support} supports; untrained networks' layers are "
        f"frozen in {settings.control_episodes} of the episodes.",
    )
    for part in facts.parts:
        few, least = part.num_episodes < min(WANTED_EPISODES, settings.max_episodes), int(part.num_queries.min())
        if few or least < settings.num_queries:
            yield Check(
                code="adaptation.too_few_images",
                verdict="warn" if few else "note",
                sentence=f"The images of {describe_tasks(part)} make {part.num_episodes} episodes of {least} queries, "
                f"where {settings.max_episodes} of {settings.num_queries} were wanted: intervals are wide. Use "
                f"{settings.max_episodes * (settings.num_support + settings.num_queries)} images.",
            )
    if facts.repeats_identities:
        yield Check(
            code="adaptation.identities",
            verdict="note",
            sentence="Support and queries of an episode share no shape, but shapes come back in other episodes, so "
            "intervals over episodes speak of more images of these shapes.",
        )
    yield Check(
        code="adaptation.one_network_each",
        verdict="note",
        sentence="Intervals are over episodes of these networks; one network of each kind allows no claim about "
        "meta-learning in general.",
    )
    for subject in facts.trained:
        if (number := len(facts.controls_of(subject))) < FEWEST_CONTROLS:
            yield Check(
                code="adaptation.no_control",
                verdict="warn",
                sentence=f"{number or 'No'} untrained networks of the {subject.name} network's architecture were "
                f"adapted beside it, where {FEWEST_CONTROLS} are needed: what any network would gain is not known.",
            )
    for part in facts.parts:
        yield from _check_networks(part)
    for subject in facts.subjects:
        if subject.rates_learned:
            yield Check(
                code="adaptation.learned_rates",
                verdict="note",
                sentence=f"The {subject.name} network was adapted by inner rates or statistics that it learned.",
            )
    notes = [f"{subject.name}: {subject.note}" for subject in facts.subjects if subject.note]
    if notes:
        yield Check(code="adaptation.networks", verdict="pass", sentence=" ".join(notes))


def _check_networks(facts: AdaptationFacts) -> Iterator[Check]:
    """What limits what may be said of each network on the images of the study, or on tasks held out."""
    where = f"on {describe_tasks(facts)}"
    for subject in facts.subjects:
        share = float(subject.same_share[:, 0].mean())
        if not subject.is_control and not CONSTANT_SHARE <= share <= 1 - CONSTANT_SHARE:
            yield Check(
                code="adaptation.constant_predictor",
                verdict="warn",
                sentence=f"Before adaptation the {subject.name} network calls {share:.1%} of the queries same {where}: "
                "what adaptation gains may be no more than a better threshold.",
            )
        gain = subject.average(subject.gain)
        if gain.high < 0 and not subject.is_control:
            yield Check(
                code="adaptation.harms",
                verdict="warn",
                sentence=f"Adaptation takes {-100 * gain.value:.1f} points of accuracy from the {subject.name} network "
                f"[{-100 * gain.high:.1f}, {-100 * gain.low:.1f}] {where}: the rate or the number of "
                "steps may not suit it.",
            )
        yield from _check_rates(facts, subject, where)
        refit = subject.average(subject.refitted - subject.nothing)
        if refit.low > 0 and refit.value > REFIT_GAIN and not subject.is_control:
            yield Check(
                code="adaptation.normalisation",
                verdict="warn",
                sentence=f"Batch norm refitted on the support's images, without a step or a label, changes the "
                f"accuracy of the {subject.name} network {where} by {describe_mean(refit)}: its running "
                "statistics do not fit these images, and part of what adaptation gains may be no more than that.",
            )
        if subject.diverged.any():
            yield Check(
                code="adaptation.diverged",
                verdict="warn",
                sentence=f"Adaptation of the {subject.name} network diverges in {int(subject.diverged.sum())} of "
                f"{len(subject.diverged)} episodes {where}: rate {facts.settings.learning_rate:g} is too large for it. "
                "Its answers there count as given, its weights and activations are left out.",
            )


def _check_rates(facts: AdaptationFacts, subject: SubjectRecord, where: str) -> Iterator[Check]:
    """Whether another rate would surely have gained more; simultaneous over the rates that were tried."""
    if subject.is_control:
        return
    rate, factors = facts.settings.learning_rate, facts.settings.rate_factors
    for number, factor in enumerate(factors):
        more = subject.average(subject.other_rates[:, number] - subject.ladder[:, 0], level=1 - 0.05 / len(factors))
        if more.above_zero:
            gain = subject.average(subject.other_rates[:, number] - subject.nothing)
            yield Check(
                code="adaptation.rate",
                verdict="warn",
                sentence=f"At {factor:g} times the rate, adaptation changes the accuracy of the {subject.name} network "
                f"{where} by {describe_mean(gain)}, which is {describe_mean(more)} more than at rate {rate:g}: "
                "what is said of this network hangs on the rate.",
            )


def _count_episodes(facts: AdaptationFacts) -> str:
    return " and ".join(f"{part.num_episodes} of {describe_tasks(part)}" for part in facts.parts)
