"""``meta-baseline generate --objects``: a laboratory's own pictures, exported like any other stimuli."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from meta_baseline.commands import generate
from meta_baseline.console import CommandParser, run_guarded
from meta_baseline.datasets import read_stimuli
from meta_baseline.datasets.objects import compose_objects


def run(*arguments: str | int | Path) -> int:
    parser = CommandParser(prog="meta-baseline")
    generate.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["generate", *map(str, arguments)])
    return run_guarded(lambda: options.run(options))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        image = Image.new("RGB", (60, 50), "white")
        pen = ImageDraw.Draw(image)
        pen.ellipse((4, 4, 30 + 2 * number, 44), fill=(20 * number, 90, 200 - 10 * number))
        image.save(folder / f"thing {number}.png")
    return folder


def test_scenes_of_objects_are_those_of_the_library_and_are_read_back(tmp_path: Path, pictures: Path):
    assert run("--objects", pictures, "--num-images", 20, "--split", "train", "--output-dir", tmp_path) == 0
    images, labels, latents = compose_objects(pictures, num_images=20, split="train")
    stimuli = read_stimuli(tmp_path, task="objects", split="train")
    source, positions = stimuli.images
    order = [int(np.flatnonzero(stimuli.groups == index)[0]) for index in range(20)]
    np.testing.assert_array_equal(np.stack(source.read(positions[order])), images)
    np.testing.assert_array_equal(stimuli.labels[order], labels)
    np.testing.assert_allclose(stimuli.latents["object1"][order], latents["object1"])
    table = pd.read_csv(tmp_path / "objects.csv")
    assert set(table["name"]) == {f"thing {number}.png" for number in range(12)}
    shown = table.set_index("object").loc[latents["object1"], "split"]
    assert set(shown) == {"train"}


@pytest.mark.parametrize("form", ["png", "npz", "h5-episodes"])
def test_scenes_of_objects_do_not_depend_on_workers_or_on_the_name_of_their_folder(
    tmp_path: Path, pictures: Path, form: str, capsys: pytest.CaptureFixture[str]
):
    size = ("--support-size", 4, "--num-episodes", 40) if form == "h5-episodes" else ("--num-images", 300)
    options = ("--format", form, *size, "--rotation", "each", "--scale", "same", "--image-size", 32)
    for workers in (1, 2):
        assert run("--objects", pictures, *options, "--workers", workers, "--output-dir", tmp_path / str(workers)) == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    (tmp_path / "link").symlink_to(pictures)
    capsys.readouterr()
    assert run("--objects", tmp_path / "link", *options, "--output-dir", tmp_path / "1") == 0
    assert capsys.readouterr().out.startswith("Already there")


def test_episodes_of_objects_are_in_colour_with_their_latents(tmp_path: Path, pictures: Path):
    size = ("--support-size", 4, "--num-episodes", 3)
    assert run("--objects", pictures, "--format", "h5-episodes", *size, "--preview", "--output-dir", tmp_path) == 0
    with h5py.File(tmp_path / "objects_support4_test.h5") as file:
        assert file["support_images"].shape == (3, 4, 128, 128, 3)
        names = list(file["query_latents"].attrs["names"])
        first, second = (file["query_latents"][..., names.index(name)] for name in ("object1", "object2"))
        np.testing.assert_array_equal(first == second, file["query_labels"][:] == 1)
    assert (tmp_path / "objects_test_preview.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--objects", "nowhere"), 3, "No folder nowhere"),
        (("--task", "open", "--rotation", "each"), 2, "--rotation is for --objects"),
        (("--objects", "PICTURES", "--object-size", 0), 2, "Cannot place objects of 0 px. Choose 4 to 62 px"),
        (("--objects", "PICTURES", "--identities", 9), 2, "to 9 identities. Choose 1 to 1"),
        (("--objects", "PICTURES", "--minimal-pairs", "same"), 2, "have no minimal pairs"),
    ],
)
def test_what_cannot_be_made_of_objects_is_one_line(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], arguments, code: int, message: str
):
    named = [pictures if argument == "PICTURES" else argument for argument in arguments]
    assert run(*named, "--output-dir", tmp_path / "out") == code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out").exists()
