"""What every stimulus promises, whatever its task."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_baseline.errors import UsageError
from meta_baseline.stimuli import TASKS, generate_dataset, generate_image, get_problem, get_task
from meta_baseline.stimuli.canvas import black_on_white, blank_ink, boxes_are_clear, colour_on_white, has_two_outlines
from meta_baseline.stimuli.puebla_bowers.polygons import PolygonFigures, _are_as_light_as_paper
from meta_baseline.stimuli.scene import PlacedObject, describe_pair

EVERY_TASK = pytest.mark.parametrize("task", sorted(TASKS))


# Those whose class 1 is something else than "the same shape twice".
OF_OTHER_RULES = {"psvrt_sr", *(f"svrt{number}" for number in range(2, 24))}
# Tasks that show the same shape in class 1 whichever image of an identity it is; the others have two to choose from.
OF_ONE_SHAPE = {"scrambled", "lines", "arrows", "connected_squares"}


def crops(stimulus) -> list[np.ndarray]:
    """What lies in the boxes of the objects."""
    latents, found = stimulus.latents, []
    for number in range(1, 1 + latents.get("num_objects", 2)):
        width, height = latents[f"width{number}"], latents[f"height{number}"]
        left = round(latents[f"x{number}"] - (width - 1) / 2)
        top = round(latents[f"y{number}"] - (height - 1) / 2)
        found.append(stimulus.image[top : top + height, left : left + width])
    return found


@EVERY_TASK
def test_an_image_depends_on_its_key_alone(task: str):
    forwards = [generate_image(task, i % 2, 7, i) for i in range(12)]
    backwards = [generate_image(task, i % 2, 7, i) for i in reversed(range(12))][::-1]
    for one, other in zip(forwards, backwards):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.latents == other.latents
    assert len({stimulus.image.tobytes() for stimulus in forwards}) == 12


@EVERY_TASK
def test_seeds_and_splits_share_no_images(task: str):
    keys = [(seed, split) for seed in (0, 1) for split in ("train", "val", "test")]
    images = [generate_image(task, 1, seed, i, split=split).image.tobytes() for seed, split in keys for i in range(20)]
    assert len(set(images)) >= 119  # lines has few shapes and places enough that two may coincide once


@EVERY_TASK
def test_latents_are_named_in_the_registry_and_are_numbers(task: str):
    for label in (0, 1):
        latents = generate_image(task, label, 0, 0).latents
        assert tuple(latents) == get_task(task).latents
        assert all(np.isfinite(value) for value in latents.values())
        assert latents["same"] == label


@EVERY_TASK
def test_boxes_of_the_latents_hold_all_ink_and_nothing_more(task: str):
    for index in range(40):
        stimulus = generate_image(task, index % 2, 3, index)
        for crop in crops(stimulus):
            ink = (crop != 255) if crop.ndim == 2 else (crop != 255).any(axis=2)
            assert ink[0].any() and ink[-1].any() and ink[:, 0].any() and ink[:, -1].any()
        grey = stimulus.image if stimulus.image.ndim == 2 else stimulus.image.min(axis=2)
        xs = np.nonzero((grey != 255).T)[0]
        latents = stimulus.latents
        assert latents["ink"] == len(xs)
        numbers = range(1, 1 + latents.get("num_objects", 2))
        assert [latents[f"x{n}"] for n in numbers] == sorted(latents[f"x{n}"] for n in numbers)
        edges = [latents[f"x{n}"] + side * (latents[f"width{n}"] - 1) / 2 for n in numbers for side in (-1, 1)]
        assert (min(edges), max(edges)) == (xs.min(), xs.max())


@pytest.mark.parametrize("task", sorted(set(TASKS) - OF_OTHER_RULES))
def test_same_shows_one_shape_twice_and_different_two_shapes(task: str):
    for index in range(40):
        first, second = crops(generate_image(task, 1, 5, index))
        # Where boxes overlap, a crop may hold a piece of the other object.
        if boxes_overlap(generate_image(task, 1, 5, index).latents):
            continue
        np.testing.assert_array_equal(first, second)
    differing = [crops(generate_image(task, 0, 5, index)) for index in range(40)]
    assert all(one.shape != other.shape or (one != other).any() for one, other in differing)


def boxes_overlap(latents: dict[str, float | int]) -> bool:
    return all(
        abs(latents[f"{axis}1"] - latents[f"{axis}2"]) < (latents[f"{side}1"] + latents[f"{side}2"]) / 2
        for axis, side in (("x", "width"), ("y", "height"))
    )


@EVERY_TASK
def test_an_identity_appears_equally_often_in_both_classes_at_different_places(task: str):
    _, labels, latents = generate_dataset(task, num_images=80, seed=2, identities=4)
    counts = latents.assign(label=labels).groupby(["identity", "label"]).size()
    assert counts.tolist() == [10] * 8
    for _, same in latents[labels == 1].groupby("identity"):
        if task not in OF_OTHER_RULES:
            num_shapes = same[["width1", "height1", "width2", "height2"]].drop_duplicates().shape[0]
            assert num_shapes <= (1 if task in OF_ONE_SHAPE else 2)
        assert same["x1"].nunique() > 3
        own = [name for name in ("radius", "side", "arrow_size") if name in same]
        assert all(same[name].nunique() == 1 for name in own)


def test_same_repeats_either_shape_of_an_identity_so_that_neither_gives_the_class_away():
    for identity in range(5):
        different = generate_image("irregular", 0, 4, 0, identity).latents
        shown = {(different[f"num_sides{n}"], different[f"rotation{n}"]) for n in (1, 2)}
        same = [generate_image("irregular", 1, 4, index, identity).latents for index in range(20)]
        assert {(latents["num_sides1"], latents["rotation1"]) for latents in same} == shown
        assert all(latents["num_sides1"] == latents["num_sides2"] for latents in same)


@pytest.mark.parametrize("task", ["irregular", "random_color", "original"])
def test_the_number_of_workers_changes_nothing(task: str):
    alone = generate_dataset(task, num_images=520, seed=3, image_size=32, identities=7)
    together = generate_dataset(task, num_images=520, seed=3, image_size=32, identities=7, workers=2)
    np.testing.assert_array_equal(alone[0], together[0])
    np.testing.assert_array_equal(alone[1], together[1])
    assert alone[2].equals(together[2])


def test_a_smaller_image_keeps_its_ink():
    large, _, _ = generate_dataset("irregular", num_images=20, seed=0)
    for size in (64, 32):
        small, _, _ = generate_dataset("irregular", num_images=20, seed=0, image_size=size)
        assert small.shape == (20, size, size)
        np.testing.assert_allclose(small.mean(axis=(1, 2)), large.mean(axis=(1, 2)), atol=0.25)


def published_test_of_two_contours(image: np.ndarray) -> bool:
    """The rule as worded: grey, Otsu, inverse threshold, exactly two external contours."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    _, binary = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return len(contours) == 2


