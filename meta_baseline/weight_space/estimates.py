"""The numbers of the weight analysis, each with what it is judged against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.results import Estimate
from meta_baseline.weight_space.facts import LayerWeights, WeightFacts
from meta_baseline.weight_space.layer_statistics import STATISTICS, STORED_FORMS, Statistic
from meta_baseline.weight_space.relations import LayerDisplacement, LayerRelation


def list_estimates(facts: WeightFacts) -> tuple[Estimate, ...]:
    """Every number of the analysis; all of them are about these two checkpoints only."""
    estimates = [
        _statistic_estimate(layer, statistic)
        for layer in facts.layers
        for statistic in STATISTICS
        if np.isfinite(layer.values[statistic.name])
    ]
    estimates += [_tail_estimate(layer) for layer in facts.layers if not layer.tail.reason]
    estimates += _total_estimates(facts)
    if facts.relation is not None:
        for layer in facts.relation.layers:
            estimates += _relation_estimates(facts, layer)
        estimates += [estimate for estimate in _network_estimates(facts) if np.isfinite(estimate.value)]
    for displacement in facts.displacements:
        estimates += _displacement_estimates(displacement, facts)
    for role, cosine in facts.displacement_cosines.items():
        estimates.append(
            Estimate(
                name=f"{role}.displacement_cosine",
                label=f"{role}: cosine of the two networks' displacements, perpendicular to their common step 0",
                value=cosine,
                reference=0.0,
                reference_label="unrelated directions",
                n=facts.num_weights(role),
                n_unit="weights",
            )
        )
    return tuple(estimates)


def _statistic_estimate(layer: LayerWeights, statistic: Statistic) -> Estimate:
    untrained = layer.untrained[statistic.name]
    reference, words = layer.initial.get(statistic.name, float("nan")), "own step 0"
    if not np.isfinite(reference):
        reference, words = float(untrained.mean()), f"mean of {len(untrained)} untrained networks"
    of_units = statistic.unit == "fraction of units"
    return Estimate(
        name=f"{layer.role}.{statistic.name}.{layer.network}",
        label=f"{layer.role}: {statistic.label}, {layer.network} network ({_form(layer, statistic.name)})",
        value=layer.values[statistic.name],
        unit=statistic.unit,
        reference=reference if np.isfinite(reference) else None,
        reference_label=words if np.isfinite(reference) else "",
        n=layer.shape[0] if of_units else layer.num_weights,
        n_unit="units" if of_units else "weights",
    )


def _tail_estimate(layer: LayerWeights) -> Estimate:
    return Estimate(
        name=f"{layer.role}.tail_exponent.{layer.network}",
        label=f"{layer.role}: exponent of the tail of the eigenvalues, {layer.network} network ({layer.form})",
        value=layer.tail.exponent,
        n=layer.tail.num_tail,
        n_unit="eigenvalues",
    )


def _total_estimates(facts: WeightFacts) -> Iterator[Estimate]:
    """What a network's layers come to together: norms, and shares of all its weights or units."""
    for network in ("meta", "baseline"):
        layers = [layer for layer in facts.layers if layer.network == network]
        for statistic in STATISTICS:
            values = np.array([layer.values[statistic.name] for layer in layers])
            fresh = np.array([layer.untrained[statistic.name] for layer in layers])
            counts = np.array([layer.shape[0] if statistic.name == "dead" else layer.num_weights for layer in layers])
            if statistic.name in ("norm", "stored_norm"):
                value, control = float(np.linalg.norm(values)), float(np.linalg.norm(fresh, axis=0).mean())
            elif statistic.name in ("near_zero", "dead"):
                value, control = float(counts @ values / counts.sum()), float((counts @ fresh).mean() / counts.sum())
            else:
                continue
            if np.isfinite(value):
                known = np.isfinite(control)
                yield Estimate(
                    name=f"network.{statistic.name}.{network}",
                    label=f"all layers: {statistic.label}, {network} network",
                    value=value,
                    unit=statistic.unit,
                    reference=control if known else None,
                    reference_label=f"mean of {fresh.shape[1]} untrained networks" if known else "",
                    n=int(counts.sum()),
                    n_unit="units" if statistic.name == "dead" else "weights",
                )


