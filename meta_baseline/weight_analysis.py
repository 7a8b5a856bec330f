"""Weight space: what differs between two networks' weights once order, scale and initialisation are accounted for.

Units are matched before anything is compared weight by weight; filters before batch norm are compared at equal norm;
every number stands beside that of untrained networks. One pair of checkpoints is described, nothing is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import nn

from meta_baseline.alignment import apply_permutation
from meta_baseline.checkpoints import load_models
from meta_baseline.errors import InputError
from meta_baseline.layers import Layer, LayerPairing, list_layers, pair_layers
from meta_baseline.models import untrained_copy
from meta_baseline.results import Check, Estimate, Finding, save_result
from meta_baseline.weight_space.checks import list_checks
from meta_baseline.weight_space.estimates import list_estimates
from meta_baseline.weight_space.facts import LayerWeights, NotCompared, WeightFacts
from meta_baseline.weight_space.findings import list_findings
from meta_baseline.weight_space.layer_statistics import MAGNITUDE_EDGES, LayerMeasurement, measure_layer
from meta_baseline.weight_space.relations import (
    LayerDisplacement,
    LayerProjection,
    NetworkRelation,
    displacement_cosines,
    measure_displacements,
    project_layers,
    relate_networks,
)
from meta_baseline.weight_space.running_statistics import list_running_statistics

__all__ = ["WeightSpaceResult", "compare_weight_spaces", "load_models"]

NUM_UNTRAINED = 3
NUM_TEST_INPUTS = 4


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
    rng: np.random.Generator | None = None,
) -> WeightSpaceResult:
    """Statistics, matching, joint projection and displacement of the parameters of two networks.

    Args:
        meta_model: the meta-learned network.
        baseline_model: the conventionally trained one.
        output_dir: where to save the result as well (``results.save_result``); None saves nothing.
        meta_initial, baseline_initial: each network's own step 0, where it is known.
        rng: draws the untrained controls and the inputs on which a reordered network is checked; default seed 0.

    Raises:
        InputError: when no layer corresponds, or a step 0 is not of its network's architecture.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    pairing = pair_layers(meta_model, baseline_model)
    for name, model, initial in (("meta", meta_model, meta_initial), ("baseline", baseline_model, baseline_initial)):
        _check_initial(name, model, initial)
    untrained = [untrained_copy(meta_model, _torch_generator(rng)) for _ in range(NUM_UNTRAINED)]
    baseline_untrained = (
        untrained
        if pairing.same_function
        else [untrained_copy(baseline_model, _torch_generator(rng)) for _ in range(NUM_UNTRAINED)]
    )
    damaged = _damaged_layers("meta", meta_model) + _damaged_layers("baseline", baseline_model)
    excluded = {(item.network, item.role) for item in damaged}
    roles = [pair.role for pair in pairing.pairs if pair.comparable_weights]
    roles = [role for role in roles if not {("meta", role), ("baseline", role)} & excluded]

    relation, aligned = relate_networks(meta_model, baseline_model, roles) if roles else (None, baseline_model)
    controls: list[NetworkRelation] = []
    projections: tuple[LayerProjection, ...] = ()
    for first, second in combinations(untrained, 2) if roles else ():
        control, aligned_untrained = relate_networks(first, second, roles)
        if not controls:
            projections = project_layers(meta_model, aligned, first, aligned_untrained, roles)
        controls.append(control)

    layers: list[LayerWeights] = []
    displacements: list[LayerDisplacement] = []
    own_untrained = [_measure_network(model, frozenset()) for model in untrained]
    for network, model, initial, fresh in (
        ("meta", meta_model, meta_initial, untrained),
        ("baseline", baseline_model, baseline_initial, baseline_untrained),
    ):
        skipped = frozenset(role for owner, role in excluded if owner == network)
        measured = own_untrained if fresh is untrained else [_measure_network(net, frozenset()) for net in fresh]
        layers += _collect_layers(network, model, initial, measured, skipped)
        if initial is not None:
            kept = [layer.role for layer in list_layers(model) if layer.role not in skipped]
            displacements += measure_displacements(model, initial, fresh, network=network, roles=kept)
    shared = _share_parameters(meta_initial, baseline_initial, roles)
    facts = WeightFacts(
        pairing=pairing,
        layers=tuple(layers),
        running_statistics=(
            *list_running_statistics(meta_model, "meta"),
            *list_running_statistics(baseline_model, "baseline"),
        ),
        relation=relation,
        controls=tuple(controls),
        projections=projections,
        displacements=tuple(displacements),
        displacement_cosines=(
            displacement_cosines((meta_model, baseline_model), meta_initial, roles)
            if shared and meta_initial is not None
            else {}
        ),
        not_compared=(*_list_not_compared(pairing, meta_model, baseline_model), *damaged),
        damaged=damaged,
        equal_roles=tuple(role for role in roles if _share_parameters(meta_model, baseline_model, [role])),
        initial_known=(meta_initial is not None, baseline_initial is not None),
        initial_shared=shared,
        logit_change=_logit_change(baseline_model, aligned, relation, rng),
        magnitude_edges=MAGNITUDE_EDGES,
    )
    result = WeightSpaceResult(
        **vars(facts), estimates=list_estimates(facts), checks=list_checks(facts), findings=list_findings(facts)
    )
    if output_dir is not None:
        save_result(result, output_dir)
    return result


