"""Latents measured from pixels mean what those of the generator mean."""

from __future__ import annotations

import numpy as np
import pytest

from meta_baseline.datasets.measured import find_components, measure_latents
from meta_baseline.stimuli import generate_image

SHARED = (
    "x1", "y1", "width1", "height1", "size1", "x2", "y2", "width2", "height2", "size2",
    "distance", "angle", "size_ratio", "ink",
)  # fmt: skip


def paper(size: int = 40) -> np.ndarray:
    return np.full((size, size), 255, np.uint8)


@pytest.mark.parametrize("task", ["svrt1", "regular", "filled", "random_color", "lines"])
def test_measured_latents_are_those_of_the_generator(task: str):
    for index in range(60):
        stimulus = generate_image(task, index % 2, 3, index)
        measured = measure_latents(stimulus.image)
        assert measured["num_components"] == 2
        assert {name: measured[name] for name in SHARED} == pytest.approx(
            {name: stimulus.latents[name] for name in SHARED}
        )
        assert measured["ink1"] + measured["ink2"] == measured["ink"]
        assert measured["largest_component"] == max(measured["ink1"], measured["ink2"])


@pytest.mark.parametrize("task", ["svrt1", "regular", "filled"])
def test_overlap_is_1_for_one_shape_at_two_places_and_less_for_two_shapes(task: str):
    same = [measure_latents(generate_image(task, 1, 3, index).image)["overlap"] for index in range(60)]
    different = [measure_latents(generate_image(task, 0, 3, index).image)["overlap"] for index in range(60)]
    assert set(same) == {1.0}
    assert min(different) >= 0 and max(different) < 1 and np.mean(different) < (0.7 if task == "filled" else 0.3)


def test_overlap_of_two_squares_is_the_share_that_they_have_in_common():
    image = paper()
    image[2:12, 2:12] = 0
    image[20:28, 22:30] = 0
    assert measure_latents(image)["overlap"] == pytest.approx(64 / 100)
    image[20:28, 22:30] = 255
    image[20:26, 20:40] = 0
    assert measure_latents(image)["overlap"] == pytest.approx(60 / (100 + 120 - 60))


def test_overlap_does_not_match_up_mirrored_shapes():
    image = paper()
    corner = np.zeros((12, 12), bool)
    corner[:, :3] = corner[:3] = True
    image[2:14, 2:14][corner] = 0
    image[20:32, 20:32][corner] = 0
    assert measure_latents(image)["overlap"] == 1.0
    image[20:32, 20:32] = 255
    image[20:32, 20:32][corner[:, ::-1]] = 0
    assert measure_latents(image)["overlap"] < 0.6


def test_parts_that_touch_by_a_corner_are_one_component_and_a_speck_is_one_too():
    image = paper()
    image[5:10, 5:10] = image[10:15, 10:15] = 0
    assert measure_latents(image) == {
        "ink": 50, "num_components": 1, "largest_component": 50, "smallest_component": 50
    }  # fmt: skip
    image[30, 30] = 0
    latents = measure_latents(image)
    assert (latents["num_components"], latents["smallest_component"], latents["ink2"]) == (2, 1, 1)


def test_of_many_components_the_two_with_most_ink_are_described_the_left_one_first():
    image = paper()
    for left, top, side in ((30, 3, 7), (2, 20, 5), (12, 30, 3), (20, 20, 2)):
        image[top : top + side, left : left + side] = 0
    latents = measure_latents(image)
    assert (latents["num_components"], latents["smallest_component"]) == (4, 4)
    assert (latents["x1"], latents["width1"], latents["x2"], latents["width2"]) == (4, 5, 33, 7)


def test_paper_need_not_be_white():
    image = paper()
    image[2:8, 2:8] = image[20:26, 20:26] = 0
    assert measure_latents(255 - image) == measure_latents(image)
    assert measure_latents(np.where(image == 255, 90, 200).astype(np.uint8)) == measure_latents(image)


def test_blank_and_crowded_images_are_measured_too():
    assert measure_latents(paper())["num_components"] == 0
    crowded = paper(600)
    crowded[::2, ::2] = 0
    assert len(find_components(crowded).areas) == 300 * 300
    assert measure_latents(crowded)["num_components"] == 300 * 300
