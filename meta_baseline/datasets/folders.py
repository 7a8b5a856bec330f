"""Where the images of a problem lie: every folder layout that laboratories have, found by name, never followed out.

    results_problem_1/sample_1_0001.png                   the public SVRT generator
    results_problem_1/test/sample_1_0001.png              re-split, and ours
    results_problem_1/test/cat_1/sample_1_0001.png        re-split by class
    results_problem_1_<stamp>/test/sample_1_0001.png      the research code
    results_irregular/test/sample_1_0001.png              ours, for tasks without a number
    problem_01/class_1/img_0000001.png                    pySVRT

The data folder may hold several of these, or be one of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meta_baseline.errors import EnvironmentProblem, StimulusError, UsageError

PREFERRED_SPLITS = ("test", "val", "all", "train")
"""Held-out images first; ``all`` is a folder without splits."""

_SPLIT_FOLDERS = {"train", "val", "test"}
_PROBLEM = re.compile(r"(?:results_)?problem_(\d{1,4})((?:_[\w.:-]+)?)", re.ASCII)
_TASK = re.compile(r"results_(?!problem_)([a-zA-Z][\w-]*)", re.ASCII)
_CLASS_FOLDER = re.compile(r"(?:cat|class)_(\d{1,3})", re.ASCII)
_SAMPLE = re.compile(r"sample_(\d{1,3})_(\d{1,12})\.png", re.ASCII)
_NUMBERED = re.compile(r"img_(\d{1,12})\.png", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A folder of images of one problem or task; both are None when its name does not say.

    ``stamp`` is what follows the number in the folder's name; of several stamps the last one counts, none before any.
    """

    folder: Path
    problem_number: int | None = None
    task: str | None = None
    stamp: str = ""

    @property
    def title(self) -> str:
        """What the set is, in words."""
        if self.problem_number is not None:
            return f"SVRT problem {self.problem_number}"
        return f"task {self.task}" if self.task else self.folder.resolve().name


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image: where it is, its class, and its number in the data set."""

    path: Path
    label: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files of one split, and what was passed over on the way.

    Attributes:
        files: in the order of their numbers, classes alternating where numbers repeat or interleave.
        split: train, val, test, or all.
        splits: every split that the set has.
        skipped_links: links that lead out of the data folder.
        contradicting: files whose name says another class than their folder.
    """

    files: tuple[ImageFile, ...]
    split: str
    splits: tuple[str, ...]
    skipped_links: tuple[Path, ...] = ()
    contradicting: tuple[Path, ...] = ()


@dataclass
class _Walk:
    """Lists folders without ever leaving ``root``."""

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
            if entry.is_symlink() and not path.resolve().is_relative_to(self.root):
                self.skipped_links[path] = None
            elif entry.is_dir():
                yield path, True
            elif entry.is_file():
                yield path, False


def find_image_set(
    data_dir: Path, problem_number: int | None, task: str | None
) -> tuple[ImageSet, tuple[ImageSet, ...]]:
    """The set asked for, or the only one there is; and other sets of the same problem that were passed over.

    Raises:
        StimulusError: when the folder is missing or empty, or holds no such set; the message lists those it holds.
        UsageError: when nothing was asked for and there are several.
    """
    if not data_dir.exists():
        raise StimulusError(f"No data folder {data_dir}. Check --data-dir.")
    if not data_dir.is_dir():
        raise StimulusError(f"{data_dir} is a file. Give the folder that holds the images.")
    walk = _Walk(data_dir.resolve())
    entries = list(walk.entries(data_dir))
    sets = [named for path, is_folder in entries if is_folder and (named := _name_set(path))]
    itself = _name_set(data_dir.resolve())
    if not sets and (itself or _looks_like_a_set(walk, entries)):
        sets = [ImageSet(folder=data_dir, problem_number=itself and itself.problem_number, task=itself and itself.task)]
    if not sets:
        found = "is empty" if not entries else "holds no images in a layout that is known"
        raise StimulusError(
            f"The data folder {data_dir} {found}{_mention_links(walk)}. "
            "Expected results_problem_<N>/, results_<task>/ or problem_<NN>/ with sample_<class>_<index>.png."
        )
    if problem_number is None and task is None:
        if len({(one.problem_number, one.task) for one in sets}) > 1:
            raise UsageError(f"{data_dir} holds several sets ({_describe(sets)}). Choose one with --problem-number.")
        matching = sets
    else:
        unnamed = [one for one in sets if one.problem_number is None and one.task is None]
        matching = [one for one in sets if one.problem_number == problem_number and one.task == task] or unnamed
    if not matching:
        asked = f"problem {problem_number}" if problem_number is not None else f"task {task}"
        raise StimulusError(f"No images of {asked} in {data_dir}{_mention_links(walk)}. Found {_describe(sets)}.")
    matching.sort(key=lambda one: one.stamp, reverse=True)
    matching.sort(key=lambda one: one.stamp != "")
    return matching[0], tuple(matching[1:])


