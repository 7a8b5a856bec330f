"""Folders as they lie about: names of every kind, things that are no files, images in every depth and palette."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image
from stimulus_files import draw, draw_many, encode_png, write_episodes, write_pngs

from meta_baseline.datasets import Stimuli, StimulusDataset, finding, read_stimuli
from meta_baseline.errors import EnvironmentProblem, StimulusError

NAMES = (
    "-rf.png", "a b.png", "new\nline.png", "\x1b[31mred.png", "ü\u202e.png", "x" * 251 + ".png",
    os.fsdecode(b"\xff\xfe.png"), "$(touch x).png", "<b>.png", "..png",
)  # fmt: skip


def sentences(stimuli: Stimuli) -> dict[str, str]:
    return {check.code: check.sentence for check in stimuli.checks}


@pytest.mark.parametrize("folder", ["a b", "-x", "new\nline", "\x1b[2J", os.fsdecode(b"\xff")])
def test_odd_names_are_read_and_what_is_said_of_them_can_be_printed(tmp_path: Path, folder: str):
    for number, name in enumerate(NAMES):
        for label, word in enumerate(("different", "same")):
            path = tmp_path / folder / word / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(draw(2 * number + label)))
    for number, name in enumerate(("bad\n\x1b[2J.png", os.fsdecode(b"\xff.png"))):
        (tmp_path / folder / "same" / name).write_bytes(b"" if number else encode_png(draw(number), "JPEG"))
    stimuli = read_stimuli(tmp_path)
    # Hidden files are none, and "..png" is one.
    assert len(stimuli) == 2 * (len(NAMES) - 1)
    said = [stimuli.name, *sentences(stimuli).values()]
    assert all(text.isprintable() for text in said)
    assert r"\udcff.png: no PNG file" in sentences(stimuli)["data.unusable"]
    for path in (tmp_path / folder).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(StimulusError, match="None of the 20 images") as caught:
        read_stimuli(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["x" * 5000, "\n", os.fsdecode(b"\xff"), "a\0b"])
def test_a_data_folder_that_cannot_be_is_one_line(tmp_path: Path, name: str):
    with pytest.raises(StimulusError, match="No data folder") as caught:
        read_stimuli(tmp_path / name)
    assert str(caught.value).isprintable()


def _put_pipe(path: Path) -> None:
    os.mkfifo(path)


def _put_link_to_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def _put_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [_put_pipe, _put_link_to_pipe, _put_dangling_link])
def test_what_is_no_file_is_counted_and_never_opened(tmp_path: Path, put: Callable[[Path], None]):
    folder = write_pngs(tmp_path / "results_problem_1")
    (folder / "sample_0_0000.png").unlink()
    put(folder / "sample_0_0000.png")
    stimuli = read_stimuli(tmp_path)
    assert len(stimuli) == 7
    assert "neither files nor folders" in sentences(stimuli)["data.specials"]
    for path in folder.glob("sample*"):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(StimulusError, match="not followed, because it is neither a file nor a folder"):
        read_stimuli(tmp_path)


def test_a_table_of_latents_that_is_a_pipe_or_a_link_is_not_opened(tmp_path: Path):
    folder = write_pngs(tmp_path / "results_problem_1")
    table = folder / "latents.csv"
    os.mkfifo(table)
    assert "there is no latents.csv" in sentences(read_stimuli(tmp_path))["data.latents"]
    table.unlink()
    (folder / "other").write_text("file,size1\n" + "".join(f"sample_{i % 2}_{i:04d}.png,{i}\n" for i in range(8)))
    table.symlink_to("other")
    assert "there is no latents.csv" in sentences(read_stimuli(tmp_path))["data.latents"]


def test_a_link_from_the_data_folder_into_itself_ends(tmp_path: Path):
    folder = write_pngs(tmp_path / "results_problem_1")
    (folder / "test").symlink_to(folder)
    (folder / "cat_0").symlink_to(folder)
    stimuli = read_stimuli(tmp_path)
    assert len(stimuli) == 12
    assert "these splits are not held out" in sentences(stimuli)["data.leak"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is locked for the superuser")
def test_what_may_not_be_read_is_counted_and_named(tmp_path: Path):
    folder = write_pngs(tmp_path / "results_problem_1")
    write_pngs(folder / "train", seed=50).chmod(0)
    (folder / "sample_0_0000.png").chmod(0)
    stimuli = read_stimuli(tmp_path)
    assert len(stimuli) == 7
    assert "sample_0_0000.png: Permission denied" in sentences(stimuli)["data.unusable"]
    assert "1 folders may not be read" in sentences(stimuli)["data.locked"]
    folder.chmod(0)
    with pytest.raises(StimulusError, match="because it may not be read: results_problem_1"):
        read_stimuli(tmp_path)
    with pytest.raises(EnvironmentProblem, match="Check its permissions"):
        read_stimuli(folder)
    folder.chmod(0o700)
    (folder / "train").chmod(0o700)


def _save(path: Path, image: Image.Image, **options: object) -> None:
    image.save(path, **options)  # pyright: ignore[reportArgumentType]


_RGB = draw(0)
_GREY = np.repeat(np.asarray(Image.fromarray(_RGB).convert("L"))[..., np.newaxis], 3, axis=2)
_ALPHA = np.full((16, 16, 1), 65535, np.uint16)


@pytest.mark.parametrize(
    ("write", "change", "expected"),
    [
        (lambda path: _save(path, Image.fromarray(_RGB).convert("P")), "1 with a palette", None),
        (lambda path: _save(path, Image.fromarray(_RGB).convert("RGBA")), "1 with transparency", _RGB),
        (lambda path: _save(path, Image.fromarray(_RGB).convert("LA")), "1 with transparency", _GREY),
        (lambda path: _save(path, Image.fromarray(_RGB), transparency=(1, 2, 3)), "1 with transparency", _RGB),
        (lambda path: cv2.imwrite(str(path), _RGB[..., ::-1].astype(np.uint16) * 257), "1 with 16 bits", _RGB),
        (
            lambda path: cv2.imwrite(str(path), np.dstack([_RGB[..., ::-1].astype(np.uint16) * 257, _ALPHA])),
            "1 with 16 bits",
            _RGB,
        ),
        (lambda path: cv2.imwrite(str(path), _GREY[..., 0].astype(np.uint16) * 257), "1 with 16 bits", _GREY),
        (lambda path: _save(path, Image.fromarray(_GREY[..., 0])), "", _GREY),
    ],
)
def test_images_of_other_kinds_are_converted_and_this_is_said(
    tmp_path: Path, write: Callable[[Path], object], change: str, expected: np.ndarray | None
):
    folder = write_pngs(tmp_path / "results_problem_1")
    write(folder / "sample_0_0000.png")
    stimuli = read_stimuli(tmp_path)
    if expected is not None:
        np.testing.assert_array_equal(StimulusDataset(stimuli)[0][0].numpy(), expected)
    assert change in sentences(stimuli).get("data.converted", "")
    assert ("data.converted" in sentences(stimuli)) == bool(change)


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_a_fourth_channel_is_laid_on_white(tmp_path: Path, kind: str):
    images = np.concatenate([draw_many((8,)), np.full((8, 16, 16, 1), 255, np.uint8)], axis=3)
    images[0, ..., :3], images[0, ..., 3] = 0, 51
    labels = np.arange(8) % 2
    if kind == "h5":
        with h5py.File(tmp_path / "mine_test.h5", "w") as file:
            file["images"], file["labels"] = images, labels
    else:
        np.savez(tmp_path / "mine_test.npz", images=images, labels=labels)
    stimuli = read_stimuli(tmp_path)
    seen = [image.numpy() for image, _, _ in StimulusDataset(stimuli).__getitems__(range(8))]
    assert np.unique(seen[0]).tolist() == [204]
    np.testing.assert_array_equal(seen[1], draw(1))
    assert kind == "npz" or "laid on white" in sentences(stimuli)["data.converted"]


def test_archives_in_column_order_are_read(tmp_path: Path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "mine_test.npz", images=np.asfortranarray(draw_many((8,))), labels=np.arange(8) % 2)
        seen = [image.numpy() for image, _, _ in StimulusDataset(read_stimuli(tmp_path)).__getitems__(range(8))]
        np.testing.assert_array_equal(np.stack(seen), draw_many((8,)))


@pytest.mark.parametrize("identity", [1e300, 0.25])
def test_identities_that_are_no_whole_numbers_are_numbered_anew(tmp_path: Path, identity: float):
    folder = write_pngs(tmp_path / "results_problem_1")
    rows = "".join(f"sample_{i % 2}_{i:04d}.png,{i // 2 * identity},{i}\n" for i in range(8))
    (folder / "latents.csv").write_text("file,identity,size1\n" + rows)
    assert read_stimuli(tmp_path).groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_file_that_claims_to_be_endless_is_refused(tmp_path: Path):
    path = write_episodes(tmp_path / "irregular_support4_test.h5")
    os.truncate(path, finding.MAX_FILE_BYTES + 1)
    with pytest.raises(StimulusError, match="larger than 256 GiB"):
        read_stimuli(tmp_path)
