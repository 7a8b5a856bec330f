"""``meta-baseline train`` from the command line to two comparable checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meta_baseline.checkpoints import find_initial, load_network
from meta_baseline.commands import train as command
from meta_baseline.console import CommandParser, run_guarded

QUICK = ("--arch", "stack4", "--image-size", "16", "--tasks", "regular,lines", "--num-images", "64")


def run(*arguments: str) -> int:
    parser = CommandParser(prog="meta-baseline")
    command.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["train", *arguments])
    return run_guarded(lambda: options.run(options))


def test_two_commands_make_two_networks_that_start_from_the_same_weights(tmp_path: Path) -> None:
    pool = str(tmp_path / "pool")
    for algorithm in ("baseline", "fomaml"):
        folder = str(tmp_path / algorithm)
        assert run("--algorithm", algorithm, *QUICK, "--output-dir", folder, "--pool-dir", pool) == 0
    last = [load_network(tmp_path / algorithm / "last.safetensors") for algorithm in ("baseline", "fomaml")]
    paths = [find_initial(tmp_path / name / "last.safetensors", last[0]) for name in ("baseline", "fomaml")]
    assert paths[0] is not None and paths[1] is not None
    initial = [load_network(path).state_dict() for path in paths if path is not None]
    assert all(torch.equal(value, initial[1][name]) for name, value in initial[0].items())
    assert not torch.equal(last[0].state_dict()["conv1.weight"], last[1].state_dict()["conv1.weight"])
    settings = json.loads((tmp_path / "fomaml" / "run.json").read_text())
    assert settings["recipe"]["algorithm"] == "fomaml"
    assert not list((tmp_path / "baseline").glob(".images*"))


def test_the_same_command_again_finds_its_work_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--algorithm", "baseline", *QUICK, "--output-dir", str(tmp_path / "run"))
    assert run(*arguments) == 0
    before = (tmp_path / "run" / "last.safetensors").stat().st_mtime_ns
    assert run(*arguments) == 0
    assert "Already there" in capsys.readouterr().out
    assert (tmp_path / "run" / "last.safetensors").stat().st_mtime_ns == before


def test_another_run_in_the_folder_is_kept_unless_it_may_be_moved_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    arguments = ("--algorithm", "baseline", *QUICK, "--output-dir", str(folder))
    assert run(*arguments) == 5
    assert "notes.txt" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == ["notes.txt"]
    assert run(*arguments, "--overwrite") == 0
    assert (tmp_path / "run.replaced-1" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--tasks", "regular,squiggles"), 2, "No task 'squiggles'"),
        (("--tasks", "filled", "--held-out", "filled"), 2, "cannot be both trained and held out"),
        (("--support", "7"), 2, "Use an even --support"),
        (("--inner-steps", "0"), 2, "use --inner-steps 1 or more"),
        (("--image-size", "8"), 2, "Choose a larger image size"),
        (("--threads", "0"), 2, "Use --workers and --threads of 1 or more"),
        (("--seed", "-1"), 2, "Choose 0 or a positive whole number"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    folder = tmp_path / "run"
    base = ("--algorithm", "fomaml", "--arch", "stack4", "--output-dir", str(folder))
    assert run(*base, *arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not folder.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--algorithm", "baseline", "--output-dir", str(tmp_path / "run"), "--device", "cuda") == 4
    assert "Use --device cpu" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
