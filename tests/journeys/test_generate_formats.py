"""What ``meta-baseline generate`` writes in each format, read with the libraries that other people use."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from meta_baseline.commands import generate
from meta_baseline.console import CommandParser, run_guarded
from meta_baseline.datasets import read_stimuli
from meta_baseline.datasets.measured import measure_latents
from meta_baseline.stimuli import generate_dataset, generate_image, get_task
from meta_baseline.stimuli.arrays_file import ArraysFile
from meta_baseline.stimuli.png import encode_png
from meta_baseline.stimuli.production import produce, start_production
from meta_baseline.stimuli.stimulus_set import StimulusSet


def run(*arguments: str | int | Path) -> int:
    parser = CommandParser(prog="meta-baseline")
    generate.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["generate", *map(str, arguments)])
    return run_guarded(lambda: options.run(options))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_episodes(folder: Path, *options: str | int) -> h5py.File:
    form = ("--format", "h5-episodes", "--support-size", 6, "--num-episodes", 40)
    assert run("--task", "random_color", *form, *options, "--output-dir", folder) == 0
    return h5py.File(next(folder.glob("*.h5")))


@pytest.mark.parametrize("shape", [(128, 128), (128, 128, 3), (5, 9), (1, 1, 3)])
def test_png_files_hold_the_pixels_they_were_made_from(tmp_path: Path, shape: tuple[int, ...]):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "image.png").write_bytes(encode_png(image))
    with Image.open(tmp_path / "image.png") as read:
        read.verify()
    with Image.open(tmp_path / "image.png") as read:
        assert (read.mode, read.size) == ("RGB", (shape[1], shape[0]))
        expected = image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2)
        np.testing.assert_array_equal(np.asarray(read), expected)


@pytest.mark.parametrize(("form", "count"), [("png", 1045), ("npz", 5), ("h5-episodes", 9)])
def test_the_number_of_workers_and_the_time_of_day_change_no_byte(tmp_path: Path, form: str, count: int):
    size = ("--support-size", "4,8", "--num-episodes", 40) if form == "h5-episodes" else ("--num-images", 520)
    for workers in (1, 2):
        options = ("--task", "irregular", "random_color", "--format", form, *size, "--image-size", 32)
        assert run(*options, "--workers", workers, "--output-dir", tmp_path / str(workers)) == 0
        time.sleep(1.1 if workers == 1 else 0)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    names = contents(tmp_path / "1")
    assert len(names) == count and not any("partial" in name for name in names)


def test_an_archive_holds_the_images_and_latents_of_generate_dataset(tmp_path: Path):
    options = ("--split", "val", "--seed", 3, "--identities", 5, "--image-size", 64)
    assert run("--task", "regular", "--format", "npz", "--num-images", 600, *options, "--output-dir", tmp_path) == 0
    images, labels, latents = generate_dataset(
        "regular", num_images=600, seed=3, split="val", identities=5, image_size=64
    )
    with np.load(tmp_path / "regular_val.npz", allow_pickle=False) as archive:
        assert archive["images"].dtype == np.uint8
        np.testing.assert_array_equal(archive["images"], images)
        np.testing.assert_array_equal(archive["labels"], labels)
        np.testing.assert_array_equal(archive["index"], np.arange(600))
        assert (archive["task"], archive["split"], archive["seed"]) == ("regular", "val", 3)
        for name in latents:
            stored = archive[name if name == "identity" else f"latent_{name}"]
            np.testing.assert_array_equal(stored, latents[name], err_msg=name)


def test_colours_are_kept_in_an_archive(tmp_path: Path):
    assert run("--task", "random_color", "--format", "npz", "--num-images", 4, "--output-dir", tmp_path) == 0
    with np.load(tmp_path / "random_color_test.npz") as archive:
        np.testing.assert_array_equal(archive["images"][3], generate_image("random_color", 1, 0, 3, split="test").image)


def test_episodes_have_the_published_layout(tmp_path: Path):
    with write_episodes(tmp_path) as file:
        assert Path(file.filename).name == "random_color_support6_test.h5"
        assert {name: (file[name].shape, file[name].dtype.name) for name in file if not name.endswith("latents")} == {
            "support_images": ((40, 6, 128, 128, 3), "uint8"),
            "support_labels": ((40, 6), "float32"),
            "support_index": ((40, 6), "int64"),
            "query_images": ((40, 4, 128, 128, 3), "uint8"),
            "query_labels": ((40, 4), "float32"),
            "query_index": ((40, 4), "int64"),
        }
        assert file["support_latents"].dtype == np.float64
        assert file["query_latents"].shape == (40, 4, len(file["query_latents"].attrs["names"]))


def test_support_and_queries_are_balanced_and_in_an_order_that_gives_nothing_away(tmp_path: Path):
    with write_episodes(tmp_path, "--image-size", 16) as file:
        support, query = file["support_labels"][:], file["query_labels"][:]
        indices = np.concatenate([file["support_index"][:], file["query_index"][:]], axis=1)
    assert (support.sum(axis=1) == 3).all() and (query.sum(axis=1) == 2).all()
    assert len(np.unique(support, axis=0)) > 10 and len(np.unique(query, axis=0)) > 3
    assert sorted(indices.ravel().tolist()) == list(range(400))
    blocks = indices.min(axis=1) // 10
    assert sorted(blocks) == list(range(40)) and not (blocks == np.arange(40)).all()


def test_any_image_of_an_episode_is_made_again_from_its_index(tmp_path: Path):
    with write_episodes(tmp_path, "--identities", 7, "--seed", 2) as file:
        about = dict(file.attrs)
        for part in ("support", "query"):
            names = list(file[f"{part}_latents"].attrs["names"])
            for episode, place in ((0, 0), (17, 3), (39, 2)):
                index = int(file[f"{part}_index"][episode, place])
                latents = dict(zip(names, file[f"{part}_latents"][episode, place]))
                again = generate_image(
                    about["task"], index % 2, about["seed"], index, int(latents.pop("identity")), split=about["split"]
                )
                np.testing.assert_array_equal(file[f"{part}_images"][episode, place], again.image)
                assert file[f"{part}_labels"][episode, place] == again.label
                assert latents == pytest.approx(again.latents)


def test_grey_images_have_three_equal_channels_in_episodes(tmp_path: Path):
    options = ("--format", "h5-episodes", "--support-size", 2, "--query-size", 2, "--num-episodes", 3)
    assert run("--task", "open", *options, "--output-dir", tmp_path) == 0
    with h5py.File(tmp_path / "open_support2_test.h5") as file:
        images = file["query_images"][:]
        assert (images == images[..., :1]).all() and (images == 0).any()


def test_published_numbers_of_episodes_are_the_default(tmp_path: Path):
    parser = CommandParser(prog="meta-baseline")
    generate.add_parser(parser.add_subparsers(parser_class=CommandParser))
    from meta_baseline.commands.generate_exports import plan_exports

    for split, number in (("train", 1000), ("val", 200), ("test", 200)):
        arguments = ["generate", "--task", "open", "--format", "h5-episodes", "--split", split]
        exports = plan_exports([get_task("open")], parser.parse_args(arguments))
        names = [export.target.name for export in exports]
        assert names == [f"open_support{size}_{split}.h5" for size in (4, 6, 8, 10)]
        assert {sum(map(len, export.list_chunks())) for export in exports} == {number}


@pytest.mark.parametrize("form", ["npz", "h5-episodes"])
def test_what_is_written_is_read_back_with_its_latents(tmp_path: Path, form: str):
    size = ("--support-size", 4, "--num-episodes", 20) if form == "h5-episodes" else ("--num-images", 160)
    assert run("--task", "irregular", "--format", form, *size, "--identities", 8, "--output-dir", tmp_path) == 0
    stimuli = read_stimuli(tmp_path, task="irregular")
    assert len(stimuli) == 160 and len(np.unique(stimuli.groups)) == 8
    assert set(stimuli.latents) == set(get_task("irregular").latents)
    source, positions = stimuli.images
    for number in (0, 77, 159):
        latents = measure_latents(source.read([int(positions[number])])[0])
        assert latents["distance"] == pytest.approx(stimuli.latents["distance"][number])
        assert stimuli.labels[number] == stimuli.latents["same"][number]


@pytest.mark.parametrize("num_images", [4, 256, 258, 600])
def test_as_many_images_are_counted_as_were_announced(tmp_path: Path, num_images: int):
    sets = [StimulusSet(task=task) for task in ("open", "lines")]
    started = [
        start_production(
            ArraysFile(
                stimuli=one,
                num_images=num_images,
            ),
            tmp_path,
            "key",
        )
        for one in sets
    ]
    counted = list(produce(started, workers=1))
    assert len(counted) == sum(one.num_missing for one in started) == 2 * num_images
    assert [one for one in counted if one is not None] == started
