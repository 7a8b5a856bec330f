"""Two figures on a sheet, many images at once: arithmetic on columns, drawing image by image.

A task says how shapes come from numbers in [0, 1), where they go, which strokes draw them and what is known about
them, each for all images at a time; only the strokes themselves are drawn one image after the other. An image keeps
its first attempt that the rule accepts, and attempt k of an image uses the numbers at position k under the image's
key, so that an image is the same alone and among others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, Ink, has_two_outlines
from meta_baseline.stimuli.draws import Keys, Uniforms, derive_key, uniforms
from meta_baseline.stimuli.scene import PlacedObject, Scene

Column = NDArray[Any]
Shapes = dict[str, Column]
"""What images are about, column by column; the first axis is the image."""

_AT_ONCE, _MOST_TRIES = 256, 16
_SWAP_PURPOSE = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Attempts at images before they are drawn.

    Attributes:
        shapes: as the task draws them.
        labels: [N], 1 = same.
        places: int64 [N, 2, 2], x and y of both objects in px; what of an object lies there is the task's business.
        strokes: int32 [N, K, M, 2], points of the K strokes in px; short ones repeat their last point.
        boxes: int64 [N, 2, 4], left, top, width, height of both objects in px.
    """

    shapes: Shapes
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    strokes: NDArray[np.int32]
    boxes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Finished images with everything that is known about them.

    Attributes:
        images: uint8, grey [N, 128, 128] or RGB [N, 128, 128, 3], white 255.
        labels: [N], 1 = same.
        boxes: int64 [N, K, 4], left, top, width, height of the K objects in px, in drawing order.
        details: latents of each object by name [N, K], in drawing order.
        shared: latents of the image by name [N].
        ink: int64 [N], number of pixels that are not white.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.int64]
    details: dict[str, Column]
    shared: dict[str, Column]
    ink: NDArray[np.int64]

    def scene(self, row: int) -> Scene:
        """One image as a scene."""
        objects = tuple(
            PlacedObject(tuple(box), {name: values[row, k].item() for name, values in self.details.items()})
            for k, box in enumerate(self.boxes[row].tolist())
        )
        return Scene(self.images[row], objects, {name: v[row].item() for name, v in self.shared.items()})

    def latents(self) -> dict[str, Column]:
        """Latents by name [N], objects numbered from left to right: the columns of ``scene.read_latents``."""
        centres = self.boxes[:, :, :2] + (self.boxes[:, :, 2:] - 1) / 2
        x, y = centres[:, :, 0], centres[:, :, 1]
        order = np.lexsort((y, x), axis=1)
        width, height = self.boxes[:, :, 2], self.boxes[:, :, 3]
        objects = {"x": x, "y": y, "width": width, "height": height, "size": np.sqrt(width * height), **self.details}
        objects = {name: np.take_along_axis(values, order, axis=1) for name, values in objects.items()}
        x, y, size, count = objects["x"], objects["y"], objects["size"], x.shape[1]
        one, other = np.triu_indices(count, 1)
        dx, dy = x[:, other] - x[:, one], y[:, other] - y[:, one]
        distances = np.hypot(dx, dy)
        if count == 2:
            spread = {"distance": distances[:, 0], "angle": np.degrees(np.arctan2(dy[:, 0], dx[:, 0]))}
        else:
            spread = {"num_objects": np.full(len(x), count), "distance": sum(distances.T) / len(one)}
            spread["distance_min"] = distances.min(axis=1)
        return {
            "same": self.labels,
            **{f"{name}{k + 1}": values[:, k] for k in range(count) for name, values in objects.items()},
            **spread,
            "size_ratio": size.min(axis=1) / size.max(axis=1),
            "ink": self.ink,
            **self.shared,
        }


