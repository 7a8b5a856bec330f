"""What limits the conclusions of an activation analysis, each in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator

from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.results import Check

WIDE_INTERVAL = 0.1
FEWEST_GROUPS = 20
MANY_DEAD = 0.5


def list_checks(facts: RepresentationFacts) -> tuple[Check, ...]:
    """Codes ``activations.*``; the pairing of layers has checks of its own."""
    return tuple(_checks(facts))


def _checks(facts: RepresentationFacts) -> Iterator[Check]:
    yield Check(
        code="activations.one_pair",
        verdict="note",
        sentence="One network per condition: intervals are over images, and no population claim follows from one pair.",
    )
    yield _images(facts)
    yield from _groups(facts)
    yield from _controls(facts)
    yield from _silent_layers(facts)
    yield from _pixels(facts)
    yield from _hook_points(facts)
    yield from _passes(facts)


def _images(facts: RepresentationFacts) -> Check:
    widths = {m.role: (m.cka_high - m.cka_low) / 2 for m in facts.matched if math.isfinite(m.cka_high - m.cka_low)}
    n = facts.num_images_similarity
    if not widths:
        sentence = f"No interval of CKA could be made over {n} images. Use more images."
        return Check(code="activations.images", verdict="warn", sentence=sentence)
    widest = max(widths, key=lambda role: widths[role])
    found = f"With {n} images the widest interval of CKA is ±{widths[widest]:.3f} ({widest})"
    if widths[widest] <= WIDE_INTERVAL:
        return Check(code="activations.images", verdict="pass", sentence=f"{found}.")
    needed = math.ceil(n * (widths[widest] / WIDE_INTERVAL) ** 2 / 100) * 100
    sentence = f"{found}; about {needed} images would bring it under ±{WIDE_INTERVAL}."
    return Check(code="activations.images", verdict="warn", sentence=sentence)


def _groups(facts: RepresentationFacts) -> Iterator[Check]:
    if facts.num_groups < FEWEST_GROUPS:
        sentence = (
            f"The images show only {facts.num_groups} shape identities, too few to leave out as a whole: intervals are "
            "over images, and nothing is claimed about other shapes."
        )
        yield Check(code="activations.groups", verdict="warn", sentence=sentence)
    elif facts.num_groups < facts.num_images:
        sentence = f"Intervals of CKA and folds of d' leave out whole shape identities ({facts.num_groups})."
        yield Check(code="activations.groups", verdict="pass", sentence=sentence)


def _controls(facts: RepresentationFacts) -> Iterator[Check]:
    pairs = max((len(layer.controls) for layer in facts.matched), default=0)
    if pairs == 0:
        sentence = "One untrained network makes no pair: CKA stands without its control. Ask for three."
        yield Check(code="activations.untrained", verdict="fail", sentence=sentence)
    elif not any(math.isfinite(layer.band("cka")[0]) for layer in facts.matched):
        sentence = "Fewer than three untrained networks: their spread is unknown, and nothing is judged against it."
        yield Check(code="activations.untrained", verdict="warn", sentence=sentence)
    else:
        sentence = f"CKA is judged against a band predicted from {pairs} pairs of untrained networks."
        yield Check(code="activations.untrained", verdict="pass", sentence=sentence)
    if facts.shared_initial:
        sentence = (
            "Both networks started from the same weights, the untrained pairs did not: part of the agreement above the "
            "control may be what the common start left; see the agreement with step 0 in the table."
        )
        yield Check(code="activations.shared_start", verdict="note", sentence=sentence)


def _silent_layers(facts: RepresentationFacts) -> Iterator[Check]:
    own = [s for s in facts.statistics if s.network in ("meta", "baseline")]
    if constant := [f"{s.role} of {s.network}" for s in own if s.num_constant == s.num_channels]:
        sentence = f"Nothing changes from image to image in {', '.join(constant)}: similarity is undefined there."
        yield Check(code="activations.constant_layers", verdict="fail", sentence=sentence)
    dead = [s for s in own if s.num_constant < s.num_channels and s.num_dead > MANY_DEAD * s.num_channels]
    if dead:
        where = ", ".join(f"{s.role} of {s.network} ({s.num_dead} of {s.num_channels})" for s in dead)
        sentence = f"More than half of the channels are dead on these images in {where}."
        yield Check(code="activations.dead_channels", verdict="warn", sentence=sentence)
    elif not constant:
        sentence = "In no layer are more than half of the channels dead."
        yield Check(code="activations.dead_channels", verdict="pass", sentence=sentence)


def _pixels(facts: RepresentationFacts) -> Iterator[Check]:
    explained = [m.role for m in facts.matched if m.cka > 0.1 and m.partial_cka < m.cka / 2]
    if explained:
        sentence = (
            f"More than half of the CKA in {', '.join(explained)} goes when pixel similarity is taken out: there it "
            "says little more than that both networks saw the same images."
        )
        yield Check(code="activations.pixels", verdict="warn", sentence=sentence)
    elif facts.matched:
        sentence = "In no layer does pixel similarity explain more than half of the CKA."
        yield Check(code="activations.pixels", verdict="pass", sentence=sentence)


def _hook_points(facts: RepresentationFacts) -> Iterator[Check]:
    if facts.recorded_before_non_linearity:
        roles = ", ".join(facts.recorded_before_non_linearity)
        sentence = (
            f"In {roles} the non-linearity is a function call and cannot be hooked: values before it were recorded, so "
            "shares of zeros and dead channels say nothing there."
        )
        yield Check(code="activations.hook_points", verdict="warn", sentence=sentence)


def _passes(facts: RepresentationFacts) -> Iterator[Check]:
    by_notes: dict[tuple[str, ...], list[str]] = {}
    for network, notes in facts.notes:
        by_notes.setdefault(notes, []).append(network)
    for number, (notes, networks) in enumerate(by_notes.items(), start=1):
        names = ", ".join(networks)
        sentence = f"{names[0].upper()}{names[1:]}: {' '.join(notes)}"
        code = "activations.pass" if len(by_notes) == 1 else f"activations.pass_{number}"
        yield Check(code=code, verdict="note", sentence=sentence)
