"""The one reader of image folders: every layout, every kind of PNG, and nothing passed over in silence."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meta_baseline.datasets import StimulusDataset, build_loader, loading, read_stimuli
from meta_baseline.datasets.images import UnreadableImage, read_image
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.stimuli import generate_dataset, write_svrt_folder


def draw(seed: int) -> np.ndarray:
    """Two dark rectangles on white, grey [16, 16]."""
    rng = np.random.default_rng(seed)
    image = np.full((16, 16), 255, np.uint8)
    for left in (1, 9):
        width, height = rng.integers(2, 6, size=2)
        top = rng.integers(1, 9)
        image[top : top + height, left : left + width] = 0
    return image


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(seed)).convert("RGB").save(path)


def fill(folder: Path, pattern: str = "sample_{label}_{index:04d}.png", num_images: int = 8, seed: int = 0) -> None:
    for index in range(num_images):
        save(folder / pattern.format(label=index % 2, index=index), seed + index)


def verdicts(stimuli) -> dict[str, str]:
    return {check.code: check.verdict for check in stimuli.checks}


def sentence(stimuli, code: str) -> str:
    return next(check.sentence for check in stimuli.checks if check.code == code)


@pytest.mark.parametrize(
    "pattern",
    [
        "results_problem_1/sample_{label}_{index:04d}.png",
        "results_problem_1/test/sample_{label}_{index:04d}.png",
        "results_problem_1/test/cat_{label}/sample_{label}_{index:04d}.png",
        "results_problem_1/cat_{label}/sample_{label}_{index:05d}.png",
        "results_problem_1_1712345678/test/sample_{label}_{index:04d}.png",
        "results_problem_1_2024-05-01_12:00/val/sample_{label}_{index:04d}.png",
        "problem_01/class_{label}/img_{index:07d}.png",
        "sample_{label}_{index:04d}.png",
        "test/sample_{label}_{index:04d}.png",
        "cat_{label}/sample_{label}_{index:04d}.png",
    ],
)
def test_every_layout_is_found(tmp_path: Path, pattern: str):
    fill(tmp_path, pattern)
    stimuli = read_stimuli(tmp_path, 1)
    assert stimuli.labels.tolist() == [0, 1] * 4
    assert stimuli.image_shape == (16, 16)
    found = {code: verdict for code, verdict in verdicts(stimuli).items() if code != "data.scaling"}
    told = "problem" in pattern
    assert found == {"data.images": "pass", "data.labels": "pass" if told else "note", "data.latents": "note"}
    assert read_stimuli(tmp_path).paths == stimuli.paths


@pytest.mark.parametrize("name", ["results_problem_1", "results_problem_1_stamp", "problem_01"])
def test_the_data_folder_may_be_the_set_itself(tmp_path: Path, name: str):
    fill(tmp_path / name / "test")
    assert read_stimuli(tmp_path / name, 1).name == "SVRT problem 1, test split"
    with pytest.raises(StimulusError, match=r"No images of problem 3 in .* Found problems: 1"):
        read_stimuli(tmp_path / name, 3)


def test_tasks_are_found_by_name(tmp_path: Path):
    fill(tmp_path / "results_irregular" / "test")
    fill(tmp_path / "results_problem_5")
    assert read_stimuli(tmp_path, task="irregular").name == "task irregular, test split"
    with pytest.raises(UsageError, match=r"several sets \(problems: 5; tasks: irregular\)"):
        read_stimuli(tmp_path)
    with pytest.raises(UsageError, match="Choose one"):
        read_stimuli(tmp_path, 5, task="irregular")


def test_held_out_images_are_preferred_and_the_choice_is_said(tmp_path: Path):
    folder = tmp_path / "results_problem_1"
    expected = {"train": "note", "all": "pass", "val": "pass", "test": "pass"}
    for number, (split, verdict) in enumerate(expected.items()):
        fill(folder / split if split != "all" else folder, seed=100 * number)
        stimuli = read_stimuli(tmp_path, 1)
        assert ({path.parent.name for path in stimuli.paths} == {split}) or split == "all"
        assert verdicts(stimuli)["data.images"] == verdict
    assert "Other splits there: val, all, train" in sentence(read_stimuli(tmp_path, 1), "data.images")
    assert {path.parent.name for path in read_stimuli(tmp_path, 1, split="train").paths} == {"train"}
    with pytest.raises(StimulusError, match=r"No dev split in .* Found: test, val, all, train"):
        read_stimuli(tmp_path, 1, split="dev")


def test_of_several_stamps_the_plain_folder_counts_then_the_latest(tmp_path: Path):
    for stamp in ("_20230101", "_20240101"):
        fill(tmp_path / f"results_problem_1{stamp}" / "test")
    stimuli = read_stimuli(tmp_path, 1)
    assert stimuli.paths[0].parent.parent.name == "results_problem_1_20240101"
    assert "passed over: results_problem_1_20230101" in sentence(stimuli, "data.images")
    fill(tmp_path / "results_problem_1" / "test")
    assert read_stimuli(tmp_path, 1).paths[0].parent.parent.name == "results_problem_1"


def test_a_missing_empty_or_one_sided_folder_is_one_line_that_says_what_was_found(tmp_path: Path):
    with pytest.raises(StimulusError, match=r"No data folder .*nowhere"):
        read_stimuli(tmp_path / "nowhere", 1)
    with pytest.raises(StimulusError, match="is empty"):
        read_stimuli(tmp_path, 1)
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(StimulusError, match="no images in a layout that is known"):
        read_stimuli(tmp_path, 1)
    with pytest.raises(StimulusError, match="is a file"):
        read_stimuli(tmp_path / "readme.txt", 1)
    (tmp_path / "results_problem_1").mkdir()
    with pytest.raises(StimulusError, match=r"No images in .*results_problem_1\. Expected sample_"):
        read_stimuli(tmp_path, 1)
    fill(tmp_path / "results_problem_5", "sample_1_{index:04d}.png")
    fill(tmp_path / "results_problem_7", "sample_3_{index:04d}.png")
    with pytest.raises(StimulusError, match=r"No images of problem 2 in .*\. Found problems: 1, 5, 7\."):
        read_stimuli(tmp_path, 2)
    with pytest.raises(StimulusError, match=r"All 8 usable images in .*results_problem_5 .* are of class 1"):
        read_stimuli(tmp_path, 5)
    with pytest.raises(StimulusError, match=r"No images of class 0 or 1 .* Found classes: 3"):
        read_stimuli(tmp_path, 7)


def test_links_out_of_the_folder_are_not_followed_and_are_counted(tmp_path: Path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    fill(data / "results_problem_1")
    fill(outside, num_images=2, seed=50)
    (data / "results_problem_1" / "sample_0_9000.png").symlink_to(outside / "sample_0_0000.png")
    (data / "results_problem_1" / "sample_0_9001.png").symlink_to("sample_0_0000.png")
    (data / "results_problem_1" / "test").symlink_to(outside)
    stimuli = read_stimuli(data, 1)
    assert len(stimuli.paths) == 9
    assert sentence(stimuli, "data.links").startswith("2 links lead out of the data folder")

    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "results_problem_1").symlink_to(data / "results_problem_1")
    with pytest.raises(StimulusError, match="not followed, because it leads out of the folder: results_problem_1"):
        read_stimuli(tmp_path / "linked", 1)


def test_names_that_only_resemble_images_are_passed_over(tmp_path: Path):
    folder = tmp_path / "results_problem_1"
    fill(folder)
    for name in (
        "sample_0_0001.png.bak",
        "Sample_0_0001.png",
        "sample_0_x.png",
        "sample_0_0001.jpg",
        "._sample_0_1.png",
    ):
        (folder / name).write_bytes((folder / "sample_0_0000.png").read_bytes())
    (folder / "sample_0_0777.png").mkdir()
    os.mkfifo(folder / "sample_0_0778.png")
    assert len(read_stimuli(tmp_path, 1).paths) == 8


def test_damaged_images_are_counted_and_named(tmp_path: Path):
    folder = tmp_path / "results_problem_1"
    fill(folder, num_images=12)
    whole = (folder / "sample_0_0000.png").read_bytes()
    (folder / "sample_0_0000.png").write_bytes(whole[: len(whole) // 2])
    (folder / "sample_1_0001.png").write_bytes(b"GIF89a")
    (folder / "sample_0_0002.png").write_bytes(b"")
    Image.fromarray(draw(0)).resize((20, 16)).save(folder / "sample_1_0003.png")
    stimuli = read_stimuli(tmp_path, 1)
    assert len(stimuli.paths) == 8
    assert verdicts(stimuli)["data.unusable"] == "warn"
    text = sentence(stimuli, "data.unusable")
    assert text.startswith("4 images could not be used")
    assert "sample_0_0000.png: damaged or truncated PNG" in text
    for path in folder.iterdir():
        path.write_bytes(whole[:50])
    with pytest.raises(StimulusError, match=r"None of the 12 images in .* can be used \(sample_0_0000.png: damaged"):
        read_stimuli(tmp_path, 1)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(UnreadableImage, match="60000 x 60000 px, more than 4096 a side"):
        read_image(tmp_path / "bomb.png")


def test_every_kind_of_png_becomes_the_same_rgb(tmp_path: Path):
    grey = draw(3)
    image = Image.fromarray(grey)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    transparent = np.zeros((16, 16, 4), np.uint8)
    transparent[..., 3] = 255 - grey
    kinds = {
        "grey": image,
        "rgb": image.convert("RGB"),
        "palette": image.convert("P"),
        "bit": image.convert("1"),
        "deep": deep,
        "rgba": Image.fromarray(transparent),
        "la": image.convert("LA"),
    }
    for name, kind in kinds.items():
        kind.save(tmp_path / f"{name}.png")
        pixels = read_image(tmp_path / f"{name}.png")
        assert pixels.dtype == np.uint8, name
        np.testing.assert_array_equal(pixels, np.repeat(grey[..., np.newaxis], 3, axis=2), err_msg=name)
    palette = image.convert("P")
    palette.save(tmp_path / "hole.png", transparency=palette.getpixel((0, 0)))
    assert (read_image(tmp_path / "hole.png")[0, 0] == 255).all()


def test_blank_images_are_counted_and_mostly_blank_sets_forbid_conclusions(tmp_path: Path):
    folder = tmp_path / "results_random_color"
    fill(folder, num_images=10)
    blank = Image.fromarray(np.full((16, 16, 3), 255, np.uint8))
    blank.save(folder / "sample_0_0000.png")
    assert verdicts(read_stimuli(tmp_path))["data.blank"] == "warn"
    for index in range(1, 6):
        blank.save(folder / f"sample_{index % 2}_{index:04d}.png")
    stimuli = read_stimuli(tmp_path)
    assert verdicts(stimuli)["data.blank"] == "fail"
    assert sentence(stimuli, "data.blank").startswith("6 of 10 images (60.0%) are blank")


def test_a_subsample_is_balanced_and_repeatable(tmp_path: Path):
    folder = tmp_path / "results_problem_1"
    fill(folder, num_images=60)
    fill(folder, "sample_1_{index:04d}.png", num_images=60, seed=200)
    some = read_stimuli(tmp_path, 1, max_images=20)
    assert some.labels.sum() == 10 and len(some.paths) == 20
    assert read_stimuli(tmp_path, 1, max_images=20).paths == some.paths
    assert read_stimuli(tmp_path, 1, max_images=20, seed=1).paths != some.paths
    assert "drawn from 90" in sentence(some, "data.images")
    with pytest.raises(UsageError, match="Cannot analyse 1 images"):
        read_stimuli(tmp_path, 1, max_images=1)


def test_unequal_classes_are_warned_of(tmp_path: Path):
    fill(tmp_path / "results_problem_1", num_images=4)
    fill(tmp_path / "results_problem_1", "sample_1_{index:04d}.png", num_images=20)
    assert verdicts(read_stimuli(tmp_path, 1))["data.images"] == "warn"


def test_a_file_in_the_folder_of_the_other_class_is_left_out(tmp_path: Path):
    folder = tmp_path / "results_problem_1"
    fill(folder, "cat_{label}/sample_{label}_{index:04d}.png")
    save(folder / "cat_0" / "sample_1_0100.png")
    stimuli = read_stimuli(tmp_path, 1)
    assert len(stimuli.paths) == 8
    assert "sample_1_0100.png" in sentence(stimuli, "data.contradicting")


def write_ours(tmp_path: Path, **options) -> Path:
    folder = tmp_path / "results_irregular" / "test"
    folder.mkdir(parents=True)
    write_svrt_folder(folder, "irregular", **{"num_images": 40, "seed": 0, **options})
    return folder


def test_our_own_latents_and_identities_are_read(tmp_path: Path):
    write_ours(tmp_path, identities=5)
    stimuli = read_stimuli(tmp_path)
    _, labels, latents = generate_dataset("irregular", num_images=40, seed=0, split="test", identities=5)
    assert stimuli.labels.tolist() == labels.tolist()
    assert stimuli.groups.tolist() == latents["identity"].tolist()
    assert "identity" not in stimuli.latents and "seed" not in stimuli.latents
    np.testing.assert_allclose(stimuli.latents.to_numpy(), latents.drop(columns="identity").to_numpy(), rtol=1e-5)
    assert "5 shape identities" in sentence(stimuli, "data.latents")


def test_latents_measured_from_pixels_are_those_of_the_generator(tmp_path: Path):
    folder = write_ours(tmp_path)
    known = read_stimuli(tmp_path)
    (folder / "latents.csv").unlink()
    measured = read_stimuli(tmp_path)
    assert verdicts(measured)["data.latents"] == "note"
    assert measured.groups.tolist() == list(range(40))
    shared = [name for name in measured.latents if name in known.latents]
    assert {"x1", "y1", "size2", "distance", "angle", "size_ratio", "ink"} <= set(shared)
    np.testing.assert_allclose(measured.latents[shared].to_numpy(), known.latents[shared].to_numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("sample_0_0000.png,0", "sample_0_0000.png,1", "does not give every image the class of its name"),
        ("sample_0_0000.png", "sample_0_9999.png", "class of its name"),
        ("file,", "name,", "no column 'file'"),
        ("sample_0_0002.png", "sample_0_0000.png", "every image once"),
    ],
)
def test_latents_that_do_not_fit_the_images_are_not_used(tmp_path: Path, old: str, new: str, reason: str):
    table = write_ours(tmp_path) / "latents.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    stimuli = read_stimuli(tmp_path)
    assert "num_sides1" not in stimuli.latents
    assert reason in sentence(stimuli, "data.latents")


def test_a_damaged_latents_file_is_not_used(tmp_path: Path):
    table = write_ours(tmp_path) / "latents.csv"
    for content in (b"", b"\xff\xfe\x00\x01", b'file,"x\n1'):
        table.write_bytes(content)
        assert verdicts(read_stimuli(tmp_path))["data.latents"] == "note"


def test_latents_that_some_image_does_not_have_are_left_out_by_name(tmp_path: Path):
    fill(tmp_path / "results_problem_1")
    image = draw(0)
    image[:, 8:] = 255
    Image.fromarray(image).save(tmp_path / "results_problem_1" / "sample_0_0000.png")
    stimuli = read_stimuli(tmp_path, 1)
    assert {"ink", "num_components"} <= set(stimuli.latents) and "x1" not in stimuli.latents
    assert "left out, as some images have fewer than two objects: x1" in sentence(stimuli, "data.latents")


def test_batches_hold_every_image_in_order_as_uint8(tmp_path: Path):
    fill(tmp_path / "results_problem_1", num_images=10)
    stimuli = read_stimuli(tmp_path, 1)
    image, label, index = StimulusDataset(stimuli)[3]
    assert (image.dtype, tuple(image.shape), label, index) == (torch.uint8, (16, 16, 3), 1, 3)
    batches = list(build_loader(stimuli, batch_size=4, num_workers=8))
    assert torch.cat([batch[2] for batch in batches]).tolist() == list(range(10))
    assert torch.cat([batch[1] for batch in batches]).tolist() == stimuli.labels.tolist()
    assert batches[0][0].shape == (4, 16, 16, 3)


def test_loading_processes_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path / "results_problem_1", num_images=10)
    stimuli = read_stimuli(tmp_path, 1)
    alone = [batch[0] for batch in build_loader(stimuli, 4, 0)]
    monkeypatch.setattr(loading, "MIN_IMAGES_FOR_WORKERS", 1)
    loader = build_loader(stimuli, 4, 1)
    assert loader.num_workers == 1
    assert all(torch.equal(one, batch[0]) for one, batch in zip(alone, loader, strict=True))


def test_loader_options_that_make_no_sense_are_refused(tmp_path: Path):
    fill(tmp_path / "results_problem_1")
    stimuli = read_stimuli(tmp_path, 1)
    with pytest.raises(UsageError, match="Batches of 0 images"):
        build_loader(stimuli, 0, 0)
    with pytest.raises(UsageError, match="-1 workers"):
        build_loader(stimuli, 4, -1)
