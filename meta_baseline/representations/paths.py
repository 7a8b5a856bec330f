"""How images move through the layers of several networks, in one plane that all layers of all networks share.

Layers have different units and different numbers of them, so there is no common space to begin with. Two are made:

- Of *images*: every layer's Gram matrix, scaled to trace 1, is a geometry of the same images; their mean is the
  compromise, its first two principal components are the axes, and each layer's images are projected onto them (partial
  scores; STATIS: Abdi, Williams, Valentin & Bennani-Dosse 2012, WIREs Computational Statistics 4:124). Nothing is
  rotated to fit, so nothing drifts from layer to layer; the mean of an image's places over the layers of the
  compromise is its place in the compromise. What a layer does in other directions is not seen: the share that is seen
  stands beside it.
- Of *layers*: the angle between two geometries (arccos of debiased CKA) is a distance; classical scaling (Torgerson
  1952, Psychometrika 17:401) lays the layers out so that distances are kept as well as two dimensions can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from meta_baseline import similarity

PIXELS = "pixels"
NUM_SHUFFLES = 200


@dataclass(frozen=True, kw_only=True)
class ImagePath:
    """The images in one layer of one network, on the shared axes.

    Attributes:
        network, role: of the layer; role "pixels" is the input itself, the same for all networks.
        scores: partial scores; the whole layer has variance 1, summed over all its directions.
        seen: share of that variance in the plane.
        class_distance: between the means of the two classes in the plane, in sds of the layer (root of its variance).
        class_chance: 95 % of that when classes change places among the images, whole identities together.
    """

    network: str
    role: str
    scores: Float[ndarray, "n 2"]
    seen: float
    class_distance: float
    class_chance: float


@dataclass(frozen=True, kw_only=True)
class LayerPlace:
    """One layer of one network among all layers: its place in the plane of classical scaling."""

    network: str
    role: str
    place: Float[ndarray, " 2"]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Images through layers, and layers among layers.

    Attributes:
        images: their numbers among the chosen images of the analysis.
        paths: of every network that has one, "pixels" first, then layer by layer.
        compromise: share of the compromise's variance on each of the two axes.
        axis_latents: for each axis the latent that the compromise's scores correlate with most; "" without latents.
        axis_correlations: how much; a choice for colouring, made on the same images.
        axis_values: the values of those latents.
        places: of every layer of every network, and of the pixels (network "pixels").
        distances_seen: correlation of the distances in the plane of ``places`` with those they stand for.
    """

    images: Int[ndarray, " n"]
    paths: tuple[ImagePath, ...]
    compromise: Float[ndarray, " 2"]
    axis_latents: tuple[str, ...]
    axis_correlations: Float[ndarray, " 2"]
    axis_values: Float[ndarray, "n 2"]
    places: tuple[LayerPlace, ...]
    distances_seen: float

    def of(self, network: str) -> tuple[ImagePath, ...]:
        """The path of one network, the pixels first."""
        return tuple(path for path in self.paths if path.network in (network, PIXELS))


def trace_paths(
    grams: Mapping[tuple[str, str], Float[ndarray, "n n"]],
    pixels: Float[ndarray, "n n"],
    *,
    images: Int[ndarray, " n"],
    followed: tuple[str, ...],
    labels: Int[ndarray, " n"],
    latents: Float[ndarray, "n V"],
    latent_names: Sequence[str],
    shuffles: Int[ndarray, "R n"],
) -> Paths:
    """Paths through the layers whose Gram matrices are given, by network and role, in order.

    Args:
        grams: over the same n images; constant layers are left out.
        pixels: Gram matrix of the images themselves, where every path starts.
        images: the numbers of the n images.
        followed: networks that are drawn; the compromise is of them and the pixels, each network counting the same.
        labels: classes of the n images.
        latents, latent_names: of the n images.
        shuffles: which image's class each image gets, for the chance of class distances.
    """
    scaled = {key: unit for key, gram in grams.items() if (unit := _scale(gram)) is not None}
    start = _scale(pixels)
    if start is not None:
        scaled = {(PIXELS, PIXELS): start, **scaled}
    chosen = [(network, role) for network, role in scaled if network in (*followed, PIXELS)]
    if not chosen:
        return Paths(
            images=images,
            paths=(),
            compromise=np.zeros(2),
            axis_latents=("", ""),
            axis_correlations=np.zeros(2),
            axis_values=np.zeros((len(labels), 2)),
            places=(),
            distances_seen=float("nan"),
        )
    counts = {name: sum(network == name for network, _ in chosen) for name, _ in chosen}
    compromise = sum(scaled[key] / counts[key[0]] for key in chosen) / len(counts)
    values, vectors = np.linalg.eigh(compromise)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    farthest = vectors[np.abs(vectors).argmax(axis=0), [0, 1]]
    axes = vectors * np.where(farthest < 0, -1.0, 1.0)
    paths: list[ImagePath] = []
    for network, role in chosen:
        gram = scaled[network, role]
        scores = gram @ axes / np.sqrt(np.maximum(values, 1e-12))
        distance, chance = _class_distance(scores, labels, shuffles)
        paths.append(
            ImagePath(
                network=network,
                role=role,
                scores=scores,
                seen=float(np.einsum("nk,nk->", axes, gram @ axes)),
                class_distance=distance,
                class_chance=chance,
            )
        )
    places, seen = _lay_out(scaled)
    names, correlations, coloured = _name_axes(axes, latents, latent_names)
    return Paths(
        images=images,
        paths=tuple(paths),
        compromise=np.clip(values, 0, 1),
        axis_latents=names,
        axis_correlations=correlations,
        axis_values=coloured,
        places=places,
        distances_seen=seen,
    )


