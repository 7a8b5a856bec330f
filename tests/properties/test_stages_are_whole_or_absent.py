from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from meta_baseline.commits import committing, hash_values, is_committed, locked, write_atomic
from meta_baseline.errors import EnvironmentProblem, OutputFolderError


def test_a_finished_stage_is_committed_under_its_key_and_no_other(tmp_path: Path):
    with committing(tmp_path / "stage", "key") as folder:
        (folder / "numbers.csv").write_text("1,2\n")
    assert is_committed(tmp_path / "stage", "key")
    assert not is_committed(tmp_path / "stage", "another key")


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="half way"), committing(tmp_path / "stage", "key") as folder:
        (folder / "numbers.csv").write_text("1,2\n")
        raise ValueError("half way")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_a_stage_whose_files_were_touched_is_not_committed(tmp_path: Path, damage: str):
    with committing(tmp_path / "stage", "key") as folder:
        (folder / "numbers.csv").write_text("1,2\n")
    if damage == "change":
        (tmp_path / "stage/numbers.csv").write_text("1,3\n")
    elif damage == "remove":
        (tmp_path / "stage/numbers.csv").unlink()
    else:
        (tmp_path / "stage/more.csv").write_text("")
    assert not is_committed(tmp_path / "stage", "key")


def _commit_slowly(folder: str, started: str) -> None:
    with committing(folder, "key") as temporary:
        (temporary / "half.csv").write_text("1\n")
        Path(started).write_text("")
        time.sleep(60)


def test_a_killed_stage_leaves_the_earlier_one_as_it_was(tmp_path: Path):
    stage, started = tmp_path / "stage", tmp_path / "started"
    with committing(stage, "key") as folder:
        (folder / "numbers.csv").write_text("1,2\n")
    process = multiprocessing.get_context("spawn").Process(target=_commit_slowly, args=(str(stage), str(started)))
    process.start()
    while not started.exists():
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert is_committed(stage, "key")
    assert (stage / "numbers.csv").read_text() == "1,2\n"


def test_a_file_is_replaced_whole(tmp_path: Path):
    write_atomic(tmp_path / "a.json", "{}")
    write_atomic(tmp_path / "a.json", json.dumps({"b": 1}))
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path):
    with locked(tmp_path / "out"), pytest.raises(OutputFolderError, match="Another run"), locked(tmp_path / "out"):
        pass
    with locked(tmp_path / "out"):
        pass


def test_a_folder_that_is_a_file_is_an_environment_problem(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(EnvironmentProblem, match="--output-dir"), locked(tmp_path / "out"):
        pass


def test_equal_values_have_equal_keys_and_different_ones_do_not():
    assert hash_values({"a": 1, "b": 2}) == hash_values({"b": 2, "a": 1})
    assert hash_values({"a": 1}) != hash_values({"a": 2})
