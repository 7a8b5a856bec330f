"""Two arms as two processes: both arrive, both report, and one that dies says why."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import RECIPE, arm, make_pool, write_pool

from meta_baseline.errors import EnvironmentProblem, InputError, UsageError
from meta_baseline.training import pair
from meta_baseline.training.loop import TrainingStatus, train
from meta_baseline.training.pair import train_pair
from meta_baseline.training.progress import TrainingBars


def test_a_pair_trained_in_two_processes_equals_two_runs_in_one(tmp_path: Path) -> None:
    reports: dict[str, list[TrainingStatus]] = {"meta": [], "baseline": []}
    pool = write_pool(tmp_path / "pool")
    paths = train_pair(RECIPE, pool, tmp_path, report=lambda name, status: reports[name].append(status))
    assert {name: statuses[-1].images for name, statuses in reports.items()} == {"meta": 256, "baseline": 256}
    for name, algorithm in (("meta", "fomaml"), ("baseline", "baseline")):
        alone = train(arm(algorithm), make_pool(), tmp_path / "alone" / name)
        assert paths[name].read_bytes() == alone.read_bytes()
        assert not (tmp_path / name / pair.LOG).exists()


def test_an_arm_that_finds_no_pool_ends_the_pair_with_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No complete training pool in .*Generate it again"):
        train_pair(RECIPE, tmp_path / "nothing", tmp_path)


def test_an_arm_that_is_asked_for_the_impossible_ends_the_pair_with_its_own_line(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    with pytest.raises(UsageError, match="the recipe uses 512"):
        train_pair(replace(RECIPE, num_images=512), pool, tmp_path)


def test_an_arm_that_is_killed_ends_the_pair_and_the_other_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    start: Callable[..., subprocess.Popen[str]] = pair._start

    def start_and_kill_the_second(*arguments: object) -> subprocess.Popen[str]:
        started.append(start(*arguments))
        if len(started) == 2:
            os.kill(started[1].pid, signal.SIGKILL)
        return started[-1]

    monkeypatch.setattr(pair, "_start", start_and_kill_the_second)
    with pytest.raises(EnvironmentProblem, match=r"Training of the baseline arm was killed by signal 9 .*log\.txt"):
        train_pair(RECIPE, write_pool(tmp_path / "pool"), tmp_path)
    assert len(started) == 2 and all(process.poll() is not None for process in started)


def test_bars_take_reports_of_both_arms_and_stay_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status = TrainingStatus(
        images=100, loss=0.7, accuracy=0.5, adapted_loss=None, adapted_accuracy=None, learning_rate=1e-3, by_task={}
    )
    with TrainingBars(("meta", "baseline"), 200) as bars:
        bars.show("meta", status)
        bars.show("baseline", status)
    assert capsys.readouterr().err == ""
