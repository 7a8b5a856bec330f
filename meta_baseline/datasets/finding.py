"""Which sets of stimuli a data folder holds, in whatever format, and which of them is meant.

A set is found in the data folder itself, in a folder in it that is named after a problem or task, or, when there is
neither, in any folder in it. The data folder may also be a single file.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from meta_baseline.datasets.folders import holds_images, open_folder
from meta_baseline.datasets.hdf5 import open_hdf5
from meta_baseline.datasets.names import (
    CONTAINER_SUFFIXES,
    PREFERRED_SPLITS,
    SPLIT_FOLDERS,
    FoundSet,
    describe_sets,
    name_file_sets,
    name_folder_set,
)
from meta_baseline.datasets.npz import open_npz
from meta_baseline.datasets.sources import OpenedSet
from meta_baseline.datasets.tfrecords import open_tfrecords
from meta_baseline.datasets.walk import Walk
from meta_baseline.errors import StimulusError, UsageError

_EXPECTED = (
    "Expected results_problem_<N>/ or results_<task>/ with sample_<class>_<index>.png, folders same/ and different/, "
    "or files .h5, .npz, .tfrecords; see docs/formats.md."
)
MAX_FILE_BYTES = 256 * 2**30
_MOST_LEVELS_BELOW = 3
_MOST_FOLDERS_BELOW = 100
_OPENERS = {
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".npz": open_npz,
    ".tfrecord": open_tfrecords,
    ".tfrecords": open_tfrecords,
}


def find_set(data_dir: Path, problem_number: int | None, task: str | None) -> tuple[FoundSet, tuple[FoundSet, ...]]:
    """The set asked for, or the only one there is; and other sets of the same problem that were passed over.

    Raises:
        StimulusError: when the folder is missing or empty, or holds no such set; the message lists those it holds.
        UsageError: when nothing was asked for and there are several.
    """
    if not _exists(data_dir):
        raise StimulusError(f"No data folder {data_dir}. Check --data-dir.")
    if data_dir.is_file():
        return _name_file(data_dir, problem_number, task), ()
    if not data_dir.is_dir():
        raise StimulusError(f"{data_dir} is neither a folder nor a file. Check --data-dir.")
    walk = Walk(data_dir.resolve())
    sets = _list_sets(walk, data_dir)
    if not sets:
        if (below := _find_below(walk, data_dir)) is not None:
            raise StimulusError(f"No images directly in {data_dir}, but in {below}. Give that folder with --data-dir.")
        found = "holds no images in a layout that is known" if any(walk.entries(data_dir)) else "is empty"
        raise StimulusError(f"The data folder {data_dir} {found}{walk.describe_skipped()}. {_EXPECTED}")
    if problem_number is None and task is None:
        if len({(one.problem_number, one.task) for one in sets}) > 1:
            raise UsageError(
                f"{data_dir} holds several sets ({describe_sets(sets)}). Choose one with --problem-number or --task."
            )
        matching = sets
    else:
        unnamed = [one for one in sets if not one.is_named]
        matching = [one for one in sets if one.problem_number == problem_number and one.task == task] or unnamed
    if not matching:
        asked = f"problem {problem_number}" if problem_number is not None else f"task {task}"
        found = f"Found {describe_sets(sets)}"
        raise StimulusError(f"No images of {asked} in {data_dir}{walk.describe_skipped()}. {found}.")
    matching.sort(key=lambda one: one.stamp, reverse=True)
    matching.sort(key=lambda one: (one.stamp != "", bool(one.files)))
    return matching[0].take_as(problem_number, task), tuple(matching[1:])


def open_set(stimulus_set: FoundSet, root: Path, split: str | None) -> tuple[OpenedSet, tuple[str, ...]]:
    """The split asked for, or the best one there is: test, val, all, train; and the files passed over for it.

    Of several support sizes the smallest is taken.

    Raises:
        StimulusError: when there is no image, no such split, or the file cannot be used.
    """
    if not stimulus_set.files:
        return open_folder(stimulus_set, root, split), ()
    splits = tuple(name for name in PREFERRED_SPLITS if any(file.split == name for file in stimulus_set.files))
    if split is not None and split not in splits:
        raise StimulusError(f"No {split} split in {stimulus_set.folder}. Found: {', '.join(splits)}.")
    chosen = split or splits[0]
    files = sorted(
        (file for file in stimulus_set.files if file.split == chosen), key=lambda file: (file.support_size, file.path)
    )
    _check_size(files[0].path)
    opened = _OPENERS[files[0].path.suffix.lower()](files[0].path, split=chosen, splits=splits)
    return opened, tuple(file.path.name for file in files[1:])


def _check_size(path: Path) -> None:
    # A sparse file may claim any size; its hash would be computed for days.
    if path.stat().st_size > MAX_FILE_BYTES:
        raise StimulusError(f"{path} is larger than {MAX_FILE_BYTES // 2**30} GiB. Split it, or give a part of it.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        raise
    except OSError:  # a name that no file can have, e.g. because it is too long
        return False


def _list_sets(walk: Walk, data_dir: Path) -> list[FoundSet]:
    folders = [path for path, is_folder in walk.entries(data_dir) if is_folder]
    sets = name_file_sets(_list_containers(walk, data_dir), data_dir)
    for folder in folders:
        if (named := name_folder_set(folder)) is not None:
            sets.extend(_list_own_sets(walk, folder, named))
    itself = _name_itself(data_dir.resolve())
    if not sets and (itself or holds_images(walk, data_dir)):
        number, task = (itself.problem_number, itself.task) if itself else (None, None)
        return [FoundSet(folder=data_dir, problem_number=number, task=task, stamp=itself.stamp if itself else "")]
    if not sets:
        for folder in folders:
            unnamed = FoundSet(folder=folder, task=folder.name)
            sets.extend(_list_own_sets(walk, folder, unnamed) if _holds_stimuli(walk, folder) else [])
    return sets


def _name_itself(folder: Path) -> FoundSet | None:
    """What the data folder's own name says; that of a split says nothing, but that of the folder above may."""
    return name_folder_set(folder.parent if folder.name in SPLIT_FOLDERS else folder)


