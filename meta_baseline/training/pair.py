"""The arms of a comparison side by side: one process and one thread each.

Two processes with one thread each train a pair about as fast as its slower arm alone, where one process with two
threads gains little on networks of this size. Each arm is a fresh interpreter (``training.arm``) that reads its work
as JSON from stdin and reports a JSON line at a time. Arms share the pool and the seed, hence initial weights, images
and their order; each goes on from its own state where it was interrupted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from meta_baseline.errors import EnvironmentProblem, InputError, MetaBaselineError, OutputFolderError, UsageError
from meta_baseline.training.loop import LAST, TrainingStatus, is_finished
from meta_baseline.training.recipes import ARMS, Recipe, encode_recipe

LOG = "log.txt"
_ERRORS: dict[int, type[MetaBaselineError]] = {
    kind.exit_code: kind for kind in (UsageError, InputError, EnvironmentProblem, OutputFolderError)
}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

ArmReport = Callable[[str, TrainingStatus], None]


@dataclass(frozen=True, kw_only=True)
class ArmWork:
    """One arm to train.

    Attributes:
        recipe: with the arm's own algorithm.
        pool, validation: folders of images; ``validation`` may be None.
        folder: of the arm's checkpoints.
        device: "cpu" or "cuda".
    """

    recipe: Recipe
    pool: Path
    folder: Path
    validation: Path | None = None
    device: str = "cpu"


def train_pair(
    recipe: Recipe,
    pool_path: str | Path,
    output_dir: str | Path,
    *,
    device: str = "cpu",
    report: ArmReport = lambda arm, status: None,
) -> dict[str, Path]:
    """Train the meta and the baseline arm of one recipe on one pool at once; the last checkpoint of each, by arm.

    Args:
        recipe: of both arms; its ``algorithm`` is replaced.
        pool_path: folder of the pool.
        output_dir: each arm writes into a folder of its own name in it.
        device: "cpu" or "cuda".
        report: called with the arm's name and its status, about once a second.

    Raises:
        MetaBaselineError: an arm failed; the message is the arm's own, and names its log.
    """
    arms = {
        arm: ArmWork(
            recipe=replace(recipe, algorithm=algorithm),
            pool=Path(pool_path),
            folder=Path(output_dir) / arm,
            device=device,
        )
        for arm, algorithm in ARMS.items()
    }
    return train_arms(arms, report=report)


def train_arms(
    arms: Mapping[str, ArmWork],
    *,
    max_processes: int | None = None,
    report: ArmReport = lambda arm, status: None,
    finished: Callable[[str], None] = lambda arm: None,
) -> dict[str, Path]:
    """Train every arm that is not finished, some at a time; the last checkpoint of each, by name.

    Args:
        arms: by name, begun in this order.
        max_processes: how many train at once; None for all.
        report: called with the arm's name and its status, about once a second; from several threads, one at a time.
        finished: called with the name of an arm that came to its end, in the same way.

    Raises:
        MetaBaselineError: an arm failed; the message is the arm's own, and names its log.
    """
    waiting = {name: work for name, work in arms.items() if not is_finished(work.folder)}
    processes: dict[str, subprocess.Popen[str]] = {}
    lock, stopped = Lock(), False

    def train_one(name: str, work: ArmWork) -> None:
        with lock:
            if stopped:
                return
            processes[name] = process = _start(name, work)
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with lock:
                    report(name, TrainingStatus(**json.loads(line)))
        if process.wait() != 0:
            raise _explain(name, process.returncode, work.folder / LOG)
        (work.folder / LOG).unlink(missing_ok=True)
        with lock:
            finished(name)

    with ThreadPoolExecutor(max_workers=max_processes or max(len(waiting), 1)) as threads:
        futures = [threads.submit(train_one, name, work) for name, work in waiting.items()]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            with lock:
                stopped = True
                for process in processes.values():
                    process.kill()
            for process in processes.values():
                process.wait()
    return {name: work.folder / LAST for name, work in arms.items()}


def _start(name: str, work: ArmWork) -> subprocess.Popen[str]:
    work.folder.mkdir(parents=True, exist_ok=True)
    values = {
        "arm": name,
        "recipe": encode_recipe(work.recipe),
        "pool": str(work.pool),
        "validation": None if work.validation is None else str(work.validation),
        "output_dir": str(work.folder),
        "device": work.device,
    }
    with (work.folder / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "meta_baseline.training.arm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **_ONE_THREAD},
        )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(json.dumps(values))
    return process


def _explain(name: str, code: int, log: Path) -> MetaBaselineError:
    """What an arm died of."""
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
    if code in _ERRORS:
        return _ERRORS[code](last)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return EnvironmentProblem(f"Training of the {name} arm {how} ({last}). See {log}.")
