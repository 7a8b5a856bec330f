"""Every problem of the SVRT against 1000 images per class of the published generator."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from meta_baseline.stimuli import PROBLEMS, generate_dataset, get_task

REFERENCE = json.loads((Path(__file__).parent / "stimulus_statistics.json").read_text(encoding="utf-8"))["tasks"]
MEASURES = ("fg_pixels", "component_bbox_w", "component_bbox_h", "component_pixels")
# The share of images with so many components is known to three points only from enough of them where it varies.
NUM_IMAGES, NUM_IMAGES_OF = 300, {"svrt3": 500}


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Each measure of all images or components, and the number of components of each image."""
    values: dict[str, list[int]] = {name: [] for name in (*MEASURES, "n_components")}
    for image in images:
        ink = (image != 255).astype(np.uint8)
        count, _, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
        values["fg_pixels"].append(int(ink.sum()))
        values["n_components"].append(count - 1)
        for name, column in zip(MEASURES[1:], (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA)):
            values[name].extend(boxes[1:, column].tolist())
    return {name: np.array(numbers) for name, numbers in values.items()}


def test_every_problem_has_a_reference():
    assert [get_task(name) for name in REFERENCE] == list(PROBLEMS.values())


@pytest.mark.parametrize("task", REFERENCE)
def test_images_have_the_statistics_of_the_published_problem(task: str):
    num_images = NUM_IMAGES_OF.get(task, NUM_IMAGES)
    images, labels, _ = generate_dataset(task, num_images=2 * num_images, seed=1)
    for label in (0, 1):
        compare_with_reference(REFERENCE[task][str(label)], images[labels == label])


def compare_with_reference(reference: dict, images: np.ndarray) -> float:
    """The largest distance of a mean in standard errors of the difference."""
    measured, num_images, worst = measure(images), len(images), 0.0
    # Of the reference's distribution only three percentiles are known; a two-sample Kolmogorov-Smirnov test at
    # p = 1e-4 bounds how far the empirical distribution may be from them.
    reach = math.sqrt(-math.log(1e-4 / 2) / 2) * math.sqrt(1 / num_images + 1 / reference["n"])
    for name in MEASURES:
        expected, values = reference[name], measured[name]
        error = math.sqrt(values.var() / num_images + expected["sd"] ** 2 / reference["n"])
        worst = max(worst, abs(values.mean() - expected["mean"]) / error)
        assert worst < 4, name
        for key, probability in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
            below, up_to = (values < expected[key]).mean(), (values <= expected[key]).mean()
            assert below - reach < probability < up_to + reach, (name, key)
    histogram = reference["n_components_hist"]
    for count in {*map(int, histogram), *measured["n_components"].tolist()}:
        share = float((measured["n_components"] == count).mean())
        assert abs(share - histogram.get(str(count), 0.0)) < 0.03, count
    return worst


def main() -> None:
    """Print what the documentation says: ``python tests/references/test_stimulus_statistics.py``, 1000 per class."""
    for task, classes in REFERENCE.items():
        images, labels, _ = generate_dataset(task, num_images=2000, seed=7)
        worst = [compare_with_reference(classes[str(label)], images[labels == label]) for label in (0, 1)]
        print(f"{task:<7} worst mean {worst[0]:.1f} and {worst[1]:.1f} standard errors away", flush=True)


if __name__ == "__main__":
    main()
