"""What the weight analysis measures on images: loss between the networks, matching by activations, first filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from meta_baseline.activations.recording import Batch
from meta_baseline.alignment import PermutationSpec, apply_permutation, scale_layer
from meta_baseline.layers import LayerPairing, list_layers
from meta_baseline.weight_space.activation_matching import match_activations
from meta_baseline.weight_space.connectivity import (
    AT_A_TIME,
    Connectivity,
    LabelledImages,
    measure_surface,
    trace_paths,
    trace_seed_paths,
)
from meta_baseline.weight_space.images import choose_effort, take_images, why_not_connected
from meta_baseline.weight_space.inputs import list_bad_statistics
from meta_baseline.weight_space.layer_statistics import cosine_and_distance
from meta_baseline.weight_space.relations import NetworkRelation
from meta_baseline.weight_space.threads import run_in_threads

NOT_GIVEN = "no images were given"


@dataclass(frozen=True, kw_only=True)
class MatchAgreement:
    """Matching by activations beside matching by weights.

    Attributes:
        correlations, untrained_correlations: by role, mean correlation of matched units over images; of the two
            networks, and of two untrained ones.
        agreement: by role, share of units for which both matchings give the same partner.
        cosine: of the weights of all layers together, matched by activations.
    """

    correlations: dict[str, float]
    untrained_correlations: dict[str, float]
    agreement: dict[str, float]
    cosine: float


@dataclass(frozen=True, kw_only=True)
class OnImages:
    """All of it; ``connectivity`` is None where ``reason`` says why."""

    connectivity: Connectivity | None
    reason: str
    matching: MatchAgreement | None
    image: Tensor | None


def measure_on_images(
    networks: tuple[nn.Module, nn.Module],
    relation: NetworkRelation | None,
    *,
    loader: Iterable[Batch] | None,
    pairing: LayerPairing,
    step_0: nn.Module | None,
    shared: bool,
    untrained: tuple[nn.Module, nn.Module],
    seed_pairs: Mapping[str, tuple[nn.Module, nn.Module]],
    spec: PermutationSpec | None,
    roles: Sequence[str],
    workers: int = 1,
) -> OnImages:
    """Everything that needs images, on the first of a loader; nothing but the reason where there are none.

    ``step_0`` is that of the meta network, where it is known, and ``shared`` when it is the baseline's too.
    ``seed_pairs`` are matched pairs of networks of one condition, by their name.
    """
    if loader is None:
        return OnImages(connectivity=None, reason=NOT_GIVEN, matching=None, image=None)
    meta, baseline = networks
    effort = choose_effort(meta)
    data = take_images(loader, meta, effort.num_images)
    image = data.images[:1]
    if relation is None:
        reason = "no layer of the two networks can be matched"
        return OnImages(connectivity=None, reason=reason, matching=None, image=image)
    matching = None
    reason = why_not_connected(meta, baseline, pairing)
    usable = not (list_bad_statistics("meta", meta) or list_bad_statistics("baseline", baseline))
    if not reason and usable and len(roles) == len(pairing.pairs):
        matching = _compare_matchings(networks, relation, untrained, data, spec, workers)
    if reason or len(roles) < len(pairing.pairs) or not usable:
        reason = reason or "layers with damaged parameters or statistics cannot be averaged"
        return OnImages(connectivity=None, reason=reason, matching=matching, image=image)
    matched = apply_permutation(baseline, relation.alignment.permutations, spec)
    third = untrained[0] if step_0 is None else step_0
    # Both ends still have the order of units of the step 0 that they share; matching would part the baseline from it.
    second = baseline if shared else matched
    of_meta = "an untrained network" if step_0 is None else "step 0 of meta"
    names = ("baseline", "step 0 of both") if shared else ("baseline, matched", of_meta)
    count = min(len(data.images), effort.surface_images)
    fewer = replace(data, images=data.images[:count], labels=data.labels[:count])
    connectivity = Connectivity(
        paths=trace_paths(meta, baseline, matched, data, effort.path_points, workers),
        seed_paths=trace_seed_paths(seed_pairs, data, effort.path_points, workers),
        surface=measure_surface(
            meta, second, third, fewer, names=names, num_points=effort.surface_points, workers=workers
        ),
        num_images=len(data.images),
    )
    return OnImages(connectivity=connectivity, reason="", matching=matching, image=image)


def _compare_matchings(
    networks: tuple[nn.Module, nn.Module],
    relation: NetworkRelation,
    untrained: tuple[nn.Module, nn.Module],
    data: LabelledImages,
    spec: PermutationSpec | None,
    workers: int,
) -> MatchAgreement:
    batches = data.calibration.split(AT_A_TIME)
    found, fresh = run_in_threads(
        lambda pair: match_activations(*pair, batches, spec=spec), (networks, untrained), workers
    )
    by_weights = relation.alignment.permutations
    roles = [layer.role for layer in relation.layers]
    matched = apply_permutation(networks[1], found.permutations, spec)
    inner, possible = 0.0, 0.0
    for role in roles:
        cosine, num_units = _cosine(networks[0], matched, role)
        if np.isfinite(cosine):
            inner, possible = inner + num_units * cosine, possible + num_units
    return MatchAgreement(
        correlations={role: float(values.mean()) for role, values in found.after.items()},
        untrained_correlations={role: float(values.mean()) for role, values in fresh.after.items()},
        agreement={
            role: float(np.mean(order == by_weights[role]))
            for role, order in found.permutations.items()
            if role in by_weights
        },
        cosine=inner / possible if possible else float("nan"),
    )


def _cosine(meta: nn.Module, matched: nn.Module, role: str) -> tuple[float, int]:
    one, other = (
        scale_layer(model, next(layer for layer in list_layers(model) if layer.role == role))
        for model in (meta, matched)
    )
    return cosine_and_distance(one, other)[0], len(one.weight)
