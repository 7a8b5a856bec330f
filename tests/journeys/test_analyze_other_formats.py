"""The whole comparison on stimuli as other laboratories have them: one file of episodes, one of TFRecords."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_study import SmallStudy, make_small_models
from stimulus_files import write_episodes, write_tfrecords

from meta_baseline.analyze_models import main

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
    assert np.isfinite([estimate["value"] for estimate in accuracy["estimates"]]).all()
    hashes = json.loads((output / "inputs.json").read_text())["sha256"]
    assert main(arguments(study, tmp_path, output)) == 0
    assert json.loads((output / "inputs.json").read_text())["sha256"] == hashes


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
