"""A run that was killed and goes on ends in the same bytes; what cannot go on says so in one line."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import RECIPE, arm, make_pool, write_pool

from meta_baseline.checkpoints import load_network
from meta_baseline.commands import train as command
from meta_baseline.console import CommandParser, run_guarded
from meta_baseline.episodes import EpisodeShape
from meta_baseline.errors import EnvironmentProblem, InputError, OutputFolderError, UsageError
from meta_baseline.inner_loop import InnerLoop
from meta_baseline.training import loop
from meta_baseline.training.agreement import find_difference
from meta_baseline.training.loop import INITIAL, LAST, METRICS, STATE, is_finished, train
from meta_baseline.training.recipes import Recipe, encode_recipe

LONG = replace(RECIPE, num_images=1024, batch_size=8, snapshots=tuple(range(100, 1000, 100)))
QUICK = ("--arch", "stack4", "--image-size", "16", "--tasks", "regular,lines", "--num-images", "64")


class Crash(BaseException):
    """Ends a run in the middle, as a kill would."""


def run(*arguments: str) -> int:
    parser = CommandParser(prog="meta-baseline")
    command.add_parser(parser.add_subparsers(parser_class=CommandParser))
    options = parser.parse_args(["train", *arguments])
    return run_guarded(lambda: options.run(options))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def start(recipe: Recipe, pool: Path, folder: Path, **options: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "meta_baseline.training.arm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,  # pyright: ignore[reportArgumentType]
    )
    work = {"arm": "a", "recipe": encode_recipe(recipe), "pool": str(pool), "output_dir": str(folder), "device": "cpu"}
    assert process.stdin is not None
    process.stdin.write(json.dumps(work))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["baseline", "fomaml", "maml"])
def test_a_run_killed_at_random_moments_ends_in_the_bytes_of_one_that_was_not(tmp_path: Path, algorithm: str) -> None:
    recipe = replace(LONG, algorithm=algorithm, dropout=0.2)  # pyright: ignore[reportArgumentType]
    pool, folder, moments = write_pool(tmp_path / "pool", recipe), tmp_path / "killed", random.Random(algorithm)
    train(recipe, make_pool(recipe), tmp_path / "whole")
    process = start(recipe, pool, folder)
    while process.poll() is None and not (folder / STATE).exists():
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.3))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    assert not is_finished(folder)
    train(recipe, make_pool(recipe), folder)
    left = {name: data for name, data in contents(folder).items() if not name.startswith(".")}
    assert left == contents(tmp_path / "whole")


HARD = EpisodeShape(tasks_per_step=2, support_sizes=(4, 6), query_size=4)


@pytest.mark.parametrize(
    "recipe",
    [
        arm("baseline", dropout=0.3),
        arm("matched", twin="maml"),
        arm("maml", learn_inner_rates=True, norm="per-step", inner_loop=InnerLoop(num_steps=2), dropout=0.2),
        arm("anil", multi_step_fraction=0.5, first_order_fraction=0.5, inner_loop=InnerLoop(num_steps=2)),
        arm("reptile", norm="group", inner_loop=InnerLoop(num_steps=2), optimiser="adamw"),
        arm("protonet", episodes=HARD),
        arm("fomaml", norm="frozen", precision="bf16"),
    ],
    ids=lambda recipe: recipe.algorithm,
)
def test_every_algorithm_goes_on_from_its_state_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    pool, validation = make_pool(recipe), make_pool(replace(recipe, num_images=32), seed=5)
    monkeypatch.setattr(loop, "METRICS_EVERY", 48)
    monkeypatch.setattr(loop, "VALIDATE_EVERY", 96)
    train(recipe, pool, tmp_path / "whole", validation=validation)
    step, count = loop._Run._step, 0

    def crash_twice(self: object, *arguments: object) -> object:
        nonlocal count
        count += 1
        if count in (6, 9):
            raise Crash
        return step(self, *arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop._Run, "_step", crash_twice)
    for _ in range(2):
        with pytest.raises(Crash):
            train(recipe, pool, tmp_path / "crashed", validation=validation, state_every=64)
    assert not is_finished(tmp_path / "crashed")
    train(recipe, pool, tmp_path / "crashed", validation=validation, state_every=64)
    assert contents(tmp_path / "crashed") == contents(tmp_path / "whole")


def crash_after(monkeypatch: pytest.MonkeyPatch, num_steps: int) -> None:
    step, left = loop._Run._step, [num_steps]

    def crash(self: object, *arguments: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        return step(self, *arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop._Run, "_step", crash)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the state of a run that was stopped after 64 images."""
    with monkeypatch.context() as patch:
        crash_after(patch, 4)
        with pytest.raises(Crash):
            train(arm("fomaml"), make_pool(), tmp_path / "run", state_every=32)
    return tmp_path / "run"


def test_a_state_of_other_settings_is_refused_by_the_name_of_the_option(begun: Path) -> None:
    other = arm("fomaml", inner_loop=InnerLoop(learning_rate=0.1))
    with pytest.raises(OutputFolderError, match=r"\(--inner-lr 0.05 there, 0.1 here\)"):
        train(other, make_pool(), begun)


def test_a_state_of_other_images_is_refused(begun: Path) -> None:
    with pytest.raises(OutputFolderError, match="on other images"):
        train(arm("fomaml"), make_pool(seed=1), begun)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 99])
def test_a_damaged_state_is_refused_and_names_the_file(begun: Path, damage: Callable[[bytes], bytes]) -> None:
    (begun / STATE).write_bytes(damage((begun / STATE).read_bytes()))
    with pytest.raises(InputError, match=r"state\.safetensors is damaged .*Remove it to begin this run anew"):
        train(arm("fomaml"), make_pool(), begun)


