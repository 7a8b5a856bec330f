"""What is promised of tasks of two figures: those of Puebla & Bowers, their matched controls, and PSVRT."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from meta_baseline.stimuli import generate_dataset, generate_image
from meta_baseline.stimuli.draws import derive_key, derive_keys, uniforms
from meta_baseline.stimuli.psvrt.tasks import TASKS as PSVRT
from meta_baseline.stimuli.puebla_bowers.tasks import TASKS as PUEBLA_BOWERS
from meta_baseline.stimuli.scene import read_latents

FIGURES = {task.name: task for task in (*PUEBLA_BOWERS, *PSVRT)}
BATCHED = pytest.mark.parametrize("task", sorted(FIGURES))
PAIRS = pytest.mark.parametrize(
    ("task", "latent"), [(name, latent) for name, task in sorted(FIGURES.items()) for latent in sorted(task.vary)]
)
BOX = {"width", "height", "size", "size_ratio", "ink", "x", "y", "distance", "angle"}
SHAPE = {
    "rotation",
    "num_sides",
    "mirrored",
    "scrambled",
    "spread",
    "length",
    "upper_radius",
    "lower_radius",
    "black_bits",
}
SHAPE |= {"num_heads", "has_head_a", "has_head_b", "inverted_a", "inverted_b"}
ONE_OBJECT = {"same", "position", "patches_same"}
FOLLOWS = {
    "same": {"same"} | SHAPE | BOX,
    "position": {"x", "y", "distance", "angle"},
    "rotation": {"rotation", "line_angle"} | BOX,
    "num_sides": {"num_sides"} | BOX,
    "size": {"radius", "side", "arrow_size", "length", "upper_radius", "lower_radius"} | BOX,
    "line_width": {"line_width", "width", "height", "size", "size_ratio", "ink"},
    "fill": {"fill", "ink"},
    "bit": {"black_bits"},
    "patches_same": {"patches_same", "black_bits"},
    "colour": {"red", "green", "blue"},
}


@BATCHED
def test_an_image_is_the_same_alone_and_among_others(task: str):
    for identities in (None, 9):
        images, labels, latents = generate_dataset(task, num_images=40, seed=8, identities=identities)
        for index in (0, 1, 17, 38):
            identity = None if identities is None else (index // 2) % identities
            alone = generate_image(task, int(labels[index]), 8, index, identity)
            np.testing.assert_array_equal(alone.image, images[index])
            assert alone.latents == latents.iloc[index].drop("identity").to_dict()


@BATCHED
def test_latents_of_a_batch_are_those_of_its_scenes(task: str):
    keys, labels = derive_keys(0, (1,), np.arange(30)), np.arange(30) % 2
    draw_batch = FIGURES[task].draw_batch
    assert draw_batch is not None
    batch = draw_batch(keys, labels)
    table = pd.DataFrame(batch.latents())
    for row in range(30):
        expected = read_latents(batch.scene(row), int(labels[row]))
        assert list(expected) == list(table)
        np.testing.assert_allclose(table.iloc[row].to_numpy(float), list(expected.values()), rtol=1e-12)


def test_numbers_by_key_are_uniform_and_do_not_depend_on_each_other():
    numbers = uniforms(derive_keys(3, (0, 1), np.arange(4000)), np.zeros(4000, np.int64), 10)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=4 / np.sqrt(12 * 4000))
    np.testing.assert_allclose(np.corrcoef(numbers.T)[np.triu_indices(10, 1)], 0, atol=4.5 / np.sqrt(4000))
    neighbours = np.corrcoef(numbers[:-1].T, numbers[1:].T)[:10, 10:]
    np.testing.assert_allclose(neighbours, 0, atol=4.5 / np.sqrt(4000))


def test_attempts_go_on_where_the_one_before_ended_and_purposes_never_meet():
    keys = derive_keys(3, (0, 1), np.arange(5))
    first, second = (uniforms(keys, np.full(5, attempt), 4) for attempt in (0, 1))
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), uniforms(keys, np.zeros(5, np.int64), 8))
    assert not np.isin(
        uniforms(derive_key(keys, 0), np.zeros(5, np.int64), 8), uniforms(keys, np.zeros(5, np.int64), 8)
    ).any()


def auc(task: str, feature, num_images: int = 1200) -> float:
    """Area under the curve of a feature of each image (class 1 against class 0)."""
    images, labels, latents = generate_dataset(task, num_images=num_images, seed=5)
    return float(roc_auc_score(labels, [feature(image, row) for image, row in zip(images, latents.to_dict("records"))]))


def count_components(image: np.ndarray, latents: dict[str, float]) -> int:
    return cv2.connectedComponents(255 - image)[0] - 1


def read_latent(name: str):
    """The latent of this name as a feature."""
    return lambda image, latents: latents[name]


def has_mixed_heads(image: np.ndarray, latents: dict[str, float]) -> bool:
    return any(latents[f"num_heads{k}"] == 2 and latents[f"inverted_a{k}"] != latents[f"inverted_b{k}"] for k in (1, 2))


def is_first_arrow(kind: tuple[int, int]):
    """Whether object 1 has a head at end a or not, and at end b or not."""
    return lambda image, latents: (latents["has_head_a1"], latents["has_head_b1"]) == kind


def test_counting_components_solves_scrambled_and_says_nothing_in_its_matched_control():
    assert auc("scrambled", count_components, 200) == 0.0
    assert auc("scrambled_matched", count_components, 200) == 0.5


def test_mixed_heads_give_away_arrows_and_not_its_matched_control():
    assert auc("arrows", has_mixed_heads) > 0.54
    assert abs(auc("arrows_matched", has_mixed_heads) - 0.5) < 0.03


@pytest.mark.parametrize("task", ["scrambled_matched", "arrows_matched"])
def test_no_single_object_of_a_matched_control_gives_the_class_away(task: str):
    for name in ("ink", "width1", "height1", "size2"):
        assert abs(auc(task, read_latent(name)) - 0.5) < 0.07
    if task == "arrows_matched":
        for kind in ((1, 1), (1, 0), (0, 1)):
            assert abs(auc(task, is_first_arrow(kind)) - 0.5) < 0.05


def test_both_objects_of_the_matched_scrambled_task_are_four_pieces_always():
    images, _, _ = generate_dataset("scrambled_matched", num_images=600, seed=1)
    assert {count_components(image, {}) for image in images} == {8}


@PAIRS
def test_a_minimal_pair_differs_in_one_latent_and_what_follows_from_it(task: str, latent: str):
    rng, described = np.random.default_rng(0), FIGURES[task]
    for label in (0, 1) * 4:
        pair = None
        while pair is None:
            pair = described.vary[latent](rng, label)
        after = 1 - label if latent == "same" else label
        first, second = read_latents(pair[0], label), read_latents(pair[1], after)
        changed = {name for name in first if first[name] != second[name]}
        assert {name.rstrip("12") for name in changed} <= FOLLOWS[latent]
        assert set(first) - set(described.latents) <= {latent}
        objects = {name[-1] for name in changed if name[-1] in "12"}
        if latent in ONE_OBJECT:
            assert len(objects) <= 1  # the other object stays, with its number
        check_pixels(pair, latent)


def check_pixels(pair, latent: str) -> None:
    """What lies outside the boxes of the objects that changed is the same in both images."""
    first, second = (scene.image for scene in pair)
    differs = (first != second) if first.ndim == 2 else (first != second).any(axis=2)
    assert differs.any()
    numbers = (1,) if latent in ONE_OBJECT else (0, 1)
    for scene in pair:
        for number in numbers:
            left, top, width, height = scene.objects[number].box
            differs[top : top + height, left : left + width] = False
    assert not differs.any()
    if latent == "position":
        assert pair[0].objects[0] == pair[1].objects[0]
        assert pair[0].objects[1].box[2:] == pair[1].objects[1].box[2:]
    if latent == "colour":
        inks = [(scene.image != 255).any(axis=2) for scene in pair]
        np.testing.assert_array_equal(*inks)


def test_every_task_can_change_its_class_and_one_position():
    for name, task in FIGURES.items():
        assert {"same", "position"} <= set(task.vary), name


def patches_of(stimulus) -> list[np.ndarray]:
    """Bits of both patches, 0 or 127 each, from the pixels."""
    found = []
    for k in (1, 2):
        left, top = round(stimulus.latents[f"x{k}"] - 7.5), round(stimulus.latents[f"y{k}"] - 7.5)
        patch = stimulus.image[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(patch, patch[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
        found.append(patch[::4, ::4])
    return found


def test_random_patches_are_same_or_not_as_labelled_and_have_fair_bits():
    bits = []
    for index in range(400):
        stimulus = generate_image("psvrt_sd", index % 2, 0, index)
        first, second = patches_of(stimulus)
        assert np.array_equal(first, second) == bool(index % 2)
        assert stimulus.latents["black_bits1"] == (first == 0).sum()
        assert max(abs(stimulus.latents[f"{axis}1"] - stimulus.latents[f"{axis}2"]) for axis in "xy") >= 20
        bits.append(first == 0)
    assert abs(np.mean(bits) - 0.5) < 4 * 0.5 / np.sqrt(400 * 16)


def test_the_spatial_relation_is_as_labelled_and_independent_of_the_patches():
    repeated = []
    for index in range(400):
        stimulus = generate_image("psvrt_sr", index % 2, 0, index)
        latents = stimulus.latents
        across, down = (abs(latents[f"{axis}1"] - latents[f"{axis}2"]) for axis in "xy")
        assert (down >= across) == bool(index % 2)
        assert np.array_equal(*patches_of(stimulus)) == bool(latents["patches_same"])
        repeated.append(latents["patches_same"])
    assert all(abs(np.mean(repeated[label::2]) - 0.5) < 0.15 for label in (0, 1))


def test_averaged_down_to_a_pixel_per_bit_patches_stay_as_they_are():
    images, _, _ = generate_dataset("psvrt_sd", num_images=40, seed=0, image_size=32)
    assert set(np.unique(images)) == {0, 127, 255}