def _form(layer: LayerWeights, statistic: str) -> str:
    return STORED_FORMS.get(statistic, layer.form)


def _relation_estimates(facts: WeightFacts, layer: LayerRelation) -> Iterator[Estimate]:
    twins = [control.by_role(layer.role) for control in facts.controls]
    matched = f"mean of {len(twins)} pairs of untrained networks, matched the same way"
    unmatched = f"mean of {len(twins)} pairs of untrained networks"
    rows = (
        ("cosine.unaligned", "cosine before matching", layer.cosine_unaligned, [t.cosine_unaligned for t in twins]),
        ("cosine.aligned", "cosine after matching", layer.cosine_aligned, [t.cosine_aligned for t in twins]),
        (
            "distance.unaligned",
            "distance before matching",
            layer.distance_unaligned,
            [t.distance_unaligned for t in twins],
        ),
        ("distance.aligned", "distance after matching", layer.distance_aligned, [t.distance_aligned for t in twins]),
        ("moved", "units whose match has another index", layer.moved_fraction, [t.moved_fraction for t in twins]),
        ("overlap", "overlap of the leading subspaces after matching", layer.overlap, [t.overlap for t in twins]),
    )
    for name, words, value, control in rows:
        if not np.isfinite(value):
            continue
        of_units = name in ("moved", "overlap")
        yield Estimate(
            name=f"{layer.role}.{name}",
            label=f"{layer.role}: {words}" + ("" if of_units else f" ({layer.form})"),
            value=value,
            unit="fraction of units" if name == "moved" else "",
            reference=float(np.mean(control)),
            reference_label=unmatched if name.endswith("unaligned") else matched,
            n=layer.num_units if of_units else layer.num_weights,
            n_unit="units" if of_units else "weights",
        )
    for projection in facts.projections:
        if projection.role == layer.role:
            yield Estimate(
                name=f"{layer.role}.explained_variance",
                label=f"{layer.role}: variance of both networks' units on the first two joint components",
                value=float(projection.projection.explained.sum()),
                unit="fraction of variance",
                reference=projection.control_explained["untrained"],
                reference_label="the same fitted on two matched untrained networks",
                n=2 * layer.num_units,
                n_unit="units",
            )
            yield Estimate(
                name=f"{layer.role}.stability",
                label=f"{layer.role}: share of the joint plane that stays when units are drawn again (squared cosine)",
                value=float(projection.stability.mean()),
                reference=float(projection.control_stability.mean()),
                reference_label="the same of two matched untrained networks",
                n=len(projection.stability),
                n_unit="bootstrap resamples of units",
            )


def _network_estimates(facts: WeightFacts) -> Iterator[Estimate]:
    assert facts.relation is not None
    layers = facts.relation.layers
    rows = (
        ("unaligned", "before", facts.relation.cosine_unaligned, [x.cosine_unaligned for x in facts.controls]),
        ("aligned", "after", facts.relation.cosine_aligned, [x.cosine_aligned for x in facts.controls]),
    )
    for name, when, value, control in rows:
        yield Estimate(
            name=f"network.cosine.{name}",
            label=f"all comparable layers: cosine {when} matching",
            value=value,
            reference=float(np.mean(control)),
            reference_label=f"mean of {len(control)} pairs of untrained networks, treated the same way",
            n=sum(layer.num_weights for layer in layers),
            n_unit="weights",
        )
    if facts.shuffled is not None:
        yield Estimate(
            name="network.cosine.shuffled",
            label="all comparable layers: cosine after matching both networks with their weights in random places",
            value=facts.shuffled.cosine_aligned,
            n=sum(layer.num_weights for layer in layers),
            n_unit="weights",
        )
    if facts.network_projection is not None:
        walk = facts.network_projection.walk_explained
        yield Estimate(
            name="network.explained_variance",
            label="whole networks and their way there: variance on the first two components",
            value=float(facts.network_projection.explained.sum()),
            unit="fraction of variance",
            reference=walk if np.isfinite(walk) else None,
            reference_label="steps of the same lengths in unrelated directions" if np.isfinite(walk) else "",
            n=sum(network in ("meta", "baseline") for network in facts.network_projection.networks),
            n_unit="networks",
        )
    yield from _connectivity_estimates(facts)
    for index, seeds in enumerate(facts.seed_relations, start=1):
        yield Estimate(
            name=f"network.cosine.seeds{index}",
            label=f"all comparable layers: cosine after matching two seeds of one condition, pair {index}",
            value=seeds.cosine_aligned,
            n=sum(layer.num_weights for layer in layers),
            n_unit="weights",
        )
    if np.isfinite(facts.relation.moved_fraction):
        yield Estimate(
            name="network.moved",
            label="all matched layers: units whose match has another index",
            value=facts.relation.moved_fraction,
            unit="fraction of units",
            reference=float(np.mean([control.moved_fraction for control in facts.controls])),
            reference_label="pairs of untrained networks, matched the same way",
            n=sum(len(permutation) for permutation in facts.relation.alignment.permutations.values()),
            n_unit="units",
        )


