"""``meta-baseline generate`` from the arguments to the folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meta_baseline.commands import generate
from meta_baseline.console import CommandParser, run_guarded
from meta_baseline.datasets import read_stimuli
from meta_baseline.stimuli import TASKS, generate_image


def run(*arguments: str | Path) -> int:
    parser = CommandParser(prog="meta-baseline")
    generate.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["generate", *map(str, arguments)])
    return run_guarded(lambda: options.run(options))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_problem_is_written_in_the_svrt_layout_and_read_back(tmp_path: Path):
    assert run("--problem-number", 1, "--num-images", 20, "--output-dir", tmp_path) == 0
    folder = tmp_path / "results_problem_1" / "test"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["latents.csv"] + sorted(f"sample_{i % 2}_{i:04d}.png" for i in range(20))
    with Image.open(folder / "sample_1_0003.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (128, 128))
        expected = generate_image("svrt1", 1, 0, 3, split="test").image
        np.testing.assert_array_equal(np.asarray(image), np.repeat(expected[..., np.newaxis], 3, axis=2))
    stimuli = read_stimuli(tmp_path, 1)
    assert stimuli.name == "SVRT problem 1, test split"
    assert len(stimuli.paths) == 20
    assert {check.verdict for check in stimuli.checks} == {"pass"}


def test_an_image_can_be_made_again_from_its_row_of_the_table(tmp_path: Path):
    assert (
        run("--task", "random_color", "--num-images", 12, "--seed", 9, "--identities", 3, "--output-dir", tmp_path) == 0
    )
    folder = tmp_path / "results_random_color" / "test"
    for row in pd.read_csv(folder / "latents.csv").itertuples():
        again = generate_image("random_color", row.label, row.seed, row.index, row.identity, split="test")
        with Image.open(folder / row.file) as image:
            np.testing.assert_array_equal(np.asarray(image), again.image)


def test_what_is_there_already_is_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ("--task", "open", "--num-images", 4, "--output-dir", tmp_path)
    assert run(*options) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert run(*options) == 0
    assert "Already there" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_other_stimuli_are_kept_unless_they_may_be_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ("--task", "open", "--num-images", 4, "--output-dir", tmp_path)
    assert run(*options) == 0
    before = contents(tmp_path / "results_open" / "test")
    assert run(*options, "--seed", 1) == 5
    assert "test holds other files" in capsys.readouterr().err
    assert contents(tmp_path / "results_open" / "test") == before
    assert run(*options, "--seed", 1, "--overwrite") == 0
    assert contents(tmp_path / "results_open" / "test") != before
    assert contents(tmp_path / "results_open" / "test.replaced-1") == before
    assert len(read_stimuli(tmp_path).paths) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--problem-number", 77), 2, "No SVRT problem 77. Choose 1 to 23."),
        (("--task", "circles"), 2, "No task 'circles'"),
        (("--task", "open", "open"), 2, "named twice"),
        (("--task", "open", "--num-images", 5), 2, "even number"),
        (("--task", "open", "--image-size", 999), 2, "images of 999 px"),
        (("--task", "open", "--identities", 0), 2, "0 identities"),
        (("--task", "open", "--workers", 0), 2, "0 workers"),
        (("--task", "lines", "--minimal-pairs", "rotation"), 2, "differ in 'rotation' alone. Choose one of: same"),
        (("--task", "lines", "--minimal-pairs", "size", "--num-images", 6), 2, "multiple of 4"),
        (("--task", "lines", "--minimal-pairs", "size", "--identities", 2), 2, "Leave --identities out"),
        (("--task", "lines", "--minimal-pairs", "size", "--format", "h5-episodes"), 2, "do not come in episodes"),
        (("--task", "open", "--support-size", "4"), 2, "--support-size is for episodes"),
        (("--task", "open", "--format", "h5-episodes", "--num-images", 4), 2, "--num-episodes, not with --num-images"),
        (("--task", "open", "--format", "h5-episodes", "--support-size", "4,5"), 2, "Cannot balance 5 images"),
        (("--task", "open", "--format", "h5-episodes", "--support-size", "4,4"), 2, "Name each size once"),
        (("--task", "open", "--format", "h5-episodes", "--query-size", 3), 2, "even number with --query-size"),
        (("--task", "open", "--format", "h5-episodes", "--num-episodes", 0), 2, "0 episodes"),
        (("--task", "open", "--format", "h5-episodes", "--num-episodes", 10**12), 2, "Choose 7142857 at most"),
        (("--task", "open", "--format", "h5-episodes", "--support-size", 10**6), 2, "Choose 512 at most"),
        (("--task", "open", "--num-images", 10**20), 2, "Choose 100000000 at most"),
        (("--task", "open", "--seed", 10**20), 2, "Choose 9223372036854775807 at most"),
        (("--task", "open", "--seed", -1), 2, "from seed -1"),
        (("--task", "open", "--workers", 10**5), 2, "Choose 1024 at most"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str | int, ...], code: int, message: str
):
    assert run(*map(str, arguments), "--output-dir", tmp_path / "out") == code
    errors = capsys.readouterr().err
    assert message in errors.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_problem_and_a_task_cannot_both_be_asked_for(capsys: pytest.CaptureFixture[str]):
    for arguments in ((), ("--task", "open", "--problem-number", "1")):
        with pytest.raises(SystemExit) as ending:
            run(*arguments)
        assert ending.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_list_names_every_task_with_its_rule_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert run("--list") == 0
    listed = capsys.readouterr().out
    for task in TASKS.values():
        assert task.name in listed and task.rule in listed and task.class_1_means in listed
    assert not list(tmp_path.iterdir())


def test_a_preview_is_one_sheet_for_each_task(tmp_path: Path):
    options = ("--task", "regular", "random_color", "--num-images", 4, "--preview")
    assert run(*options, "--output-dir", tmp_path) == 0
    for task in ("regular", "random_color"):
        with Image.open(tmp_path / f"{task}_test_preview.png") as sheet:
            assert sheet.width > 8 * 128 and sheet.height > 6 * 128
            pixels = np.asarray(sheet)
        first = generate_image(task, 1, 0, 1, split="test").image
        shown = np.repeat(first[..., np.newaxis], 3, axis=2) if first.ndim == 2 else first
        places = [top for top in range(len(pixels) - 128) if (pixels[top : top + 128, 16:144] == shown).all()]
        assert len(places) == 1


@pytest.mark.parametrize("form", ["png", "npz", "h5-episodes"])
def test_an_audit_says_which_task_is_leaky(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str):
    size = ("--support-size", 6, "--num-episodes", 30) if form == "h5-episodes" else ("--num-images", 300)
    options = ("--task", "scrambled", "lines", "--format", form, *size, "--audit")
    assert run(*options, "--output-dir", tmp_path) == 0
    scrambled, lines = capsys.readouterr().out.split("\nWhat 300 images of ")[1:]
    row = next(line.split() for line in scrambled.splitlines() if "num_components" in line)
    assert row == ["num_components", "0.000", "0.000", "to", "0.000", "0", "leaky"]
    assert "warn: The classes are leaky" in scrambled
    assert "leaky" not in lines and "pass: No single feature" in lines


def test_minimal_pairs_lie_side_by_side_and_differ_in_their_latent_alone(tmp_path: Path):
    options = ("--minimal-pairs", "same", "--num-images", 40, "--output-dir", tmp_path)
    assert run("--task", "irregular", *options) == 0
    folder = tmp_path / "results_irregular_pairs_same" / "test"
    table = pd.read_csv(folder / "latents.csv")
    assert table["pair"].tolist() == table["identity"].tolist() == [index // 2 for index in range(40)]
    assert table["same"].tolist() == table["label"].tolist() == [0, 1] * 20
    for first, second in zip(table.iloc[::2].to_dict("records"), table.iloc[1::2].to_dict("records")):
        images = []
        for row in (first, second):
            with Image.open(folder / row["file"]) as image:
                images.append(np.asarray(image)[..., 0] == 0)
        # What one object keeps is more than chance would: the box of one is the same in both images.
        kept = [all(first[f"{name}{n}"] == second[f"{name}{n}"] for name in ("x", "y", "size")) for n in (1, 2)]
        assert any(kept) and (images[0] != images[1]).any()
    stimuli = read_stimuli(tmp_path)
    assert "pair" not in stimuli.latents and len(np.unique(stimuli.groups)) == 20


def test_pairs_of_another_latent_have_one_class_and_are_made_in_any_format(tmp_path: Path):
    options = ("--minimal-pairs", "rotation", "--num-images", 40, "--preview", "--output-dir", tmp_path)
    assert run("--task", "irregular", *options) == 0
    assert run("--task", "irregular", *options, "--format", "npz") == 0
    table = pd.read_csv(tmp_path / "results_irregular_pairs_rotation" / "test" / "latents.csv")
    with np.load(tmp_path / "irregular_pairs_rotation_test.npz") as archive:
        np.testing.assert_array_equal(archive["pair"], table["pair"])
        np.testing.assert_array_equal(archive["labels"], table["label"])
        assert archive["varied"] == "rotation" and "latent_pair" not in archive
    assert table["label"].tolist() == [0, 0, 1, 1] * 10
    same_sides = table["num_sides1"][::2].to_numpy() == table["num_sides1"][1::2].to_numpy()
    turned = table["rotation1"][::2].to_numpy() != table["rotation1"][1::2].to_numpy()
    turned |= table["rotation2"][::2].to_numpy() != table["rotation2"][1::2].to_numpy()
    assert same_sides.all() and turned.all()
    assert (tmp_path / "irregular_pairs_rotation_test_preview.png").is_file()


def test_a_folder_that_cannot_be_written_is_exit_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert run("--task", "open", "--output-dir", tmp_path / "file" / "out") == 4
    assert "is a file, not a folder" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_is_exit_4_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("--task", "open", "--num-images", 4, "--output-dir", tmp_path / ("long" * 100)) == 4
    assert "File name too long" in capsys.readouterr().err.splitlines()[-1]


def test_a_file_where_a_folder_has_to_be_is_exit_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "results_open").write_text("")
    assert run("--task", "open", "--num-images", 4, "--output-dir", tmp_path) == 5
    assert "results_open is a file, not a folder" in capsys.readouterr().err


def test_an_empty_folder_gives_way_to_a_file(tmp_path: Path):
    (tmp_path / "open_test.npz").mkdir()
    assert run("--task", "open", "--num-images", 4, "--format", "npz", "--output-dir", tmp_path) == 0
    assert (tmp_path / "open_test.npz").is_file()


@pytest.mark.parametrize("form", ["png", "npz", "h5-episodes"])
def test_a_full_disk_is_noticed_before_the_whole_is_put_together_and_a_later_run_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
):
    size = ("--support-size", 4, "--num-episodes", 10) if form == "h5-episodes" else ("--num-images", 40)
    options = ("--task", "open", "--format", form, *size, "--output-dir", tmp_path)

    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        assert run(*options) == 4
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and "No space left on device. Make room and run the same command again" in errors[0]
    assert not list(tmp_path.rglob("*.commit.json"))
    assert run(*options) == 0
    assert capsys.readouterr().out.startswith("Continuing: ")


def test_a_set_that_was_changed_by_hand_is_called_that_and_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ("--task", "open", "--num-images", 4, "--output-dir", tmp_path)
    assert run(*options) == 0
    folder = tmp_path / "results_open" / "test"
    before = contents(folder)
    (folder / "sample_0_0002.png").unlink()
    assert run(*options) == 5
    assert "something in it has changed since" in capsys.readouterr().err
    assert run(*options, "--overwrite") == 0
    assert contents(folder) == before
