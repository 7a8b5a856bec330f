"""Both arms of a pair at once: one process and one thread each.

Two processes with one thread each train a pair about as fast as its slower arm alone, where one process with two
threads gains little on networks of this size. Each arm is a fresh interpreter (``training.arm``) that reads its work
as JSON from stdin; both report through one pipe, a JSON line at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from meta_baseline.errors import EnvironmentProblem, InputError, MetaBaselineError, UsageError
from meta_baseline.training.loop import LAST, TrainingStatus
from meta_baseline.training.recipes import ARMS, Recipe, encode_recipe

LOG = "log.txt"
_ERRORS: dict[int, type[MetaBaselineError]] = {kind.exit_code: kind for kind in (UsageError, InputError)}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def train_pair(
    recipe: Recipe,
    pool_path: str | Path,
    output_dir: str | Path,
    *,
    device: str = "cpu",
    report: Callable[[str, TrainingStatus], None] = lambda arm, status: None,
) -> dict[str, Path]:
    """Train the meta and the baseline arm of one recipe on one pool; the last checkpoint of each, by arm.

    Args:
        recipe: of both arms; its ``algorithm`` is replaced.
        pool_path: folder of the pool.
        output_dir: each arm writes into a folder of its own name in it.
        device: "cpu" or "cuda".
        report: called with the arm's name and its status, about once a second.

    Raises:
        MetaBaselineError: an arm failed; the message is the arm's own, and names its log.
    """
    folders = {arm: Path(output_dir) / arm for arm in ARMS}
    receiving, sending = os.pipe()
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        for arm, algorithm in ARMS.items():
            work = {
                "arm": arm,
                "recipe": encode_recipe(replace(recipe, algorithm=algorithm)),
                "pool": str(pool_path),
                "output_dir": str(folders[arm]),
                "device": device,
            }
            processes[arm] = _start(work, folders[arm], sending)
        os.close(sending)
        with os.fdopen(receiving, encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                report(message["arm"], TrainingStatus(**message["status"]))
                _check(processes, folders, wait=False)
        _check(processes, folders, wait=True)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return {arm: folder / LAST for arm, folder in folders.items()}


def _start(work: dict[str, object], folder: Path, sending: int) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "meta_baseline.training.arm"],
            stdin=subprocess.PIPE,
            stdout=sending,
            stderr=log,
            text=True,
            env={**os.environ, **_ONE_THREAD},
        )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(json.dumps(work))
    return process


def _check(processes: dict[str, subprocess.Popen[str]], folders: dict[str, Path], *, wait: bool) -> None:
    """Raise what an arm died of; remove the empty log of one that is done."""
    for arm, process in processes.items():
        code = process.wait() if wait else process.poll()
        log = folders[arm] / LOG
        if code == 0 and log.exists() and log.stat().st_size == 0:
            log.unlink()
        if not code:
            continue
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
        if code in _ERRORS:
            raise _ERRORS[code](last)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise EnvironmentProblem(f"Training of the {arm} arm {how} ({last}). See {log}.")
