"""The rules of Puebla & Bowers's tasks a second time: one image at a time, in plain Python, with the full rejection.

Written from the description of the rules alone and sharing nothing with the package, which draws in batches and takes
shortcuts. Every function makes one attempt: the two objects as point lists or other strokes, and what is known of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import cv2
import numpy as np

Points = list[tuple[int, int]]
Known = dict[str, float]
Attempt = tuple[list[Points], list[Known], Known]
SIZE = 128


def regular_polygon(sides: int, radius: int, rotation: int) -> Points:
    turned = [2 * math.pi * i / sides + math.radians(rotation) for i in range(sides)]
    return [(int(math.sin(angle) * radius), int(math.cos(angle) * radius)) for angle in turned]


def displaced(points: Points, reach: int, rng: Random, *, along_diagonal: bool = True) -> Points:
    moved = []
    for x, y in points:
        across = rng.randint(-reach, reach)
        moved.append((x + across, y + (across if along_diagonal else rng.randint(-reach, reach))))
    mean_x, mean_y = sum(x for x, _ in moved) / len(moved), sum(y for _, y in moved) / len(moved)
    return sorted(moved, key=lambda p: math.atan2(p[0] - mean_x, p[1] - mean_y))


def shifted(points: Points, x: int, y: int) -> Points:
    return [(a + x, b + y) for a, b in points]


def polygons(rng: Random, label: int, *, irregular: bool = True, along_diagonal: bool = True) -> Attempt:
    radius = rng.randint(10, 39)
    reach = radius // 2
    objects, known = [], []
    for sides in rng.sample(range(3, 8), 2):
        rotation = rng.randint(0, 360)
        points = regular_polygon(sides, radius, rotation)
        objects.append(displaced(points, reach, rng, along_diagonal=along_diagonal) if irregular else points)
        known.append({"num_sides": sides, "rotation": rotation})
    if label:
        objects[1], known[1] = objects[0], known[0]
    margin = radius + reach
    places = [(rng.randint(margin, 127 - margin), rng.randint(margin, 127 - margin)) for _ in range(2)]
    return [shifted(points, *place) for points, place in zip(objects, places)], known, {"radius": radius}


def coloured_polygons(rng: Random, label: int) -> Attempt:
    objects, known, about = polygons(rng, label)
    return objects, known, about | {name: rng.randint(0, 255) for name in ("red", "green", "blue")}


def scrambled(rng: Random, label: int) -> Attempt:
    radius, sides, rotation = rng.randint(10, 17), rng.randint(3, 7), rng.randint(0, 360)
    margin = radius + radius // 2
    first = [64 * rng.randint(0, 1) + rng.randint(margin, 63 - margin) for _ in range(2)]
    second = [rng.randint(28, 99), rng.randint(28, 99)]
    axis = rng.randint(0, 1)
    second[axis] = rng.randint(28, 35) if first[axis] > 64 else rng.randint(92, 99)
    points = regular_polygon(sides, radius, rotation)
    known = [{"num_sides": sides, "scrambled": 0}, {"num_sides": sides, "scrambled": 1 - label}]
    about = {"radius": radius, "rotation": rotation, "centre_x": second[0], "centre_y": second[1]}
    return [shifted(points, *first), shifted(points, *second)], known, about


def cut_apart(ink: np.ndarray, about: Known, rng: Random) -> np.ndarray:
    half, x, y = int(about["radius"]) + 1, int(about["centre_x"]), int(about["centre_y"])
    steps = [rng.sample(range(half // 2), 4) for _ in "xy"]
    apart = np.zeros_like(ink)
    for number, (right, down) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        left, top = x - half + right * half, y - half + down * half
        to_left = left + (steps[0][number] if right else -steps[0][number])
        to_top = top + (steps[1][number] if down else -steps[1][number])
        apart[to_top : to_top + half, to_left : to_left + half] |= ink[top : top + half, left : left + half]
    return apart


def lines(rng: Random, label: int) -> Attempt:
    s = rng.randint(10, 24)
    figure = [(0, s), (0, 0), (s, 0), (s, s), (s, 2 * s), (2 * s, 2 * s), (2 * s, s)]
    mirrored = [(0, s), (0, 2 * s), (s, 2 * s), (s, s), (s, 0), (2 * s, 0), (2 * s, s)]
    objects = [figure, figure if label else mirrored]
    places = [(rng.randint(1, 126 - 2 * s), rng.randint(1, 126 - 2 * s)) for _ in range(2)]
    known = [{"mirrored": 0}, {"mirrored": 1 - label}]
    return [shifted(points, *place) for points, place in zip(objects, places)], known, {"side": s}


def rectangles(rng: Random, label: int) -> Attempt:
    common, (first, second) = rng.choice(range(16, 61, 4)), rng.sample(range(16, 61, 4), 2)
    sides = [(common, first), (common, first if label else second)]
    if rng.random() < 0.5:
        sides = [(b, a) for a, b in sides]
    objects = []
    for width, height in sides:
        corners = [(0, 0), (width, 0), (width, height), (0, height)]
        objects.append(shifted(corners, rng.randint(2, 124 - width), rng.randint(2, 124 - height)))
    return objects, [{}, {}], {}


def straight_lines(rng: Random, label: int) -> Attempt:
    lengths, angle = rng.sample(range(16, 61, 4), 2), rng.choice((0, 45, 90, 135))
    lengths[1] = lengths[0] if label else lengths[1]
    objects = []
    for length in lengths:
        a, b = (int(length / 2 * f(math.radians(angle))) for f in (math.cos, math.sin))
        half = length // 2
        x, y = (rng.randint(half + 2, 126 - (half + 2)) for _ in range(2))
        objects.append([(x - a, y - b), (x + a, y + b)])
    return objects, [{"length": length} for length in lengths], {"line_angle": angle}


def arrows(rng: Random, label: int) -> Attempt:
    size, rotation = rng.randint(4, 10), rng.randint(0, 135)
    has_a = rng.random() < 0.5
    has_b = rng.random() < 0.5 if has_a else True
    turned_a, turned_b = rng.random() < 0.5, rng.random() < 0.5
    if label:
        both = [(has_a, has_b, turned_a, turned_b)] * 2
    else:
        other = (has_a, has_b) if has_a and has_b else (has_b, has_a)
        both = [(has_a, has_b, turned_b, turned_b), (*other, not turned_b, not turned_b)]
    low, high = 4 * size, 126 - 4 * size
    (x1, x2), (y1, y2) = (rng.sample(range(low, high + 1), 2) for _ in "xy")
    objects = [
        [(a + x, b + y) for a, b in arrow_stroke(size, rotation, *arrow)]
        for arrow, (x, y) in zip(both, ((x1, y1), (x2, y2)))
    ]
    known = [
        {"has_head_a": a, "has_head_b": b, "inverted_a": a and c, "inverted_b": b and d, "num_heads": a + b}
        for a, b, c, d in both
    ]
    return objects, known, {"arrow_size": size, "rotation": rotation}


def arrow_stroke(size: int, rotation: int, has_a: bool, has_b: bool, turned_a: bool, turned_b: bool) -> Points:
    """One stroke that draws the shaft and goes round each head: shaft, head, back along the shaft."""
    outwards_up, outwards_down = (regular_polygon(3, size, degrees) for degrees in (180, 0))
    head_a = shifted(outwards_down if turned_a else outwards_up, 0, -2 * size - (size // 2 if turned_a else 0))
    head_b = shifted(outwards_up if turned_b else outwards_down, 0, 2 * size + (size // 2 + 1 if turned_b else 0))
    inner = 2 * size - size // 2
    strokes = [[(0, -inner), (0, inner)]] + [h + h[:1] for h, there in ((head_a, has_a), (head_b, has_b)) if there]
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    turned = [
        [(int(x * cosine) - int(y * sine), int(x * sine) + int(y * cosine)) for x, y in stroke] for stroke in strokes
    ]
    return [point for stroke in turned for point in [(_PEN_UP, _PEN_UP), *stroke]]


_PEN_UP = 10_000


def connected_circles(rng: Random, label: int) -> Attempt:
    upper, lower = rng.sample((6, 10, 14, 18), 2)
    pairs = [(upper, lower), (upper, lower) if label else (lower, upper)]
    wide, high = max(upper, lower), upper + lower
    objects, known = [], []
    for a, b in pairs:
        x, y = rng.randint(wide + 2, 125 - wide), rng.randint(high + 2, 125 - high)
        objects.append([(x, y - b), (a, a), (x, y + a), (b, b)])
        known.append({"upper_radius": a, "lower_radius": b})
    return objects, known, {}


def ink_of(task: str, points: Points) -> np.ndarray:
    """One object on a sheet of its own: 255 where there is ink."""
    ink = np.zeros((SIZE, SIZE), np.uint8)
    if task == "connected_circles":
        for centre, (radius, _) in zip(points[::2], points[1::2]):
            cv2.circle(ink, centre, radius, 255)
        return ink
    if task == "arrows":
        starts = [k for k, (x, _) in enumerate(points) if x >= _PEN_UP - SIZE]
        for start, stop in zip(starts, [*starts[1:], len(points)]):
            cv2.polylines(ink, [np.array(points[start + 1 : stop])], False, 255)
        return ink
    closed = task not in ("lines", "straight_lines", "open")
    if task == "filled":
        cv2.fillPoly(ink, [np.array(points)], 255)
    else:
        cv2.polylines(ink, [np.array(points)], closed, 255, 2 if task == "wider_line" else 1)
    return ink


def is_accepted(mask: np.ndarray, about: Known) -> bool:
    """On the picture in its colour: grey, Otsu's threshold, and exactly two external contours."""
    image = np.full((SIZE, SIZE, 3), 255, np.uint8)
    image[mask != 0] = [about.get(name, 0) for name in ("red", "green", "blue")]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, ink = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    return len(cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]) == 2


