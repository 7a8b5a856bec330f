"""Every latent of the published tasks against the same rule in plain Python, one image at a time."""

from __future__ import annotations

from functools import partial
from random import Random

import numpy as np
import pandas as pd
import pytest
from pb_rules import ATTEMPTS, Attempt, Known, make_image, measure_picture, polygons, straight_lines
from scipy.stats import ks_2samp

from meta_baseline.stimuli import generate_dataset

NUM_IMAGES = 300


def find_differences(expected: list[Known], latents: pd.DataFrame) -> set[str]:
    """Latents whose distributions differ: Kolmogorov-Smirnov, and the means, because ties make that conservative."""
    found = set()
    for name in expected[0]:
        ours, theirs = latents[name].to_numpy(float), np.array([image[name] for image in expected])
        error = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
        if ks_2samp(theirs, ours, method="asymp").pvalue < 1e-4 or abs(ours.mean() - theirs.mean()) > 4.5 * error:
            found.add(name)
    return found


def draw(task: str, label: int) -> pd.DataFrame:
    images, labels, latents = generate_dataset(task, num_images=4 * NUM_IMAGES, seed=21)
    if task != "scrambled":
        latents = latents.join(pd.DataFrame([measure_picture(image) for image in images]))
    return latents[labels == label]


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("task", sorted(ATTEMPTS))
def test_places_sizes_and_shapes_are_distributed_as_the_rule_says(task: str, label: int):
    rng = Random(f"{task} {label}")
    expected = [make_image(task, rng, label) for _ in range(NUM_IMAGES)]
    latents = draw(task, label)
    if task == "scrambled":  # its pieces are no objects of the picture
        expected = [{name: image[name] for name in image if not name.startswith("slant")} for image in expected]
    assert find_differences(expected, latents) == set()


def longer_by_a_fifth(rng: Random, label: int) -> Attempt:
    objects, known, about = straight_lines(rng, label)
    return [[(x, y), (x + (u - x) * 6 // 5, y + (v - y) * 6 // 5)] for (x, y), (u, v) in objects], known, about


@pytest.mark.parametrize(
    ("task", "wrong", "noticed"),
    [
        ("irregular", partial(polygons, along_diagonal=False), {"slant1"}),
        ("straight_lines", longer_by_a_fifth, {"ink"}),
    ],
)
def test_another_rule_is_noticed(task: str, wrong, noticed: set[str]):
    rng = Random(0)
    expected = [make_image(task, rng, 0, wrong) for _ in range(NUM_IMAGES)]
    assert find_differences(expected, draw(task, 0)) & noticed
