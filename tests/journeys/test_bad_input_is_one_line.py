"""Whatever a user gets wrong: one line, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_study import SmallStudy, make_small_study

from meta_baseline.analyze_models import main

Spoil = Callable[[SmallStudy], list[str]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    return make_small_study(tmp_path_factory.mktemp("study"), num_images=24)


class _Payload:
    """Unpickling this writes a file: the proof that something ran."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.write_text, (self.witness, "it ran"))


def _missing_data(study: SmallStudy) -> list[str]:
    return study.arguments(data_dir=study.folder / "nowhere")


def _empty_data(study: SmallStudy) -> list[str]:
    (study.folder / "empty").mkdir(exist_ok=True)
    return study.arguments(data_dir=study.folder / "empty")


def _problem_without_images(study: SmallStudy) -> list[str]:
    return study.arguments(problem_number=7)


def _one_class(study: SmallStudy) -> list[str]:
    folder = study.folder / "one_class" / "results_problem_1"
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(30):
        Image.fromarray(np.full((128, 128, 3), 255, dtype=np.uint8)).save(folder / f"sample_1_{index:04d}.png")
    return study.arguments(data_dir=folder.parent)


def _missing_checkpoint(study: SmallStudy) -> list[str]:
    return study.arguments(meta_model=study.folder / "nowhere.pt")


def _truncated_checkpoint(study: SmallStudy) -> list[str]:
    path = study.folder / "truncated.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    return study.arguments(meta_model=path)


def _code_in_a_checkpoint(study: SmallStudy) -> list[str]:
    path = study.folder / "malicious.pt"
    torch.save({"state_dict": _Payload(study.folder / "witness")}, path)
    return study.arguments(meta_model=path)


def _code_in_a_plain_pickle(study: SmallStudy) -> list[str]:
    path = study.folder / "malicious.pkl"
    path.write_bytes(pickle.dumps(_Payload(study.folder / "witness")))
    return study.arguments(baseline_model=path)


def _shapes_of_no_member(study: SmallStudy) -> list[str]:
    path = study.folder / "other.pt"
    torch.save({"encoder.0.weight": torch.zeros(8, 8), "encoder.0.bias": torch.zeros(8)}, path)
    return study.arguments(baseline_model=path)


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (_missing_data, 3, "nowhere"),
        (_empty_data, 3, "empty"),
        (_problem_without_images, 3, "problem"),
        (_one_class, 3, "class"),
        (_missing_checkpoint, 3, r"nowhere\.pt"),
        (_truncated_checkpoint, 3, r"truncated\.pt"),
        (_code_in_a_checkpoint, 3, r"malicious\.pt"),
        (_code_in_a_plain_pickle, 3, r"malicious\.pkl"),
        (_shapes_of_no_member, 3, r"other\.pt"),
        (lambda study: [*study.arguments(), "--device", "cuda"], 4, "--device cpu"),
        (lambda study: study.arguments(output_dir=Path("/proc/nowhere/out")), 4, "--output-dir"),
        (lambda study: study.arguments(output_dir=study.meta_model), 4, "--output-dir"),
        (lambda study: study.arguments(analyses=()), 2, "--analyze-weights.*--run-all"),
        (lambda study: [*study.arguments(), "--batch-size", "0"], 2, "--batch-size"),
    ],
)
def test_one_line_and_the_exit_code(
    spoil: Spoil, code: int, says: str, study: SmallStudy, capsys: pytest.CaptureFixture[str]
):
    if "cuda" in says and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert main(spoil(study)) == code
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in printed.out + printed.err

    assert re.search(says, lines[0]), lines[0]
    assert not study.output_dir.exists()
    assert not (study.folder / "witness").exists()
