"""Folders of images, in every layout that laboratories have, found by name.

    results_problem_1/sample_1_0001.png                   the public SVRT generator
    results_problem_1/test/sample_1_0001.png              re-split, and ours
    results_problem_1/test/cat_1/sample_1_0001.png        re-split by class
    results_problem_1_<stamp>/test/sample_1_0001.png      the research code
    results_irregular/test/sample_1_0001.png              ours, for tasks without a number
    problem_01/class_1/img_0000001.png                    pySVRT
    objectsall_2/test/same/<any name>.png                 naturalistic sets, with different/ for class 0

The splits may be missing in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meta_baseline.datasets.names import PREFERRED_SPLITS, SPLIT_FOLDERS, FoundSet
from meta_baseline.datasets.sources import OpenedSet, PngFiles
from meta_baseline.datasets.walk import Walk
from meta_baseline.errors import StimulusError
from meta_baseline.results import Check

_CLASS_FOLDER = re.compile(r"(?:cat|class)_(\d{1,3})", re.ASCII)
_WORDS = {"same": 1, "different": 0}
_BY_FILE = "the names of files (sample_1_<index> is class 1)"
_BY_FOLDER = "the names of folders (class_1 is class 1)"
_BY_WORD = "the names of folders (same is class 1, different is class 0)"
_SAMPLE = re.compile(r"sample_(\d{1,3})_(\d{1,12})\.png", re.ASCII)
_NUMBERED = re.compile(r"img_(\d{1,12})\.png", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image: where it is, its class and what said so, and its number in the data set."""

    path: Path
    label: int
    said_by: str
    number: int


def open_folder(image_set: FoundSet, root: Path, split: str | None) -> OpenedSet:
    """The images of the split asked for, or of the best one there is: test, val, all, train.

    They stand in the order of their numbers, classes alternating where numbers repeat or interleave.

    Raises:
        StimulusError: when there is no image, or no such split.
    """
    walk = Walk(root.resolve())
    contradicting: dict[str, list[Path]] = {}
    files: dict[str, list[ImageFile]] = {}
    for name, folder in _list_split_folders(walk, image_set.folder):
        contradicting[name] = []
        files[name] = list(_list_split(walk, folder, contradicting[name]))
    splits = tuple(name for name in PREFERRED_SPLITS if files.get(name))
    if not splits:
        raise StimulusError(
            f"No images in {image_set.folder}{walk.describe_skipped()}. "
            "Expected sample_<class>_<index>.png, or class_<class>/img_<index>.png, or same/ and different/."
        )
    if split is not None and split not in splits:
        raise StimulusError(f"No {split} split in {image_set.folder}. Found: {', '.join(splits)}.")
    chosen = split or splits[0]
    listed = sorted(files[chosen], key=lambda file: (file.number, file.label, file.path))
    return OpenedSet(
        source=PngFiles(tuple(file.path for file in listed)),
        labels=np.array([file.label for file in listed], dtype=np.float64),
        place=image_set.folder,
        split=chosen,
        splits=splits,
        labels_from=" and ".join(sorted({file.said_by for file in listed})),
        checks=_list_checks(walk, contradicting[chosen], image_set.stamp),
    )


def holds_images(walk: Walk, folder: Path) -> bool:
    """True when the folder is a set of images itself, whatever it is called."""
    return any(any(_list_split(walk, split, [])) for _, split in _list_split_folders(walk, folder))


def _list_split_folders(walk: Walk, folder: Path) -> Iterator[tuple[str, Path]]:
    yield "all", folder
    for path, is_folder in walk.entries(folder):
        if is_folder and path.name in SPLIT_FOLDERS:
            yield path.name, path


def _list_split(walk: Walk, folder: Path, contradicting: list[Path]) -> Iterator[ImageFile]:
    for path, is_folder in walk.entries(folder):
        if not is_folder:
            yield from _read_name(path, None, contradicting)
        elif match := _CLASS_FOLDER.fullmatch(path.name):
            for inner, inner_is_folder in walk.entries(path):
                if not inner_is_folder:
                    yield from _read_name(inner, int(match[1]), contradicting)
        elif path.name.lower() in _WORDS:
            yield from _number_files(walk, path, _WORDS[path.name.lower()])


def _number_files(walk: Walk, folder: Path, label: int) -> Iterator[ImageFile]:
    """Every PNG of a folder, whatever it is called, numbered by its place; hidden files are none."""
    number = 0
    for path, is_folder in walk.entries(folder):
        if not is_folder and path.suffix.lower() == ".png" and not path.name.startswith("."):
            yield ImageFile(path=path, label=label, said_by=_BY_WORD, number=number)
            number += 1


def _read_name(path: Path, folder_label: int | None, contradicting: list[Path]) -> Iterator[ImageFile]:
    if match := _SAMPLE.fullmatch(path.name):
        label = int(match[1])
        if folder_label is not None and folder_label != label:
            contradicting.append(path)
        else:
            yield ImageFile(path=path, label=label, said_by=_BY_FILE, number=int(match[2]))
    elif folder_label is not None and (match := _NUMBERED.fullmatch(path.name)):
        yield ImageFile(path=path, label=folder_label, said_by=_BY_FOLDER, number=int(match[1]))


def _list_checks(walk: Walk, contradicting: Sequence[Path], stamp: str) -> tuple[Check, ...]:
    checks: list[Check] = []
    if contradicting:
        sentence = (
            f"{len(contradicting)} image files were left out, because their name says another class than "
            f"their folder (first: {contradicting[0].name})."
        )
        checks.append(Check(code="data.contradicting", verdict="warn", sentence=sentence))
    checks.extend(walk.list_checks())
    if stamp:
        sentence = (
            "The research code scales images of a folder with a time stamp to -1..1 (signed). The checkpoint decides; "
            "where it does not know, use --meta-input-scaling and --baseline-input-scaling."
        )
        checks.append(Check(code="data.scaling", verdict="note", sentence=sentence))
    return tuple(checks)
