"""What differs between two networks' weights, in a few sentences with their numbers and controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from meta_baseline.results import Finding
from meta_baseline.weight_space.connectivity import Connectivity
from meta_baseline.weight_space.facts import WeightFacts
from meta_baseline.weight_space.layer_statistics import STATISTICS
from meta_baseline.weight_space.relations import FEWEST_UNITS, pool_by_units
from meta_baseline.weight_space.yardstick import Yardstick

NETWORKS = ("meta", "baseline")

MANY_DEAD = 0.1
"""Share of dead units in a layer above which they are worth a finding."""


def list_findings(facts: WeightFacts) -> tuple[Finding, ...]:
    """The one to four sentences that matter most."""
    if facts.relation is not None and len(facts.equal_roles) == len(facts.relation.layers):
        sentence = "The two networks have equal weights in every layer that can be compared: is one file given twice?"
        return (Finding(sentence=sentence, importance=0.95, estimates=("network.cosine.unaligned",)),)
    return tuple(_findings(facts))


def _findings(facts: WeightFacts) -> Iterator[Finding]:
    if facts.relation is not None and np.isfinite(facts.relation.cosine_aligned):
        yield _likeness_finding(facts)
    if displaced := _displacement_finding(facts):
        yield displaced
    if facts.yardstick is not None:
        yield _difference_finding(facts, facts.yardstick)
    if dead := _dead_finding(facts):
        yield dead
    if facts.connectivity is not None:
        yield _connectivity_finding(facts.connectivity)


def _likeness_finding(facts: WeightFacts) -> Finding:
    assert facts.relation is not None
    layers, before, after = facts.relation.layers, facts.relation.cosine_unaligned, facts.relation.cosine_aligned
    control = [relation.cosine_aligned for relation in facts.controls]
    beyond = after > max(control) + 0.01
    rests_on = ("network.cosine.aligned", "network.cosine.unaligned")
    if facts.initial_shared:
        along = pool_by_units(
            [facts.num_units(role) for role in facts.displacement_cosines], list(facts.displacement_cosines.values())
        )
        sentence = (
            f"The two networks started from the same weights. In the order of units that they share, their weights "
            f"have cosine {_plain(before)} (at the start: 1); {after:.2f} once units are matched, where "
            f"{facts.relation.moved_fraction:.0%} of them change place, and matching two untrained networks gives "
            f"{_range(control)}. What training added agrees with cosine {_plain(along)} (unrelated directions: 0)."
        )
        return Finding(sentence=sentence, importance=0.4, estimates=rests_on, beyond_control=beyond)
    # A layer of one or two units can agree by chance.
    wide = [layer for layer in layers if layer.num_units >= FEWEST_UNITS] or layers
    leader = max(wide, key=lambda layer: layer.cosine_aligned - float(facts.control_cosines(layer.role).mean()))
    verdict = "more alike than" if beyond else "no more alike than"
    sentence = (
        f"Once units are matched, the weights of the two networks have cosine {after:.2f} over {len(layers)} layers "
        f"({_plain(before)} before); matching two untrained networks gives {_range(control)}. They are {verdict} "
        f"untrained networks"
    )
    if beyond:
        untrained = _range(facts.control_cosines(leader.role))
        sentence += f", most in {leader.role} ({leader.cosine_aligned:.2f}; untrained {untrained})"
    if facts.seed_relations:
        sentence += f"; two seeds of one condition have {_range([x.cosine_aligned for x in facts.seed_relations])}"
    importance = 0.7 if after > max(control) + 0.05 else 0.4
    return Finding(sentence=sentence + ".", importance=importance, estimates=rests_on, beyond_control=beyond)


def _displacement_finding(facts: WeightFacts) -> Finding | None:
    parts: list[str] = []
    rests_on: list[str] = []
    for network in NETWORKS:
        own = [layer for layer in facts.displacements if layer.network == network and np.isfinite(layer.displacement)]
        if not own:
            continue
        squares = [layer.displacement**2 for layer in own]
        total = pool_by_units([facts.num_units(layer.role, network) for layer in own], squares) ** 0.5
        most = max(own, key=lambda layer: layer.displacement)
        parts.append(f"the {network} network by {total:.2f} (most in {most.role}: {most.displacement:.2f})")
        rests_on += [f"{layer.role}.displacement.{network}" for layer in own]
    if not parts:
        return None
    sentence = (
        f"Relative to the norm of its initial weights, training moved {' and '.join(parts)}; an unrelated set of "
        "weights would be 1.41 away."
    )
    return Finding(sentence=sentence, importance=0.4, estimates=tuple(rests_on))


def _difference_finding(facts: WeightFacts, yardstick: Yardstick) -> Finding:
    """What may be said of one pair: whether its most different layer is beyond that of every yardstick pair."""
    role, statistic = yardstick.most_different, yardstick.leading_statistic
    pair = [facts.of(role, network) for network in NETWORKS]
    assert pair[0] is not None and pair[1] is not None, "judged layers were measured in both networks"
    names = tuple(f"{role}.{statistic}.{network}" for network in NETWORKS)
    label = next(item.label for item in STATISTICS if item.name == statistic)
    beside = f"{len(yardstick.controls)} {yardstick.source}"
    highest = float(yardstick.control_scores.max())
    measured = (
        f"difference {yardstick.scores.max():.2f}, in units of the mean over all pairs; {beside} reach {highest:.2f}"
    )
    if not yardstick.exceeded:
        sentence = f"In the statistics of their layers the two networks differ no more than {beside} do ({measured})."
        return Finding(sentence=sentence, importance=0.3, estimates=names, beyond_control=False)
    sentence = (
        f"In the statistics of their layers the two networks differ most in {role}: {label} "
        f"{pair[0].values[statistic]:.3g} (meta) and {pair[1].values[statistic]:.3g} (baseline). That is beyond all "
        f"{beside} ({measured}), which one more such pair would be once in {round(1 / yardstick.chance)} times"
    )
    if "untrained" in yardstick.source:
        sentence += "; whether it is more than two seeds of one condition differ needs further seeds"
    # Beyond untrained pairs is beyond no yardstick of training: that is described, not claimed.
    beyond = None if "untrained" in yardstick.source else True
    return Finding(sentence=sentence + ".", importance=0.35, estimates=names, beyond_control=beyond)


def _connectivity_finding(connectivity: Connectivity) -> Finding:
    stored, *matched = connectivity.paths
    last = matched[-1]
    sentence = (
        f"On the line between the two networks the loss rises by up to {stored.barrier:.2f} nats as stored, "
        + " and ".join(f"{path.barrier:.2f} {path.name}" for path in matched)
        + f" ({connectivity.num_images} images; the networks themselves are at {stored.losses[0]:.2f} and "
        f"{stored.losses[-1]:.2f})"
    )
    if connectivity.seed_paths:
        sentence += f"; two seeds of one condition have {_range([path.barrier for path in connectivity.seed_paths])}"
    names = tuple(f"network.barrier.{path.slug}" for path in (stored, last))
    return Finding(sentence=sentence + ".", importance=0.3, estimates=names)


def _dead_finding(facts: WeightFacts) -> Finding | None:
    dead = [layer for layer in facts.layers if layer.values["dead"] > MANY_DEAD]
    if not dead:
        return None
    parts = ", ".join(f"{layer.values['dead']:.0%} of {layer.role} ({layer.network})" for layer in dead[:4])
    untrained = max(float(layer.untrained["dead"].max()) for layer in dead)
    sentence = (
        f"Many units are dead, with weights or gain next to zero: {parts}; untrained layers have {untrained:.0%}."
    )
    names = tuple(f"{layer.role}.dead.{layer.network}" for layer in dead)
    beyond = all(layer.values["dead"] > layer.untrained["dead"].max() for layer in dead)
    return Finding(sentence=sentence, importance=0.6, estimates=names, beyond_control=beyond)


def _plain(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def _range(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    low, high = f"{np.nanmin(values):.{digits}f}", f"{np.nanmax(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"
