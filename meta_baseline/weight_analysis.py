"""Weight space: what differs between two networks' weights once order, scale and initialisation are accounted for.

Units are matched before anything is compared weight by weight; filters before batch norm are compared at equal norm;
every number stands beside that of untrained networks. One pair of checkpoints is described, nothing is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from meta_baseline.activations.recording import Batch
from meta_baseline.alignment import PermutationSpec, apply_permutation, match_weights, move_sizes_to_readers
from meta_baseline.checkpoints import load_models
from meta_baseline.layers import list_layers, pair_layers
from meta_baseline.results import Check, Estimate, Finding, save_result
from meta_baseline.weight_space.checks import LARGE_LOGIT_CHANGE, list_checks
from meta_baseline.weight_space.controls import (
    collect_layers,
    draw_untrained,
    measure_network,
    shuffle_weights,
    values_of,
)
from meta_baseline.weight_space.estimates import list_estimates
from meta_baseline.weight_space.facts import LayerWeights, WeightFacts
from meta_baseline.weight_space.findings import list_findings
from meta_baseline.weight_space.first_layer import compare_first_layers
from meta_baseline.weight_space.inputs import (
    check_companion,
    check_counts,
    check_parameters,
    list_bad_statistics,
    list_constant,
    list_damaged,
    list_not_compared,
    share_parameters,
)
from meta_baseline.weight_space.layer_statistics import MAGNITUDE_EDGES
from meta_baseline.weight_space.on_images import measure_on_images
from meta_baseline.weight_space.relations import (
    LayerDisplacement,
    LayerProjection,
    displacement_cosines,
    measure_displacements,
    project_layers,
    relate_networks,
)
from meta_baseline.weight_space.running_statistics import list_running_statistics
from meta_baseline.weight_space.threads import run_in_threads
from meta_baseline.weight_space.trajectories import NetworkPoint, project_networks
from meta_baseline.weight_space.yardstick import judge_pair, pair_seeds, split_pairs

__all__ = ["WeightSpaceResult", "compare_weight_spaces", "load_models"]

NUM_TEST_INPUTS = 4

Checkpoints = Sequence[tuple[int, nn.Module]]


@dataclass(frozen=True, kw_only=True)
class WeightSpaceResult(WeightFacts):
    """What was measured (``weight_space.facts.WeightFacts``), and what is said of it."""

    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def compare_weight_spaces(
    meta_model: nn.Module,
    baseline_model: nn.Module,
    output_dir: str | Path | None = None,
    *,
    meta_initial: nn.Module | None = None,
    baseline_initial: nn.Module | None = None,
    meta_seeds: Sequence[nn.Module] = (),
    baseline_seeds: Sequence[nn.Module] = (),
    meta_seed_initials: Sequence[nn.Module] = (),
    baseline_seed_initials: Sequence[nn.Module] = (),
    meta_checkpoints: Checkpoints = (),
    baseline_checkpoints: Checkpoints = (),
    permutations: PermutationSpec | None = None,
    loader: Iterable[Batch] | None = None,
    rng: np.random.Generator | None = None,
    workers: int = 1,
) -> WeightSpaceResult:
    """Statistics, matching, joint projection and displacement of the parameters of two networks.

    Args:
        meta_model: the meta-learned network.
        baseline_model: the conventionally trained one.
        output_dir: where to save the result as well (``results.save_result``); None saves nothing.
        meta_initial, baseline_initial: each network's own step 0, where it is known.
        meta_seeds, baseline_seeds: further networks of each condition, by the same recipe from other seeds; they make
            the right yardstick, the difference of two seeds.
        meta_seed_initials, baseline_seed_initials: step 0 of each of these, in their order, or none.
        meta_checkpoints, baseline_checkpoints: images seen and network, for checkpoints on the way, in order.
        permutations: the symmetries of networks that are no chain of layers, such as residual ones; default: derived.
        loader: batches of (images, labels, ...), on whose first images the loss between the networks is measured, units
            are matched by activations and filters are shown at work; without it a check says that this was not done.
        rng: draws the untrained controls and the inputs on which a reordered network is checked; default seed 0.
        workers: networks and layers measured at a time, each on one thread; the result does not depend on it.

    Raises:
        InputError: when no layer corresponds, weights are no real numbers, or a step 0, seed or checkpoint does not fit
            its network.
        UsageError: for images without labels, symmetries that do not fit, or not one step 0 for every further seed.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    pairing = pair_layers(meta_model, baseline_model)
    for name, model, initial, others, starts, series in (
        ("meta", meta_model, meta_initial, meta_seeds, meta_seed_initials, meta_checkpoints),
        ("baseline", baseline_model, baseline_initial, baseline_seeds, baseline_seed_initials, baseline_checkpoints),
    ):
        check_parameters(name, model)
        check_companion("step 0", name, model, initial)
        check_counts(name, len(others), len(starts))
        for other in others:
            check_companion("further seed", name, model, other)
        for start in starts:
            check_companion("step 0 of a further seed", name, model, start)
        for _, checkpoint in series:
            check_companion("checkpoint on the way", name, model, checkpoint)
    untrained = draw_untrained(meta_model, rng)
    baseline_untrained = untrained if pairing.same_function else draw_untrained(baseline_model, rng)
    damaged = list_damaged("meta", meta_model) + list_damaged("baseline", baseline_model)
    excluded = {(item.network, item.role) for item in damaged}
    roles = [pair.role for pair in pairing.pairs if pair.comparable_weights]
    roles = [role for role in roles if not {("meta", role), ("baseline", role)} & excluded]

    scattered = shuffle_weights(meta_model, rng), shuffle_weights(baseline_model, rng)
    meta_pairs, baseline_pairs = pair_seeds(meta_model, meta_seeds), pair_seeds(baseline_model, baseline_seeds)
    seed_pairs = (*meta_pairs, *baseline_pairs)
    seed_networks = ("meta",) * len(meta_pairs) + ("baseline",) * len(baseline_pairs)
    fresh_pairs = split_pairs(untrained)
    pairs = ((meta_model, baseline_model), *fresh_pairs, scattered, *seed_pairs) if roles else ()
    matched = run_in_threads(lambda pair: relate_networks(*pair, roles, permutations), pairs, workers)
    relation, aligned = matched[0] if matched else (None, baseline_model)
    relations = [one for one, _ in matched]
    controls = relations[1 : 1 + len(fresh_pairs)]
    # Of the reordered networks only those are kept that stand for the controls of a kind.
    places = {"untrained": 1, "shuffled": 1 + len(fresh_pairs)}
    for i, network in enumerate(seed_networks):
        places.setdefault(f"{network} seeds", 2 + len(fresh_pairs) + i)
    control_pairs = {name: (pairs[i][0], matched[i][1]) for name, i in places.items()} if matched else {}
    del matched

    skipped = {id(model): frozenset[str]() for model in (meta_model, baseline_model, *scattered)}
    for owner, role in excluded:
        for model in (meta_model, scattered[0]) if owner == "meta" else (baseline_model, scattered[1]):
            skipped[id(model)] |= {role}
    known = (meta_initial, baseline_initial, *meta_seeds, *baseline_seeds)
    every = (meta_model, baseline_model, *scattered, *untrained, *baseline_untrained, *(x for x in known if x))
    moved = {"meta": _move_sizes(meta_model, permutations), "baseline": _move_sizes(baseline_model, permutations)}
    for network, role in excluded:
        skipped[id(moved[network])] = skipped.get(id(moved[network]), frozenset()) | {role}
    every = (*every, *(model for model in moved.values() if model is not None))
    distinct = list({id(model): model for model in every}.values())
    values = run_in_threads(lambda net: measure_network(net, skipped.get(id(net), frozenset())), distinct, workers)
    measured = {id(model): value for model, value in zip(distinct, values)}

    layers: list[LayerWeights] = []
    displacements: list[LayerDisplacement] = []
    for network, model, initial, fresh, seeds, starts, shuffled in (
        ("meta", meta_model, meta_initial, untrained, meta_seeds, meta_seed_initials, scattered[0]),
        (
            "baseline",
            baseline_model,
            baseline_initial,
            baseline_untrained,
            baseline_seeds,
            baseline_seed_initials,
            scattered[1],
        ),
    ):
        layers += collect_layers(
            network,
            model,
            measured=measured[id(model)],
            initial={} if initial is None else measured[id(initial)],
            shuffled=measured[id(shuffled)],
            untrained=[measured[id(other)] for other in fresh],
            seeds=[measured[id(other)] for other in seeds],
            moved=measured.get(id(moved[network]), {}),
        )
        if initial is not None:
            kept = [layer.role for layer in list_layers(model) if layer.role not in skipped[id(model)]]
            ends = [(model, initial), *zip(seeds, starts)]
            displacements += measure_displacements(ends, fresh, network=network, roles=kept, workers=workers)
    yardstick = judge_pair(
        values_of(measured[id(meta_model)]),
        values_of(measured[id(baseline_model)]),
        [(values_of(measured[id(one)]), values_of(measured[id(other)])) for one, other in seed_pairs or fresh_pairs],
        roles=roles,
        source="pairs of seeds of one condition" if seed_pairs else "pairs of untrained networks",
    )
    projections: tuple[LayerProjection, ...] = ()
    if roles:
        projections = project_layers((meta_model, aligned), control_pairs, roles, rng, workers)
    shared = share_parameters(meta_initial, baseline_initial, roles)
    # Networks with one step 0 still share its order of units: matching their ends would tear their start in two.
    orders = {} if relation is None or shared else relation.alignment.permutations
    on_images = measure_on_images(
        (meta_model, baseline_model),
        relation,
        loader=loader,
        pairing=pairing,
        step_0=meta_initial,
        shared=shared,
        untrained=(untrained[0], untrained[1]),
        seed_pairs={name: pair for name, pair in control_pairs.items() if name.endswith("seeds")},
        spec=permutations,
        roles=roles,
        workers=workers,
    )
    first_role = list_layers(meta_model)[0].role
    intact = not {(network, first_role) for network in ("meta", "baseline")} & excluded
    first_layer = None
    if intact and control_pairs:
        first_layer = compare_first_layers((meta_model, aligned), control_pairs, on_images.image)
    facts = WeightFacts(
        pairing=pairing,
        layers=tuple(layers),
        running_statistics=(
            *list_running_statistics(meta_model, "meta"),
            *list_running_statistics(baseline_model, "baseline"),
        ),
        relation=relation,
        controls=tuple(controls),
        shuffled=relations[1 + len(fresh_pairs)] if relations else None,
        seed_relations=tuple(relations[2 + len(fresh_pairs) :]),
        seed_networks=seed_networks,
        yardstick=yardstick,
        projections=projections,
        network_projection=project_networks(
            [
                *_trace("meta", meta_model, meta_initial, meta_checkpoints, {}, permutations),
                *_trace("baseline", baseline_model, baseline_initial, baseline_checkpoints, orders, permutations),
                *(NetworkPoint(network="untrained", num_images=0, model=model) for model in untrained[:3]),
                *(NetworkPoint(network="shuffled", num_images=-1, model=x) for x in control_pairs.get("shuffled", ())),
                *_match_seeds("meta", meta_model, meta_seeds, roles, permutations, workers),
                *_match_seeds("baseline", meta_model, baseline_seeds, roles, permutations, workers),
            ],
            roles,
            workers,
        ),
        connectivity=on_images.connectivity,
        connectivity_reason=on_images.reason,
        matching=on_images.matching,
        first_layer=first_layer,
        displacements=tuple(displacements),
        displacement_cosines=(
            displacement_cosines((meta_model, baseline_model), meta_initial, roles)
            if shared and meta_initial is not None
            else {}
        ),
        not_compared=(*list_not_compared(pairing, meta_model, baseline_model), *damaged),
        damaged=damaged,
        constant=list_constant("meta", meta_model) + list_constant("baseline", baseline_model),
        bad_statistics=list_bad_statistics("meta", meta_model) + list_bad_statistics("baseline", baseline_model),
        equal_roles=tuple(role for role in roles if share_parameters(meta_model, baseline_model, [role])),
        initial_known=(meta_initial is not None, baseline_initial is not None),
        initial_shared=shared,
        logit_change=float("nan") if relation is None else _logit_change(baseline_model, aligned, rng),
        magnitude_edges=MAGNITUDE_EDGES,
    )
    result = WeightSpaceResult(
        **vars(facts), estimates=list_estimates(facts), checks=list_checks(facts), findings=list_findings(facts)
    )
    if output_dir is not None:
        save_result(result, output_dir)
    return result


