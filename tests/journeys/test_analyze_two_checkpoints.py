"""From two checkpoints and a folder of images to a report, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import SmallStudy, make_small_study

from meta_baseline.analyze_models import main
from meta_baseline.pipeline import ANALYSES
from meta_baseline.results import load_result

FOLDERS = {"behaviour", *(analysis.slug for analysis in ANALYSES)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    return make_small_study(tmp_path_factory.mktemp("study"), num_images=120)


@pytest.fixture(scope="module")
def finished(study: SmallStudy) -> Path:
    assert main(study.arguments()) == 0
    return study.output_dir


@pytest.mark.slow
def test_run_all_leaves_a_report_and_every_result(finished: Path):
    page = (finished / "report.html").read_text(encoding="utf-8")
    for analysis in ANALYSES:
        assert f">{analysis.title}<" in page
    assert {path.name for path in finished.iterdir() if path.is_dir()} == FOLDERS
    for analysis in ANALYSES:
        folder = finished / analysis.slug
        for spec in analysis.figures:
            assert (folder / f"{spec.slug}.png").exists() == (folder / f"{spec.slug}.svg").exists()
        assert list(folder.glob("*.png"))
        assert list(folder.glob("*.csv"))
        assert load_result(folder).estimates
    assert not [path.name for path in finished.iterdir() if path.name.startswith(".") and path.name != ".lock"]


@pytest.mark.slow
def test_every_number_of_the_summary_has_its_unit_n_and_control(finished: Path):
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary) == FOLDERS
    estimates = [estimate for part in summary.values() for estimate in part["estimates"]]
    assert len(estimates) > 100
    assert all(estimate["n"] > 0 and estimate["n_unit"] for estimate in estimates)
    assert all(estimate["interval"] for estimate in estimates if estimate["low"] is not None)
    judged = [estimate for estimate in estimates if estimate["reference"] is not None]
    assert all(estimate["reference_label"] for estimate in judged)
    assert len(judged) > len(estimates) / 3
    for slug, part in summary.items():
        names = [estimate["name"] for estimate in part["estimates"]]
        assert len(names) == len(set(names)), slug


@pytest.mark.slow
def test_the_run_says_what_it_was_made_from(finished: Path, study: SmallStudy):
    run = json.loads((finished / "run.json").read_text())
    assert run["inputs_sha256"].keys() == {"meta", "baseline", "meta step 0", "baseline step 0", "stimuli"}
    assert run["options"]["meta_model"] == str(study.meta_model)
    assert run["versions"]["torch"]


@pytest.mark.slow
def test_run_again_finishes_at_once_and_changes_no_result(finished: Path, study: SmallStudy, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*.csv")}
    assert main(study.arguments()) == 0
    assert "already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in finished.rglob("*.csv")} == before


@pytest.mark.slow
def test_a_run_that_lost_a_stage_redoes_that_one_to_the_same_bytes(finished: Path, study: SmallStudy):
    folder = finished / "probe_analysis"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (finished / "probe_analysis.commit.json").unlink()
    assert main(study.arguments()) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.slow
def test_results_of_other_inputs_are_refused_then_moved_aside(finished: Path, study: SmallStudy, capsys):
    swapped = study.arguments(
        meta_model=study.baseline_model, baseline_model=study.meta_model, analyses=("--analyze-weights",)
    )
    assert main(swapped) == 5
    assert "--overwrite" in capsys.readouterr().err
    assert main([*swapped, "--overwrite"]) == 0
    assert (finished / "weight_analysis").is_dir()
    assert not (finished / "probe_analysis").exists()
    assert (finished.with_name("results.replaced-1") / "probe_analysis").is_dir()


@pytest.mark.parametrize("analysis", [analysis.slug for analysis in ANALYSES if analysis.slug == "weight_analysis"])
def test_one_flag_runs_one_analysis(analysis: str, study: SmallStudy, tmp_path: Path):
    flag = next(a.flag for a in ANALYSES if a.slug == analysis)
    assert main(study.arguments(output_dir=tmp_path / "out", analyses=(flag,))) == 0
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {analysis}
