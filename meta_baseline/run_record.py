"""What a run leaves beside its results: run.json, summary.json and log.txt."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from meta_baseline import __version__
from meta_baseline.commits import write_atomic
from meta_baseline.results import Check, Result

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pandas", "safetensors", "pillow")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send what the package logs, tracebacks included, to a file; appended, so a continued run keeps its past."""
    logger = logging.getLogger("meta_baseline")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def describe_versions() -> dict[str, str]:
    """The versions a number depends on: this package, its libraries, Python, and the machine's kind."""
    versions = {"meta_baseline": __version__, "git": _describe_git(), "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _LIBRARIES}
    return versions | {"platform": platform.platform(), "threads": str(torch.get_num_threads())}


def write_run(
    path: Path,
    *,
    study: Any,
    hashes: Mapping[str, str],
    checks: Sequence[Check],
    stages: Mapping[str, Mapping[str, Any]],
    argv: Sequence[str],
) -> None:
    """Write run.json: command, options, versions, hashes and checks of the inputs, and what each stage took."""
    record = {
        "argv": list(argv),
        "options": dataclasses.asdict(study),
        "versions": describe_versions(),
        "inputs_sha256": dict(hashes),
        "inputs_checks": [dataclasses.asdict(check) for check in checks],
        "stages": {name: dict(stage) for name, stage in stages.items()},
        "process": {"pid": os.getpid(), "executable": sys.executable},
    }
    write_atomic(path, json.dumps(record, indent=1, default=str) + "\n")


def write_summary(path: Path, results: Mapping[str, Result]) -> None:
    """Write summary.json: every finding, check and estimate of every analysis; undefined numbers are null."""
    summary = {
        slug: {
            "findings": [dataclasses.asdict(finding) for finding in result.findings],
            "checks": [dataclasses.asdict(check) for check in result.checks],
            "estimates": [_finite(dataclasses.asdict(estimate)) for estimate in result.estimates],
        }
        for slug, result in results.items()
    }
    write_atomic(path, json.dumps(summary, indent=1, allow_nan=False) + "\n")


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}


def _describe_git() -> str:
    """The commit this code was run from, "-dirty" when it was changed since, "" outside a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        inside = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if inside.returncode:
            return ""
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
