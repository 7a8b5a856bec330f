"""Whole networks as points: where training started, passed and ended, on two axes fitted to all of them.

A network has millions of weights and there are few networks, so the components come from the networks' Gram matrix,
summed layer by layer. Weights are scaled as everywhere, and everything of the baseline is reordered by the one matching
of its final network, so that a trajectory stays a trajectory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import nn

from meta_baseline.alignment import scale_layer
from meta_baseline.layers import Layer, list_layers
from meta_baseline.weight_space.threads import run_in_threads

FEWEST_POINTS = 3
FITTED = ("meta", "baseline")
_AT_A_TIME = 2**17


@dataclass(frozen=True, kw_only=True)
class NetworkPoint:
    """One network on its way: ``num_images`` seen in training, 0 at step 0, -1 for the end where it is not known."""

    network: str
    num_images: int
    model: nn.Module


@dataclass(frozen=True, kw_only=True)
class NetworkProjection:
    """Networks on the first two principal components of those of both runs; controls do not enter the fit.

    Attributes:
        networks: point by point, "meta" or "baseline", or a control: "untrained", "shuffled", "meta seed", ...
        num_images: [M] seen in training; -1 for an end where it is not known.
        coordinates: [M, 2], in units in which a layer's units have mean norm 1.
        explained: [2] fraction of the variance of the fitted points.
        walk_explained: the fraction that two components would explain if every step between neighbouring points had
            its own length but went in an unrelated direction; a walk in many dimensions is far from 0 (Antognini &
            Sohl-Dickstein 2018, arXiv:1806.08805).
    """

    networks: tuple[str, ...]
    num_images: tuple[int, ...]
    coordinates: Float[np.ndarray, "M 2"]
    explained: Float[np.ndarray, " 2"]
    walk_explained: float


def project_networks(
    points: Sequence[NetworkPoint], roles: Collection[str], workers: int = 1
) -> NetworkProjection | None:
    """Principal components of whole networks; None for fewer than three that are no controls.

    Points of one network come in the order of training. Their units are taken to be in one order.
    """
    fitted = np.array([point.network in FITTED for point in points], dtype=bool)
    if fitted.sum() < FEWEST_POINTS or not roles:
        return None
    gram = sum_gram([point.model for point in points], roles, workers)
    centred = centre_gram(gram, fitted)
    own = centred[np.ix_(fitted, fitted)]
    variances, vectors = np.linalg.eigh(own)
    variances, vectors = variances[::-1][:2], vectors[:, ::-1][:, :2]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    total = float(np.trace(own))
    if total <= 1e-12 * float(np.trace(gram)):
        return None
    scale = np.sqrt(np.maximum(variances, 1e-12 * total))
    return NetworkProjection(
        networks=tuple(point.network for point in points),
        num_images=tuple(point.num_images for point in points),
        coordinates=centred[:, fitted] @ vectors / scale,
        explained=np.maximum(variances, 0.0) / total,
        walk_explained=_walk_explained([p.network for p in points], gram),
    )


def sum_gram(models: Sequence[nn.Module], roles: Collection[str], workers: int = 1) -> Float[np.ndarray, "M M"]:
    """Inner products of the networks' scaled weights; as many layers in memory at a time as there are workers."""
    chosen = [[layer for layer in list_layers(model) if layer.role in roles] for model in models]

    def multiply(same_role: tuple[Layer, ...]) -> Float[np.ndarray, "M M"]:
        gram = np.zeros((len(models), len(models)))
        rows = [scale_layer(model, layer).weight.reshape(-1) for model, layer in zip(models, same_role)]
        for start in range(0, len(rows[0]), _AT_A_TIME):
            block = np.stack([row[start : start + _AT_A_TIME] for row in rows]).astype(np.float64)
            gram += block @ block.T
        return gram

    return np.sum(run_in_threads(multiply, list(zip(*chosen, strict=True)), workers), axis=0)


def centre_gram(gram: Float[np.ndarray, "M M"], fitted: np.ndarray) -> Float[np.ndarray, "M M"]:
    """Inner products after the mean of the fitted points was subtracted from all."""
    weights = fitted / fitted.sum()
    means = gram @ weights
    return gram - means[:, None] - means[None, :] + float(weights @ means)


def _walk_explained(networks: Sequence[str], gram: Float[np.ndarray, "M M"]) -> float:
    """Share of two components if all steps were perpendicular: each step is an axis of its own, as long as it was."""
    places: dict[int, Float[np.ndarray, " M"]] = {}
    latest: dict[str, int] = {}
    for i, network in enumerate(networks):
        if network not in FITTED:
            continue
        before = latest.get(network, next(iter(places), None))
        place = np.zeros(len(networks)) if before is None else places[before].copy()
        if before is not None:
            place[i] = np.sqrt(max(gram[i, i] + gram[before, before] - 2 * gram[i, before], 0.0))
        places[i] = place
        latest[network] = i
    walk = np.array(list(places.values()))
    spectrum = np.linalg.svd(walk - walk.mean(axis=0), compute_uv=False) ** 2
    return float(spectrum[:2].sum() / spectrum.sum()) if spectrum.sum() > 0 else float("nan")
