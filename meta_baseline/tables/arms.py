"""The arms of a comparison as tables: every accuracy with its interval, and the means that one compares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.training.arm_accuracy import RATES
from meta_baseline.training.arms_outcome import ArmsOutcome
from meta_baseline.training.contrasts import iterate_tests


def tabulate_arms(result: ArmsOutcome) -> dict[str, pd.DataFrame]:
    """Accuracy of every arm on every task; its means over tasks and seeds; the differences between arms."""
    accuracy = [
        {
            "seed": seed,
            "arm": arm,
            "task": task,
            "held out": not result.trained_on[t],
            "supports": result.test.supports[d] if result.test.steps[k] else 0,
            "adaptation steps": result.test.steps[k],
            "inner rate": _rate_of(result, (s, m, t), k, q),
            "decision rule": result.rules[r],
            "accuracy": result.accuracy[s, m, t, d, k, q, r],
            "low": result.low[s, m, t, d, k, q, r],
            "high": result.high[s, m, t, d, k, q, r],
            "“same” answers": result.same_share[s, m, t, d, k, q, r],
            "majority rate": result.majority_rate[t],
            "images": result.num_queries[t],
            "interval": "Wilson, over images",
        }
        for s, seed in enumerate(result.seeds)
        for m, arm in enumerate(result.arms)
        for t, task in enumerate(result.tasks)
        for d, k, q, r in iterate_tests(result.test, len(result.rules))
    ]
    differences = [
        {
            "difference": f"{contrast.first} - {contrast.second}",
            "tasks": contrast.group,
            "supports": contrast.support if contrast.steps else 0,
            "adaptation steps": contrast.steps,
            "inner rate": contrast.rate if contrast.steps else "",
            "decision rule": contrast.rule,
            "mean": contrast.mean,
            "low": np.nan if contrast.low is None else contrast.low,
            "high": np.nan if contrast.high is None else contrast.high,
            "interval": "Student, over seeds, unadjusted" if contrast.low is not None else "",
            "adjusted p": np.nan if contrast.p_value is None else contrast.p_value,
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
    """A row for each arm, group of tasks and rate, a column for each test: mean over tasks and seeds, by the own rule.

    Arms are adapted at their own rates, and at the common one where that is another.
    """
    rows = []
    for group, members in (("trained", result.trained_on), ("held out", ~result.trained_on)):
        for m, arm in enumerate(result.arms):
            for q, rate in enumerate(RATES):
                row: dict[str, object] = {"tasks": group, "arm": arm, "inner rates": rate}
                for d, k, _, _ in iterate_tests(result.test, 1):
                    steps, support = result.test.steps[k], result.test.supports[d]
                    name = f"{steps} step{'s' * (steps > 1)}, {support}" if steps else "as trained"
                    row[name] = float(result.accuracy[:, m, members, d, k, q, 0].mean()) if members.any() else np.nan
                rows.append(row)
    return pd.DataFrame(rows)


def _rate_of(result: ArmsOutcome, place: tuple[int, int, int], k: int, q: int) -> float | str:
    """The inner rate of one test, as a number where it was not learned."""
    if result.test.steps[k] == 0:
        return ""
    rate = result.test.learning_rate if RATES[q] == "common" else float(result.own_rates[place])
    return "learned" if np.isnan(result.own_rates[place]) else rate