def _find_below(walk: Walk, data_dir: Path) -> Path | None:
    """The first folder further down that could be a data folder, to name it."""
    level = [data_dir]
    for _ in range(_MOST_LEVELS_BELOW):
        inner = (path for folder in level for path, is_folder in walk.entries(folder) if is_folder)
        level = list(islice(inner, _MOST_FOLDERS_BELOW))
        for folder in level:
            if _list_sets(walk, folder):
                return folder
    return None


def _list_own_sets(walk: Walk, folder: Path, named: FoundSet) -> list[FoundSet]:
    """A folder's sets: its images, and what its files hold."""
    in_files = name_file_sets(_list_containers(walk, folder), folder)
    if not in_files:
        return [named]
    given = [
        one
        if one.is_named
        else FoundSet(folder=folder, problem_number=named.problem_number, task=named.task, files=one.files)
        for one in in_files
    ]
    return [named, *given] if holds_images(walk, folder) else given


def _holds_stimuli(walk: Walk, folder: Path) -> bool:
    return bool(_list_containers(walk, folder)) or holds_images(walk, folder)


def _list_containers(walk: Walk, folder: Path) -> list[Path]:
    """Files that hold many images, in a folder and in its folders of splits."""
    found: list[Path] = []
    for path, is_folder in walk.entries(folder):
        if not is_folder and path.suffix.lower() in CONTAINER_SUFFIXES and not path.name.startswith("."):
            found.append(path)
        elif is_folder and path.name in SPLIT_FOLDERS:
            found.extend(
                inner
                for inner, inner_is_folder in walk.entries(path)
                if not inner_is_folder and inner.suffix.lower() in CONTAINER_SUFFIXES
            )
    return found


def _name_file(path: Path, problem_number: int | None, task: str | None) -> FoundSet:
    """The set that is a single file; names have to agree only where both give a number, or both a task."""
    if path.suffix.lower() not in CONTAINER_SUFFIXES:
        suffixes = ", ".join(sorted(CONTAINER_SUFFIXES))
        raise StimulusError(f"{path} is a file of no known kind ({suffixes}). Give the folder that holds the images.")
    (named,) = name_file_sets([path], path.parent)
    contradicts_number = None not in (problem_number, named.problem_number) and problem_number != named.problem_number
    contradicts_task = None not in (task, named.task) and task != named.task
    if contradicts_number or contradicts_task:
        asked = f"problem {problem_number}" if contradicts_number else f"task {task}"
        raise StimulusError(f"No images of {asked} in {path}. Found {describe_sets([named])}.")
    return named.take_as(problem_number, task)
