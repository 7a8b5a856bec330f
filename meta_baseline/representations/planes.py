"""A layer as a picture: its first two principal components over the images, and which latents lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse.linalg import eigsh

_CLASS_LATENTS = ("identity", "same", "label")


@dataclass(frozen=True, kw_only=True)
class PrincipalPlane:
    """Images of one layer on the two directions in which they vary most.

    Each layer of each network has its own directions: positions can be compared inside a plane, not between planes.

    Attributes:
        network, role: of the layer.
        scores: one point per image; the image farthest out on a component has a positive score there.
        explained: fraction of the layer's variance on each component.
        latent_shares: fraction of each latent's variance that a linear function of the two scores gives, in the order
            of the result's ``latent_names``.
    """

    network: str
    role: str
    scores: Float[ndarray, "N 2"]
    explained: Float[ndarray, " 2"]
    latent_shares: Float[ndarray, " V"]


def find_plane(
    gram: Float[ndarray, "N N"], *, network: str, role: str, latents: Float[ndarray, "N V"]
) -> PrincipalPlane:
    """The plane of a layer from its centred Gram matrix; all zero where the layer is constant."""
    n = len(gram)
    total = float(np.trace(gram))
    scores, explained = np.zeros((n, 2)), np.zeros(2)
    if total > 0:
        # A start that is the same on every run; random starts would give other bytes.
        start = np.random.default_rng(0).normal(size=n)
        values, vectors = eigsh(gram / total, k=2, v0=start)
        order = np.argsort(values)[::-1]
        explained = np.clip(values[order], 0.0, 1.0)
        scores = vectors[:, order] * np.sqrt(explained * total)
        farthest = scores[np.abs(scores).argmax(axis=0), [0, 1]]
        scores = scores * np.where(farthest < 0, -1.0, 1.0)
    return PrincipalPlane(
        network=network,
        role=role,
        scores=scores,
        explained=explained,
        latent_shares=_explain(latents, scores),
    )


def choose_latents(latents: pd.DataFrame, labels: Int[ndarray, " N"]) -> tuple[str, ...]:
    """Latents that can colour a picture: they vary, are more than a class or a name, and are not the label."""
    chosen: list[str] = []
    for name in latents.columns:
        values = latents[name].to_numpy(dtype=np.float64)
        if name in _CLASS_LATENTS or len(np.unique(values)) < 3 or not np.isfinite(values).all():
            continue
        if abs(float(np.corrcoef(values, labels)[0, 1])) < 0.95 or labels.min() == labels.max():
            chosen.append(str(name))
    return tuple(chosen)


def strongest_latent(planes: Sequence[PrincipalPlane], names: Sequence[str]) -> str:
    """The latent with the largest mean share over the planes; "" when there is none to choose from.

    A choice for colouring, made on the same images: not evidence that this latent matters more than another.
    """
    if not names or not planes:
        return ""
    return names[int(np.mean([plane.latent_shares for plane in planes], axis=0).argmax())]


def _explain(latents: Float[ndarray, "N V"], scores: Float[ndarray, "N 2"]) -> Float[ndarray, " V"]:
    centred = latents - latents.mean(axis=0)
    spread = (centred**2).sum(axis=0)
    length = np.linalg.norm(scores, axis=0)
    axes = np.divide(scores, length, out=np.zeros_like(scores), where=length > 0)
    # The two components are orthogonal, so the shares on them add up.
    return ((axes.T @ centred) ** 2).sum(axis=0) / np.where(spread > 0, spread, 1.0)