def _name_axes(
    axes: Float[ndarray, "n 2"], latents: Float[ndarray, "n V"], names: Sequence[str]
) -> tuple[tuple[str, ...], Float[ndarray, " 2"], Float[ndarray, "n 2"]]:
    """For each axis the latent it goes with most, how much, and the latent's values."""
    varying = [v for v in range(len(names)) if np.ptp(latents[:, v]) > 0]
    if not varying:
        return ("", ""), np.zeros(2), np.zeros(axes.shape)
    table = np.corrcoef(axes.T, latents[:, varying].T)[:2, 2:]
    best = np.abs(table).argmax(axis=1)
    chosen = [varying[int(place)] for place in best]
    return tuple(str(names[int(v)]) for v in chosen), table[[0, 1], best], latents[:, chosen]


def _scale(gram: Float[ndarray, "n n"]) -> Float[ndarray, "n n"] | None:
    """Centred over its own images and with trace 1; None for a constant layer."""
    rows = gram.mean(axis=0)
    centred = gram - rows - rows[:, None] + rows.mean()
    total = float(np.trace(centred))
    return centred / total if total > 1e-12 * max(float(np.abs(gram).max()) * len(gram), 1e-300) else None


def _class_distance(
    scores: Float[ndarray, "n 2"], labels: Int[ndarray, " n"], shuffles: Int[ndarray, "R n"]
) -> tuple[float, float]:
    # Scores of a layer of variance 1 over n images have squares that sum to at most 1.
    unit = scores * np.sqrt(len(labels))
    signs = np.where(labels == 1, 1.0 / max((labels == 1).sum(), 1), -1.0 / max((labels != 1).sum(), 1))

    def distance(weights: Float[ndarray, " n"]) -> float:
        return float(np.linalg.norm(weights @ unit))

    if labels.min() == labels.max():
        return float("nan"), float("nan")
    null = []
    for shuffle in shuffles:
        moved = labels[shuffle] == 1
        if 0 < moved.sum() < len(moved):
            null.append(distance(np.where(moved, 1.0 / moved.sum(), -1.0 / (~moved).sum())))
    return distance(signs), float(np.quantile(null, 0.95)) if null else float("nan")


def _lay_out(scaled: Mapping[tuple[str, str], Float[ndarray, "n n"]]) -> tuple[tuple[LayerPlace, ...], float]:
    """Places of the layers by classical scaling of their angles, and how well distances are kept."""
    geometries = np.stack([similarity.unit_geometry(gram) for gram in scaled.values()])
    known = np.isfinite(geometries.sum(axis=1))
    keys = [key for key, fine in zip(scaled, known.tolist()) if fine]
    if len(keys) < 3:
        return (), float("nan")
    angles = np.arccos(similarity.align(geometries[known], geometries[known]))
    np.fill_diagonal(angles, 0.0)
    squares = angles**2
    centred = -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean())
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    places = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0.0))
    # The pixels to the left and, as a rule of sign, the farthest layer up.
    places = places * np.where(places[0, 0] > 0, -1.0, 1.0)
    if places[np.abs(places[:, 1]).argmax(), 1] < 0:
        places = places * np.array([1.0, -1.0])
    upper = np.triu_indices(len(keys), 1)
    drawn = np.linalg.norm(places[:, None] - places, axis=2)[upper]
    seen = float(np.corrcoef(drawn, angles[upper])[0, 1]) if np.ptp(angles[upper]) > 0 else float("nan")
    layers = tuple(LayerPlace(network=key[0], role=key[1], place=place) for key, place in zip(keys, places))
    return layers, seen
