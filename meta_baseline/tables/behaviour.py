"""The behaviour of the networks on the stimuli as a table."""

from __future__ import annotations

import pandas as pd

from meta_baseline.behaviour import BehaviourResult


def tabulate_behaviour(result: BehaviourResult) -> dict[str, pd.DataFrame]:
    """One row per network: accuracy under its own and the other decision rule, answers, AUC."""
    rows = [
        {
            "network": network.network,
            "decision rule": network.rule,
            "accuracy": network.accuracy,
            "low": network.low,
            "high": network.high,
            "by other rule": network.other_accuracy,
            "class-1 answers": network.class_1_share,
            "AUC": network.auc,
            "images": network.num_images,
        }
        for network in result.networks
    ]
    return {"accuracy": pd.DataFrame(rows)}
