"""What limits the conclusions from two networks' weights, and what was made sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from meta_baseline.results import Check, Verdict
from meta_baseline.weight_space.facts import LayerWeights, WeightFacts
from meta_baseline.weight_space.inputs import NotCompared

LARGE_LOGIT_CHANGE = 1e-3
"""Relative; reordering the sums of a float32 network changes its logits by about 1e-6."""


def list_checks(facts: WeightFacts) -> tuple[Check, ...]:
    """What limits the conclusions, and what was made sure."""
    return tuple(check for check in _checks(facts))


def _checks(facts: WeightFacts) -> Iterator[Check]:
    yield _check("weights.one_pair", "note", "One pair of checkpoints is described: no population claim from one pair.")
    yield _check(
        "weights.scale",
        "pass",
        "Parameters only, running statistics are no weights. Filters before batch norm are compared at equal norm, "
        "other layers at equal norm as a whole; the norm in use has normalisation folded in.",
    )
    yield _rescaling_check(facts)
    yield _initial_check(facts)
    if facts.damaged:
        sentence = f"Layers with parameters that are not finite are left out: {_name_layers(facts.damaged)}."
        yield _check("weights.finite", "fail", sentence)
    else:
        yield _check("weights.finite", "pass", "All parameters of both networks are finite.")
    if facts.constant:
        parts = _name_layers(facts.constant)
        sentence = f"Layers without any spread of weights, whose shape statistics mean nothing: {parts}."
        yield _check("weights.constant", "warn", sentence)
    if single := [f"{x.role} ({x.network})" for x in facts.layers if x.shape[0] == 1 and x.role != "classifier"]:
        sentence = f"Layers of one unit, in which no two units can be compared or reordered: {', '.join(single)}."
        yield _check("weights.one_unit", "warn", sentence)
    if facts.bad_statistics:
        sentence = f"Batch norm that cannot be used as it is: {_name_layers(facts.bad_statistics)}."
        yield _check("weights.batch_norm", "fail", sentence)
    elif uncalibrated := [f"{x.role} ({x.network})" for x in facts.layers if np.isnan(x.values["norm"])]:
        sentence = f"Batch norm without statistics of images: no norm in use for {', '.join(uncalibrated)}."
        yield _check("weights.batch_norm", "note", sentence)
    if facts.relation is None:
        sentence = "No layer of the two networks can be compared weight by weight; their statistics can."
        yield _check("weights.matching", "warn", sentence)
        return
    yield _yardstick_check(facts)
    yield _connectivity_check(facts)
    yield _identity_check(facts)
    yield _matching_check(facts)
    yield _function_check(facts)


def _rescaling_check(facts: WeightFacts) -> Check:
    """How much the statistics depend on a symmetry that is not taken out."""
    words = "The rescaling that ReLU allows between a unit and its readers is not taken out: weights count as stored"
    tried = [layer for layer in facts.layers if layer.moved and np.isfinite(layer.values["stable_rank"])]
    if not tried:
        return _check("weights.rescaling", "note", f"{words}, and what it changes could not be tried.")
    rank = max(tried, key=lambda layer: abs(np.log(layer.moved["stable_rank"] / layer.values["stable_rank"])))
    parts = [_changed(rank, "stable rank", "stable_rank")]
    peaked = [layer for layer in tried if np.isfinite(layer.moved["kurtosis"] - layer.values["kurtosis"])]
    if peaked:
        tail = max(peaked, key=lambda layer: abs(layer.moved["kurtosis"] - layer.values["kurtosis"]))
        parts.append(_changed(tail, "excess kurtosis", "kurtosis"))
    sentence = f"{words}. With all sizes moved to the readers the most that changes is {', and '.join(parts)}."
    return _check("weights.rescaling", "note", sentence)


def _changed(layer: LayerWeights, words: str, name: str) -> str:
    was, now = layer.values[name], layer.moved[name]
    return f"the {words} of {layer.role} ({layer.network}), from {was:.3g} to {now:.3g}"


def _name_layers(items: Sequence[NotCompared]) -> str:
    return "; ".join(f"{item.role} of the {item.network} network ({item.reason})" for item in items)


def _initial_check(facts: WeightFacts) -> Check:
    unknown = [name for name, known in zip(("meta", "baseline"), facts.initial_known) if not known]
    if unknown:
        whose = "either network" if len(unknown) == 2 else f"the {unknown[0]} network"
        sentence = (
            f"Step 0 of {whose} is unknown: how far training moved it, and how much of a likeness or difference was "
            "there from the start, cannot be assessed. Fresh initialisations of this package's scheme (Kaiming, "
            "fan-in) are the control."
        )
        return _check("weights.initialisation", "warn", sentence)
    if facts.initial_shared:
        sentence = (
            "Both networks started from the same weights: units are expected to keep their order, and a likeness after "
            "matching is in part that of the common start."
        )
        return _check("weights.initialisation", "note", sentence)
    sentence = "Step 0 is known and differs: part of every difference was there before training."
    return _check("weights.initialisation", "note", sentence)


def _yardstick_check(facts: WeightFacts) -> Check:
    if facts.seed_relations:
        count = len(facts.seed_relations)
        sentence = f"Differences are judged beside {count} pair{'s' * (count > 1)} of seeds of one condition."
        if facts.initial_shared:
            sentence += (
                " The two networks share step 0 and the seeds of a condition do not, so the two may differ less than "
                "two seeds for that reason alone; that they differ no more is then no sign of likeness."
            )
        return _check("weights.yardstick", "pass", sentence)
    sentence = (
        "No second seed of either condition was given, so differences are judged beside untrained pairs only; two "
        "trained seeds of one condition are likely to differ more than these."
    )
    return _check("weights.yardstick", "note", sentence)


def _connectivity_check(facts: WeightFacts) -> Check:
    if facts.connectivity is None:
        sentence = f"The loss between the two networks was not measured: {facts.connectivity_reason}."
        return _check("weights.connectivity", "note", sentence)
    names = ", ".join(path.name for path in facts.connectivity.paths)
    sentence = f"The loss between the two networks was measured on {facts.connectivity.num_images} images ({names})."
    return _check("weights.connectivity", "pass", sentence)


def _identity_check(facts: WeightFacts) -> Check:
    assert facts.relation is not None
    layers = facts.relation.layers
    if len(facts.equal_roles) == len(layers):
        sentence = "Both networks have equal parameters in every comparable layer; the same file may be given twice."
        return _check("weights.identical", "fail", sentence)
    if all(layer.cosine_aligned > 1 - 1e-5 for layer in layers):
        sentence = "The networks are equal up to the order of their units and the size of their filters."
        return _check("weights.identical", "fail", sentence)
    if facts.equal_roles:
        sentence = f"Equal to the last bit in both networks, as if frozen or copied: {', '.join(facts.equal_roles)}."
        return _check("weights.identical", "warn", sentence)
    return _check("weights.identical", "pass", "The two networks differ in every comparable layer.")


def _matching_check(facts: WeightFacts) -> Check:
    assert facts.relation is not None
    alignment, moved = facts.relation.alignment, facts.relation.moved_fraction
    if not alignment.permutations:
        sentence = "No hidden layer can be reordered, so units were compared in the order in which they are stored."
        return _check("weights.matching", "note", sentence)
    first = facts.pairing.pairs[0].role
    if first not in {layer.role for layer in facts.relation.layers}:
        sentence = (
            f"Weights of {first} could not enter the matching, which then starts from no order: it may miss a likeness."
        )
        return _check("weights.matching", "warn", sentence)
    if not alignment.converged or not all(control.alignment.converged for control in facts.controls):
        sentence = f"Weight matching stopped after {alignment.num_sweeps} sweeps before it came to rest."
        return _check("weights.matching", "warn", sentence)
    sentence = f"Units of {', '.join(alignment.permutations)} were matched by their weights; {moved:.0%} changed place."
    return _check("weights.matching", "pass", sentence)


def _function_check(facts: WeightFacts) -> Check:
    change = facts.logit_change
    if np.isnan(change):
        sentence = "Whether reordering keeps the function could not be tried: no finite logits on inputs of known size."
        return _check("weights.function_kept", "warn", sentence)
    words = f"logits on random inputs change by at most {change:.0e} of the largest"
    if change > LARGE_LOGIT_CHANGE:
        sentence = f"Reordering units changes the baseline's function ({words}); matched numbers do not describe it."
        return _check("weights.function_kept", "fail", sentence)
    return _check("weights.function_kept", "pass", f"Reordering units keeps the baseline's function: {words}.")


def _check(code: str, verdict: Verdict, sentence: str) -> Check:
    return Check(code=code, verdict=verdict, sentence=sentence)
