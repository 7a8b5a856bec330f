"""Scenes of a user's own objects: what is shown, where, and what is known about it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meta_baseline.datasets.objects import compose_objects, read_objects
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.stimuli.canvas import boxes_are_clear
from meta_baseline.stimuli.compositor import (
    ObjectImages,
    ObjectScenes,
    Variety,
    build_objects,
    split_objects,
    write_scene_folder,
)


def draw_object(number: int) -> np.ndarray:
    """A blob of its own colour and proportions on white paper."""
    image = np.full((90, 120, 3), 255, np.uint8)
    colour = (10 + 7 * number % 200, 40 + 29 * number % 200, 90)
    cv2.ellipse(image, (60, 45), (50 - number % 20, 20 + number % 23), 0, 0, 360, colour, -1)
    cv2.rectangle(image, (60, 45), (75, 80), (0, 0, number), -1)
    return image


@pytest.fixture(scope="module")
def objects() -> ObjectImages:
    return build_objects((f"{number:02d}.png", draw_object(number)) for number in range(30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    for number in range(12):
        Image.fromarray(draw_object(number)).save(folder / f"thing {number:02d}.png")
    return folder


def boxes_of(latents: dict[str, float]) -> list[tuple[int, int, int, int]]:
    boxes = []
    for k in (1, 2):
        width, height = int(latents[f"width{k}"]), int(latents[f"height{k}"])
        left, top = (round(latents[f"{axis}{k}"] - (side - 1) / 2) for axis, side in (("x", width), ("y", height)))
        boxes.append((left, top, width, height))
    return boxes


@pytest.mark.parametrize("rotation", ["none", "same", "each"])
@pytest.mark.parametrize("scale", ["none", "same", "each"])
def test_objects_lie_apart_on_white_paper_as_their_latents_say(objects: ObjectImages, rotation, scale):
    scenes = ObjectScenes(objects=objects, variety=Variety(rotation=rotation, scale=scale), split="train")
    scenes.check()
    for index in range(30):
        stimulus = scenes.compose(index)
        latents = stimulus.latents
        first, second = boxes_of(latents)
        assert boxes_are_clear(first, second)
        ink = (stimulus.image != 255).any(axis=2)
        assert latents["ink"] == ink.sum()
        for left, top, width, height in (first, second):
            assert left >= 1
            assert top >= 1
            assert left + width <= 127
            assert top + height <= 127
            crop = ink[top : top + height, left : left + width]
            assert crop[0].any() and crop[-1].any() and crop[:, 0].any() and crop[:, -1].any()
            ink[top : top + height, left : left + width] = False
        assert not ink.any()
        assert (latents["object1"] == latents["object2"]) == bool(latents["same"]) == bool(index % 2)
        for name, choice, otherwise in (("rotation", rotation, 0.0), ("scale", scale, 1.0)):
            assert (latents[f"{name}1"] == latents[f"{name}2"]) == (choice != "each")
            assert (latents[f"{name}1"] == otherwise) == (choice == "none")
        assert scale == "none" or 0.45 <= latents["scale1"] <= 0.9


def test_the_same_object_is_shown_pixel_by_pixel_where_nothing_else_varies(objects: ObjectImages):
    scenes = ObjectScenes(objects=objects, split="train")
    for index in range(20):
        stimulus = scenes.compose(index)
        crops = [stimulus.image[top : top + h, left : left + w] for left, top, w, h in boxes_of(stimulus.latents)]
        assert np.array_equal(crops[0], crops[1]) == bool(index % 2)


def test_an_image_depends_on_its_key_alone(objects: ObjectImages):
    scenes = ObjectScenes(objects=objects, variety=Variety(rotation="each", scale="same"), seed=4)
    images, columns = scenes.draw(range(20))
    for index in (19, 3, 8):
        alone = scenes.compose(index)
        np.testing.assert_array_equal(images[index], alone.image)
        assert columns["x1"][index] == alone.latents["x1"]
    other, _ = ObjectScenes(objects=objects, variety=scenes.variety, seed=5).draw(range(20))
    assert not any(np.array_equal(one, two) for one, two in zip(images, other))


def test_no_object_is_in_two_splits_whatever_the_seed(objects: ObjectImages):
    shown = {}
    for split in ("train", "val", "test"):
        numbers: set[int] = set()
        for seed in (0, 1):
            _, columns = ObjectScenes(objects=objects, split=split, seed=seed).draw(range(80))
            numbers |= {*columns["object1"].tolist(), *columns["object2"].tolist()}
        shown[split] = numbers
    assert shown["train"].isdisjoint(shown["test"]) and shown["val"].isdisjoint(shown["train"] | shown["test"])
    assert [len(shown[split]) for split in ("train", "val", "test")] == [21, 3, 6]
    assert {split: set(numbers) for split, numbers in split_objects(objects).items()} == shown


def test_identities_are_groups_that_share_no_object(objects: ObjectImages):
    _, columns = ObjectScenes(objects=objects, split="train", identities=5).draw(range(200))
    table = pd.DataFrame(columns)
    assert table.groupby(["identity", "label"]).size().tolist() == [20] * 10
    groups = [{*group["object1"], *group["object2"]} for _, group in table.groupby("identity")]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_objects_are_as_frequent_in_one_class_as_in_the_other(objects: ObjectImages):
    variety = Variety(object_size=60)
    _, columns = ObjectScenes(objects=objects, variety=variety, split="test").draw(range(1200))
    table = pd.DataFrame(columns)
    shares = [
        pd.concat([some["object1"], some["object2"]]).value_counts(normalize=True) for _, some in table.groupby("label")
    ]
    assert (shares[0] - shares[1]).abs().max() < 0.05


def test_a_folder_is_read_composed_and_written(folder: Path, tmp_path: Path):
    images, labels, latents = compose_objects(folder, num_images=10, seed=2, split="train", image_size=64)
    assert images.shape == (10, 64, 64, 3)
    assert labels.tolist() == [0, 1] * 5
    scenes = ObjectScenes(objects=read_objects(folder), seed=2, split="train", image_size=64)
    table = write_scene_folder(tmp_path, scenes, num_images=10)
    pd.testing.assert_frame_equal(table.drop(columns="file"), latents)
    for index, file in enumerate(table["file"]):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / file)), images[index])
    names = pd.read_csv(tmp_path / "objects.csv")
    assert names["name"].tolist() == [f"thing {number:02d}.png" for number in range(12)]
    assert set(names.loc[names["object"].isin(latents["object1"]), "split"]) == {"train"}


def test_transparency_becomes_paper_and_large_pictures_become_small(tmp_path: Path):
    for number in range(6):
        image = np.zeros((700, 900, 4), np.uint8)
        image[50 : 300 + 40 * number, 100:800] = (0, 0, 200, 255)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    objects = read_objects(tmp_path)
    assert all(max(picture.shape) == 256 for picture in objects.pixels)
    assert (objects.pixels[0] == (0, 0, 200)).all()


def test_folders_that_make_no_scenes_are_refused_in_one_line(folder: Path, tmp_path: Path):
    with pytest.raises(StimulusError, match="No folder"):
        read_objects(tmp_path / "nowhere")
    with pytest.raises(StimulusError, match="No PNG file"):
        read_objects(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(StimulusError, match=r"bad\.png: no PNG file"):
        read_objects(tmp_path)
    with pytest.raises(StimulusError, match="b and a show the same object"):
        build_objects([("b", draw_object(1)), ("a", draw_object(1))])
    with pytest.raises(StimulusError, match="c shows no object"):
        build_objects([("c", np.full((5, 5, 3), 255, np.uint8))])
    with pytest.raises(StimulusError, match="2 object images are too few"):
        build_objects([("a", draw_object(1)), ("b", draw_object(2))])


@pytest.mark.parametrize(
    ("variety", "message"),
    [
        (Variety(object_size=63), "objects of 63 px. Choose 4 to 62"),
        (Variety(object_size=50, rotation="each"), "Choose 4 to 42"),
        (Variety(scale="each", scale_range=(0.9, 0.45)), "Cannot scale objects by 0.9 to 0.45"),
    ],
)
def test_objects_that_do_not_fit_the_paper_are_refused(objects: ObjectImages, variety: Variety, message: str):
    with pytest.raises(UsageError, match=message):
        ObjectScenes(objects=objects, variety=variety).check()


def test_more_identities_than_pairs_of_objects_are_refused(objects: ObjectImages):
    with pytest.raises(UsageError, match="Choose 1 to 3: each needs two objects"):
        ObjectScenes(objects=objects, identities=4).check()