def test_metrics_that_lost_lines_are_not_filled_up_with_zeros(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "METRICS_EVERY", 32)
        crash_after(patch, 8)
        with pytest.raises(Crash):
            train(arm("fomaml"), make_pool(), begun, state_every=32)
    (begun / METRICS).write_text("")
    with pytest.raises(InputError, match="is shorter than when the state beside it was saved"):
        train(arm("fomaml"), make_pool(), begun)


def test_a_disk_that_fills_up_leaves_what_was_saved_and_the_run_goes_on_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = arm("fomaml", snapshots=tuple(range(50, 250, 50)))
    train(recipe, make_pool(), tmp_path / "whole")
    fsync, left = os.fsync, [12]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(EnvironmentProblem, match=r"No space left on device.* What was saved before is intact"):
            train(recipe, make_pool(), tmp_path / "run")
    saved = contents(tmp_path / "run")
    whole = contents(tmp_path / "whole")
    assert {name for name in saved if name.startswith("i")} > {"initial.safetensors"}
    assert all(saved[name] == whole[name] for name in saved if name.startswith("i"))
    train(recipe, make_pool(), tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_a_process_that_may_write_no_more_ends_with_exit_code_4_and_one_line(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", LONG)
    train(replace(LONG, num_images=64), make_pool(replace(LONG, num_images=64)), tmp_path / "size")
    limit = 2 * (tmp_path / "size" / LAST).stat().st_size  # a checkpoint fits, the state of three times its size not
    process = start(
        LONG,
        pool,
        tmp_path / "run",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 4
    assert error.count("\n") == 1 and "Cannot write to" in error
    load_network(tmp_path / "run" / INITIAL)


def test_weights_that_are_no_longer_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop._Run._step

    def poison(self: loop._Run, *arguments: object) -> object:
        outcome = step(self, *arguments)  # pyright: ignore[reportArgumentType]
        if arguments[2] == 48:  # images seen before this step; a snapshot at 50 follows
            with torch.no_grad():
                self._network.classifier.bias.fill_(float("nan"))
        return outcome

    monkeypatch.setattr(loop._Run, "_step", poison)
    recipe = arm("fomaml", snapshots=(20, 50))
    with pytest.raises(UsageError, match=r"classifier\.bias is no longer finite after 64 images .* are intact"):
        train(recipe, make_pool(), tmp_path)
    names = set(contents(tmp_path))
    assert {"initial.safetensors", "images-0000020.safetensors"} <= names
    assert not {"images-0000050.safetensors", LAST} & names


def test_the_first_difference_is_named_by_its_option_or_its_own_name() -> None:
    begun = encode_recipe(RECIPE)
    assert find_difference(begun, RECIPE) is None
    assert (
        find_difference(begun, replace(RECIPE, tasks=("outlines",))) == "--tasks outlines,blocks there, outlines here"
    )
    assert find_difference(begun, replace(RECIPE, gradient_clip=1.0)) == "gradient_clip 10.0 there, 1.0 here"
    assert find_difference({**begun, "extra": 1}, RECIPE) == "extra 1 there, unknown here"


def test_resume_goes_on_with_the_settings_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--algorithm", "fomaml", *QUICK, "--num-images", "192", "--inner-lr", "0.02", "--pool-dir")
    monkeypatch.setattr(loop, "STATE_EVERY", 64)
    assert run(*options, str(tmp_path / "pool"), "--output-dir", str(tmp_path / "whole")) == 0
    with monkeypatch.context() as patch:
        crash_after(patch, 2)
        with pytest.raises(Crash):
            run(*options, str(tmp_path / "pool"), "--output-dir", str(tmp_path / "run"))
    assert (tmp_path / "run" / STATE).exists()
    assert run("--resume", "--output-dir", str(tmp_path / "run"), "--pool-dir", str(tmp_path / "pool")) == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    capsys.readouterr()
    assert run("--resume", "--output-dir", str(tmp_path / "run")) == 0
    assert "Already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--inner-lr", "0.1"), 5, "--inner-lr 0.05 there, 0.1 here"),
        (("--algorithm", "maml"), 5, "--algorithm fomaml there, maml here"),
        (("--norm", "group"), 5, "--norm batch there, group here"),
        (("--threads", "2"), 5, "--threads 1 there, 2 here"),
        (("--seed", "3"), 5, "--seed 0 there, 3 here"),
    ],
)
def test_resume_with_another_configuration_names_what_differs(
    begun: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    recipe = replace(RECIPE, algorithm="fomaml", tasks=("regular", "lines"), held_out=())
    settings = {"recipe": encode_recipe(recipe), "device": "cpu", "threads": 1}
    (begun / "run.json").write_text(json.dumps(settings))
    before = contents(begun)
    assert run("--resume", "--output-dir", str(begun), *arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert contents(begun) == before


def test_there_has_to_be_a_run_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--resume", "--output-dir", str(tmp_path / "nothing")) == 3
    assert "There is no run to resume" in capsys.readouterr().err
    (tmp_path / "run.json").write_text('{"argv": []}')
    assert run("--resume", "--output-dir", str(tmp_path)) == 3
    assert "is no record of a run" in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_or_may_not_be_written_ends_with_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run("--algorithm", "baseline", "--output-dir", str(tmp_path / "file")) == 4
    assert "is a file, not a folder" in capsys.readouterr().err
    if os.geteuid() == 0:
        return  # permissions do not hold for root
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run("--algorithm", "baseline", "--output-dir", str(tmp_path / "locked" / "run")) == 4
    assert "Cannot write to" in capsys.readouterr().err
