"""``--audit``: what single features of the written images give away about their class, as a plain table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from meta_baseline.console import say, show_progress
from meta_baseline.stimuli.arrays_file import ArraysFile
from meta_baseline.stimuli.episodes_file import EpisodesFile
from meta_baseline.stimuli.folder import name_image
from meta_baseline.stimuli.production import Export

if TYPE_CHECKING:
    from meta_baseline.datasets.shortcuts import ShortcutAudit

_MOST_IMAGES = 4000

_Numbered = tuple[NDArray[np.uint8], int]


def print_audits(exports: Sequence[Export], folder: Path) -> None:
    """One table for each file or folder, made from at most its first 4000 images."""
    # With the readers comes torch, which generating alone does not wait for.
    from meta_baseline.datasets.shortcuts import FEWEST_PER_CLASS, audit_shortcuts, measure_shortcuts

    for export in exports:
        images = show_progress(_read_images(export, folder / export.target), desc=f"audit of {export.stimuli.task}")
        rows, indices = zip(*((measure_shortcuts(image), index) for image, index in images))
        labels = np.array([export.stimuli.label(index) for index in indices])
        groups = np.array([export.stimuli.identity(index) for index in indices])
        audit = audit_shortcuts(rows, labels, groups)
        say(f"\nWhat {len(rows)} images of {export.target} give away without any two shapes being compared:")
        if audit is None:
            say(f"  Too few to say: {FEWEST_PER_CLASS} images of each class are needed.")
        else:
            _print_audit(audit)


def _print_audit(audit: ShortcutAudit) -> None:
    from meta_baseline.datasets.shortcuts import describe_audit

    say(f"  {'feature':<26} {'AUC':>5}   95 % interval   Holm p")
    for one in (*audit.single, audit.together, audit.with_sizes):
        mark = "  leaky" if one.is_leaky else ""
        interval = f"{one.auc.low:.3f} to {one.auc.high:.3f}"
        say(f"  {one.feature:<26} {one.auc.auc:>5.3f}  {interval}  {one.adjusted_p_value:>7.2g}{mark}")
    for check in describe_audit(audit):
        say(f"  {check.verdict}: {check.sentence}")


def _read_images(export: Export, path: Path) -> Iterator[_Numbered]:
    """Images with their numbers."""
    if isinstance(export, EpisodesFile):
        yield from _read_episodes(path, export.images_per_item)
    elif isinstance(export, ArraysFile):
        with np.load(path, allow_pickle=False) as archive:
            images, indices = archive["images"][:_MOST_IMAGES], archive["index"].tolist()
        yield from zip(images, indices)
    else:
        from meta_baseline.datasets.images import read_image

        for index in range(min(sum(map(len, export.list_chunks())), _MOST_IMAGES)):
            yield read_image(path / name_image(export.stimuli.label(index), index)), index


def _read_episodes(path: Path, images_per_episode: int) -> Iterator[_Numbered]:
    with h5py.File(path) as file:
        for part in ("support", "query"):
            stored: Any = file[f"{part}_images"]
            indices: Any = file[f"{part}_index"]
            for episode in range(min(len(stored), _MOST_IMAGES // images_per_episode)):
                yield from zip(stored[episode], indices[episode].tolist())
