"""Polygon tasks: regular, irregular, open, wider_line, filled, random_color.

One radius for both objects, 10 to 39 px. "same" shows one polygon twice; "different" shows a second polygon with
another number of sides, another rotation and other noise. In the irregular tasks every vertex is moved by the same
amount along x and y (the published generator uses one draw for both axes, so vertices move along one diagonal only),
then the vertices are put in order round their mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE
from meta_baseline.stimuli.draws import Uniforms, pick, pick_other
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, draw_other, flip_label

_MIN_RADIUS, _MAX_RADIUS = 10, 39
_MIN_SIDES, _MAX_SIDES = 3, 7
_NUM_SIDES = _MAX_SIDES - _MIN_SIDES + 1


@dataclass(frozen=True)
class PolygonFigures(Figures):
    """Two polygons: shapes are radius [N], num_sides, rotation [N, 2], noise [N, 2, 7], vertices [N, 2, 7, 2].

    Vertices are relative to the centre in px, the last one repeated up to seven; rotations are in degrees; noise is
    in [0, 1), from one end of the permitted shifts to the other. The first polygon is what "same" repeats.

    Attributes:
        irregular: whether the vertices are moved.
        line_width: thickness given to OpenCV; its 2 is a line of 3 px.
        closed: whether the last edge is drawn.
        filled: whether the inside is ink too.
        coloured: whether both objects share one random colour instead of black.
    """

    irregular: bool = True
    line_width: int = 1
    closed: bool = True
    filled: bool = False
    coloured: bool = False
    num_shape_draws: ClassVar[int] = 5 + 2 * _MAX_SIDES + 3

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Radius, both polygons and the colour of each image."""
        side = pick(u[:, 1], _NUM_SIDES)
        shapes: Shapes = {
            "radius": _MIN_RADIUS + pick(u[:, 0], _MAX_RADIUS - _MIN_RADIUS + 1),
            "num_sides": _MIN_SIDES + np.stack([side, pick_other(side, u[:, 2], _NUM_SIDES)], axis=1),
            "rotation": pick(u[:, 3:5], 361),
            "noise": u[:, 5 : 5 + 2 * _MAX_SIDES].reshape(-1, 2, _MAX_SIDES),
        }
        if self.coloured:
            shapes["colour"] = pick(u[:, 5 + 2 * _MAX_SIDES : self.num_shape_draws], 256)
        return self.with_vertices(shapes)

    def with_vertices(self, shapes: Shapes) -> Shapes:
        """The same shapes with the vertices that follow from the rest."""
        radius = shapes["radius"][:, np.newaxis, np.newaxis]
        last = shapes["num_sides"][:, :, np.newaxis] - 1
        number = np.arange(_MAX_SIDES)
        vertices = turn_points(radius, 2 * pi / (last + 1) * number, np.radians(shapes["rotation"])[:, :, np.newaxis])
        if self.irregular:
            deviation = radius // 2
            vertices += (pick(shapes["noise"], 2 * deviation + 1) - deviation)[..., np.newaxis]
            vertices = _order_round_mean(vertices, last)
        vertices = np.take_along_axis(vertices, np.minimum(number, last)[..., np.newaxis], axis=2)
        return shapes | {"vertices": vertices}

    def swap(self, shapes: Shapes) -> Shapes:
        """The same polygons, with "same" repeating the other one."""
        return shapes | {name: shapes[name][:, ::-1] for name in ("num_sides", "rotation", "noise", "vertices")}

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        changes: dict[str, Change | None] = {
            "same": flip_label,
            "position": None,
            "rotation": self._change_rotation,
            "size": self._change_size,
            "num_sides": self._change_num_sides,
        }
        if self.closed and not self.filled:
            wide = {1: 1, 2: 3}
            other = replace(self, line_width=3 - self.line_width)
            changes["line_width"] = _change_drawing(other, "line_width", wide[self.line_width], wide[other.line_width])
        if self.closed and self.line_width == 1:
            other = replace(self, filled=not self.filled)
            changes["fill"] = _change_drawing(other, "fill", int(self.filled), int(other.filled))
        if self.coloured:
            changes["colour"] = _change_colour
        return changes

    def _change_rotation(self, rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
        return self._change_shown(draft, "rotation", draw_other(rng, 0, 360, _shown_value(draft, "rotation")))

    def _change_num_sides(self, rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
        taken = draft.shapes["num_sides"][0].tolist()
        return self._change_shown(draft, "num_sides", draw_other(rng, _MIN_SIDES, _MAX_SIDES, *taken))

    def _change_shown(self, draft: Draft, name: str, value: int) -> tuple[Draft, Draft]:
        values = draft.shapes[name].copy()
        values[0, draft.shown_second] = value
        return draft, draft.with_shapes(**self.with_vertices(draft.shapes | {name: values}))

    def _change_size(self, rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
        radius = np.array([draw_other(rng, _MIN_RADIUS, _MAX_RADIUS, int(draft.shapes["radius"][0]))])
        return draft, draft.with_shapes(**self.with_vertices(draft.shapes | {"radius": radius}))

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform places that keep a margin of the radius and a half."""
        margin = (shapes["radius"] + shapes["radius"] // 2)[:, np.newaxis]
        return (margin + pick(u[:, :4], CANVAS_SIZE - 2 * margin)).reshape(-1, 2, 2)

    def permits(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Colours that can be told from paper."""
        if not self.coloured:
            return np.ones(len(labels), np.bool_)
        return ~_are_as_light_as_paper(shapes["colour"])

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """One stroke per object."""
        points = shown(shapes["vertices"], labels) + places[:, :, np.newaxis]
        grown = 1 if self.line_width == 2 else 0
        return Layout(shapes, labels, places, points.astype(np.int32), enclose(points, grown))

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """Outlines, or filled areas."""
        strokes = layout.strokes[row]
        if self.filled:
            # One by one: filled together, areas that overlap would cancel out.
            cv2.fillPoly(canvas, strokes[:1], value)  # pyright: ignore[reportArgumentType, reportCallIssue]
            cv2.fillPoly(canvas, strokes[1:], value)  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            cv2.polylines(canvas, strokes, self.closed, value, self.line_width)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Side count and rotation of each polygon; radius and colour of both."""
        details = {name: shown(shapes[name], labels) for name in ("num_sides", "rotation")}
        shared = {"radius": shapes["radius"]}
        if self.coloured:
            shared |= dict(zip(("red", "green", "blue"), shapes["colour"].T))
        return details, shared


def shown(pair: Column, labels: NDArray[np.int64]) -> Column:
    """What both objects of an image show [N, 2, ...]: the first of a pair twice where the label is 1."""
    second = np.where(labels == 1, 0, 1)
    return np.stack([pair[:, 0], pair[np.arange(len(pair)), second]], axis=1)


def turn_points(radius: Column, angles: Column, rotation: Column) -> NDArray[np.int64]:
    """Points at these angles round the origin, x = r sin, y = r cos, truncated towards zero as published."""
    turned = angles + rotation
    return np.stack([np.sin(turned) * radius, np.cos(turned) * radius], axis=-1).astype(np.int64)


def enclose(points: NDArray[np.integer], grown: int = 0) -> NDArray[np.int64]:
    """Boxes (left, top, width, height) round points [..., M, 2], larger by ``grown`` px on every side."""
    low, high = points.min(axis=-2) - grown, points.max(axis=-2) + grown
    return np.concatenate([low, high - low + 1], axis=-1).astype(np.int64)


def _shown_value(draft: Draft, name: str) -> int:
    return int(draft.shapes[name][0, draft.shown_second])


def _change_drawing(other: PolygonFigures, name: str, before: int, after: int) -> Change:
    # The same corners drawn in another way: a latent that is constant within each task, so both images note it.
    def change(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
        return replace(draft, noted={name: before}), replace(draft, figures=other, noted={name: after})

    return change


def _change_colour(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    return draft, draft.with_shapes(colour=pick(rng.random((1, 3)), 256))


def _order_round_mean(vertices: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    absent = np.arange(_MAX_SIDES) > last
    mean = np.where(absent[..., np.newaxis], 0, vertices).sum(axis=2, keepdims=True) / (last + 1)[..., np.newaxis]
    x, y = np.moveaxis(vertices - mean, -1, 0)
    angle = np.where(absent, np.inf, np.arctan2(x, y))
    return np.take_along_axis(vertices, np.argsort(angle, axis=2, kind="stable")[..., np.newaxis], axis=2)


def _are_as_light_as_paper(colour: Column) -> NDArray[np.bool_]:
    # Luma of BT.601 as OpenCV rounds it: 255 only for colours within a few levels of white. Such an image has one
    # grey level, so the published threshold finds no object in it and throws it away.
    return colour @ np.array((0.299, 0.587, 0.114)) >= 254.5
