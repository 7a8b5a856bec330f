"""A run of ``meta-baseline generate`` that is ended from outside: the next one continues, and no byte differs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "meta_baseline", "generate")
SIZES = {
    "png": ("--num-images", "3000", "--image-size", "64"),
    "npz": ("--num-images", "3000", "--image-size", "64"),
    "h5-episodes": ("--support-size", "4,10", "--num-episodes", "150", "--image-size", "64"),
}


def command(form: str, folder: Path, *options: str) -> list[str]:
    tasks = ("--task", "irregular", "arrows", "--format", form)
    return [*COMMAND, *tasks, *SIZES[form], *options, "--output-dir", str(folder)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def end_in_mid_run(arguments: list[str], folder: Path, number_of_signal: int, num_chunks: int = 3) -> int:
    """Start a run, end it once some chunks are there, and give back its exit code."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while len(list(folder.rglob("*.partial/chunks/*.npz"))) < num_chunks:
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be interrupted"
        time.sleep(0.002)
    os.kill(process.pid, number_of_signal)
    process.communicate()
    return process.returncode


@pytest.mark.parametrize("form", ["png", "npz", "h5-episodes"])
def test_a_killed_run_is_continued_to_the_same_bytes(tmp_path: Path, form: str):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(form, whole), check=True, capture_output=True)
    assert end_in_mid_run(command(form, killed, "--workers", "2"), killed, signal.SIGKILL) == -signal.SIGKILL
    assert not list(killed.rglob("*.commit.json"))
    ran = subprocess.run(command(form, killed), check=True, capture_output=True, text=True)
    assert "Continuing: " in ran.stdout
    assert contents(killed) == contents(whole)


def test_an_interrupt_says_how_to_go_on_and_leaves_only_hidden_files(tmp_path: Path):
    arguments = command("png", tmp_path)
    assert end_in_mid_run(arguments, tmp_path, signal.SIGINT) == 130
    visible = [path for path in tmp_path.rglob("*.png") if ".test.partial" not in path.parts]
    assert visible == []
    assert subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.startswith("Continuing: ")


def test_chunks_of_other_options_are_no_part_of_an_output(tmp_path: Path):
    assert end_in_mid_run(command("npz", tmp_path, "--seed", "1"), tmp_path, signal.SIGKILL) < 0
    ran = subprocess.run(command("npz", tmp_path), check=True, capture_output=True, text=True)
    assert "Continuing" not in ran.stdout


def test_a_damaged_chunk_is_made_again(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command("png", whole), check=True, capture_output=True)
    end_in_mid_run(command("png", killed), killed, signal.SIGKILL, num_chunks=5)
    folder = killed / "results_irregular" / ".test.partial"
    (folder / "chunks" / "000000.npz").write_bytes(b"PK")
    (folder / "output" / "sample_0_0300.png").write_bytes(b"cut off")
    (folder / "output" / "sample_1_0601.png").unlink()
    subprocess.run(command("png", killed), check=True, capture_output=True)
    assert contents(killed) == contents(whole)


def test_no_worker_outlives_a_killed_run(tmp_path: Path):
    marked = command("png", tmp_path, "--workers", "2", "--num-images", "200000")
    end_in_mid_run(marked, tmp_path, signal.SIGKILL)
    chunks = tmp_path / "results_irregular" / ".test.partial" / "chunks"
    time.sleep(1.5)
    before = len(list(chunks.iterdir()))
    time.sleep(1.5)
    assert len(list(chunks.iterdir())) == before


def test_a_reader_that_stops_listening_is_no_bug():
    process = subprocess.Popen([*COMMAND, "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
