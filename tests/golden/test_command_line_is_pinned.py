"""The options of the original description, with their defaults; none may change."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from meta_baseline import analyze_models
from meta_baseline.__main__ import main as console
from meta_baseline.pipeline import ANALYSES

ORIGINAL = {
    "--meta-model": None,
    "--baseline-model": None,
    "--data-dir": None,
    "--problem-number": None,
    "--batch-size": 32,
    "--analyze-weights": False,
    "--analyze-activations": False,
    "--train-autoencoders": False,
    "--probe-representations": False,
    "--run-all": False,
    "--output-dir": Path("model_analysis_results"),
    "--device": "cuda",
    "--num-workers": 4,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    analyze_models.add_arguments(parser)
    return parser


def test_every_original_option_is_there_with_its_default():
    actions = {option: action for action in _parser()._actions for option in action.option_strings}
    assert {option: actions[option].default for option in ORIGINAL} == ORIGINAL


def test_the_analyses_are_the_original_flags_in_order_and_adaptation():
    assert [analysis.flag for analysis in ANALYSES] == [
        "--analyze-weights",
        "--analyze-activations",
        "--train-autoencoders",
        "--probe-representations",
        "--analyze-adaptation",
    ]


@pytest.mark.parametrize("command", [[], ["analyze"], ["generate"], ["train"], ["demo"]])
def test_help_is_a_page_and_exits_0(command: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        console([*command, "--help"])
    page = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(len(line) for line in page.splitlines()) <= 120
    assert len(page.splitlines()) > 8


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["analyze"], ["analyze", "--batch-size", "many"]])
def test_a_mistake_on_the_command_line_is_one_line_and_exits_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        console(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1
