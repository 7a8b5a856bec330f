"""From the readouts of all layers to the arrays of a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.layer import LayerReadout, ProbePlan
from meta_baseline.probes.result import ControlScores, Differences, MlpScores, NullScores, ProbeResult
from meta_baseline.probes.scores import ScoreTable, measure_bits, score_images, score_layer
from meta_baseline.probes.targets import Target, measure_explained

PIXELS = -1
"""The place of the raw image among the networks."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The readout of every (network, layer), and which networks are whose untrained twins."""

    networks: tuple[str, ...]
    layers: tuple[str, ...]
    readouts: dict[tuple[int, int], LayerReadout]
    twins: dict[str, tuple[int, ...]]

    @property
    def shape(self) -> tuple[int, int]:
        """Networks and layers."""
        return len(self.networks), len(self.layers)

    def of_networks(self) -> list[tuple[tuple[int, int], LayerReadout]]:
        """All readouts but that of the pixels."""
        return [(where, readout) for where, readout in self.readouts.items() if where[0] != PIXELS]


def assemble_result(
    readings: Readings,
    *,
    plan: ProbePlan,
    targets: Sequence[Target],
    groups: Int[ndarray, " N"],
    bootstrap: GroupBootstrap,
    left_out: tuple[str, ...],
    num_available: int,
) -> ProbeResult:
    """Score every readout and everything that two of them say together."""
    scores = ScoreTable.empty(*readings.shape, len(targets))
    pixels = ScoreTable.empty(len(targets))
    for where, readout in readings.readouts.items():
        row = score_layer(readout, plan, targets, bootstrap)
        if where[0] == PIXELS:
            pixels = row
        else:
            scores.place(where, row)
    return ProbeResult(
        networks=readings.networks,
        layers=readings.layers,
        targets=tuple(target.name for target in targets),
        kinds=tuple(target.kind for target in targets),
        scores=scores,
        pixels=pixels,
        chance=np.array([_measure_chance(target) for target in targets]),
        explained_by_label=np.array([measure_explained(target, plan.binary[:, 0]) for target in targets]),
        twins=readings.twins,
        control=_score_control(readings, plan, groups, bootstrap),
        null=_score_null(readings),
        mlp=_score_mlp(readings, plan, bootstrap),
        differences=_compare(readings, plan, targets, bootstrap, scores),
        num_images=len(plan.folds),
        num_available=num_available,
        num_groups=bootstrap.num_groups,
        num_folds=len(np.unique(plan.folds)),
        left_out=left_out,
        num_unconverged=sum(readout.num_unconverged for readout in readings.readouts.values()),
    )


def _measure_chance(target: Target) -> float:
    rate = float(target.columns.mean())
    return max(rate, 1 - rate) if target.kind == "binary" else 0.0


def _score_control(
    readings: Readings, plan: ProbePlan, groups: Int[ndarray, " N"], bootstrap: GroupBootstrap
) -> ControlScores:
    assert plan.control_labels is not None, "a full plan has a control task"
    within = plan.control_folds is not plan.folds
    sizes = np.bincount(np.unique(groups, return_inverse=True)[1])[bootstrap.index]
    companions = (sizes > 1 if within else np.ones(len(groups), dtype=bool)).astype(np.float64)[:, None]
    truth = np.stack([plan.binary[:, 0], plan.control_labels], axis=1) > 0.5
    task, control, selectivity, low, high = np.full((5, *readings.shape), np.nan)
    for where, readout in readings.of_networks():
        if readout.control_logits is None:
            continue
        correct = ((readout.control_logits > 0) == truth) * companions
        task[where], control[where] = correct.sum(axis=0) / companions.sum()
        selectivity[where] = task[where] - control[where]
        resamples = bootstrap.resample_ratio(correct[:, :1] - correct[:, 1:], companions)
        low[where], high[where] = (end[0] for end in bootstrap.interval(resamples))
    return ControlScores(
        split="within identities" if within else "random labels",
        task_accuracy=task,
        control_accuracy=control,
        selectivity=selectivity,
        low=low,
        high=high,
        num_images=int(companions.sum()),
    )


