"""Adaptation from the command line: a stage of its own, asked for by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import SmallStudy, make_small_study

from meta_baseline.analyze_models import main
from meta_baseline.figures.adaptation import FIGURES
from meta_baseline.results import load_result
from meta_baseline.tables.adaptation import tabulate_adaptation


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    return make_small_study(tmp_path_factory.mktemp("adaptation"), num_images=90)


def test_adaptation_is_analysed_when_asked_for_and_again_only_when_something_changed(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
):
    arguments = study.arguments(analyses=("--analyze-adaptation", "--device", "cpu"))
    assert main(arguments) == 0
    folder = study.output_dir / "adaptation_analysis"
    assert {path.stem for path in folder.glob("*.png")} == {figure.slug for figure in FIGURES}
    assert {path.stem for path in folder.glob("*.csv")} == set(tabulate_adaptation(load_result(folder)))
    report = (study.output_dir / "report.html").read_text(encoding="utf-8")
    assert "Which layers have to adapt" in report
    summary = json.loads((study.output_dir / "summary.json").read_text(encoding="utf-8"))
    assert "gain.all.untrained_3" in json.dumps(summary["adaptation_analysis"])
    capsys.readouterr()
    assert main(arguments) == 0
    assert "Everything is already in" in capsys.readouterr().out


def test_three_untrained_networks_are_the_control_and_the_first_is_step_0(study: SmallStudy):
    result = load_result(study.output_dir / "adaptation_analysis")
    names = [subject.name for subject in result.facts.subjects]
    assert names == ["meta", "baseline", "untrained 1", "untrained 2", "untrained 3"]
    assert "Step 0 of the meta network." in result.facts.subjects[2].note
    assert "A fresh initialisation." in result.facts.subjects[3].note


def test_too_few_images_fail_this_analysis_with_one_line_and_exit_6(study: SmallStudy, tmp_path: Path):
    few = study.arguments(
        output_dir=tmp_path, analyses=("--analyze-adaptation", "--device", "cpu", "--max-images", "40")
    )
    assert main(few) == 6
    assert "Use 80 images or more" in (tmp_path / "report.html").read_text(encoding="utf-8")
