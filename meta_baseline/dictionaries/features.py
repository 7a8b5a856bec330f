"""The features that matter most in a layer, and the image patches that they respond to.

A feature's weight is the variance that would be lost without it: the rise of the squared reconstruction error when
its atom alone is left out, over the squared deviations of the positions,

    (sum ||r + z d||^2 - sum ||r||^2) / sum ||x - mean||^2,    r the residual, z the code, d the atom

taken at held-out positions with ink, as otherwise the one atom for blank paper is always first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from meta_baseline.activations import LayerActivations
from meta_baseline.dictionaries.autoencoder import TrainedAutoencoder
from meta_baseline.dictionaries.fidelity import deviations

NUM_FEATURES = 6
NUM_PATCHES = 8
PATCH_SIZE = 40
_CELLS_SHOWN = 4
_SMALLEST_CROP = 0.2


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The F features of a layer that explain most, with the B held-out images that each responds to most.

    Attributes:
        layer, network: whose dictionary it is.
        feature: number of the atom in the dictionary.
        variance_lost: fraction of the variance at held-out positions with ink that is lost without the feature.
        image, row, column: where it responds most, at most one place per image; -1 where it responds to fewer than B
            images (row and column also for layers without positions).
        activation: the code there, in the layer's units; 0 where there is none.
        patches: the area of the image around that place in grey, white where there is none.
        random_patches: patches around places drawn at random from the same held-out positions with ink: the control.
        crop_size: side of the area shown, in pixels of the image.
    """

    layer: str
    network: str
    feature: Int[ndarray, " F"]
    variance_lost: Float[ndarray, " F"]
    image: Int[ndarray, "F B"]
    row: Int[ndarray, "F B"]
    column: Int[ndarray, "F B"]
    activation: Float[ndarray, "F B"]
    patches: UInt8[ndarray, "F B P P"]
    random_patches: UInt8[ndarray, "B P P"]
    crop_size: int


def make_gallery(
    layer: LayerActivations,
    autoencoder: TrainedAutoencoder,
    codes: Float[ndarray, "M A"],
    *,
    images: UInt8[ndarray, "N h w"],
    from_images: Bool[ndarray, " N"],
    rng: np.random.Generator,
    network: str,
) -> Gallery:
    """The features that explain most at the inked positions of ``from_images``, and what they respond to there."""
    allowed = from_images[layer.position_image]
    rows = np.flatnonzero(allowed & layer.position_foreground)
    if len(rows) == 0:
        rows = np.flatnonzero(allowed)
    codes = codes[rows]
    samples = layer.positions[rows]
    residual = samples - autoencoder.decode(torch.from_numpy(codes)).numpy()
    lost = measure_variance_lost(samples, residual, codes, autoencoder.scale * autoencoder.decoder)
    features = np.argsort(-lost, kind="stable")[: min(NUM_FEATURES, int((codes > 0).any(axis=0).sum()))]
    crop_size = choose_crop_size(layer.map_shape, images.shape[1])
    cutter = partial(_cut_at, layer, images, crop_size)
    shape = (len(features), NUM_PATCHES)
    image, row, column = (np.full(shape, -1, dtype=np.int64) for _ in range(3))
    activation = np.zeros(shape, dtype=np.float32)
    patches = np.full((*shape, PATCH_SIZE, PATCH_SIZE), 255, dtype=np.uint8)
    for f, feature in enumerate(features):
        places = find_top_places(codes[:, feature], layer.position_image[rows], NUM_PATCHES)
        for b, place in enumerate(rows[places]):
            image[f, b] = layer.position_image[place]
            row[f, b], column[f, b] = layer.position_row[place], layer.position_column[place]
            patches[f, b] = cutter(place)
        activation[f, : len(places)] = codes[places, feature] * autoencoder.scale
    drawn = rng.choice(rows, size=min(NUM_PATCHES, len(rows)), replace=False)
    return Gallery(
        layer=layer.role,
        network=network,
        feature=features,
        variance_lost=lost[features],
        image=image,
        row=row,
        column=column,
        activation=activation,
        patches=patches,
        random_patches=np.stack([cutter(place) for place in drawn]),
        crop_size=crop_size,
    )


def measure_variance_lost(
    samples: Float[ndarray, "M C"], residual: Float[ndarray, "M C"], codes: Float[ndarray, "M A"], atoms: ndarray
) -> Float[ndarray, " A"]:
    """Fraction of the samples' variance that each atom alone accounts for; ``atoms`` in the samples' units [A, C]."""
    cross = np.einsum("ma,ma->a", codes, residual @ atoms.T, dtype=np.float64)
    square = np.square(codes).sum(axis=0, dtype=np.float64) * np.square(atoms).sum(axis=1, dtype=np.float64)
    total = float(deviations(samples).sum())
    return (2 * cross + square) / total if total > 0 else np.zeros(codes.shape[1])


def find_top_places(codes: Float[ndarray, " M"], image: Int[ndarray, " M"], num_places: int) -> Int[ndarray, " B"]:
    """Rows of the largest positive codes, largest first, at most one per image."""
    order = np.argsort(-codes, kind="stable")
    order = order[codes[order] > 0]
    _, first = np.unique(image[order], return_index=True)
    return order[np.sort(first)[:num_places]]


def choose_crop_size(map_shape: tuple[int, ...], image_size: int) -> int:
    """Side of the area shown around a cell: four cells, at least a fifth of the image, at most all of it."""
    if len(map_shape) != 3:
        return image_size
    cell = image_size / map_shape[1]
    return int(min(image_size, max(round(_CELLS_SHOWN * cell), round(_SMALLEST_CROP * image_size))))


def cut_patch(
    image: UInt8[ndarray, "H W"], row: int, column: int, *, map_shape: tuple[int, ...], crop_size: int
) -> UInt8[ndarray, "P P"]:
    """The area around a cell of the map, white beyond the image's edge, resampled to 40 x 40."""
    height, width = image.shape
    if row < 0 or len(map_shape) != 3:
        top, left = (height - crop_size) // 2, (width - crop_size) // 2
    else:
        top = round((row + 0.5) * height / map_shape[1] - crop_size / 2)
        left = round((column + 0.5) * width / map_shape[2] - crop_size / 2)
    area = np.full((crop_size, crop_size), 255, dtype=np.uint8)
    rows = slice(max(top, 0), max(0, min(top + crop_size, height)))
    columns = slice(max(left, 0), max(0, min(left + crop_size, width)))
    shown = image[rows, columns]
    area[rows.start - top : rows.start - top + shown.shape[0], columns.start - left :][:, : shown.shape[1]] = shown
    return resample_square(area, PATCH_SIZE)


def _cut_at(
    layer: LayerActivations, images: UInt8[ndarray, "N h w"], crop_size: int, place: int
) -> UInt8[ndarray, "P P"]:
    image, row, column = (array[place] for array in (layer.position_image, layer.position_row, layer.position_column))
    return cut_patch(images[image], int(row), int(column), map_shape=layer.map_shape, crop_size=crop_size)


def resample_square(image: UInt8[ndarray, "H H"], size: int) -> UInt8[ndarray, "P P"]:
    """A square image at another size by averaging areas; made smaller, thin lines on white keep their darkness."""
    weights = _area_weights(image.shape[0], size)
    ink = weights @ (255.0 - image) @ weights.T
    return (255 - np.rint(np.clip(ink * max(1.0, image.shape[0] / size), 0, 255))).astype(np.uint8)


def _area_weights(old: int, new: int) -> Float[ndarray, "new old"]:
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(old)[None]
    overlap = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)
