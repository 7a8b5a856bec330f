"""The analysis of adaptation as tables."""

from __future__ import annotations

import pandas as pd

from meta_baseline.adaptation import AdaptationResult
from meta_baseline.adaptation_space.contrasts import average


def tabulate_adaptation(result: AdaptationResult) -> dict[str, pd.DataFrame]:
    """Tables by file name: accuracy, freezing, layers, coherence, networks; intervals are over episodes."""
    return {
        "accuracy": _tabulate_accuracy(result),
        "freezing": _tabulate_freezing(result),
        "layers": _tabulate_layers(result),
        "coherence": _tabulate_coherence(result),
        "networks": _tabulate_networks(result),
    }


def _tabulate_accuracy(result: AdaptationResult) -> pd.DataFrame:
    """One row per network, support size and number of steps."""
    rows = []
    for subject in result.facts.subjects:
        for z, size in enumerate(result.facts.settings.support_sizes):
            for k, steps in enumerate(result.facts.settings.steps):
                mean = average(subject.accuracy[:, z, k], most=1.0)
                rows.append(
                    {
                        "network": subject.name,
                        "support": size,
                        "steps": steps,
                        "accuracy": mean.value,
                        "low": mean.low,
                        "high": mean.high,
                        "episodes": result.facts.num_episodes,
                        "queries each": result.facts.num_queries,
                    }
                )
    return pd.DataFrame(rows)


def _tabulate_freezing(result: AdaptationResult) -> pd.DataFrame:
    """One row per network and rung: nothing adapts, the last layer, the last two, ..., everything."""
    rows = []
    for subject in result.facts.subjects:
        rungs = [("nothing", subject.nothing), *zip(reversed(subject.roles), subject.ladder.T[::-1])]
        for number, (role, accuracies) in enumerate(rungs):
            mean, over = average(accuracies, most=1.0), average(accuracies - subject.nothing)
            rows.append(
                {
                    "network": subject.name,
                    "adapts": role if number == 0 else f"last {number}" if number < len(rungs) - 1 else "everything",
                    "from": role if number else "",
                    "accuracy": mean.value,
                    "low": mean.low,
                    "high": mean.high,
                    "over nothing": over.value,
                    "over nothing low": over.low,
                    "over nothing high": over.high,
                }
            )
    return pd.DataFrame(rows)


def _tabulate_layers(result: AdaptationResult) -> pd.DataFrame:
    """One row per network and layer."""
    rows = []
    for subject in result.facts.subjects:
        verdicts = result.facts.layer_verdicts[subject.name]
        for layer, role in enumerate(subject.roles):
            added = average(subject.added[:, layer], level=1 - 0.05 / len(subject.roles))
            cka = average(subject.cka[:, layer], most=1.0)
            rows.append(
                {
                    "network": subject.name,
                    "layer": role,
                    "verdict": verdicts[layer],
                    "adds": added.value,
                    "adds low": added.low,
                    "adds high": added.high,
                    "alone over nothing": average(subject.alone[:, layer] - subject.nothing).value,
                    "weight change": average(subject.weight_change[:, layer]).value,
                    "CKA before, after": cka.value,
                    "CKA low": cka.low,
                    "CKA high": cka.high,
                    "Procrustes angle": average(subject.procrustes[:, layer]).value,
                    "nearest mean before": average(subject.centroid_before[:, layer]).value,
                    "nearest mean after": average(subject.centroid_after[:, layer]).value,
                }
            )
    return pd.DataFrame(rows)


def _tabulate_coherence(result: AdaptationResult) -> pd.DataFrame:
    """One row per network and layer: mean cosines of different episodes' paths and gradients."""
    rows = []
    for subject in result.facts.subjects:
        for layer, role in enumerate((*subject.roles, "all layers")):
            path, gradient = subject.path_coherence[layer], subject.gradient_coherence[layer]
            rows.append(
                {
                    "network": subject.name,
                    "layer": role,
                    "paths": path.value,
                    "paths, shuffled labels": path.null,
                    "beyond": path.beyond,
                    "low": path.low,
                    "high": path.high,
                    "gradients": gradient.value,
                    "gradients, shuffled labels": gradient.null,
                    "gradients beyond": gradient.beyond,
                    "gradients low": gradient.low,
                    "gradients high": gradient.high,
                }
            )
    return pd.DataFrame(rows)


def _tabulate_networks(result: AdaptationResult) -> pd.DataFrame:
    """One row per network."""
    rows = []
    for subject in result.facts.subjects:
        gain, below = average(subject.gain), average(subject.ladder[:, 0] - subject.ladder[:, -1])
        rows.append(
            {
                "network": subject.name,
                "verdict": result.facts.verdicts[subject.name],
                "gain": gain.value,
                "gain low": gain.low,
                "gain high": gain.high,
                "below head": below.value,
                "below head low": below.low,
                "below head high": below.high,
                **{
                    f"gain at {factor:g} x rate": average(subject.other_rates[:, number] - subject.nothing).value
                    for number, factor in enumerate(result.facts.settings.rate_factors)
                },
                "before, batch norm refitted": average(subject.refitted).value,
                "without head, before": average(subject.without_head_before).value,
                "without head, after": average(subject.without_head_after).value,
                "sharpness before": average(subject.sharpness_before).value,
                "sharpness after": average(subject.sharpness_after).value,
            }
        )
    return pd.DataFrame(rows)
