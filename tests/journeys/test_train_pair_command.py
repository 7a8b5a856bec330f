"""``meta-baseline train-pair`` from the command line to a folder that ``analyze`` takes whole."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from meta_baseline import analyze_models
from meta_baseline.commands import train_pair as command
from meta_baseline.console import CommandParser, run_guarded

QUICK = ("--arch", "stack4", "--image-size", "16", "--tasks", "regular,lines", "--held-out", "filled")


def run(*arguments: str) -> int:
    parser = CommandParser(prog="meta-baseline")
    command.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["train-pair", *arguments])
    return run_guarded(lambda: options.run(options))


def parse(*arguments: str) -> argparse.Namespace:
    parser = CommandParser(prog="meta-baseline")
    analyze_models.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.slow
def test_a_pair_and_its_control_are_trained_tested_and_ready_to_be_analysed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_NUM_STIMULI", 100)
    folder = tmp_path / "pair"
    base = (*QUICK, "--num-images", "64", "--num-queries", "20", "--seeds", "3", "--output-dir", str(folder))
    assert run(*base) == 0
    said = capsys.readouterr().out
    assert "seed-3/baseline" in said and "FAILED" in said and "untrained" in said
    starts = [load_file(folder / "seed-3" / arm / "initial.safetensors") for arm in ("meta", "matched", "baseline")]
    assert all(value.equal(start[name]) for start in starts[1:] for name, value in starts[0].items())
    assert not (folder / "pools").exists()
    assert {path.name for path in folder.iterdir()} >= {"learning_curves.png", "stimuli", "evaluation", "pair.json"}
    table = pd.read_csv(folder / "evaluation" / "accuracy.csv")
    assert set(table["arm"]) == {"meta", "matched", "baseline", "untrained"}
    tested = set(zip(table["supports"], table["adaptation steps"]))
    assert tested == {(0, 0), (10, 1), (10, 5), (10, 15), (80, 1), (80, 5), (80, 15)}
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()

    options = parse("--pair-dir", str(folder), "--run-all")
    assert options.meta_model == [folder / "seed-3" / "meta" / "last.safetensors"]
    assert options.baseline_model == [folder / "seed-3" / "baseline" / "last.safetensors"]
    assert analyze_models.parse_study(options).arms_outcome == folder / "evaluation"
    assert (options.data_dir, options.task) == (folder / "stimuli", "regular")
    assert f"analyze --pair-dir {folder}" in said

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert run(*base) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before
    assert run(*base, "--inner-lr", "0.1") == 5
    assert "--inner-lr 0.05 there, 0.1 here" in capsys.readouterr().err


def test_the_arms_differ_in_the_learning_rule_alone() -> None:
    from dataclasses import fields

    from meta_baseline.training.recipes import demo

    recipe = demo().as_arm("maml")
    arms = command.arms_of(recipe)
    assert (arms["matched"].algorithm, arms["matched"].twin, arms["baseline"].algorithm) == (
        "matched",
        "maml",
        "baseline",
    )
    for arm in arms.values():
        differ = {field.name for field in fields(arm) if getattr(arm, field.name) != getattr(recipe, field.name)}
        assert differ <= {"algorithm", "twin"}
    assert list(command.arms_of(demo().as_arm("protonet"))) == ["meta", "baseline"]


def test_what_is_named_beside_a_pair_stands_and_a_folder_without_pair_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seed-12").mkdir()
    (tmp_path / "seed-2").mkdir()
    options = parse("--pair-dir", str(tmp_path), "--meta-model", "mine.pt", "--data-dir", "images")
    assert (options.meta_model, options.data_dir, options.task) == ([Path("mine.pt")], Path("images"), None)
    assert options.baseline_model == [
        tmp_path / seed / "baseline" / "last.safetensors" for seed in ("seed-2", "seed-12")
    ]
    assert analyze_models.parse_study(parse("--pair-dir", str(tmp_path), "--analyze-weights")).meta_seeds == (
        tmp_path / "seed-12" / "meta" / "last.safetensors",
    )
    with pytest.raises(SystemExit) as ended:
        parse("--pair-dir", str(tmp_path / "seed-2"))
    assert ended.value.code == 2
    assert "make it with meta-baseline train-pair" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--tasks", "squiggles"), 2, "No task 'squiggles'"),
        (("--support-sizes", "4,7"), 2, "Use an even --support-sizes"),
        (("--num-queries", "7"), 2, "Use an even --num-queries"),
        (("--processes", "0"), 2, "Use --processes of 1 or more"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert run("--output-dir", str(tmp_path / "pair"), *arguments) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "pair").exists()
