"""The compiled SVRT against its rules in plain Python: contours, and where ten of the problems put them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
import pytest
from scipy import stats
from svrt_rules import Rules, box_of, draw_recursively, paint, trace_recursively

from meta_baseline.stimuli import PROBLEMS
from meta_baseline.stimuli.draws import derive_keys

# Plain Python is slow where a rule throws most tries away.
NUM_ORACLE, NUM_ORACLE_OF, NUM_COMPILED = 100, {3: 6, 11: 30, 8: 80}, 1500


@pytest.fixture(scope="module")
def draw_compiled() -> Callable[[float, float], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Vertices [V, 2], first vertex of each arc [4] and pixels [P, 2] of a compiled contour."""
    from meta_baseline.stimuli.svrt.contour import draw_contour
    from meta_baseline.stimuli.svrt.kernels import new_desk
    from meta_baseline.stimuli.svrt.randomness import seed_generator

    @numba.njit
    def start(desk, key):
        seed_generator(desk, key)

    @numba.njit
    def draw(desk, radius, hole):
        draw_contour(desk, 0, radius, hole)

    desk = new_desk()
    start(desk, np.uint64(5))

    def draw_one(radius: float, hole: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        draw(desk, float(radius), float(hole))
        num_vertices, num_pixels = desk["arcs"][0, 4], desk["num_pixels"][0]
        vertices = np.stack([desk["x"][0, :num_vertices], desk["y"][0, :num_vertices]], axis=1)
        pixels = np.stack([desk["columns"][0, :num_pixels], desk["rows"][0, :num_pixels]], axis=1)
        return vertices, desk["arcs"][0, :4].copy(), pixels.astype(int)

    return draw_one


@pytest.mark.parametrize(("radius", "hole", "num"), [(26.25, 2.5, 150), (10.0, 1.0, 300), (10.0, 5.0, 20)])
def test_compiled_contours_have_the_distribution_of_the_recursive_rule(draw_compiled, radius, hole, num):
    rng = np.random.default_rng(0)
    slow = [draw_recursively(rng, radius, hole)[0] for _ in range(num)]
    fast = [draw_compiled(radius, hole)[0] for _ in range(1500)]
    for describe in (
        len,
        lambda v: np.hypot(*v.T).max(),
        lambda v: np.hypot(*v.T).min(),
        lambda v: np.linalg.norm(np.diff(v, axis=0), axis=1).sum(),
        lambda v: v[:, 0].max(),
        lambda v: v[:, 1].min(),
        lambda v: np.hypot(*v.mean(axis=0)),
    ):
        sample = [[float(describe(vertices)) for vertices in some] for some in (slow, fast)]
        assert stats.ks_2samp(*sample).pvalue > 1e-4


@pytest.mark.parametrize(("radius", "hole"), [(26.25, 2.5), (10.0, 1.0), (48.0, 21.0)])
def test_compiled_traces_are_those_of_the_recursive_rule_pixel_by_pixel(draw_compiled, radius, hole):
    for _ in range(30):
        vertices, starts, pixels = draw_compiled(radius, hole)
        np.testing.assert_array_equal(pixels, trace_recursively(vertices, starts))


def test_a_trace_is_thinner_than_the_contour(draw_compiled):
    vertices, _, pixels = draw_compiled(26.25, 2.5)
    assert len(pixels) < len(np.unique(np.floor(vertices), axis=0))


def describe(boxes: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of images [N], of boxes [N, K, 4] of their objects in drawing order."""
    centres = boxes[:, :, :2] + boxes[:, :, 2:] / 2
    measures: dict[str, np.ndarray] = {"ink": (images == 0).sum(axis=(1, 2))}
    for thing in range(boxes.shape[1]):
        measures |= {f"x of {thing}": centres[:, thing, 0], f"y of {thing}": centres[:, thing, 1]}
        measures |= {f"width of {thing}": boxes[:, thing, 2], f"height of {thing}": boxes[:, thing, 3]}
        for other in range(thing):
            steps = centres[:, thing] - centres[:, other]
            measures |= {f"distance {other} to {thing}": np.hypot(*steps.T)}
            measures |= {f"angle {other} to {thing}": np.arctan2(steps[:, 1], steps[:, 0])}
    return measures


@pytest.mark.parametrize("problem", [1, 2, 3, 4, 8, 9, 11, 13, 14, 23])
def test_compiled_problems_put_contours_where_the_rules_in_plain_python_do(draw_compiled, problem: int):
    compare_with_rules(draw_compiled, problem, NUM_ORACLE_OF.get(problem, NUM_ORACLE), NUM_COMPILED)


def compare_with_rules(draw_compiled, problem: int, num_oracle: int, num_compiled: int) -> list[tuple[float, str]]:
    def shapes(radius: float, hole: float) -> np.ndarray:
        vertices, starts, _ = draw_compiled(radius, hole)
        return np.concatenate([np.stack([starts, starts], axis=1), vertices])

    rules, found = Rules(np.random.default_rng(problem), shapes), []
    for label in (0, 1):
        objects = [rules.draw(problem, label) for _ in range(num_oracle)]
        slow = describe(
            np.array([[box_of(*thing) for thing in some] for some in objects]),
            np.stack([paint(some) for some in objects]),
        )
        keys = derive_keys(3, (problem, label), np.arange(num_compiled))
        batch = PROBLEMS[problem].draw_batch(keys, np.full(num_compiled, label))
        fast = describe(batch.boxes, batch.images)
        for name in slow:
            found.append((float(stats.ks_2samp(slow[name], fast[name]).pvalue), f"{name}, class {label}"))
    lowest = min(found)
    assert lowest[0] > 1e-4 and math.isfinite(lowest[0]), lowest
    return sorted(found)
