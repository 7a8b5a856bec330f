"""``train`` and ``train-pair`` on images of a folder in place of fresh ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meta_baseline.commands import train, train_pair
from meta_baseline.console import CommandParser, run_guarded
from meta_baseline.datasets import read_stimuli
from meta_baseline.stimuli import open_pool
from meta_baseline.stimuli.canvas import shrink, to_grey
from meta_baseline.stimuli.folder import write_svrt_folder
from meta_baseline.stimuli.generation import Split
from meta_baseline.training.disk_images import write_pool_from_disk

QUICK = ("--arch", "stack4", "--image-size", "16", "--tasks", "regular,lines", "--held-out", "filled")
COUNTS: dict[Split, int] = {"train": 40, "val": 128, "test": 302}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks in three splits, as ``generate`` writes them."""
    folder = tmp_path_factory.mktemp("images")
    for task in ("regular", "lines", "filled"):
        for split, count in COUNTS.items():
            (folder / f"results_{task}" / split).mkdir(parents=True)
            write_svrt_folder(folder / f"results_{task}" / split, task, num_images=count, split=split, seed=1)
    return folder


def run(command: object, *arguments: str) -> int:
    parser = CommandParser(prog="meta-baseline")
    command.add_parser(parser.add_subparsers(parser_class=CommandParser))  # pyright: ignore[reportAttributeAccessIssue]
    options = parser.parse_args(arguments)
    return run_guarded(lambda: options.run(options))


def test_a_pool_from_disk_holds_images_of_the_folder_each_once_and_with_its_label(images: Path, tmp_path: Path) -> None:
    write_pool_from_disk(images, ("regular", "lines"), 64, 32, tmp_path, split="train", seed=3)
    pool = open_pool(tmp_path)
    assert pool.tasks == ("regular", "lines") and pool.images.shape == (64, 32, 32)
    for task in pool.tasks:
        stimuli = read_stimuli(images, task=task, split="train")
        labels = {
            shrink(to_grey(np.asarray(Image.open(path).convert("RGB"))), 32).tobytes(): label
            for path, label in zip(stimuli.paths, stimuli.labels)
        }
        drawn = [image.tobytes() for image in pool.images[pool.task_slice(task)]]
        assert len(set(drawn)) == len(drawn) == 32
        assert [labels[image] for image in drawn] == pool.labels[pool.task_slice(task)].tolist()


@pytest.mark.slow
def test_a_pair_is_trained_and_tested_on_the_folders_own_splits(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train-pair", *QUICK, "--data-dir", str(images), "--num-images", "64", "--num-queries", "20")
    assert run(train_pair, *command, "--output-dir", str(tmp_path / "pair")) == 0
    assert f"--data-dir {images} --task regular --run-all" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "pair" / "evaluation" / "accuracy.csv")
    assert set(table["task"]) == {"regular", "lines", "filled"} and set(table["images"]) == {20}
    assert not (tmp_path / "pair" / "stimuli").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num-images", "512"), "this run needs 128 of each, because each is used once"),
        (("--num-images", "64", "--held-out", "arrows"), "arrows"),
        (("--num-images", "64", "--image-size", "256"), "Choose --image-size 128 or less"),
    ],
)
def test_a_folder_that_does_not_suffice_is_one_line_and_code_3(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    given = (
        "train",
        "--algorithm",
        "baseline",
        *QUICK,
        "--data-dir",
        str(images),
        "--output-dir",
        str(tmp_path / "run"),
        *arguments,
    )
    assert run(train, *given) == 3
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_folder_that_is_not_there_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--algorithm", "baseline", "--data-dir", str(tmp_path / "nowhere"), "--output-dir", str(tmp_path / "run"))
    assert run(train, "train", *QUICK, *given) == 3
    assert "There is no folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
