"""The weight analysis as tables: statistics, relations, displacement, and what was not compared."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.weight_analysis import WeightSpaceResult
from meta_baseline.weight_space.layer_statistics import STATISTICS, STORED_FORMS


def tabulate_weights(result: WeightSpaceResult) -> dict[str, pd.DataFrame]:
    """``statistics`` (layer x network x statistic), ``relations``, ``displacements``, ``tails`` and what stands beside.

    Tables without a row are left out.
    """
    tables = {
        "statistics": _tabulate_statistics(result),
        "relations": _tabulate_relations(result),
        "displacements": _tabulate_displacements(result),
        "network_paths": _tabulate_paths(result),
        "loss_between": _tabulate_loss(result),
        "tails": _tabulate_tails(result),
        "running_statistics": _tabulate_running_statistics(result),
        "not_compared": pd.DataFrame(
            [{"layer": item.role, "network": item.network, "reason": item.reason} for item in result.not_compared]
        ),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _tabulate_statistics(result: WeightSpaceResult) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "layer": layer.role,
                "network": layer.network,
                "statistic": statistic.label,
                "value": layer.values[statistic.name],
                "own step 0": layer.initial.get(statistic.name, float("nan")),
                "untrained mean": float(np.mean(layer.untrained[statistic.name])),
                "untrained low": float(np.min(layer.untrained[statistic.name])),
                "untrained high": float(np.max(layer.untrained[statistic.name])),
                "sizes moved to readers": layer.moved.get(statistic.name, float("nan")),
                "measured on": STORED_FORMS.get(statistic.name, layer.form),
            }
            for layer in result.layers
            for statistic in STATISTICS
            if np.isfinite(layer.values[statistic.name])
        ]
    )


def _tabulate_relations(result: WeightSpaceResult) -> pd.DataFrame:
    rows: list[dict[str, str | float]] = []
    for layer in result.relation.layers if result.relation is not None else ():
        twins = [control.by_role(layer.role) for control in result.controls]
        rows.append(
            {
                "layer": layer.role,
                "cosine before matching": layer.cosine_unaligned,
                "cosine": layer.cosine_aligned,
                "cosine, untrained pairs": float(np.mean([twin.cosine_aligned for twin in twins])),
                "distance before matching": layer.distance_unaligned,
                "distance": layer.distance_aligned,
                "distance, untrained pairs": float(np.mean([twin.distance_aligned for twin in twins])),
                "overlap": layer.overlap,
                "overlap, untrained pairs": float(np.mean([twin.overlap for twin in twins])),
                "units moved": layer.moved_fraction,
                "measured on": layer.form,
            }
        )
    return pd.DataFrame(rows)


def _tabulate_displacements(result: WeightSpaceResult) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "layer": layer.role,
                "network": layer.network,
                "distance from step 0": layer.displacement,
                "the same, as stored": layer.stored_displacement,
                "cosine with step 0": layer.cosine,
                "cosine with other initialisations": float(np.mean(layer.untrained_cosine)),
                "stable rank of displacement": layer.stable_rank,
                "of a random one": layer.random_stable_rank,
                "cosine of both displacements": result.displacement_cosines.get(layer.role, float("nan")),
            }
            for layer in result.displacements
        ]
    )


def _tabulate_tails(result: WeightSpaceResult) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "layer": layer.role,
                "network": layer.network,
                "exponent": float("nan") if layer.tail.reason else layer.tail.exponent,
                "eigenvalues in the tail": layer.tail.num_tail,
                "distance (Kolmogorov-Smirnov)": layer.tail.distance,
                "log likelihood beyond log-normal": layer.tail.log_ratio,
                "why not": layer.tail.reason,
            }
            for layer in result.layers
        ]
    )


def _tabulate_running_statistics(result: WeightSpaceResult) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "layer": row.role,
                "network": row.network,
                "running mean, rms": row.mean_rms,
                "running sd, median": row.sd_median,
                "running sd, lowest": row.sd_low,
                "running sd, highest": row.sd_high,
                "batches": row.batches,
                "has seen images": row.calibrated,
            }
            for row in result.running_statistics
        ]
    )


def _tabulate_paths(result: WeightSpaceResult) -> pd.DataFrame:
    paths = result.network_projection
    if paths is None:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "network": paths.networks,
            "images seen": ["" if count < 0 else str(count) for count in paths.num_images],
            "component 1": paths.coordinates[:, 0],
            "component 2": paths.coordinates[:, 1],
        }
    )


def _tabulate_loss(result: WeightSpaceResult) -> pd.DataFrame:
    connectivity = result.connectivity
    if connectivity is None:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            {"path": path.name, "share of the second": share, "loss in nats": loss, "accuracy": accuracy}
            for path in (*connectivity.paths, *connectivity.seed_paths)
            for share, loss, accuracy in zip(path.shares, path.losses, path.accuracies)
        ]
    )
