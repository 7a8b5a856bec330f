"""The analysis of adaptation as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.adaptation import AdaptationResult
from meta_baseline.adaptation_space.facts import AdaptationFacts


def tabulate_adaptation(result: AdaptationResult) -> dict[str, pd.DataFrame]:
    """Tables by file name; intervals are over episodes."""
    tabulations = {
        "accuracy": _tabulate_accuracy,
        "freezing": _tabulate_freezing,
        "layers": _tabulate_layers,
        "coherence": _tabulate_coherence,
        "networks": _tabulate_networks,
        "tasks": _tabulate_tasks,
        "resemblance": _tabulate_resemblance,
    }
    return {name: _join([tabulate(part) for part in result.facts.parts]) for name, tabulate in tabulations.items()}


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The images of the study, then tasks held out, in one table."""
    if len(parts) == 1:
        return parts[0]
    for part, images in zip(parts, ("of the study", "held out")):
        part.insert(1, "images", images)
    return pd.concat(parts, ignore_index=True)


def _tabulate_accuracy(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network, support size and number of steps."""
    rows = []
    for subject in facts.subjects:
        for z, size in enumerate(facts.settings.support_sizes):
            for k, steps in enumerate(facts.settings.steps):
                mean = subject.average(subject.accuracy[:, z, k], most=1.0)
                rows.append(
                    {
                        "network": subject.name,
                        "support": size,
                        "steps": steps,
                        "accuracy": mean.value,
                        "low": mean.low,
                        "high": mean.high,
                        "episodes": int(np.isfinite(subject.accuracy[:, z, k]).sum()),
                        "queries each": int(facts.num_queries.min()),
                    }
                )
    return pd.DataFrame(rows)


def _tabulate_freezing(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network and rung: nothing adapts, the last layer, the last two, ..., everything."""
    rows = []
    for subject in facts.subjects:
        rungs = [("nothing", subject.nothing), *zip(reversed(subject.roles), subject.ladder.T[::-1])]
        for number, (role, accuracies) in enumerate(rungs):
            mean, over = subject.average(accuracies, most=1.0), subject.average(accuracies - subject.nothing)
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


def _tabulate_layers(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network and layer."""
    rows = []
    for subject in facts.subjects:
        verdicts = facts.layer_verdicts[subject.name]
        for layer, role in enumerate(subject.roles):
            added = subject.average(subject.added[:, layer], level=1 - 0.05 / len(subject.roles))
            cka = subject.average(subject.cka[:, layer], most=1.0)
            alone = subject.average(subject.alone[:, layer] - subject.nothing, level=1 - 0.05 / len(subject.roles))
            rows.append(
                {
                    "network": subject.name,
                    "layer": role,
                    "verdict": verdicts[layer],
                    "adds": added.value,
                    "adds low": added.low,
                    "adds high": added.high,
                    "alone over nothing": alone.value,
                    "alone low": alone.low,
                    "alone high": alone.high,
                    "weight change": subject.average(subject.weight_change[:, layer]).value,
                    "CKA before, after": cka.value,
                    "CKA low": cka.low,
                    "CKA high": cka.high,
                    "Procrustes angle": subject.average(subject.procrustes[:, layer]).value,
                    "nearest mean before": subject.average(subject.centroid_before[:, layer]).value,
                    "nearest mean after": subject.average(subject.centroid_after[:, layer]).value,
                }
            )
    return pd.DataFrame(rows)


def _tabulate_coherence(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network and layer: mean cosines of different episodes' paths and gradients."""
    rows = []
    for subject in facts.subjects:
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


def _tabulate_networks(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network."""
    rows = []
    for subject in facts.subjects:
        gain, below = subject.average(subject.gain), subject.average(subject.below_head)
        rows.append(
            {
                "network": subject.name,
                "verdict": facts.verdicts[subject.name],
                "gain": gain.value,
                "gain low": gain.low,
                "gain high": gain.high,
                "below head": below.value,
                "below head low": below.low,
                "below head high": below.high,
                **{
                    f"gain at {factor:g} x rate": subject.average(
                        subject.other_rates[:, number] - subject.nothing
                    ).value
                    for number, factor in enumerate(facts.settings.rate_factors)
                },
                "before, batch norm refitted": subject.average(subject.refitted).value,
                "without head, before": subject.average(subject.without_head_before).value,
                "without head, after": subject.average(subject.without_head_after).value,
                "sharpness before": subject.average(subject.sharpness_before).value,
                "sharpness after": subject.average(subject.sharpness_after).value,
            }
        )
    return pd.DataFrame(rows)


def _tabulate_tasks(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per network and task: what adaptation gains on each."""
    rows = []
    for subject in facts.subjects:
        for number in dict.fromkeys(subject.tasks.tolist()):
            own = subject.among(subject.episodes[subject.tasks == number])
            before, gain = own.average(own.nothing, most=1.0), own.average(own.gain)
            rows.append(
                {
                    "network": subject.name,
                    "task": facts.tasks[number],
                    "before": before.value,
                    "gain": gain.value,
                    "gain low": gain.low,
                    "gain high": gain.high,
                    "episodes": len(own.episodes),
                }
            )
    return pd.DataFrame(rows)


def _tabulate_resemblance(facts: AdaptationFacts) -> pd.DataFrame:
    """One row per pair of networks and layer: debiased CKA on the same queries before and after adaptation."""
    rows = []
    for pair in facts.resemblances:
        subject = facts.subjects[0]
        for layer, role in enumerate(pair.roles):
            change = subject.average(pair.after[:, layer] - pair.before[:, layer], level=1 - 0.05 / len(pair.roles))
            rows.append(
                {
                    "networks": " and ".join(pair.networks),
                    "layer": role,
                    "CKA before": subject.average(pair.before[:, layer]).value,
                    "CKA after": subject.average(pair.after[:, layer]).value,
                    "change": change.value,
                    "change low": change.low,
                    "change high": change.high,
                }
            )
    return pd.DataFrame(rows)
