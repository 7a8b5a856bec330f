"""Listing folders without ever leaving the data folder: links that lead out of it are counted, not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meta_baseline.errors import EnvironmentProblem


@dataclass
class Walk:
    """Lists folders under ``root``, which is resolved."""

    root: Path
    skipped_links: dict[Path, None] = field(default_factory=dict)

    def entries(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """Paths in a folder, by name, each with whether it is a folder; files are regular files."""
        try:
            with os.scandir(folder) as scan:
                found = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            raise EnvironmentProblem(f"Cannot read {folder}: {error.strerror}. Check its permissions.") from error
        for entry in found:
            path = Path(entry.path)
            if entry.is_symlink() and not _resolves_under(path, self.root):
                self.skipped_links[path] = None
            elif entry.is_dir():
                yield path, True
            elif entry.is_file():
                yield path, False

    def describe_links(self) -> str:
        """Half a sentence that names the first link that was not followed; empty when there was none."""
        if not self.skipped_links:
            return ""
        return f" (not followed, because it leads out of the folder: {next(iter(self.skipped_links)).name})"


def _resolves_under(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False
