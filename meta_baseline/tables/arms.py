"""The arms of a comparison as tables: every accuracy with its interval, and the means that one compares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.training.arms_outcome import ArmsOutcome


def tabulate_arms(result: ArmsOutcome) -> dict[str, pd.DataFrame]:
    """Accuracy of every arm on every task; its means over tasks and seeds; the differences between arms."""
    accuracy = [
        {
            "seed": seed,
            "arm": arm,
            "task": task,
            "held out": not result.trained_on[t],
            "supports": support if steps else 0,
            "adaptation steps": steps,
            "decision rule": rule,
            "accuracy": result.accuracy[s, m, t, d, k, r],
            "low": result.low[s, m, t, d, k, r],
            "high": result.high[s, m, t, d, k, r],
            "“same” answers": result.same_share[s, m, t, d, k, r],
            "majority rate": result.majority_rate[t],
            "images": result.num_queries[t],
        }
        for s, seed in enumerate(result.seeds)
        for m, arm in enumerate(result.arms)
        for t, task in enumerate(result.tasks)
        for d, support in enumerate(result.test.supports)
        for k, steps in enumerate(result.test.steps)
        for r, rule in enumerate(result.rules)
        if steps > 0 or d == 0
    ]
    differences = [
        {
            "difference": f"{contrast.first} - {contrast.second}",
            "tasks": contrast.group,
            "supports": contrast.support if contrast.steps else 0,
            "adaptation steps": contrast.steps,
            "decision rule": contrast.rule,
            "mean": contrast.mean,
            "low": np.nan if contrast.low is None else contrast.low,
            "high": np.nan if contrast.high is None else contrast.high,
            "by seed": " ".join(f"{value:+.4f}" for value in contrast.differences),
        }
        for contrast in result.contrasts
    ]
    return {
        "accuracy": pd.DataFrame(accuracy),
        "summary": summarise_arms(result),
        "differences": pd.DataFrame(differences),
    }


def summarise_arms(result: ArmsOutcome) -> pd.DataFrame:
    """One row for each arm and group of tasks, one column for each test: mean over tasks and seeds, by the own rule."""
    rows = []
    for group, members in (("trained", result.trained_on), ("held out", ~result.trained_on)):
        for m, arm in enumerate(result.arms):
            row: dict[str, object] = {"tasks": group, "arm": arm}
            for d, support in enumerate(result.test.supports):
                for k, steps in enumerate(result.test.steps):
                    if steps == 0 and d > 0:
                        continue
                    name = f"{steps} steps, {support}" if steps else "as trained"
                    row[name] = float(result.accuracy[:, m, members, d, k, 0].mean()) if members.any() else np.nan
            rows.append(row)
    return pd.DataFrame(rows)
