"""The rules of the SVRT as they are worded, in plain Python and without any shortcut: an oracle for the compiled ones.

Contours come ready made from a source (``Shapes``), as pixels round their centre, so that placing can be tested apart
from drawing; ``draw_recursively`` and ``trace_recursively`` are the oracle for the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

Pixels = np.ndarray  # [P, 2], column and row relative to the centre
Shapes = Callable[
    [float, float], np.ndarray
]  # radius, hole -> vertices [V, 2] with the arcs' first ones in front [V+4]
Objects = list[tuple[Pixels, int, int]]

CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), np.ones((3, 3), bool)
INNER = np.zeros((128, 128), bool)
INNER[1:127, 1:127] = True


def draw_recursively(rng: np.random.Generator, radius: float, hole: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 2] and the first one of each arc [4]; the rule chord by chord."""

    def anchor(sign_x: int, sign_y: int) -> np.ndarray:
        while True:
            point = radius * rng.random(2)
            if hole <= math.hypot(*point) <= radius:
                return point * (sign_x, sign_y)

    def chord(p: np.ndarray, q: np.ndarray) -> list[np.ndarray]:
        if (np.abs(q - p) <= 0.25).all():
            return [p]
        reach = math.dist(p, q) / 5
        while True:
            step = 2 * rng.random(2) - 1
            middle = (p + q) / 2 + reach * step
            if math.hypot(*step) <= 1 and math.hypot(*middle) <= radius:
                return chord(p, middle) + chord(middle, q)

    while True:
        corners = [anchor(*signs) for signs in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
        arcs = [chord(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        vertices = np.array([vertex for arc in arcs for vertex in arc])
        distances = np.hypot(*vertices.T)
        if (distances < radius).all() and (distances >= hole).all():
            angle = 2 * math.pi * rng.random()
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            return vertices @ turn.T, np.cumsum([0, *map(len, arcs)])[:4]


def trace_recursively(vertices: np.ndarray, starts: np.ndarray) -> Pixels:
    """Pixels of a contour, by halving each arc while its ends are more than a pixel apart."""
    pixels, count = np.floor(vertices).astype(int).tolist(), len(vertices)
    found: list[list[int]] = []

    def walk(first: int, last: int) -> None:
        one, other = pixels[first % count], pixels[last % count]
        if first + 1 < last and (abs(one[0] - other[0]) > 1 or abs(one[1] - other[1]) > 1):
            walk(first, (first + last) // 2)
            walk((first + last) // 2, last)
        else:
            found.append(one)

    for first, last in zip(starts, [*starts[1:], count]):
        walk(int(first), int(last))
    return np.array(found)


class Canvas:
    """Pixels that are not white any more."""

    def __init__(self) -> None:
        self.taken = np.zeros((128, 128), bool)

    def overwrites(self, pixels: Pixels, x: int, y: int) -> bool:
        """Whether a contour would leave the inside of the canvas or come next to what is taken."""
        placed = pixels + (x, y)
        if placed.min() < 1 or placed.max() > 126:
            return True
        wide = ndimage.binary_dilation(self.taken, SQUARE)
        return bool(wide[placed[:, 1], placed[:, 0]].any())

    def draw(self, pixels: Pixels, x: int, y: int) -> None:
        placed = pixels + (x, y)
        self.taken[placed[:, 1], placed[:, 0]] = True

    def fill(self, x: int, y: int) -> None:
        """Take what can be reached from a white pixel by steps to the four neighbours."""
        if not self.taken[y, x]:
            regions, _ = ndimage.label(~self.taken, CROSS)
            self.taken |= regions == regions[y, x]

    def swap(self, outline: np.ndarray) -> None:
        """After a fill: only what was filled is white."""
        self.taken = ~(self.taken & ~outline)

    def grow(self, times: int) -> None:
        self.taken = ndimage.binary_dilation(self.taken, CROSS, iterations=times, mask=INNER | self.taken)

    def copy(self) -> Canvas:
        other = Canvas()
        other.taken = self.taken.copy()
        return other


def outline_of(pixels: Pixels, x: int, y: int, *, filled: bool = False) -> Canvas:
    canvas = Canvas()
    canvas.draw(pixels, x, y)
    if filled:
        canvas.fill(x, y)
    return canvas


class Rules:
    """One attempt after the other at an image of a problem; None where all begins again."""

    def __init__(self, rng: np.random.Generator, shapes: Shapes) -> None:
        self.rng, self.shapes = rng, shapes

    def draw(self, problem: int, label: int) -> Objects:
        attempt = getattr(self, f"problem_{problem}")
        while True:
            objects = attempt(label)
            if objects is not None:
                return objects

    def shape(self, radius: float, hole: float, *, scale: float = 1.0) -> Pixels:
        return self.pixels(self.shapes(radius, hole), scale)

    def pixels(self, packed: np.ndarray, scale: float = 1.0) -> Pixels:
        return trace_recursively(scale * packed[4:], packed[:4, 0].astype(int))

    def place(self) -> tuple[int, int]:
        return int(128 * self.rng.random()), int(128 * self.rng.random())

    def place_inner(self) -> tuple[int, int]:
        return int(108 * self.rng.random()) + 10, int(108 * self.rng.random()) + 10

    def put(self, objects: Objects, *, fill: bool = False) -> Objects | None:
        """All objects in turn, or None where one does not fit."""
        canvas = Canvas()
        for pixels, x, y in objects:
            if canvas.overwrites(pixels, x, y):
                return None
            canvas.draw(pixels, x, y)
            if fill:
                canvas.fill(x, y)
        return objects

    def problem_1(self, label: int) -> Objects | None:
        first = self.shape(26.25, 2.5)
        second = first if label else self.shape(26.25, 2.5)
        return self.put([(first, *self.place()), (second, *self.place())])

    def big(self, packed: np.ndarray) -> tuple[Pixels, int, int]:
        pixels = self.pixels(packed)
        while True:
            x, y = self.place()
            if not Canvas().overwrites(pixels, x, y):
                return pixels, x, y

    def sides(self, big: tuple[Pixels, int, int]) -> tuple[Canvas, Canvas]:
        """The canvas where only the inside is free, and the one where only the outside is."""
        inside, outside = outline_of(*big, filled=True), outline_of(*big, filled=True)
        inside.swap(outline_of(*big).taken)
        return inside, outside

    def problem_2(self, label: int) -> Objects | None:
        big = self.big(self.shapes(48, 21))
        free, _ = self.sides(big)
        mask = outline_of(*big)
        mask.grow(1 if label else 16)
        for _ in range(10):
            while True:
                small = self.shape(10, 1)
                x, y = (middle + int((self.rng.random() - 0.5) * 96) for middle in big[1:])
                if not free.overwrites(small, x, y):
                    break
            if mask.overwrites(small, x, y) == bool(label):
                return [big, (small, x, y)]
        return None

    def problem_3(self, label: int) -> Objects | None:
        canvas, mask, objects = Canvas(), Canvas(), []
        tries = 0
        for number in range(4):
            touching = number == 3 or number == (1 if label else 2)
            while True:
                tries += 1
                if tries > 100:
                    return None
                pixels, (x, y) = self.shape(21, 2), self.place()
                if mask.overwrites(pixels, x, y):
                    continue
                area = outline_of(pixels, x, y, filled=True)
                common = int((area.taken & canvas.taken).sum())
                if not touching or (canvas.overwrites(pixels, x, y) and 1 <= common <= 3):
                    break
            objects.append((pixels, x, y))
            canvas.draw(pixels, x, y)
            canvas.taken |= area.taken
            if number == label:
                mask = canvas.copy()
                mask.grow(16)
        return objects

    def small(self, free: Canvas) -> tuple[Pixels, int, int] | None:
        for _ in range(10):
            pixels, (x, y) = self.shape(10, 1), self.place()
            if not free.overwrites(pixels, x, y):
                return pixels, x, y
        return None

    def problem_4(self, label: int) -> Objects | None:
        big = self.big(self.shapes(48, 21))
        small = self.small(self.sides(big)[0 if label else 1])
        return None if small is None else [big, small]

    def problem_8(self, label: int) -> Objects | None:
        packed = self.shapes(48, 21)
        inside = bool(label) or self.rng.random() < 0.5
        other = packed if label or not inside else self.shapes(48, 21)
        big, small = self.big(packed), self.pixels(other, 0.5)
        free = self.sides(big)[0 if inside else 1]
        for _ in range(10):
            x, y = self.place()
            if not free.overwrites(small, x, y):
                return [big, (small, x, y)]
        return None

    def problem_9(self, label: int) -> Objects | None:
        packed = self.shapes(21, 2)
        small, big = self.pixels(packed, 0.5), self.pixels(packed)
        ends, share = (self.place(), self.place()), 0.25 + 0.5 * self.rng.random()
        middle = tuple(int(share * one + (1 - share) * other) for one, other in zip(*ends))
        others = (middle, ends[1]) if label else (ends[1], middle)
        return self.put([(small, *ends[0]), (small, *others[0]), (big, *others[1])], fill=True)

    def problem_11(self, label: int) -> Objects | None:
        tries = 0
        while True:
            tries += 1
            big, (x, y) = self.shape(48, 16), self.place()
            if not Canvas().overwrites(big, x, y):
                break
            if tries == 100:
                return None
        area = outline_of(big, x, y, filled=True)
        grown = area.copy()
        grown.grow(10)
        while tries < 100:
            tries += 1
            small, spot = self.shape(21, 7), self.place()
            if Canvas().overwrites(small, *spot):
                continue
            own = outline_of(small, *spot, filled=True).taken
            if (1 <= (own & area.taken).sum() <= 4) if label else not (own & grown.taken).any():
                return [(big, x, y), (small, *spot)]
        return None

    def problem_13(self, label: int) -> Objects | None:
        big, small = self.shape(32, 16), self.shape(10, 5)
        canvas, objects, tries = Canvas(), [], iter(range(100))

        def try_places(pixels: Pixels, near: Canvas | None) -> Iterator[tuple[int, int]]:
            for _ in tries:
                x, y = self.place()
                if not canvas.overwrites(pixels, x, y) and (near is None or near.overwrites(pixels, x, y)):
                    yield x, y

        def grown(x: int, y: int) -> Canvas:
            outline = outline_of(big, x, y)
            outline.grow(32)
            return outline

        for pixels in (big, small, big):
            spot = next(try_places(pixels, grown(*objects[0][1:]) if pixels is small else None), None)
            if spot is None:
                return None
            canvas.draw(pixels, *spot)
            objects.append((pixels, *spot))
        x, y = (objects[1][axis] - objects[0][axis] + objects[2][axis] for axis in (1, 2))
        if canvas.overwrites(small, x, y):
            return None
        if label:
            return [*objects, (small, x, y)]
        for spot in try_places(small, grown(*objects[2][1:])):
            if math.dist(spot, (x, y)) >= 32:
                return [*objects, (small, *spot)]
        return None

    def problem_14(self, label: int) -> Objects | None:
        spots = [self.place_inner() for _ in range(3)]
        if label:
            share = self.rng.random()
            spots[2] = tuple(int(share * one + (1 - share) * other) for one, other in zip(*spots[:2]))
        elif min(distance_to_segment(spots[k], spots[k - 1], spots[k - 2]) for k in range(3)) < 6:
            return None
        shape = self.shape(10, 1)
        return self.put([(shape, *spot) for spot in spots])

    def problem_23(self, label: int) -> Objects | None:
        big = self.big(self.shapes(48, 21))
        sides = self.sides(big)
        first = 0 if self.rng.random() < 0.5 else 1
        small = self.small(sides[first])
        if small is None:
            return None
        free = sides[1 - first] if label else sides[first]
        if not label:
            free.draw(*small)
            free.fill(*small[1:])
        other = self.small(free)
        return None if other is None else [big, small, other]


def distance_to_segment(point: tuple[int, int], one: tuple[int, int], other: tuple[int, int]) -> float:
    """The least over a fine division of the segment."""
    share = np.linspace(0, 1, 2001)[:, np.newaxis]
    along = share * np.array(one) + (1 - share) * np.array(other)
    return float(np.hypot(*(along - point).T).min())


def box_of(pixels: Pixels, x: int, y: int) -> tuple[int, int, int, int]:
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    return int(left) + x, int(top) + y, int(right - left) + 1, int(bottom - top) + 1


def paint(objects: Objects) -> np.ndarray:
    image = np.full((128, 128), 255, np.uint8)
    for pixels, x, y in objects:
        image[pixels[:, 1] + y, pixels[:, 0] + x] = 0
    return image
