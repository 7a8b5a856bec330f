"""What layers, units and images do, as tables: latents in the variance, selective units, paths, extremes, mean maps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.representations.facts import RepresentationFacts

_OWN = ("meta", "baseline")


def tabulate_details(facts: RepresentationFacts) -> dict[str, pd.DataFrame]:
    """Tables by file name: explained, units, paths, extremes, mean_maps; empty ones are left out."""
    tables = {
        "explained": _tabulate_explained(facts),
        "units": _tabulate_units(facts),
        "paths": _tabulate_paths(facts),
        "extremes": _tabulate_extremes(facts),
        "mean_maps": _tabulate_mean_maps(facts),
    }
    return {name: frame for name, frame in tables.items() if len(frame)}


def _tabulate_explained(facts: RepresentationFacts) -> pd.DataFrame:
    """One row per layer and target: share of variance in both networks, and in untrained ones."""
    known = {(s.network, s.role, s.target): s for s in facts.explained}
    rows = []
    for role, target in dict.fromkeys((s.role, s.target) for s in facts.explained if s.network in _OWN):
        row: dict[str, object] = {"layer": role, "target": target}
        for network in _OWN:
            if (found := known.get((network, role, target))) is not None:
                row |= {
                    network: found.share,
                    f"{network} low": found.low,
                    f"{network} high": found.high,
                    f"{network} by chance": found.chance,
                }
        row["untrained"] = _mean(
            [s.share for s in facts.explained if (s.role, s.target) == (role, target) and s.network not in _OWN]
        )
        rows.append(row)
    return pd.DataFrame(rows)


def _tabulate_units(facts: RepresentationFacts) -> pd.DataFrame:
    """One row per layer and target: share of selective units, and the best unit with its held-out correlation."""
    known = {(u.network, u.role, u.target): u for u in facts.units}
    rows = []
    for role, target in dict.fromkeys((u.role, u.target) for u in facts.units if u.network in _OWN):
        row: dict[str, object] = {"layer": role, "target": target}
        for network in _OWN:
            if (found := known.get((network, role, target))) is not None:
                row |= {
                    f"{network} selective": found.num_selective / found.num_units,
                    f"{network} best": found.best,
                    f"{network} correlation": found.correlation,
                    f"{network} held out": found.held_out,
                    f"{network} by chance": found.chance,
                }
        others = [u for u in facts.units if (u.role, u.target) == (role, target) and u.network not in _OWN]
        row["untrained selective"] = _mean([u.num_selective / u.num_units for u in others])
        row["untrained held out"] = _mean([u.held_out for u in others])
        rows.append(row)
    return pd.DataFrame(rows)


def _tabulate_paths(facts: RepresentationFacts) -> pd.DataFrame:
    """One row per network and layer: what the shared axes see of it, and how far apart the classes lie on them."""
    return pd.DataFrame(
        [
            {
                "network": step.network,
                "layer": step.role,
                "share on the axes": step.seen,
                "classes apart (sd)": step.class_distance,
                "by chance": step.class_chance,
            }
            for step in facts.paths.paths
        ]
    )


def _tabulate_extremes(facts: RepresentationFacts) -> pd.DataFrame:
    """One row per channel that is shown; all channels are in the saved result."""
    layers = {(one.network, one.role): one for one in facts.extremes}
    rows = []
    for shown in facts.shown:
        layer = layers[shown.network, shown.role]
        rows.append(
            {
                "network": shown.network,
                "layer": shown.role,
                "channel": shown.channel,
                "why": shown.why,
                "most (image: value)": _list(layer.top[shown.channel], layer.top_values[shown.channel]),
                "least (image: value)": _list(layer.least[shown.channel], layer.least_values[shown.channel]),
                "equally low": int(layer.num_lowest[shown.channel]),
            }
        )
    return pd.DataFrame(rows)


def _tabulate_mean_maps(facts: RepresentationFacts) -> pd.DataFrame:
    """One row per network and convolution: the largest difference of the classes at a place."""
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "layer": one.role,
                "places": one.difference.size,
                "largest difference (sd)": float(np.abs(one.difference).max()),
                "by chance": one.chance,
                "places beyond": int((np.abs(one.difference) > one.chance).sum()),
            }
            for one in facts.mean_maps
        ]
    )


def _list(images: np.ndarray, values: np.ndarray) -> str:
    return ", ".join(f"{image}: {value:.3g}" for image, value in zip(images, values) if image >= 0)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
