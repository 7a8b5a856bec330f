"""The sparse autoencoders as tables: dictionaries, matching, stability, features and what they follow."""

from __future__ import annotations

import pandas as pd

from meta_baseline.dictionaries.estimates import VARIANT_NAMES
from meta_baseline.sparse_autoencoders import AutoencoderResult


def tabulate_autoencoders(result: AutoencoderResult) -> dict[str, pd.DataFrame]:
    """``dictionaries``, ``matching``, ``stability``, ``selectivity`` and ``features``, each one row per item."""
    layers = result.study.layers
    tables = {
        "dictionaries": _tabulate_dictionaries(result),
        "matching": pd.DataFrame(
            [
                {
                    "layer": matching.layer,
                    "kind": matching.kind,
                    "first": matching.first,
                    "second": matching.second,
                    "over": matching.unit,
                    "correlation": matching.mean,
                    "unweighted": matching.plain_mean,
                    "pairs above .7": float((matching.correlations > 0.7).mean()),
                    "pairs": len(matching.correlations),
                }
                for layer in layers
                for matching in layer.matchings
            ]
        ),
        "stability": pd.DataFrame(
            [
                {
                    "layer": stability.layer,
                    "network": stability.network,
                    "mean max cosine": stability.cosine,
                    "random directions": stability.chance,
                }
                for layer in layers
                for stability in layer.stability
            ]
        ),
        "selectivity": pd.DataFrame(
            [
                {
                    "layer": row.layer,
                    "network": row.network,
                    "target": row.target,
                    "feature": row.feature,
                    "rank correlation": row.correlation,
                    "best by chance": row.chance,
                    "AUC": row.auc,
                    "features": row.num_features,
                    "images": row.num_images,
                }
                for layer in layers
                for row in layer.selectivity
            ]
        ),
        "features": _tabulate_features(result),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _tabulate_dictionaries(result: AutoencoderResult) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "layer": facts.layer,
                "network": facts.network,
                "variant": VARIANT_NAMES[facts.variant],
                "seed": facts.seed,
                "channels": facts.num_channels,
                "atoms": facts.num_atoms,
                "L0": facts.fidelity.l0,
                "variance explained": facts.fidelity.fve,
                "low": facts.fve_low,
                "high": facts.fve_high,
                "with ink": facts.fidelity.fve_foreground,
                "PCA": facts.pca_fve,
                "PCA with ink": facts.pca_fve_foreground,
                "dead": facts.fidelity.dead_fraction,
                "dense": facts.fidelity.dense_fraction,
                "gamma": facts.mean_ratio,
                "L1 weight": facts.l1_coefficient,
                "samples": facts.num_train,
                "held-out samples": facts.num_held_out,
            }
            for layer in result.study.layers
            for facts in layer.dictionaries
        ]
    )


def _tabulate_features(result: AutoencoderResult) -> pd.DataFrame:
    """One row per patch of the galleries: where it is."""
    return pd.DataFrame(
        [
            {
                "layer": gallery.layer,
                "network": gallery.network,
                "feature": int(feature),
                "variance lost": float(gallery.variance_lost[f]),
                "rank": b + 1,
                "image": int(gallery.image[f, b]),
                "row": int(gallery.row[f, b]),
                "column": int(gallery.column[f, b]),
                "activation": float(gallery.activation[f, b]),
            }
            for layer in result.study.layers
            for gallery in layer.galleries
            for f, feature in enumerate(gallery.feature)
            for b in range(gallery.image.shape[1])
            if gallery.image[f, b] >= 0
        ]
    )
