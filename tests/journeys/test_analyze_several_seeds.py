"""Further checkpoints of a condition are other seeds: what a difference is judged against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_study import SmallStudy, make_small_models

from meta_baseline.analyze_models import main
from meta_baseline.checkpoints import write_checkpoint
from meta_baseline.models import architecture_of, build_network


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    study = make_small_models(tmp_path_factory.mktemp("seeds"))
    for number in (1, 2):
        for arm in ("meta", "baseline"):
            network = build_network(
                architecture_of("stack4", image_size=32), torch.Generator().manual_seed(10 * number + (arm == "meta"))
            )
            write_checkpoint(study.folder / f"{arm}_{number}.safetensors", network.eval(), training={"algorithm": arm})
    return study


def analyze(study: SmallStudy, folder: Path, *further: str) -> int:
    return main(
        [
            *("--meta-model", str(study.meta_model), str(study.folder / "meta_1.safetensors"), *further),
            *("--baseline-model", str(study.baseline_model), str(study.folder / "baseline_1.safetensors")),
            *("--analyze-weights", "--output-dir", str(folder)),
        ]
    )


def test_the_seeds_are_the_yardstick_and_their_files_are_on_record(study: SmallStudy, tmp_path: Path) -> None:
    assert analyze(study, tmp_path / "out", str(study.folder / "meta_2.safetensors")) == 0
    claim = json.loads((tmp_path / "out" / "inputs.json").read_text())
    assert {"meta seed 2", "meta seed 3", "baseline seed 2"} <= set(claim["sha256"])
    summary = json.dumps(json.loads((tmp_path / "out" / "summary.json").read_text()))
    assert "than 2 pairs of seeds of one condition do" in summary


@pytest.mark.parametrize(
    ("name", "message"),
    [("meta_1.safetensors", "Name each seed's checkpoint once"), ("other.safetensors", "are seeds of one recipe")],
)
def test_what_is_no_other_seed_is_refused_before_anything_is_written(
    study: SmallStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    other = build_network(architecture_of("stack5", image_size=64), torch.Generator().manual_seed(0))
    write_checkpoint(study.folder / "other.safetensors", other.eval(), training={"algorithm": "meta"})
    assert analyze(study, tmp_path / "out", str(study.folder / name)) == 3
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
