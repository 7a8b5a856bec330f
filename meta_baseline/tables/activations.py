"""The activation analysis as tables."""

from __future__ import annotations

import pandas as pd

from meta_baseline.activation_analysis import ActivationResult
from meta_baseline.representations.agreement import SimilarityTable
from meta_baseline.tables.activation_details import tabulate_details
from meta_baseline.tables.similarity import tabulate_similarity_measures


def tabulate_activations(result: ActivationResult) -> dict[str, pd.DataFrame]:
    """Tables by file name: agreement, layers, relations, similarity (long form), latents in the planes, details."""
    return {
        "agreement": _tabulate_agreement(result),
        "layers": _tabulate_layers(result),
        "relations": _tabulate_relations(result),
        "similarity": pd.concat([_lengthen(table) for table in result.facts.tables], ignore_index=True),
        "latents": _tabulate_latents(result),
        **tabulate_similarity_measures(result.facts.matched),
        **tabulate_details(result.facts),
    }


def _tabulate_agreement(result: ActivationResult) -> pd.DataFrame:
    """One row per pair of layers: debiased CKA, its control, and both with the pixels taken out."""
    rows = []
    for layer in result.facts.matched:
        low, high = layer.band("cka")
        rows.append(
            {
                "layer": layer.role,
                "debiased CKA": layer.cka,
                "low": layer.cka_low,
                "high": layer.cka_high,
                "untrained pairs": layer.control("cka")[0],
                "band low": low,
                "band high": high,
                "beside the band": layer.verdict,
                "pixels out": layer.partial_cka,
                "pixels out low": layer.partial_low,
                "pixels out high": layer.partial_high,
                "untrained, pixels out": layer.control("partial_cka")[0],
                "images": layer.num_images,
            }
        )
    return pd.DataFrame(rows)


def _tabulate_relations(result: ActivationResult) -> pd.DataFrame:
    """One row per pair of layers: the other measures, and debiased CKA with pixels, step 0 and untrained networks."""
    rows = [
        {
            "layer": layer.role,
            "biased CKA": layer.biased_cka,
            "untrained biased CKA": layer.control("biased_cka")[0],
            "Procrustes angle": layer.procrustes,
            "untrained angle": layer.control("procrustes")[0],
            "RSA": layer.rank_agreement,
            "untrained RSA": layer.control("rank_agreement")[0],
            "images (angle, RSA)": layer.num_images_distances,
            "meta with pixels": layer.pixels_meta,
            "baseline with pixels": layer.pixels_baseline,
            "untrained with pixels": layer.pixels_untrained,
            "meta with its step 0": layer.meta_initial,
            "baseline with its step 0": layer.baseline_initial,
            "meta with untrained": layer.meta_untrained,
            "baseline with untrained": layer.baseline_untrained,
        }
        for layer in result.facts.matched
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _tabulate_layers(result: ActivationResult) -> pd.DataFrame:
    """One row per network and layer."""
    rows = []
    for layer in result.facts.statistics:
        rows.append(
            {
                "network": layer.network,
                "layer": layer.role,
                "map": " x ".join(map(str, layer.map_shape)),
                "channels": layer.num_channels,
                "zeros": layer.zero_fraction,
                "dead channels": layer.num_dead,
                "constant channels": layer.num_constant,
                "always on": layer.num_always_on,
                "mean": layer.mean,
                "sd": layer.sd,
                "sparseness (images)": layer.lifetime_sparseness,
                "sparseness (channels)": layer.population_sparseness,
                "effective dimensions": layer.participation_ratio,
                "TwoNN": layer.local_dimension.value,
                "TwoNN low": layer.local_dimension.low,
                "TwoNN high": layer.local_dimension.high,
                "TwoNN of half": layer.local_dimension.at_half,
                "d'": layer.separability,
                "d' low": layer.separability_low,
                "d' high": layer.separability_high,
            }
        )
    return pd.DataFrame(rows)


def _lengthen(table: SimilarityTable) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "table": table.title + (", pixels taken out" if table.without_pixels else ""),
                "row layer": row,
                "column layer": column,
                "debiased CKA": float(value),
            }
            for row, values in zip(table.rows, table.values)
            for column, value in zip(table.columns, values)
        ]
    )


def _tabulate_latents(result: ActivationResult) -> pd.DataFrame:
    """One row per network and layer: explained variance of its plane and the share of each latent in it."""
    return pd.DataFrame(
        [
            {
                "network": plane.network,
                "layer": plane.role,
                "component 1": float(plane.explained[0]),
                "component 2": float(plane.explained[1]),
                **dict(zip(result.facts.latent_names, map(float, plane.latent_shares))),
            }
            for plane in result.facts.planes
        ]
    )
