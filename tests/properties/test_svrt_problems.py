"""What is promised of the 23 problems of the SVRT: every image is its own, and the latents say what the rule says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from meta_baseline.stimuli import PROBLEMS, generate_dataset, generate_image
from meta_baseline.stimuli.draws import derive_keys
from meta_baseline.stimuli.scene import read_latents

EVERY_PROBLEM = pytest.mark.parametrize("task", [task.name for task in PROBLEMS.values()])
PAIRS = [(task.name, latent) for task in PROBLEMS.values() for latent in task.vary]


@EVERY_PROBLEM
def test_an_image_is_the_same_alone_and_among_others(task: str):
    for identities in (None, 5):
        images, labels, latents = generate_dataset(task, num_images=40, seed=8, identities=identities)
        for index in (0, 1, 17, 38):
            identity = None if identities is None else (index // 2) % identities
            alone = generate_image(task, int(labels[index]), 8, index, identity)
            np.testing.assert_array_equal(alone.image, images[index])
            assert alone.latents == latents.iloc[index].drop("identity").to_dict()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_latents_of_a_batch_are_those_of_its_scenes(problem: int):
    labels = np.arange(20) % 2
    batch = PROBLEMS[problem].draw_batch(derive_keys(0, (1,), np.arange(20)), labels)
    table = pd.DataFrame(batch.latents())
    for row in range(20):
        expected = read_latents(batch.scene(row), int(labels[row]))
        assert list(expected) == list(table)
        np.testing.assert_allclose(table.iloc[row].to_numpy(float), list(expected.values()), rtol=1e-12)


@pytest.mark.parametrize(
    ("problem", "kinds_0", "kinds_1"),
    [
        (3, [1, 3], [2, 2]),
        (5, [1, 1, 1, 1], [2, 2]),
        (6, [2, 2], [2, 2]),
        (7, [2, 2, 2], [3, 3]),
        (15, [1, 1, 1, 1], [4]),
        (16, [6], [3, 3]),
        (17, [1, 3], [1, 3]),
        (22, [1, 1, 1], [3]),
    ],
)
def test_so_many_objects_are_of_one_kind_as_the_rule_says(problem: int, kinds_0: list[int], kinds_1: list[int]):
    name = {3: "group", 16: "mirrored"}.get(problem, "shape")
    for index in range(40):
        latents = generate_image(f"svrt{problem}", index % 2, 2, index).latents
        kinds = [latents[f"{name}{number}"] for number in range(1, latents["num_objects"] + 1)]
        assert kinds[0] == 0 and max(kinds) == len(set(kinds)) - 1
        assert sorted(map(kinds.count, set(kinds))) == (kinds_1 if index % 2 else kinds_0)
        boxes = {(kinds[k - 1], latents[f"width{k}"], latents[f"height{k}"]) for k in range(1, len(kinds) + 1)}
        assert problem == 3 or len(boxes) == len(set(kinds))


@pytest.mark.parametrize(
    ("problem", "latent", "least_0", "most_1"),
    [
        (6, "distance_difference", 21, 3),
        (13, "displacement", 32, 0),
        (14, "alignment_error", 6, 2**0.5),
        (17, "centre_error", 21, 2**0.5),
        (11, "gap", 7, 2**0.5),
    ],
)
def test_what_the_rule_measures_tells_the_classes_apart(problem: int, latent: str, least_0: float, most_1: float):
    _, labels, latents = generate_dataset(f"svrt{problem}", num_images=200, seed=4)
    assert latents[latent][labels == 0].min() >= least_0
    assert latents[latent][labels == 1].max() <= most_1


def test_rotations_are_degrees_over_the_whole_circle():
    _, _, latents = generate_dataset("svrt21", num_images=200, seed=4)
    rotations = latents[["rotation1", "rotation2"]].to_numpy()
    assert 0 <= rotations.min() < 20 and 340 < rotations.max() < 360


def test_contours_inside_are_counted_as_the_rules_of_8_and_23_say():
    _, labels, latents = generate_dataset("svrt23", num_images=200, seed=4)
    assert set(latents["num_inside"][labels == 1]) == {1} and set(latents["num_inside"][labels == 0]) == {0, 2}
    _, labels, latents = generate_dataset("svrt8", num_images=200, seed=4)
    assert (latents["inside"] * latents["same_shape"]).tolist() == labels.tolist()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_identities_repeat_their_contours_and_neither_class_gives_them_away(problem: int):
    _, labels, latents = generate_dataset(f"svrt{problem}", num_images=48, seed=6, identities=3)
    sizes = latents.filter(regex=r"^(width|height)\d$")
    if problem not in (3, 4, 9, 19, 20, 21):
        assert len(np.unique(sizes.to_numpy())) <= 3 * 2 * 8
    assert latents.groupby(["identity", labels]).size().tolist() == [8] * 6


@pytest.mark.parametrize(("task", "latent"), PAIRS)
def test_a_minimal_pair_differs_in_one_latent_and_what_follows_from_it(task: str, latent: str):
    rng, described = np.random.default_rng(0), PROBLEMS[int(task[4:])]
    box = {"x", "y", "width", "height", "size", "size_ratio", "ink", "distance", "distance_min", "angle"}
    follows = {"same": {"same", "shape", "mirrored"} | box, "position": {"x", "y", "distance", "distance_min", "angle"}}
    for label in (0, 1) * 4:
        pair = None
        while pair is None:
            pair = described.vary[latent](rng, label)
        after = 1 - label if latent == "same" else label
        first, second = read_latents(pair[0], label), read_latents(pair[1], after)
        changed = {name for name in first if first[name] != second[name]}
        assert {name.rstrip("123456") for name in changed} <= follows[latent] and changed
        differs = pair[0].image != pair[1].image
        assert differs.any()
        one, other = pair[0].objects, pair[1].objects
        moved = [number for number in range(len(one)) if one[number].box != other[number].box]
        assert 0 not in moved and (latent == "same" or moved == [len(one) - 1])
        for number in range(1, len(one)) if latent == "same" else moved:
            for things in (one, other):
                left, top, width, height = things[number].box
                differs[top : top + height, left : left + width] = False
        assert not differs.any()
        if latent == "same" and task in ("svrt1", "svrt15", "svrt22"):
            same = pair[0] if label else pair[1]
            assert len({thing.box[2:] for thing in same.objects}) == 1