class Figures(ABC):
    """How a task's two objects come about. Everything works on all images at once, except ``draw`` and ``accepts``.

    Attributes:
        num_shape_draws, num_place_draws: how many numbers in [0, 1) ``draw_shapes`` and ``place`` use.
        second_place: which of the numbers for places say where the second object goes.
        measures_boxes: whether ``draw`` corrects the boxes, so that they say nothing before.
        coloured: whether ``shapes["colour"]`` [N, 3] is the RGB colour of the ink.
    """

    num_shape_draws: ClassVar[int]
    num_place_draws: ClassVar[int] = 4
    second_place: ClassVar[slice] = slice(2, 4)
    measures_boxes: ClassVar[bool] = False
    coloured: bool = False

    @abstractmethod
    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Shapes of both classes."""

    @abstractmethod
    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Places [N, 2, 2] of both objects."""

    @abstractmethod
    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """Strokes and boxes of these shapes at these places."""

    @abstractmethod
    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """Draw one image; may correct its boxes."""

    @abstractmethod
    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Latents of each object [N, 2] and of the image [N], by name."""

    def changes(self) -> Mapping[str, Callable[..., Any] | None]:
        """What a minimal pair can differ in: a ``minimal_pairs.Change`` by latent, None to move the second object."""
        return {}

    def accepts(self, ink: Ink, layout: Layout, row: int) -> bool:
        """Whether the rule accepts an image that was drawn; asked only where the boxes are not clear of each other."""
        return has_two_outlines(ink)

    def permits(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the rule lets these shapes and places stand [N], as far as it can be told before drawing."""
        return np.ones(len(labels), np.bool_)

    def swap(self, shapes: Shapes) -> Shapes | None:
        """The same shapes with "same" repeating the other one; None where the rule does not treat them alike."""
        return None


def draw_batch(figures: Figures, keys: Keys, labels: NDArray[np.int64], identity_keys: Keys | None = None) -> Batch:
    """Images for these keys and labels.

    Args:
        keys: [N]; what an image depends on, with its label and its identity.
        identity_keys: [N], keys of the shape identities to show; None for shapes of each image's own.
    """
    fixed = None if identity_keys is None else _find_identities(figures, identity_keys, keys)
    canvases = np.zeros((len(keys), CANVAS_SIZE, CANVAS_SIZE), np.uint8)
    kept: list[tuple[NDArray[np.intp], Layout]] = []

    def attempt(images: NDArray[np.intp], u: Uniforms) -> NDArray[np.bool_]:
        shapes = figures.draw_shapes(u) if fixed is None else take(fixed, images)
        layout, accepted = _attempt(figures, shapes, labels[images], u, canvases, images)
        kept.append((images[accepted], _take_layout(layout, accepted)))
        return accepted

    _settle(keys, figures.num_shape_draws + figures.num_place_draws, attempt)
    layout = _join(kept, len(keys))
    return _finish(figures, layout, canvases)


def draw_layout(figures: Figures, layout: Layout) -> Batch | None:
    """Images with these layouts; None when the rule accepts not all of them."""
    canvases = np.zeros((len(layout.labels), CANVAS_SIZE, CANVAS_SIZE), np.uint8)
    for row, (canvas, clear) in enumerate(zip(canvases, _are_clear(figures, layout.boxes))):
        figures.draw(canvas, layout, row, 255)
        if not (clear or figures.accepts(canvas, layout, row)):
            return None
    return _finish(figures, layout, canvases)


def take(shapes: Shapes, rows: Column) -> Shapes:
    """Some rows of shapes."""
    return {name: values[rows] for name, values in shapes.items()}