def list_images(image_set: ImageSet, root: Path, split: str | None) -> Listing:
    """The image files of the split asked for, or of the best one there is: test, val, all, train.

    Raises:
        StimulusError: when there is no image, or no such split.
    """
    walk = _Walk(root.resolve())
    folders = {"all": image_set.folder}
    for path, is_folder in walk.entries(image_set.folder):
        if is_folder and path.name in _SPLIT_FOLDERS:
            folders[path.name] = path
    contradicting: dict[str, list[Path]] = {name: [] for name in folders}
    files = {name: list(_list_split(walk, folder, contradicting[name])) for name, folder in folders.items()}
    splits = tuple(name for name in PREFERRED_SPLITS if files.get(name))
    if not splits:
        raise StimulusError(
            f"No images in {image_set.folder}{_mention_links(walk)}. "
            "Expected sample_<class>_<index>.png, or class_<class>/img_<index>.png."
        )
    if split is not None and split not in splits:
        raise StimulusError(f"No {split} split in {image_set.folder}. Found: {', '.join(splits)}.")
    chosen = split or splits[0]
    return Listing(
        files=tuple(sorted(files[chosen], key=lambda file: (file.number, file.label, file.path))),
        split=chosen,
        splits=splits,
        skipped_links=tuple(walk.skipped_links),
        contradicting=tuple(contradicting[chosen]),
    )


def _list_split(walk: _Walk, folder: Path, contradicting: list[Path]) -> Iterator[ImageFile]:
    for path, is_folder in walk.entries(folder):
        if not is_folder:
            yield from _read_name(path, None, contradicting)
        elif match := _CLASS_FOLDER.fullmatch(path.name):
            for inner, inner_is_folder in walk.entries(path):
                if not inner_is_folder:
                    yield from _read_name(inner, int(match[1]), contradicting)


def _read_name(path: Path, folder_label: int | None, contradicting: list[Path]) -> Iterator[ImageFile]:
    if match := _SAMPLE.fullmatch(path.name):
        label = int(match[1])
        if folder_label is not None and folder_label != label:
            contradicting.append(path)
        else:
            yield ImageFile(path=path, label=label, number=int(match[2]))
    elif folder_label is not None and (match := _NUMBERED.fullmatch(path.name)):
        yield ImageFile(path=path, label=folder_label, number=int(match[1]))


def _name_set(folder: Path) -> ImageSet | None:
    if match := _PROBLEM.fullmatch(folder.name):
        return ImageSet(folder=folder, problem_number=int(match[1]), stamp=match[2])
    if match := _TASK.fullmatch(folder.name):
        return ImageSet(folder=folder, task=match[1])
    return None


def _looks_like_a_set(walk: _Walk, entries: list[tuple[Path, bool]]) -> bool:
    for path, is_folder in entries:
        if _SAMPLE.fullmatch(path.name) or (is_folder and _CLASS_FOLDER.fullmatch(path.name)):
            return True
        if is_folder and path.name in _SPLIT_FOLDERS and any(_list_split(walk, path, [])):
            return True
    return False


def _describe(sets: list[ImageSet]) -> str:
    numbers = sorted({one.problem_number for one in sets if one.problem_number is not None})
    tasks = sorted({one.task for one in sets if one.task is not None})
    parts = [f"problems: {', '.join(map(str, numbers))}"] if numbers else []
    return "; ".join([*parts, f"tasks: {', '.join(tasks)}"] if tasks else parts)


def _mention_links(walk: _Walk) -> str:
    if not walk.skipped_links:
        return ""
    return f" (not followed, because it leads out of the folder: {next(iter(walk.skipped_links)).name})"
