"""The probes as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from meta_baseline.probing import ProbeResult


def tabulate_probes(result: ProbeResult) -> dict[str, pd.DataFrame]:
    """The label by network and layer; every latent by network and layer; meta minus baseline."""
    tables = {"label": pd.DataFrame(_list_label(result)).dropna(axis=1, how="all")}
    if len(result.targets) > 1:
        tables["latents"] = pd.DataFrame(_list_latents(result))
    if not np.isnan(result.differences.value).all():
        tables["differences"] = pd.DataFrame(_list_differences(result)).dropna(axis=1, how="all")
    return tables


def _list_label(result: ProbeResult) -> Iterator[dict[str, Any]]:
    scores, control, mlp = result.scores, result.control, result.mlp
    for network, layer in _cells(result):
        where = (network, layer, 0)
        yield {
            "network": result.networks[network],
            "layer": result.layers[layer],
            "accuracy": scores.score[where],
            "low": scores.low[where],
            "high": scores.high[where],
            "balanced accuracy": scores.balanced_accuracy[where],
            "AUC": scores.auc[where],
            "bits": scores.bits[where],
            "bits gained by MLP": mlp.gain[network, layer],
            "MLP accuracy": mlp.accuracy[network, layer],
            "control task": control.control_accuracy[network, layer],
            "selectivity": control.selectivity[network, layer],
            "least squares": result.null.accuracy[network, layer],
        }
    pixels = result.pixels
    if not np.isnan(pixels.score[0]):
        yield {
            "network": "pixels",
            "layer": "",
            "accuracy": pixels.score[0],
            "low": pixels.low[0],
            "high": pixels.high[0],
            "balanced accuracy": pixels.balanced_accuracy[0],
            "AUC": pixels.auc[0],
            "bits": pixels.bits[0],
        }


def _list_latents(result: ProbeResult) -> Iterator[dict[str, Any]]:
    for target, (name, kind) in enumerate(zip(result.targets, result.kinds)):
        if target == 0:
            continue
        measure = {"latent": name, "measure": "accuracy" if kind == "binary" else "R^2"}
        for network, layer in _cells(result):
            where = (network, layer, target)
            yield {
                "network": result.networks[network],
                "layer": result.layers[layer],
                **measure,
                "score": result.scores.score[where],
                "low": result.scores.low[where],
                "high": result.scores.high[where],
                "constant": result.chance[target],
            }
        if not np.isnan(result.pixels.score[target]):
            yield {
                "network": "pixels",
                "layer": "",
                **measure,
                "score": result.pixels.score[target],
                "low": result.pixels.low[target],
                "high": result.pixels.high[target],
                "constant": result.chance[target],
            }


def _list_differences(result: ProbeResult) -> Iterator[dict[str, Any]]:
    differences = result.differences
    for (layer, target), value in np.ndenumerate(differences.value):
        if not np.isnan(value):
            yield {
                "layer": result.layers[layer],
                "target": result.targets[target],
                "meta - baseline": value,
                "low": differences.low[layer, target],
                "high": differences.high[layer, target],
                "joint low": differences.joint_low[layer, target],
                "joint high": differences.joint_high[layer, target],
                "untrained spread": differences.untrained_spread[layer, target],
            }


def _cells(result: ProbeResult) -> Iterator[tuple[int, int]]:
    """Every network and layer that was probed."""
    for network in range(len(result.networks)):
        for layer in range(len(result.layers)):
            if not np.isnan(result.scores.score[network, layer, 0]):
                yield network, layer