ATTEMPTS: dict[str, Callable[[Random, int], Attempt]] = {
    "regular": lambda rng, label: polygons(rng, label, irregular=False),
    "irregular": polygons,
    "open": polygons,
    "filled": polygons,
    "wider_line": polygons,
    "random_color": coloured_polygons,
    "scrambled": scrambled,
    "lines": lines,
    "connected_squares": lines,
    "arrows": arrows,
    "rectangles": rectangles,
    "straight_lines": straight_lines,
    "connected_circles": connected_circles,
}


def make_image(task: str, rng: Random, label: int, attempt: Callable[[Random, int], Attempt] | None = None) -> Known:
    """Latents of the first attempt that the rule accepts, the left object as object 1."""
    while True:
        objects, known, about = (attempt or ATTEMPTS[task])(rng, label)
        inks = [ink_of(task, points) for points in objects]
        if task == "scrambled":
            if not label:
                inks[1] = cut_apart(inks[1], about, rng)
            accepted = not _boxes_meet(*(cv2.boundingRect(ink) for ink in inks))
        else:
            accepted = is_accepted(inks[0] | inks[1], about)
        if accepted:
            break
    found = []
    for ink, details in zip(inks, known):
        left, top, width, height = cv2.boundingRect(ink)
        centre = left + (width - 1) / 2, top + (height - 1) / 2
        extents = {"x": centre[0], "y": centre[1], "width": width, "height": height, "slant": measure_slant(ink)}
        found.append(extents | details)
    found.sort(key=lambda one: (one["x"], one["y"]))
    latents = {f"{name}{k}": float(value) for k in (1, 2) for name, value in found[k - 1].items()}
    latents["distance"] = math.hypot(latents["x1"] - latents["x2"], latents["y1"] - latents["y2"])
    latents["ink"] = float(np.count_nonzero(inks[0] | inks[1]))
    return latents | {name: float(value) for name, value in about.items() if not name.startswith("centre")}


def measure_slant(ink: np.ndarray) -> float:
    """How much further an object reaches along the falling diagonal than along the rising one, in [-1, 1]."""
    y, x = np.nonzero(ink)
    falling, rising = np.ptp(x + y), np.ptp(x - y)
    return float((falling - rising) / (falling + rising))


def measure_picture(image: np.ndarray) -> Known:
    """The same of both objects of a picture, the left object as object 1; an object is a connected component."""
    ink = ((image if image.ndim == 2 else image.min(axis=2)) != 255).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    assert count == 3
    left_first = sorted((1, 2), key=lambda k: (2 * boxes[k, 0] + boxes[k, 2], 2 * boxes[k, 1] + boxes[k, 3]))
    slants = []
    for number in left_first:
        left, top, width, height = boxes[number, :4]
        slants.append(measure_slant(labels[top : top + height, left : left + width] == number))
    return {"slant1": slants[0], "slant2": slants[1]}


def _boxes_meet(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return all(
        first[axis] < second[axis] + second[axis + 2] and second[axis] < first[axis] + first[axis + 2]
        for axis in (0, 1)
    )