def _trace(
    network: str,
    model: nn.Module,
    initial: nn.Module | None,
    checkpoints: Checkpoints,
    orders: Mapping[str, np.ndarray],
    spec: PermutationSpec | None,
) -> list[NetworkPoint]:
    """One network from step 0 to its end, everything in the order of units that was matched at the end."""
    way = [*([] if initial is None else [(0, initial)]), *checkpoints, (-1, model)]
    return [
        NetworkPoint(network=network, num_images=count, model=apply_permutation(one, orders, spec) if orders else one)
        for count, one in way
    ]


def _match_seeds(
    network: str,
    meta: nn.Module,
    seeds: Sequence[nn.Module],
    roles: Sequence[str],
    spec: PermutationSpec | None,
    workers: int,
) -> list[NetworkPoint]:
    """Further networks of one condition, each in the order that matches it to the meta network."""

    def place(seed: nn.Module) -> NetworkPoint:
        orders = match_weights(meta, seed, roles=roles, spec=spec).permutations
        return NetworkPoint(network=f"{network} seed", num_images=-1, model=apply_permutation(seed, orders, spec))

    return run_in_threads(place, seeds, workers) if roles else []


def _move_sizes(model: nn.Module, spec: PermutationSpec | None) -> nn.Module | None:
    """The network with the sizes of its units moved to their readers; None where that is not known to be the same."""
    if spec is not None:
        return None
    moved = move_sizes_to_readers(model)
    same = _logit_change(model, moved, np.random.default_rng(0)) <= LARGE_LOGIT_CHANGE
    return moved if same else None


def _logit_change(model: nn.Module, changed: nn.Module, rng: np.random.Generator) -> float:
    """Largest change of a logit on random inputs, relative to the largest logit; NaN where it cannot be tried."""
    architecture = getattr(model, "architecture", None)
    if architecture is None:
        return float("nan")
    shape = (NUM_TEST_INPUTS, architecture.in_channels, architecture.image_size, architecture.image_size)
    inputs = torch.randn(shape, generator=_torch_generator(rng)).to(next(model.parameters()))
    with torch.inference_mode():
        before, after = (apply_permutation(net, {}).eval()(inputs) for net in (model, changed))
    return float((before - after).abs().max() / before.abs().max().clamp_min(1e-30))


def _torch_generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