def some_ink(seed: int) -> tuple[np.ndarray, tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Two polygons, as often apart as touching, crossing or nested, with their boxes."""
    rng = np.random.default_rng(seed)
    ink, boxes = blank_ink(), []
    for _ in range(2):
        reach = int(rng.integers(3, 40))
        points = rng.integers(-reach, reach + 1, size=(int(rng.integers(2, 7)), 2)) + rng.integers(42, 86, size=2)
        cv2.polylines(ink, [points.astype(np.int32)], bool(rng.integers(2)), 255, 1)
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        boxes.append((left, top, right - left + 1, bottom - top + 1))
    return ink, boxes[0], boxes[1]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_the_ink_decides_as_the_published_threshold_does(seed: int):
    ink, first, second = some_ink(seed)
    published = published_test_of_two_contours(black_on_white(ink))
    assert (boxes_are_clear(first, second) or has_two_outlines(ink)) == published


def test_both_answers_of_that_rule_occur():
    answers = [has_two_outlines(some_ink(seed)[0]) for seed in range(200)]
    assert 20 < sum(answers) < 180


def test_colours_as_light_as_paper_are_thrown_away_as_the_published_threshold_does():
    ink = blank_ink()
    cv2.rectangle(ink, (10, 10), (30, 30), 255)
    cv2.rectangle(ink, (60, 60), (90, 90), 255)
    for red in range(249, 256):
        for green in range(249, 256):
            for blue in range(235, 256):
                colour = (red, green, blue)
                assert _are_as_light_as_paper(np.array([colour]))[0] != published_test_of_two_contours(
                    colour_on_white(ink, colour)
                )


def test_pieces_of_scrambled_always_come_apart_and_never_reach_the_other_object():
    for index in range(150):
        for label in (0, 1):
            image = generate_image("scrambled", label, 0, index).image
            contours, _ = cv2.findContours(255 - image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            assert len(contours) == (2 if label else 5)
            boxes = sorted((cv2.boundingRect(contour) for contour in contours), key=lambda box: -box[2] * box[3])
            rest = np.zeros_like(image)
            for left, top, width, height in boxes[1:]:
                rest[top : top + height, left : left + width] = 255
            assert boxes_are_clear(boxes[0], cv2.boundingRect(rest))


def test_a_two_headed_arrow_with_one_inverted_head_occurs_in_same_only():
    def is_mixed(label: int, index: int) -> bool:
        latents = generate_image("arrows", label, 0, index).latents
        return any(
            latents[f"num_heads{n}"] == 2 and latents[f"inverted_a{n}"] != latents[f"inverted_b{n}"] for n in (1, 2)
        )

    assert not any(is_mixed(0, index) for index in range(500))
    share = np.mean([is_mixed(1, index) for index in range(1000)])
    assert abs(share - 1 / 8) < 0.04


def test_vertices_of_irregular_polygons_move_along_one_diagonal_only():
    shapes = PolygonFigures().draw_shapes(np.random.default_rng(0).random((50, PolygonFigures.num_shape_draws)))
    for radius, num_sides, rotation, vertices in zip(
        shapes["radius"], shapes["num_sides"][:, 0], shapes["rotation"][:, 0], shapes["vertices"][:, 0]
    ):
        angles = np.radians(rotation) + 2 * np.pi / num_sides * np.arange(num_sides)
        regular = {(int(np.sin(a) * radius), int(np.cos(a) * radius)) for a in angles}
        assert sorted(x - y for x, y in vertices[:num_sides]) == sorted(x - y for x, y in regular)


def test_the_left_object_is_object_1_whatever_was_drawn_first():
    left, right = PlacedObject((0, 50, 11, 11), {"sides": 3}), PlacedObject((40, 20, 21, 11), {"sides": 5})
    latents = describe_pair(right, left)
    assert latents == describe_pair(left, right)
    assert (latents["x1"], latents["y1"], latents["sides1"]) == (5, 55, 3)
    assert latents["angle"] == pytest.approx(np.degrees(np.arctan2(-30, 45)))


def test_problems_and_tasks_that_do_not_exist_are_refused_with_those_that_do():
    with pytest.raises(UsageError, match=r"No SVRT problem 0\. Choose 1 to 23"):
        get_problem(0)
    with pytest.raises(UsageError, match=r"No SVRT problem 24\. Choose 1 to 23"):
        get_task("svrt24")
    with pytest.raises(UsageError, match=r"No task 'circles'\. Tasks: arrows, "):
        get_task("circles")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images": 3}, "even number"),
        ({"num_images": 4, "image_size": 500}, "images of 500 px"),
        ({"num_images": 4, "seed": -1}, "seed -1"),
        ({"num_images": 4, "identities": 3}, "Choose 1 to 2"),
        ({"num_images": 4, "workers": 0}, "0 workers"),
    ],
)
def test_numbers_that_make_no_data_set_are_refused(options: dict[str, int], message: str):
    with pytest.raises(UsageError, match=message):
        generate_dataset("irregular", **{"seed": 0, **options})


def test_the_compiler_and_torch_are_not_imported_before_they_are_needed():
    code = (
        "import sys; from meta_baseline.stimuli import generate_image; generate_image('open', 1, 0, 0);"
        "sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0
