"""Two patches of random bits on paper, which are same or different, and lie side by side or one above the other.

Patches have 4 x 4 bits on a sheet of 32 x 32 cells, each cell drawn as 4 x 4 px; averaged down to 32 px, a stimulus is
the image of the original. There, bits are -1 and 1 on a ground of 0; here, black and grey on white paper, so that
every bit is ink and the extent of a patch can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.canvas import CANVAS_SIZE, Ink
from meta_baseline.stimuli.draws import Uniforms, pick
from meta_baseline.stimuli.figures import Column, Figures, Layout, Shapes
from meta_baseline.stimuli.minimal_pairs import Change, Draft, draw_other, flip_label

SIDE = 4
"""Bits along the side of a patch."""
SCALE = 4
"""Pixels along the side of a bit."""

_CELLS = CANVAS_SIZE // SCALE
# On the mask of ink, where paper is 0 and black 255.
_GREY, _BLACK = 128, 255


@dataclass(frozen=True)
class PatchFigures(Figures):
    """Two patches: shapes are bits bool [N, 2, 4, 4] and repeated [N], whether both show the first one.

    A place is the top left corner. Patches lie at least one cell apart along one axis.

    Attributes:
        relation: what the label says: "same" patches, or "vertical", one patch above the other rather than beside it.
            In the latter, half of the images of either class show the same patch twice.
    """

    relation: str = "same"
    num_shape_draws: ClassVar[int] = 2 * SIDE * SIDE + 1

    def draw_shapes(self, u: Uniforms) -> Shapes:
        """Two patches of fair coins, and whether to repeat the first one."""
        bits = (u[:, : 2 * SIDE * SIDE] < 0.5).reshape(-1, 2, SIDE, SIDE)
        return {"bits": bits, "repeated": u[:, 2 * SIDE * SIDE] < 0.5}

    def swap(self, shapes: Shapes) -> Shapes:
        """The same patches, with the other one repeated."""
        return shapes | {"bits": shapes["bits"][:, ::-1]}

    def changes(self) -> dict[str, Change | None]:
        """What a minimal pair can differ in."""
        if self.relation == "same":
            return {"same": flip_label, "position": None, "bit": _flip_bit}
        return {"same": _turn_pair, "position": None, "patches_same": _change_repetition}

    def place(self, shapes: Shapes, labels: NDArray[np.int64], u: Uniforms) -> NDArray[np.int64]:
        """Uniform cells."""
        return _draw_cells(u[:, :4]).reshape(-1, 2, 2)

    def permits(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Different patches, a cell of paper between both, one above the other where the label asks for that."""
        across, down = np.moveaxis(np.abs(places[:, 0] - places[:, 1]), -1, 0)
        differ = (shapes["bits"][:, 0] != shapes["bits"][:, 1]).any(axis=(1, 2))
        permitted = differ & (np.maximum(across, down) > SIDE * SCALE)
        return permitted & ((down >= across) == (labels == 1)) if self.relation == "vertical" else permitted

    def lay_out(self, shapes: Shapes, labels: NDArray[np.int64], places: NDArray[np.int64]) -> Layout:
        """No strokes: a patch is its bits."""
        boxes = np.concatenate([places, np.full_like(places, SIDE * SCALE)], axis=2)
        return Layout(shapes, labels, places, np.empty((len(labels), 0, 0, 2), np.int32), boxes)

    def draw(self, canvas: NDArray[np.uint8], layout: Layout, row: int, value: int | tuple[int, int, int]) -> None:
        """Black and grey bits."""
        label = int(layout.labels[row])
        repeated = bool(label) if self.relation == "same" else bool(layout.shapes["repeated"][row])
        for number, (left, top) in enumerate(layout.places[row].tolist()):
            bits = layout.shapes["bits"][row, 0 if repeated else number]
            patch = np.where(bits, np.uint8(_BLACK), np.uint8(_GREY)).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
            canvas[top : top + SIDE * SCALE, left : left + SIDE * SCALE] = patch

    def accepts(self, ink: Ink, layout: Layout, row: int) -> bool:
        """Always: what the rule asks was seen to in placing."""
        return True

    def describe(self, shapes: Shapes, labels: NDArray[np.int64]) -> tuple[dict[str, Column], dict[str, Column]]:
        """Number of black bits of each patch; for the spatial relation also whether both patches are the same."""
        repeated = labels == 1 if self.relation == "same" else shapes["repeated"]
        black = shapes["bits"].sum(axis=(2, 3))
        black = np.stack([black[:, 0], np.where(repeated, black[:, 0], black[:, 1])], axis=1)
        return {"black_bits": black}, {} if self.relation == "same" else {"patches_same": repeated.astype(np.int64)}


def _draw_cells(u: Uniforms) -> NDArray[np.int64]:
    return pick(u, _CELLS - SIDE + 1) * SCALE


def _turn_pair(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    places = np.stack([draft.places[:, 0], _draw_cells(rng.random((1, 2)))], axis=1)
    return draft, replace(draft, labels=1 - draft.labels, places=places)


def _flip_bit(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    # One bit: of both patches where they are the same, else of the second; they have to stay different.
    bits = draft.shapes["bits"].copy()
    row, column = draw_other(rng, 0, SIDE - 1), draw_other(rng, 0, SIDE - 1)
    bits[0, draft.shown_second, row, column] ^= True
    return draft, draft.with_shapes(bits=bits)


def _change_repetition(rng: Generator, draft: Draft) -> tuple[Draft, Draft]:
    return draft, draft.with_shapes(repeated=~draft.shapes["repeated"])
