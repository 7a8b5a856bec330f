"""What a problem draws besides its rule: its contours, its objects, and the names of what is known about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from meta_baseline.stimuli.draws import Keys
from meta_baseline.stimuli.figures import Batch, Column
from meta_baseline.stimuli.scene import Scene, list_latents
from meta_baseline.stimuli.task import Task

# Of these, only which objects have the same value can be seen.
_KINDS = ("shape", "group", "mirrored")
_WHOLE = (*_KINDS, "inside", "same_shape", "num_inside", "big")


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The contours and objects of one problem.

    Attributes:
        problem: its number.
        sizes: radius and hole in px of each contour of an identity.
        num_alike: how many of these, the first ones, the rule treats alike.
        num_objects: in an image.
        details, shared: names of the latents of each object and of the image that the kernel notes, at most two each.
            "shape", "group" and "mirrored" number the kinds of objects in an image from left to right: the kind of
            object 1 is 0, the next kind that is met is 1.
        vary: latents in which minimal pairs can differ: "same", where class 1 shows other contours at the places of
            class 0, and "position", where an object may be anywhere.
    """

    problem: int
    sizes: tuple[tuple[float, float], ...]
    num_alike: int = 1
    num_objects: int = 2
    details: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    vary: tuple[Literal["same", "position"], ...] = ()

    def draw_batch(self, keys: Keys, labels: NDArray[np.int64], identity_keys: Keys | None = None) -> Batch:
        """Images for these keys, labels and identities [N]."""
        shown = np.empty(0, np.uint64) if identity_keys is None else identity_keys
        return self._draw(keys, np.asarray(labels, np.int64), shown, 0)

    def draw_pair(
        self, rng: Generator, label: int, shapes: None = None, *, latent: Literal["same", "position"]
    ) -> tuple[Scene, Scene] | None:
        """Two images that differ in this latent, the first with this label; None where objects change their numbers."""
        key = rng.integers(0, 2**64, size=1, dtype=np.uint64)
        change = 1 + ("same", "position").index(latent)
        batch = self._draw(key, np.array([0 if latent == "same" else label]), np.empty(0, np.uint64), change)
        centres = 2 * batch.boxes[:, :, :2] + batch.boxes[:, :, 2:]
        one, other = np.lexsort((centres[:, :, 1], centres[:, :, 0]), axis=1)
        if not np.array_equal(one, other):
            return None
        first, second = batch.scene(0), batch.scene(1)
        return (second, first) if latent == "same" and label == 1 else (first, second)

    def _draw(self, keys: Keys, labels: NDArray[np.int64], identity_keys: Keys, change: int) -> Batch:
        # The compiled code brings in numba, which programs that draw no contour need not wait for.
        from meta_baseline.stimuli.svrt.batch import draw_images

        images, boxes, details, shared, ink = draw_images(
            self.problem, np.array(self.sizes), self.num_alike, self.num_objects, labels, keys, identity_keys, change
        )
        return Batch(images, labels, boxes, self._name_details(details, boxes), self._name_shared(shared), ink)

    def _name_details(self, values: NDArray[np.float64], boxes: NDArray[np.int64]) -> dict[str, Column]:
        centres = 2 * boxes[:, :, :2] + boxes[:, :, 2:]
        order = np.lexsort((centres[:, :, 1], centres[:, :, 0]), axis=1)
        columns: dict[str, Column] = {}
        for number, name in enumerate(self.details):
            column = values[:, :, number]
            column = _number_kinds(column, order) if name in _KINDS else column
            column = np.degrees(column) if name == "rotation" else column
            columns[name] = column.astype(np.int64) if name in _WHOLE else column
        return columns

    def _name_shared(self, values: NDArray[np.float64]) -> dict[str, Column]:
        columns = {name: values[:, number] for number, name in enumerate(self.shared)}
        return {name: column.astype(np.int64) if name in _WHOLE else column for name, column in columns.items()}


def describe_problem(cast: Cast, *, name: str, **about: Any) -> Task:
    """The task that draws this cast; ``about`` are its other attributes."""
    latents = list_latents(cast.details, cast.shared, num_objects=cast.num_objects)
    draw: Callable[..., Batch] = partial(Cast.draw_batch, cast)
    vary = {latent: partial(cast.draw_pair, latent=latent) for latent in cast.vary}
    return Task(
        name=name, code=cast.problem, latents=latents, needs_compilation=True, draw_batch=draw, vary=vary, **about
    )


def _number_kinds(kinds: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.int64]:
    """Numbers of the kinds [N, K] in the order in which they are met."""
    ordered = np.take_along_axis(kinds, order, axis=1)
    first = (ordered[:, :, np.newaxis] == ordered[:, np.newaxis, :]).argmax(axis=2)
    is_first = first == np.arange(kinds.shape[1])
    numbers = np.take_along_axis(is_first.cumsum(axis=1) - 1, first, axis=1)
    result = np.empty_like(numbers)
    np.put_along_axis(result, order, numbers, axis=1)
    return result
