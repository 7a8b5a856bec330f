"""Every task of Puebla & Bowers against 600 images per class of its published generator."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from meta_baseline.stimuli import TASKS, generate_dataset

REFERENCE = json.loads((Path(__file__).parent / "pb_statistics.json").read_text(encoding="utf-8"))["tasks"]
MEASURES = ("fg_pixels", "component_bbox_w", "component_bbox_h", "component_pixels")
NUM_IMAGES = 700


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Each measure of all images or components, and the number of components of each image."""
    values: dict[str, list[int]] = {name: [] for name in (*MEASURES, "n_components")}
    for image in images:
        ink = (image if image.ndim == 2 else image.min(axis=2)) != 255
        count, _, boxes, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
        values["fg_pixels"].append(int(ink.sum()))
        values["n_components"].append(count - 1)
        for name, column in zip(MEASURES[1:], (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)):
            values[name].extend(boxes[1:, column].tolist())
    return {name: np.array(numbers) for name, numbers in values.items()}


def test_every_published_task_but_the_borrowed_one_is_there():
    assert set(REFERENCE) <= set(TASKS)
    assert len(REFERENCE) == 13


@pytest.mark.parametrize("task", sorted(REFERENCE))
def test_images_have_the_statistics_of_the_published_task(task: str):
    images, labels, _ = generate_dataset(task, num_images=2 * NUM_IMAGES, seed=11)
    for label in (0, 1):
        reference, measured = REFERENCE[task][str(label)], measure(images[labels == label])
        # A two-sample Kolmogorov-Smirnov test at p = 1e-4, of which three percentiles are known on the one side.
        reach = math.sqrt(-math.log(1e-4 / 2) / 2) * math.sqrt(1 / NUM_IMAGES + 1 / reference["n"])
        for name in MEASURES:
            expected, values = reference[name], measured[name]
            error = math.sqrt(values.var() / NUM_IMAGES + expected["sd"] ** 2 / reference["n"])
            assert abs(values.mean() - expected["mean"]) < 4 * error, (label, name)
            for key, probability in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
                below, up_to = (values < expected[key]).mean(), (values <= expected[key]).mean()
                assert below - reach < probability < up_to + reach, (label, name, key)
        histogram = reference["n_components_hist"]
        for count in {*map(int, histogram), *measured["n_components"].tolist()}:
            share = float((measured["n_components"] == count).mean())
            assert abs(share - histogram.get(str(count), 0.0)) < 0.03, (label, count)
