"""The whole comparison on stimuli as other laboratories have them: one file of episodes, one of TFRecords."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import h5py
import numpy as np
import pytest
from small_study import SmallStudy, make_small_models
from stimulus_files import draw, encode_png, write_episodes, write_tfrecords

from meta_baseline.analyze_models import main
from meta_baseline.datasets import read_stimuli
from meta_baseline.models import Preprocessing
from meta_baseline.pipeline import list_cautions
from meta_baseline.study import StudyInputs

ACTIVATIONS = ("--analyze-activations",)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    return make_small_models(tmp_path_factory.mktemp("study"))


def arguments(study: SmallStudy, data_dir: Path, output_dir: Path) -> list[str]:
    given = study.arguments(data_dir=data_dir, output_dir=output_dir, analyses=ACTIVATIONS)
    number = given.index("--problem-number")
    return [*given[:number], *given[number + 2 :]]


@pytest.mark.parametrize("kind", ["episodes", "tfrecords"])
def test_a_file_of_images_is_analysed_like_a_folder(
    study: SmallStudy, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
):
    path = (
        write_episodes(tmp_path / "irregular_support4_test.h5", episodes=6, query=2, size=32)
        if kind == "episodes"
        else write_tfrecords(tmp_path / "irregular_test.tfrecords", 36, size=32)
    )
    output = tmp_path / "results"
    assert main(arguments(study, path, output)) == 0, capsys.readouterr().err
    assert "36 images of task irregular, test split" in capsys.readouterr().out
    page = (output / "report.html").read_text()
    assert "task irregular" in page and "input scaling" in page.lower()
    accuracy = json.loads((output / "summary.json").read_text())["behaviour"]
    values = [e["value"] for e in accuracy["estimates"] if e["name"].startswith("accuracy")]
    assert len(values) > 1 and np.isfinite(values).all()
    checks = {check["code"]: check for check in json.loads((output / "run.json").read_text())["inputs_checks"]}
    assert "where 1 is class 1" in checks["data.labels"]["sentence"]
    hashes = json.loads((output / "inputs.json").read_text())["sha256"]
    assert main(arguments(study, tmp_path, output)) == 0
    assert json.loads((output / "inputs.json").read_text())["sha256"] == hashes


def test_an_assumed_scaling_and_blank_images_are_announced_before_anything_runs(tmp_path: Path):
    path = write_episodes(tmp_path / "random_color_support4_test.h5")
    with h5py.File(path, "a") as file:
        del file["support_images"]
        file["support_images"] = np.full((5, 4, 16, 16, 3), 255, np.uint8)
    known = Preprocessing(image_size=32, in_channels=3, scaling="unit")
    inputs = SimpleNamespace(
        meta=SimpleNamespace(preprocessing=known),
        baseline=SimpleNamespace(preprocessing=replace(known, scaling="signed", assumed=True)),
        stimuli=read_stimuli(path),
    )
    scaling, blank = list_cautions(cast(StudyInputs, inputs))
    assert "signed [-1, 1] (assumed) for the baseline network." in scaling and "--baseline-input-scaling" in scaling
    assert "meta" not in scaling
    assert blank.startswith("Caution: 20 of 35 images (57.1%) are blank")


@pytest.mark.slow
def test_run_all_takes_a_folder_without_latents_and_leaves_out_what_needs_more_images(
    study: SmallStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(24):
        path = tmp_path / "objectsall_2" / "test" / ("same" if number % 2 else "different") / f"a b{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(draw(number, 32)))
    output = tmp_path / "results"
    given = study.arguments(data_dir=tmp_path, output_dir=output)
    number = given.index("--problem-number")
    assert main([*given[:number], *given[number + 2 :]]) == 0, capsys.readouterr().err
    page = (output / "report.html").read_text()
    assert "measured from pixels" in page
    assert "Adaptation: left out, since the inputs do not suffice" in page and "Use 80 images or more" in page
    assert not (output / "adaptation_analysis").exists()
    probed = (output / "probe_analysis" / "differences.csv").read_text()
    assert ",size_ratio," in probed and ",distance," in probed


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n broken"])
def test_a_file_that_cannot_be_used_is_one_line_and_exit_3(
    study: SmallStudy, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "irregular_support4_test.h5"
    path.write_bytes(content)
    assert main(arguments(study, path, tmp_path / "results")) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and path.name in line
    assert not (tmp_path / "results").exists()