def _connectivity_estimates(facts: WeightFacts) -> Iterator[Estimate]:
    connectivity, matching = facts.connectivity, facts.matching
    if connectivity is not None:
        seeds = connectivity.seed_paths
        for path in connectivity.paths:
            for name, words, unit, value, others in (
                ("barrier", "highest rise of the loss", "nats", path.barrier, [seed.barrier for seed in seeds]),
                (
                    "accuracy_drop",
                    "deepest fall of the accuracy",
                    "accuracy",
                    path.accuracy_drop,
                    [seed.accuracy_drop for seed in seeds],
                ),
            ):
                yield Estimate(
                    name=f"network.{name}.{path.slug}",
                    label=f"{words} between the two networks ({path.name})",
                    value=value,
                    unit=unit,
                    reference=float(np.mean(others)) if others else 0.0,
                    reference_label=f"mean of {len(others)} pairs of seeds" if others else "no barrier",
                    n=connectivity.num_images,
                    n_unit="images",
                )
    if matching is not None:
        for role, agreement in matching.agreement.items():
            num_units = facts.num_units(role)
            yield Estimate(
                name=f"{role}.matchings_agree",
                label=f"{role}: units with the same partner by weights and by activations",
                value=agreement,
                unit="fraction of units",
                reference=1.0 / num_units if num_units else None,
                reference_label="chance" if num_units else "",
                n=num_units,
                n_unit="units",
            )
            yield Estimate(
                name=f"{role}.matched_correlation",
                label=f"{role}: correlation over images of units matched by activations, mean",
                value=matching.correlations[role],
                reference=matching.untrained_correlations[role],
                reference_label="two untrained networks, matched the same way",
                n=num_units,
                n_unit="units",
            )


def _displacement_estimates(layer: LayerDisplacement, facts: WeightFacts) -> Iterator[Estimate]:
    where = f"{layer.role}: "
    whose = f", {layer.network} network"
    num_weights = facts.num_weights(layer.role, layer.network)
    fresh = f"to {len(layer.untrained_cosine)} other initialisations, mean"
    rows = (
        (
            "displacement",
            "distance from step 0 relative to its norm (scaled weights)",
            layer.displacement,
            0.0,
            "no training",
        ),
        ("stored_displacement", "the same of weights as stored", layer.stored_displacement, 0.0, "no training"),
        ("cosine_to_initial", "cosine with step 0", layer.cosine, float(layer.untrained_cosine.mean()), fresh),
        (
            "displacement_rank",
            "stable rank of the displacement",
            layer.stable_rank,
            layer.random_stable_rank,
            "of a random displacement",
        ),
    )
    for name, words, value, reference, reference_label in rows:
        if np.isfinite(value):
            yield Estimate(
                name=f"{layer.role}.{name}.{layer.network}",
                label=where + words + whose,
                value=value,
                reference=reference,
                reference_label=reference_label,
                n=num_weights,
                n_unit="weights",
            )