def _score_null(readings: Readings) -> NullScores:
    accuracy = np.full(readings.shape, np.nan)
    nulls: dict[int, list[Float[ndarray, " R"]]] = {}
    for where, readout in readings.of_networks():
        if readout.null_correct is not None:
            accuracy[where] = readout.ridge_correct
            nulls.setdefault(where[0], []).append(readout.null_correct)
    num = len(next(iter(nulls.values()))[0]) if nulls else 1
    best_null, p_value = np.full((len(readings.networks), num), np.nan), np.full(len(readings.networks), np.nan)
    for network, columns in nulls.items():
        best_null[network] = np.max(columns, axis=0)
        best = np.nanmax(accuracy[network])
        p_value[network] = (1 + np.count_nonzero(best_null[network] >= best - 1e-12)) / (1 + num)
    return NullScores(accuracy=accuracy, best_null=best_null, p_value=p_value)


def _score_mlp(readings: Readings, plan: ProbePlan, bootstrap: GroupBootstrap) -> MlpScores:
    truth = plan.binary[:, 0]
    accuracy, bits, gain, low, high = np.full((5, *readings.shape), np.nan)
    for where, readout in readings.of_networks():
        if readout.mlp_logits is None:
            continue
        saved = measure_bits(readout.mlp_logits, truth)
        gained = (saved - measure_bits(readout.logits[:, 0], truth))[:, None]
        accuracy[where] = ((readout.mlp_logits > 0) == (truth > 0.5)).mean()
        bits[where] = (saved - measure_bits(readout.base_logits[:, 0], truth)).mean()
        gain[where] = gained.mean()
        low[where], high[where] = (
            end[0] for end in bootstrap.interval(bootstrap.resample_ratio(gained, np.ones_like(gained)))
        )
    return MlpScores(accuracy=accuracy, bits=bits, gain=gain, low=low, high=high)


def _compare(
    readings: Readings,
    plan: ProbePlan,
    targets: Sequence[Target],
    bootstrap: GroupBootstrap,
    scores: ScoreTable,
) -> Differences:
    num_layers, num_targets = len(readings.layers), len(targets)
    value, low, high, joint_low, joint_high = np.full((5, num_layers, num_targets), np.nan)
    shared = [layer for layer in range(num_layers) if {(0, layer), (1, layer)} <= readings.readouts.keys()]
    if len(readings.networks) > 1 and shared:

        def resample(network: int, layer: int) -> Float[ndarray, "R T"]:
            images = score_images(readings.readouts[network, layer], plan, targets)
            return bootstrap.resample_ratio(images.gained, images.possible)

        value[shared] = (scores.score[0] - scores.score[1])[shared]
        resamples = np.stack([resample(0, layer) - resample(1, layer) for layer in shared], axis=1)
        low[shared], high[shared] = _over_cells(bootstrap.interval, resamples)
        # The label is a family of its own, the latents together are the other. Where no image disagrees, half an image
        # in each cell of the paired table leaves a standard error of 1 / n (Agresti & Min 2005, doi:10.1002/sim.1781).
        for family, floor in ((slice(0, 1), 1 / bootstrap.num_groups), (slice(1, None), 0.0)):
            cells = resamples[:, :, family]
            if cells.shape[2]:
                flat = cells.reshape(len(cells), -1)
                ends = bootstrap.simultaneous_interval(value[shared][:, family].ravel(), flat, floor=floor)
                joint_low[shared, family], joint_high[shared, family] = (end.reshape(len(shared), -1) for end in ends)
    return Differences(
        value=value,
        low=low,
        high=high,
        joint_low=joint_low,
        joint_high=joint_high,
        untrained_spread=_measure_spread(readings, scores),
    )


def _over_cells(
    interval: Callable[[ndarray], tuple[ndarray, ndarray]], resamples: Float[ndarray, "R L T"]
) -> tuple[Float[ndarray, "L T"], Float[ndarray, "L T"]]:
    low, high = interval(resamples.reshape(len(resamples), -1))
    return low.reshape(resamples.shape[1:]), high.reshape(resamples.shape[1:])


def _measure_spread(readings: Readings, scores: ScoreTable) -> Float[ndarray, "L T"]:
    """Range over the untrained networks of one architecture, the larger of the two architectures'."""
    ranges = [np.ptp(scores.score[list(twins)], axis=0) for twins in readings.twins.values() if len(twins) > 1]
    return np.max(ranges, axis=0) if ranges else np.full(scores.score.shape[1:], np.nan)
