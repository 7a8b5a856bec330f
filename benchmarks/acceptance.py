"""How far the stimuli are from those of the published generators, task by task and class by class.

    python benchmarks/acceptance.py                              # all 36 tasks that have a reference
    python benchmarks/acceptance.py --task regular --num-images 1000 --seed 7

The reference is 1000 images of each class and SVRT problem, 600 of each task of Puebla & Bowers. Accepted are means
within 4 standard errors of the difference (ink per image; width, height and ink of the 8-connected components) and
shares of images with so many components within 3 points.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np

from meta_baseline.stimuli import generate_dataset

REFERENCES = Path(__file__).parents[1] / "tests" / "references"
FILES = ("stimulus_statistics.json", "pb_statistics.json")
COLUMNS = {
    "component_bbox_w": cv2.CC_STAT_WIDTH,
    "component_bbox_h": cv2.CC_STAT_HEIGHT,
    "component_pixels": cv2.CC_STAT_AREA,
}


def main() -> None:
    references = {
        task: statistics
        for name in FILES
        for task, statistics in json.loads((REFERENCES / name).read_text(encoding="utf-8"))["tasks"].items()
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=references, default=list(references), metavar="TASK")
    parser.add_argument("--num-images", type=int, default=1000, help="of each class (default: 1000)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(f"{'task':<18} class  largest distance of a mean        largest difference of a share")
    for task in options.task:
        images, labels, _ = generate_dataset(task, num_images=2 * options.num_images, seed=options.seed)
        for label in (0, 1):
            print(
                f"{task:<18} {label:>5}  {compare(references[task][str(label)], images[labels == label])}", flush=True
            )


def compare(reference: dict, images: np.ndarray) -> str:
    """The measure that is furthest from the reference, in standard errors, and the component count, in points."""
    measured, counts = measure(images)
    distances = {}
    for name, values in measured.items():
        expected = reference[name]
        error = math.sqrt(values.var(ddof=1) / len(images) + expected["sd"] ** 2 / reference["n"])
        distances[name] = (values.mean() - expected["mean"]) / error
    furthest = max(distances, key=lambda name: abs(distances[name]))
    shares = reference["n_components_hist"]
    difference = max(
        abs(float((counts == count).mean()) - shares.get(str(count), 0.0))
        for count in {*map(int, shares), *counts.tolist()}
    )
    accepted = abs(distances[furthest]) < 4 and difference < 0.03
    return f"{distances[furthest]:>+6.2f} s.e. ({furthest})".ljust(34) + (
        f"{100 * difference:.1f} points{'' if accepted else '   NOT ACCEPTED'}"
    )


def measure(images: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Ink of every image, box and ink of every component; and the number of components of every image."""
    values: dict[str, list[int]] = {name: [] for name in ("fg_pixels", *COLUMNS)}
    counts: list[int] = []
    for image in images:
        ink = ((image if image.ndim == 2 else image.min(axis=2)) != 255).astype(np.uint8)
        count, _, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
        counts.append(count - 1)
        values["fg_pixels"].append(int(ink.sum()))
        for name, column in COLUMNS.items():
            values[name].extend(boxes[1:, column].tolist())
    return {name: np.array(numbers) for name, numbers in values.items()}, np.array(counts)


if __name__ == "__main__":
    main()
