"""Latents measured from pixels beside those of the generator, for every task of two whole objects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from meta_baseline.datasets.measured import measure_latents
from meta_baseline.stimuli import generate_dataset

TASKS = (
    "irregular", "regular", "open", "wider_line", "filled", "random_color", "lines", "arrows", "rectangles",
    "straight_lines", "connected_squares", "connected_circles",
)  # fmt: skip
MEASURED = {f"{name}{number}" for name in ("x", "y", "width", "height", "size") for number in (1, 2)} | {
    "ink", "distance", "angle", "size_ratio",
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_measured_latents_are_those_of_the_generator(task: str):
    images, labels, known = generate_dataset(task, num_images=40, seed=3, image_size=128, split="test")
    measured = pd.DataFrame([measure_latents(image) for image in images])
    shared = [name for name in measured if name in known]
    assert set(shared) >= MEASURED
    np.testing.assert_allclose(measured[shared].to_numpy(), known[shared].to_numpy(), rtol=1e-5, atol=1e-6)
    assert set(measured["num_components"]) == {2}
    overlap = measured["overlap"].to_numpy()
    assert np.unique(overlap[labels == 1]).tolist() == [1]
    assert overlap[labels == 0].mean() < 0.8


def test_the_pieces_of_a_scrambled_object_are_counted_as_pieces():
    images, labels, _ = generate_dataset("scrambled", num_images=40, seed=3, image_size=128, split="test")
    counts = np.array([measure_latents(image)["num_components"] for image in images])
    assert set(counts[labels == 1]) == {2} and set(counts[labels == 0]) == {5}