def _settle(keys: Keys, num_draws: int, attempt: Callable[[NDArray[np.intp], Uniforms], NDArray[np.bool_]]) -> None:
    # Where few images are left, several attempts at each are prepared at once; the first that succeeds counts.
    pending, start = np.arange(len(keys)), 0
    while len(pending):
        tries = max(1, min(_MOST_TRIES, _AT_ONCE // len(pending)))
        images = np.repeat(pending, tries)
        numbers = start + np.tile(np.arange(tries), len(pending))
        accepted = attempt(images, uniforms(keys[images], numbers, num_draws))
        pending = np.setdiff1d(pending, images[accepted], assume_unique=True)
        start += tries


def _attempt(
    figures: Figures,
    shapes: Shapes,
    labels: NDArray[np.int64],
    u: Uniforms,
    canvases: NDArray[np.uint8],
    images: NDArray[np.intp],
) -> tuple[Layout, NDArray[np.bool_]]:
    places = figures.place(shapes, labels, u[:, figures.num_shape_draws :])
    permitted = figures.permits(shapes, labels, places)
    layout = figures.lay_out(shapes, labels, places)
    accepted = np.zeros(len(images), np.bool_)
    done = -1
    clear = _are_clear(figures, layout.boxes)
    for row, (image, worth) in enumerate(zip(images.tolist(), permitted.tolist())):
        if not worth or image == done:
            continue
        canvas = canvases[image]
        figures.draw(canvas, layout, row, 255)
        if clear[row] or figures.accepts(canvas, layout, row):
            accepted[row], done = True, image
        else:
            canvas.fill(0)
    return layout, accepted


def _finish(figures: Figures, layout: Layout, ink: NDArray[np.uint8]) -> Batch:
    amount = np.array([cv2.countNonZero(canvas) for canvas in ink], np.int64)
    if figures.coloured:
        images = np.full((*ink.shape, 3), 255, np.uint8)
        for row, colour in enumerate(layout.shapes["colour"].tolist()):
            figures.draw(images[row], layout, row, tuple(colour))
    else:
        images = np.invert(ink, out=ink)
    details, shared = figures.describe(layout.shapes, layout.labels)
    return Batch(images, layout.labels, layout.boxes, details, shared, amount)


def _are_clear(figures: Figures, boxes: NDArray[np.int64]) -> list[bool]:
    # ``canvas.boxes_are_clear`` for many pairs: a white pixel between the boxes along one axis.
    if figures.measures_boxes:
        return [False] * len(boxes)
    ends = boxes[:, :, :2] + boxes[:, :, 2:]
    clear = (ends[:, 0] < boxes[:, 1, :2]) | (ends[:, 1] < boxes[:, 0, :2])
    return (clear[:, 0] | clear[:, 1]).tolist()


def _find_identities(figures: Figures, identity_keys: Keys, keys: Keys) -> Shapes:
    """Shapes [N] that fit the sheet in both classes, with either of them repeated.

    They are drawn until one placement of each kind is valid, which keeps the distribution of shapes close to that of
    images without identities: there, too, large shapes are rare because few placements of them are valid.
    """
    unique, which = np.unique(identity_keys, return_inverse=True)
    found: list[tuple[NDArray[np.intp], Shapes]] = []
    own, step = figures.num_shape_draws, figures.num_place_draws

    def attempt(images: NDArray[np.intp], u: Uniforms) -> NDArray[np.bool_]:
        shapes = figures.draw_shapes(u[:, :own])
        swapped = figures.swap(shapes)
        shown = [(0, shapes), (1, shapes)] + ([] if swapped is None else [(1, swapped)])
        fits = np.ones(len(images), np.bool_)
        for number, (label, some) in enumerate(shown):
            canvases = np.zeros((len(images), CANVAS_SIZE, CANVAS_SIZE), np.uint8)
            places = np.concatenate([u[:, :own], u[:, own + number * step : own + (number + 1) * step]], axis=1)
            labels = np.full(len(images), label)
            fits &= _attempt(figures, some, labels, places, canvases, np.arange(len(images)))[1]
        accepted = np.zeros(len(images), np.bool_)
        fitting = np.flatnonzero(fits)
        accepted[fitting[np.unique(images[fitting], return_index=True)[1]]] = True
        found.append((images[accepted], take(shapes, accepted)))
        return accepted

    _settle(unique, own + 3 * step, attempt)
    numbers = np.argsort(np.concatenate([images for images, _ in found]))
    shapes = {name: np.concatenate([some[name] for _, some in found])[numbers][which] for name in found[0][1]}
    swapped = figures.swap(shapes)
    if swapped is None:
        return shapes
    turned = uniforms(derive_key(keys, _SWAP_PURPOSE), np.zeros(len(keys), np.int64), 1)[:, 0] < 0.5
    return {name: _where(turned, swapped[name], values) for name, values in shapes.items()}


def _where(mask: NDArray[np.bool_], first: Column, second: Column) -> Column:
    return np.where(mask.reshape(-1, *(1,) * (first.ndim - 1)), first, second)


def _take_layout(layout: Layout, rows: Column) -> Layout:
    return replace(
        layout,
        shapes=take(layout.shapes, rows),
        labels=layout.labels[rows],
        places=layout.places[rows],
        strokes=layout.strokes[rows],
        boxes=layout.boxes[rows],
    )


def _join(parts: list[tuple[NDArray[np.intp], Layout]], count: int) -> Layout:
    images = np.concatenate([images for images, _ in parts])
    order = np.empty(count, np.intp)
    order[images] = np.arange(count)
    layouts = [layout for _, layout in parts]
    columns = {name: np.concatenate([layout.shapes[name] for layout in layouts])[order] for name in layouts[0].shapes}
    labels, places, strokes, boxes = (
        np.concatenate([getattr(layout, name) for layout in layouts])[order]
        for name in ("labels", "places", "strokes", "boxes")
    )
    return Layout(columns, labels, places, strokes, boxes)
