"""Stimuli against the statistics of the published generators (1000 images per class for SVRT, 600 for the PB tasks)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import stats

from meta_baseline.stimuli import generate_image

REFERENCE = json.loads((Path(__file__).parent / "stimulus_statistics.json").read_text(encoding="utf-8"))["tasks"]
MEASURES = ("fg_pixels", "component_bbox_w", "component_bbox_h", "component_pixels")
NUM_IMAGES = 300


def measure(task: str, label: int, num_images: int) -> dict[str, np.ndarray]:
    values: dict[str, list[int]] = {name: [] for name in (*MEASURES, "n_components")}
    for index in range(num_images):
        image = generate_image(task, label, 1, index).image
        ink = (image != 255) if image.ndim == 2 else (image != 255).any(axis=2)
        count, _, boxes, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
        values["fg_pixels"].append(int(ink.sum()))
        values["n_components"].append(count - 1)
        for name, column in zip(MEASURES[1:], (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)):
            values[name].extend(boxes[1:, column].tolist())
    return {name: np.array(numbers) for name, numbers in values.items()}


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("task", sorted(REFERENCE))
def test_images_have_the_statistics_of_the_published_generator(task: str, label: int):
    reference, measured = REFERENCE[task][str(label)], measure(task, label, NUM_IMAGES)
    for name in MEASURES:
        expected, values = reference[name], measured[name]
        error = math.sqrt(values.var() / NUM_IMAGES + expected["sd"] ** 2 / reference["n"])
        assert abs(values.mean() - expected["mean"]) < 4 * error, name

    histogram = reference["n_components_hist"]
    for count in {*map(int, histogram), *measured["n_components"].tolist()}:
        share = float((measured["n_components"] == count).mean())
        assert abs(share - histogram.get(str(count), 0.0)) < 0.03, count

    # Of the reference's distribution only three percentiles are known; a two-sample Kolmogorov-Smirnov test at
    # p = 1e-4 bounds how far the empirical distribution may be from them.
    distance = math.sqrt(-math.log(1e-4 / 2) / 2) * math.sqrt(1 / NUM_IMAGES + 1 / reference["n"])
    for name in MEASURES:
        for key, probability in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
            below = (measured[name] < reference[name][key]).mean()
            up_to = (measured[name] <= reference[name][key]).mean()
            assert below - distance < probability < up_to + distance, (name, key)


def recursive_contour(rng: np.random.Generator, radius: float, hole: float) -> np.ndarray:
    """The contour rule as it is worded, chord by chord, without any shortcut."""

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
        vertices = np.array([v for i in range(4) for v in chord(corners[i], corners[(i + 1) % 4])])
        distances = np.hypot(*vertices.T)
        if (distances < radius).all() and (distances >= hole).all():
            return vertices


def test_the_compiled_contour_has_the_distribution_of_the_recursive_rule():
    from meta_baseline.stimuli.svrt.contour import draw_contour

    rng = np.random.default_rng(0)
    slow = [recursive_contour(rng, 26.25, 2.5) for _ in range(150)]
    fast = [np.stack(draw_contour(rng, 26.25, 2.5)[:2], axis=1) for _ in range(1500)]
    for describe in (
        len,
        lambda v: np.hypot(*v.T).max(),
        lambda v: np.hypot(*v.T).min(),
        lambda v: np.linalg.norm(np.diff(v, axis=0), axis=1).sum(),
    ):
        sample = [[float(describe(vertices)) for vertices in some] for some in (slow, fast)]
        assert stats.ks_2samp(*sample).pvalue > 1e-4


def test_giving_up_early_leaves_the_distribution_of_problem_1_as_it_is():
    from meta_baseline.stimuli.svrt import problem_01

    rng = np.random.default_rng(0)

    def plainly(label: int):
        while True:
            scene = problem_01.compose(rng, label, problem_01.draw_shapes(rng))
            if scene is not None:
                return scene

    for label in (0, 1):
        early = [problem_01.compose(rng, label) for _ in range(600)]
        plain = [plainly(label) for _ in range(600)]
        for describe in (
            lambda scene: (scene.image == 0).sum(),
            lambda scene: scene.objects[0].box[0],
            lambda scene: scene.objects[1].box[1],
            lambda scene: math.dist(scene.objects[0].box[:2], scene.objects[1].box[:2]),
            lambda scene: scene.objects[0].box[2] * scene.objects[0].box[3],
        ):
            sample = [[float(describe(scene)) for scene in some] for some in (early, plain)]
            assert stats.ks_2samp(*sample).pvalue > 1e-4
