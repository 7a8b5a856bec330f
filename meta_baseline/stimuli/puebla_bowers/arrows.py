"""Tasks arrows and arrows_matched: two shafts with triangular heads at one or both ends, pointing outwards or inverted.

Size and rotation are common to both arrows in both classes. "same" shows one arrow twice. arrows, as published:
"different" shows an arrow whose heads have one common direction beside one whose heads have the other, at the other
end where there is only one. So a two-headed arrow with one head of each direction occurs in class 1 only (1/8 of its
images). arrows_matched: "different" shows any arrow beside the one with every head inverted, at the other end where
there is only one, and a single head is at either end equally often; so each arrow is as frequent in one class as in
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.draws import Uniforms, pick
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, draw_other, flip_label
from meta_baseline.stimuli.puebla_bowers.polygons import enclose

_MIN_SIZE, _MAX_SIZE = 4, 10
_MAX_ROTATION = 135
_CORNERS = 2 * pi / 3 * np.arange(4)  # the first one again: a closed stroke


@dataclass(frozen=True)
class ArrowFigures(Figures):
    """Two arrows: shapes are size, rotation [N], and heads, inverted bool [N, 3, 2] of three arrows and both ends.

    End a, the first, is the upper one before rotation. "same" shows arrow 0 twice, "different" arrows 1 and 2. A head
    that is absent has ``inverted`` False. A place is the middle of the shaft.

    Attributes:
        matched: whether each arrow is as frequent in one class as in the other.
    """

    matched: bool = False
    num_shape_draws: ClassVar[int] = 6

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Size in px, rotation in degrees, and the arrows of both classes."""
        coins = u[:, 2:6] < 0.5
        if self.matched:
            # Two heads in a quarter of the arrows as published, else one at either end.
            two = u[:, 2] < 0.25
            heads = np.stack([two | coins[:, 1], two | ~coins[:, 1]], axis=1)
            copied = first = coins[:, 2:]
        else:
            heads = np.stack([coins[:, 0], ~coins[:, 0] | coins[:, 1]], axis=1)
            copied, first = coins[:, 2:], coins[:, 3:].repeat(2, axis=1)
        # Both heads, or the one at the other end; an exchange of ends changes nothing where there are two.
        second = ~first[:, ::-1] if self.matched else ~first
        second = np.where(heads.all(axis=1, keepdims=True), ~first, second)
        all_heads = np.stack([heads, heads, heads[:, ::-1]], axis=1)
        return {
            "size": _MIN_SIZE + pick(u[:, 0], _MAX_SIZE - _MIN_SIZE + 1),
            "rotation": pick(u[:, 1], _MAX_ROTATION + 1),
            "heads": all_heads,
            "inverted": np.stack([copied, first, second], axis=1) & all_heads,
        }

    def swap(self, shapes: Shapes) -> Shapes | None:
        """The same two arrows, with "same" repeating the other one, where "same" shows one of them."""
        if not self.matched:
            return None
        order = [2, 2, 1]
        return shapes | {name: shapes[name][:, order] for name in ("heads", "inverted")}

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        return {
            "same": _change_heads,
            "position": None,
            "rotation": _change_rotation,
            "size": _change_size,
        }

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform places."""
        margin = (4 * shapes["size"])[:, np.newaxis]
        return (margin + pick(u[:, :4], 127 - 2 * margin)).reshape(-1, 2, 2)

    def permits(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Places that differ in x and in y."""
        return (places[:, 0] != places[:, 1]).all(axis=1)

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """Three strokes per object: the shaft and both heads; the shaft again in place of a head that is absent."""
        size, heads, inverted = shapes["size"], _shown(shapes["heads"], labels), _shown(shapes["inverted"], labels)
        inner = 2 * size - size // 2
        zero = np.zeros_like(inner)
        shaft = np.stack([np.stack([zero, y], axis=-1) for y in (-inner, inner, inner, inner)], axis=1)
        strokes = [np.stack([shaft, shaft], axis=1)]
        for end in (0, 1):
            head = np.stack([_head(size, turned, upper=end == 0) for turned in (False, True)], axis=1)
            chosen = head[np.arange(len(size))[:, np.newaxis], inverted[:, :, end].astype(np.int64)]
            strokes.append(np.where(heads[:, :, end, np.newaxis, np.newaxis], chosen, strokes[0]))
        points = _rotated(np.stack(strokes, axis=2), np.radians(shapes["rotation"]))
        points += places[:, :, np.newaxis, np.newaxis]
        return Layout(
            shapes,
            labels,
            places,
            points.reshape(-1, 6, 4, 2).astype(np.int32),
            enclose(points.reshape(-1, 2, 12, 2)),
        )

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """A line of one pixel."""
        cv2.polylines(canvas, layout.strokes[row], False, value)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Heads of each arrow; size and rotation of both."""
        heads, inverted = (_shown(shapes[name], labels).astype(np.int64) for name in ("heads", "inverted"))
        details = {
            "num_heads": heads.sum(axis=2),
            "has_head_a": heads[:, :, 0],
            "has_head_b": heads[:, :, 1],
            "inverted_a": inverted[:, :, 0],
            "inverted_b": inverted[:, :, 1],
        }
        return details, {"arrow_size": shapes["size"], "rotation": shapes["rotation"]}


def _change_heads(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    # As published, "same" copies an arrow that "different" does not show; a pair needs one that both show.
    kept = {name: draft.shapes[name][:, [1, 1, 2]] for name in ("heads", "inverted")}
    return flip_label(rng, draft.with_shapes(**kept))


def _change_rotation(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    rotation = draw_other(rng, 0, _MAX_ROTATION, int(draft.shapes["rotation"][0]))
    return draft, draft.with_shapes(rotation=np.array([rotation]))


def _change_size(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    size = draw_other(rng, _MIN_SIZE, _MAX_SIZE, int(draft.shapes["size"][0]))
    return draft, draft.with_shapes(size=np.array([size]))


def _shown(arrows: Column, labels: NDArray[np.int64]) -> Column:
    rows = np.arange(len(labels))[:, np.newaxis]
    return arrows[rows, np.where((labels == 1)[:, np.newaxis], (0, 0), (1, 2))]


def _head(size: NDArray[np.int64], inverted: bool, *, upper: bool) -> NDArray[np.int64]:
    angles = _CORNERS + (pi if upper != inverted else 0.0)
    # The published rule moves the lower inverted head out by one pixel more than the upper one.
    out = 2 * size + ((size // 2 + (0 if upper else 1)) if inverted else 0)
    radius = size[:, np.newaxis]
    points = np.stack([np.sin(angles) * radius, np.cos(angles) * radius], axis=-1).astype(np.int64)
    points[:, :, 1] += (-out if upper else out)[:, np.newaxis]
    return points


def _rotated(points: NDArray[np.int64], angle: NDArray[np.float64]) -> NDArray[np.int64]:
    # Every product is truncated on its own, as published; rounding once would give other pixels.
    x, y = np.moveaxis(points, -1, 0)
    cosine, sine = (turn.reshape(-1, 1, 1, 1) for turn in (np.cos(angle), np.sin(angle)))

    def product(values: NDArray[np.int64], by: NDArray[np.float64]) -> NDArray[np.int64]:
        return (values * by).astype(np.int64)

    return np.stack([product(x, cosine) - product(y, sine), product(x, sine) + product(y, cosine)], axis=-1)
