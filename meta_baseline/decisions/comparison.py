"""Two networks' decisions on the same images, measured in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import nn

from meta_baseline.activations import Stores
from meta_baseline.activations.untrained import iterate_untrained, read_calibration_images
from meta_baseline.datasets import Stimuli
from meta_baseline.decisions.agreement import compare_answers
from meta_baseline.decisions.attribution import depends_on_its_batch
from meta_baseline.decisions.facts import DecisionFacts, TaskConfusion
from meta_baseline.decisions.sensitivity import measure_slopes, trace_curves
from meta_baseline.decisions.stimuli import (
    NUM_SHOWN,
    AttributedStimulus,
    attribute_stimuli,
    choose_disagreements,
    choose_examples,
    show_stimuli,
)
from meta_baseline.models import DecisionRule
from meta_baseline.representations.planes import choose_latents

NUM_CURVES = 6
_TASK_LATENTS = ("task", "problem")
_MAX_TASKS = 50


@dataclass(frozen=True, kw_only=True)
class Deciders:
    """The networks themselves, for what cannot be read from a store: which part of a stimulus a decision rests on.

    Attributes:
        meta, baseline: moved to ``device``.
        meta_initial: step 0 of the meta network, None where unknown; the control is it, or a fresh initialisation.
        stimuli: the images of the stores.
        device: where the networks run.
    """

    meta: nn.Module
    baseline: nn.Module
    meta_initial: nn.Module | None
    stimuli: Stimuli
    device: str | torch.device = "cpu"


def compare_decisions(
    stores: Stores, rules: Mapping[str, DecisionRule], deciders: Deciders | None, rng: np.random.Generator
) -> DecisionFacts:
    """Agreement, confusions, sensitivities and what is shown of meta and baseline.

    Args:
        stores: margins, labels, groups and latents.
        rules: how logits become answers, by network.
        deciders: the networks and images; without them no stimulus is shown.
        rng: shuffles, deals parts, and draws an untrained network where step 0 is unknown.
    """
    labels, groups = stores.meta.labels, stores.meta.groups
    margins = {store.network: store.margin.astype(np.float64) for store in stores.networks}
    meta, baseline = margins["meta"], margins["baseline"]
    own = [store.network for store in stores.untrained]
    pairs = [("meta", "baseline"), *((a, b) for i, a in enumerate(own) for b in own[i + 1 :])]
    latents = {
        name: stores.meta.latents[name].to_numpy(dtype=np.float64)
        for name in choose_latents(stores.meta.latents, labels)
    }
    slopes = measure_slopes(margins, labels, groups, latents, rng)
    sizes = {s.latent: 0.0 for s in slopes}
    for slope in slopes:
        if slope.network in ("meta", "baseline") and slope.measure == "accuracy":
            sizes[slope.latent] = max(sizes[slope.latent], abs(slope.slope) / max(slope.chance, 1e-12))
    steepest = sorted(sizes, key=lambda name: -sizes[name])[:NUM_CURVES]
    apart = {only: choose_disagreements(meta, baseline, labels, only=only) for only in ("meta", "baseline")}
    disagreements, attributed, reason = (), (), ""
    if deciders is not None:
        chosen = {int(row): f"only {only} right" for only, rows in apart.items() for row in rows[:NUM_SHOWN]}
        disagreements = show_stimuli(chosen, deciders.stimuli, meta, baseline)
        attributed, reason = _look_into(deciders, meta, baseline, labels, rules, rng)
    return DecisionFacts(
        agreements=tuple(compare_answers((a, margins[a]), (b, margins[b]), labels, groups, rng) for a, b in pairs),
        confusions=tuple(_confuse(stores)),
        slopes=slopes,
        curves=trace_curves(margins, labels, groups, latents, steepest),
        num_only_meta=len(apart["meta"]),
        num_only_baseline=len(apart["baseline"]),
        disagreements=disagreements,
        attributed=attributed,
        no_attribution=reason,
        num_images=len(labels),
        num_groups=len(np.unique(groups)),
    )


def _look_into(
    deciders: Deciders,
    meta: Float[ndarray, " N"],
    baseline: Float[ndarray, " N"],
    labels: Int[ndarray, " N"],
    rules: Mapping[str, DecisionRule],
    rng: np.random.Generator,
) -> tuple[tuple[AttributedStimulus, ...], str]:
    """Maps of a few stimuli in both networks and an untrained one; or none, and why."""
    if depends_on_its_batch(deciders.meta) or depends_on_its_batch(deciders.baseline):
        reason = (
            "No occlusion maps: batch norm without running statistics takes them from the batch, so that a single "
            "stimulus has no margin of its own."
        )
        return (), reason
    known = () if deciders.meta_initial is None else ((deciders.meta_initial, ""),)
    calibration = read_calibration_images(deciders.stimuli)
    (control,) = iterate_untrained(
        deciders.meta, known, num_networks=1, calibration=calibration, device=deciders.device, rng=rng
    )
    networks: dict[str, tuple[nn.Module, DecisionRule]] = {
        "meta": (deciders.meta.to(deciders.device), rules["meta"]),
        "baseline": (deciders.baseline.to(deciders.device), rules["baseline"]),
        "untrained": (control.model, rules["meta"]),
    }
    shown = show_stimuli(choose_examples(meta, baseline, labels), deciders.stimuli, meta, baseline)
    return attribute_stimuli(shown, deciders.stimuli, networks, deciders.device), ""


def _confuse(stores: Stores) -> Iterator[TaskConfusion]:
    """Confusions by task where the latents name several, over all images otherwise."""
    named = next((name for name in _TASK_LATENTS if name in stores.meta.latents), None)
    tasks = np.zeros(stores.meta.num_images) if named is None else stores.meta.latents[named].to_numpy()
    values = np.unique(tasks)
    if not 1 < len(values) <= _MAX_TASKS:
        tasks, values = np.zeros(len(tasks)), np.zeros(1)
    is_one = stores.meta.labels == 1
    for store in stores.networks:
        answers = store.margin > 0
        for value in values:
            inside = tasks == value
            yield TaskConfusion(
                network=store.network,
                task=f"{named} {value:g}" if len(values) > 1 else "all images",
                true_1=int((inside & answers & is_one).sum()),
                false_1=int((inside & answers & ~is_one).sum()),
                true_0=int((inside & ~answers & ~is_one).sum()),
                false_0=int((inside & ~answers & is_one).sum()),
            )
