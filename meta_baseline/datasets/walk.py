"""Listing folders without ever leaving the data folder: what is not followed is remembered with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meta_baseline.errors import EnvironmentProblem, in_one_line
from meta_baseline.results import Check, Verdict

_LEADS_OUT = "leads out of the folder"
_IS_SPECIAL = "is neither a file nor a folder"
_IS_LOCKED = "may not be read"
_CHECKS: dict[str, tuple[str, Verdict, str]] = {
    _LEADS_OUT: ("data.links", "note", "links lead out of the data folder and were not followed"),
    _IS_SPECIAL: ("data.specials", "note", "entries are neither files nor folders and were passed over"),
    _IS_LOCKED: ("data.locked", "warn", "folders may not be read and were passed over"),
}


@dataclass
class Walk:
    """Lists folders under ``root``, which is resolved; ``skipped`` gives the reason for what was not followed."""

    root: Path
    skipped: dict[Path, str] = field(default_factory=dict)

    def entries(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """Paths in a folder, by name, each with whether it is a folder; files are regular files.

        Raises:
            EnvironmentProblem: when the data folder itself may not be read.
        """
        try:
            with os.scandir(folder) as scan:
                found = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if folder.resolve() == self.root:
                message = f"Cannot read {folder}: {error.strerror}. Check its permissions."
                raise EnvironmentProblem(in_one_line(message)) from error
            self.skipped[folder] = _IS_LOCKED
            return
        for entry in found:
            path = Path(entry.path)
            if entry.is_symlink() and not _resolves_under(path, self.root):
                self.skipped[path] = _LEADS_OUT
            elif entry.is_dir():
                yield path, True
            elif entry.is_file():
                yield path, False
            else:
                self.skipped[path] = _IS_SPECIAL

    def describe_skipped(self) -> str:
        """Half a sentence that names the first thing that was not followed; empty when there was none."""
        for path, reason in self.skipped.items():
            return f" (not followed, because it {reason}: {path.name})"
        return ""

    def list_checks(self) -> tuple[Check, ...]:
        """What was not followed, counted, the first one named."""
        checks: list[Check] = []
        for reason, (code, verdict, words) in _CHECKS.items():
            if names := [path.name for path, found in self.skipped.items() if found == reason]:
                checks.append(Check(code=code, verdict=verdict, sentence=f"{len(names)} {words} (first: {names[0]})."))
        return tuple(checks)


def _resolves_under(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False