def _collect_layers(
    network: str,
    model: nn.Module,
    initial: nn.Module | None,
    untrained: list[dict[str, LayerMeasurement]],
    skipped: frozenset[str],
) -> list[LayerWeights]:
    measured = _measure_network(model, skipped)
    started = {} if initial is None else _measure_network(initial, skipped)
    return [
        LayerWeights(
            role=layer.role,
            network=network,
            shape=layer.shape,
            form=measured[layer.role].form,
            values=measured[layer.role].values,
            initial=started[layer.role].values if started else {},
            untrained={
                name: np.array([other[layer.role].values[name] for other in untrained])
                for name in measured[layer.role].values
            },
            survival=measured[layer.role].survival,
            untrained_survival=np.stack([other[layer.role].survival for other in untrained]),
            singular_values=measured[layer.role].singular_values,
            untrained_singular_values=np.stack([other[layer.role].singular_values for other in untrained]),
            tail=measured[layer.role].tail,
        )
        for layer in list_layers(model)
        if layer.role in measured
    ]


def _measure_network(model: nn.Module, skipped: frozenset[str]) -> dict[str, LayerMeasurement]:
    return {layer.role: measure_layer(model, layer) for layer in list_layers(model) if layer.role not in skipped}


def _damaged_layers(network: str, model: nn.Module) -> tuple[NotCompared, ...]:
    state = dict(model.named_parameters())
    damaged: list[NotCompared] = []
    for layer in list_layers(model):
        values = [state[name] for name in _parameter_names(layer) if name in state]
        count = sum(int((~torch.isfinite(value)).sum()) for value in values)
        if count:
            reason = f"{count} of its parameters are not finite"
            damaged.append(NotCompared(role=layer.role, network=network, reason=reason))
    return tuple(damaged)


def _list_not_compared(pairing: LayerPairing, meta: nn.Module, baseline: nn.Module) -> tuple[NotCompared, ...]:
    layers = [
        NotCompared(role=pair.role, network="both", reason=pair.reason)
        for pair in pairing.pairs
        if not pair.comparable_weights
    ]
    layers += [NotCompared(role=item.role, network=item.network, reason=item.reason) for item in pairing.unpaired]
    for network, model in (("meta", meta), ("baseline", baseline)):
        known = {name for layer in list_layers(model) for name in _parameter_names(layer)}
        layers += [
            NotCompared(role=name, network=network, reason="a parameter of no convolution, linear layer or their norm")
            for name, _ in model.named_parameters()
            if name not in known
        ]
    return tuple(layers)


def _parameter_names(layer: Layer) -> list[str]:
    owners = [layer.name] if layer.norm is None else [layer.name, layer.norm]
    return [f"{owner}.{name}" for owner in owners for name in ("weight", "bias")]


def _check_initial(network: str, model: nn.Module, initial: nn.Module | None) -> None:
    if initial is None:
        return
    shapes = [{layer.role: layer.shape for layer in list_layers(net)} for net in (model, initial)]
    if shapes[0] != shapes[1]:
        role = next(role for role in shapes[0] | shapes[1] if shapes[0].get(role) != shapes[1].get(role))
        raise InputError(
            f"The step 0 given for the {network} network is of another architecture: {role} has shape "
            f"{shapes[1].get(role, 'none')} there and {shapes[0].get(role, 'none')} in the network. "
            "Pass the checkpoint that its own training started from, or none."
        )


def _share_parameters(meta: nn.Module | None, baseline: nn.Module | None, roles: list[str]) -> bool:
    if meta is None or baseline is None or not roles:
        return False
    for one, other in zip(_chosen(meta, roles), _chosen(baseline, roles), strict=True):
        first, second = dict(meta.named_parameters()), dict(baseline.named_parameters())
        for name, twin in zip(_parameter_names(one), _parameter_names(other), strict=True):
            values = first.get(name), second.get(twin)
            if (values[0] is None) != (values[1] is None):
                return False
            if values[0] is not None and values[1] is not None and not torch.equal(values[0].cpu(), values[1].cpu()):
                return False
    return True


def _chosen(model: nn.Module, roles: list[str]) -> list[Layer]:
    return [layer for layer in list_layers(model) if layer.role in roles]


def _logit_change(
    baseline: nn.Module, aligned: nn.Module, relation: NetworkRelation | None, rng: np.random.Generator
) -> float:
    """Largest change of a logit on random inputs, relative to the largest logit; NaN where it cannot be tried."""
    architecture = getattr(baseline, "architecture", None)
    if relation is None or architecture is None:
        return float("nan")
    shape = (NUM_TEST_INPUTS, architecture.in_channels, architecture.image_size, architecture.image_size)
    inputs = torch.randn(shape, generator=_torch_generator(rng)).to(next(baseline.parameters()).device)
    with torch.inference_mode():
        before, after = (apply_permutation(net, {}).eval()(inputs) for net in (baseline, aligned))
    return float((before - after).abs().max() / before.abs().max().clamp_min(1e-30))


def _torch_generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
