"""How well the networks learned, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from meta_baseline.training.evaluation import TrainingOutcome


def tabulate_training(result: TrainingOutcome) -> dict[str, pd.DataFrame]:
    """Accuracy of every network on every task; the differences of the two; where the learning curves rose."""
    accuracy = [
        {
            "network": network,
            "task": task,
            "held out": not result.trained_on[t],
            "adaptation steps": steps,
            "inner rate": result.inner_rates[s, t] if steps else np.nan,
            "accuracy": result.accuracy[s, t, k],
            "low": result.low[s, t, k],
            "high": result.high[s, t, k],
            "batch norm refitted": result.refitted_accuracy[s, t] if steps == 0 else np.nan,
            "“same” answers": result.same_share[s, t, k],
            "majority rate": result.majority_rate[t],
            "images": result.num_queries[t],
        }
        for s, network in enumerate(result.networks)
        for t, task in enumerate(result.tasks)
        for k, steps in enumerate(result.test.steps)
    ]
    differences = [
        {
            "tasks": comparison.group,
            "adaptation steps": comparison.steps,
            "meta": comparison.meta,
            "baseline": comparison.baseline,
            "meta - baseline": comparison.difference,
            "low": comparison.low,
            "high": comparison.high,
            "images": comparison.num_images,
        }
        for comparison in result.comparisons
    ]
    curves = [
        {
            "network": curve.network,
            "images to 60 %": curve.plateau_end(0.6) or np.nan,
            "images to 80 %": curve.plateau_end(0.8) or np.nan,
            "images in all": int(curve.images[-1]),
            "last accuracy": curve.accuracy[-1],
        }
        for curve in result.curves
    ]
    tables = {"accuracy_by_task": pd.DataFrame(accuracy), "differences": pd.DataFrame(differences)}
    return tables | ({"learning_curves": pd.DataFrame(curves)} if curves else {})
