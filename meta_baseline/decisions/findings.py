"""The comparison of decisions in estimates, checks and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from meta_baseline.decisions.facts import DecisionFacts
from meta_baseline.decisions.sensitivity import Slope
from meta_baseline.results import Check, Estimate, Finding

_OWN = ("meta", "baseline", "meta - baseline")
_UNITS = {"margin": "sd of margin per sd of latent", "accuracy": "accuracy per sd of latent"}
_WORTH_SAYING = 0.01
"""Points of accuracy per sd of a latent, over which a difference is worth a finding."""


def list_estimates(facts: DecisionFacts) -> Iterator[Estimate]:
    """Agreement and kappas of meta and baseline, and every slope of the two and of their difference."""
    pair = facts.agreements[0]
    over = f"jackknife over {facts.over}"
    for name, label, value, low, high, reference, reference_label in (
        (
            "agreement",
            "share of images with the same answer",
            pair.agreement,
            pair.agreement_low,
            pair.agreement_high,
            pair.by_accuracy,
            "networks of these accuracies that err independently",
        ),
        (
            "kappa",
            "Cohen's kappa of the answers",
            pair.kappa,
            pair.kappa_low,
            pair.kappa_high,
            0.0,
            "networks that answer class 1 as often, independently",
        ),
        (
            "error_consistency",
            "error consistency (kappa of right and wrong)",
            pair.errors,
            pair.errors_low,
            pair.errors_high,
            0.0,
            "networks of these accuracies that err independently",
        ),
    ):
        has_interval = math.isfinite(low)
        yield Estimate(
            name=f"decisions.{name}",
            label=f"{label}, meta and baseline",
            value=value,
            unit="share of images" if name == "agreement" else "",
            low=low if has_interval else None,
            high=high if has_interval else None,
            interval=over if has_interval else "",
            reference=reference,
            reference_label=reference_label,
            n=facts.num_images,
            n_unit="images",
        )
    for slope in facts.slopes:
        if slope.network in _OWN:
            yield _slope_estimate(facts, slope)


def list_checks(facts: DecisionFacts) -> Iterator[Check]:
    """Why there are no maps, where there are none."""
    if facts.no_attribution:
        yield Check(code="behaviour.occlusion", verdict="note", sentence=facts.no_attribution)


def list_findings(facts: DecisionFacts) -> Iterator[Finding]:
    """Whether the two err on the same images, and which latent they are unequally sensitive to."""
    yield _agreement_finding(facts)
    if facts.slopes:
        yield _sensitivity_finding(facts)


def _slope_estimate(facts: DecisionFacts, slope: Slope) -> Estimate:
    has_interval = math.isfinite(slope.high)
    return Estimate(
        name=f"sensitivity.{slope.measure}.{slope.latent}.{slope.network.replace(' - ', '_minus_')}",
        label=f"slope of {slope.measure} over {slope.latent} inside the classes, {slope.network}",
        value=slope.slope,
        unit=_UNITS[slope.measure],
        low=slope.low if has_interval else None,
        high=slope.high if has_interval else None,
        interval=f"cluster-robust interval over {facts.over}" if has_interval else "",
        reference=math.copysign(slope.chance, slope.slope),
        reference_label="bound that any latent exceeds in 5 % of shuffles inside the classes",
        n=facts.num_images,
        n_unit="images",
    )


def _agreement_finding(facts: DecisionFacts) -> Finding:
    pair = facts.agreements[0]
    apart = facts.num_only_meta + facts.num_only_baseline
    known = math.isfinite(pair.agreement_low)
    bounds = f" [{pair.agreement_low:.1%}, {pair.agreement_high:.1%}]" if known else ""
    sentence = (
        f"The two networks give the same answer on {pair.agreement:.1%} of the images{bounds}, where networks of their "
        "accuracies that err "
        f"independently agree on {pair.by_accuracy:.1%}; of {apart} images on which they differ, meta is right on "
        f"{facts.num_only_meta} and baseline on {facts.num_only_baseline}"
    )
    estimates = ("decisions.agreement", "decisions.kappa", "decisions.error_consistency")
    if not math.isfinite(pair.errors) or not math.isfinite(pair.errors_null_low):
        return Finding(sentence=f"{sentence}.", importance=0.3, estimates=estimates)
    outside = not pair.errors_null_low <= pair.errors <= pair.errors_null_high
    words = "err on the same images" if pair.errors > 0 else "avoid each other's errors"
    verdict = f"they {words} beyond chance" if outside else "that is no more than chance"
    interval = f" [{pair.errors_low:.2f}, {pair.errors_high:.2f}]" if math.isfinite(pair.errors_low) else ""
    sentence += (
        f". Error consistency is {pair.errors:.2f}{interval} (by chance {pair.errors_null_low:.2f} to "
        f"{pair.errors_null_high:.2f}): {verdict}."
    )
    return Finding(sentence=sentence, importance=0.5, estimates=estimates, beyond_control=outside)


def _sensitivity_finding(facts: DecisionFacts) -> Finding:
    """The largest difference in how accuracy changes with a latent; judged by the maximum over latents."""
    own = [s for s in facts.slopes if s.network == "meta - baseline" and s.measure == "accuracy"]
    largest = max(own, key=lambda s: abs(s.slope) / s.chance if s.chance > 0 else 0.0)
    meta, baseline = (facts.slope(network, "accuracy", largest.latent) for network in ("meta", "baseline"))
    names = tuple(f"sensitivity.accuracy.{largest.latent}.{n}" for n in ("meta", "baseline", "meta_minus_baseline"))
    numbers = (
        f"meta {_points(meta)}, baseline {_points(baseline)}, difference {_points(largest)}; "
        f"95 % intervals over {facts.over}"
    )
    if largest.beyond_chance and abs(largest.slope) >= _WORTH_SAYING:
        sentence = (
            f"The accuracies of the two networks change unequally with {largest.latent} (points per sd inside the "
            f"classes: {numbers}); by chance any of {len(own)} latents exceeds its bound, here "
            f"{100 * largest.chance:.1f}, in 5 % of the cases."
        )
        return Finding(sentence=sentence, importance=0.55, estimates=names, beyond_control=True)
    sentence = (
        f"With none of {len(own)} latents do the accuracies of the two networks change unequally beyond chance; the "
        f"largest difference is with {largest.latent} (points per sd inside the classes: {numbers}; bound by "
        f"chance {100 * largest.chance:.1f})."
    )
    return Finding(sentence=sentence, importance=0.3, estimates=names, beyond_control=False)


def _points(slope: Slope) -> str:
    return f"{100 * slope.slope:+.1f} [{100 * slope.low:+.1f}, {100 * slope.high:+.1f}]"
