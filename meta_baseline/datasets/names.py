"""What names of folders and files say: the problem or task, the split, the support size.

results_problem_7, results_problem_7_<stamp>, problem_07, svrt7         SVRT problem 7
results_irregular, irregular_support4_test.h5, irregular_test.npz       task irregular
test.h5, support4_test.h5, images.h5                                    what the folder's name says, or nothing
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta_baseline.errors import in_one_line

SPLIT_FOLDERS = ("train", "val", "test")
PREFERRED_SPLITS = ("test", "val", "all", "train")
"""Held-out images first; ``all`` is what is in no split."""

CONTAINER_SUFFIXES = frozenset({".h5", ".hdf5", ".npz", ".tfrecord", ".tfrecords"})

_PROBLEM = re.compile(r"(?:results_)?problem_(\d{1,4})((?:_[\w.:-]+)?)", re.ASCII)
_SVRT = re.compile(r"(?:results_)?svrt_?(\d{1,4})", re.ASCII)
_TASK = re.compile(r"results_(?!problem_)([a-zA-Z][\w-]*)", re.ASCII)
_SPLIT = re.compile(r"(?:(.*)[_-])?(train|val|test)")
_SUPPORT = re.compile(r"(?:(.*)_)?support(\d{1,4})", re.ASCII)
_UNTELLING = {"", "images", "data", "dataset", "stimuli", "episodes"}


@dataclass(frozen=True, kw_only=True)
class StimulusFile:
    """A file that holds many images; its split is ``all`` when its name does not say."""

    path: Path
    split: str
    support_size: int = 0


@dataclass(frozen=True, kw_only=True)
class FoundSet:
    """Stimuli of one problem or task: a folder of images, or ``files`` that hold many images each.

    ``problem_number`` and ``task`` are both None when no name says; with ``taken_as_asked`` they are what was asked
    for, because no name says. ``stamp`` is what follows the number in the folder's name; of several stamps the last
    one counts, none before any.
    """

    folder: Path
    problem_number: int | None = None
    task: str | None = None
    stamp: str = ""
    files: tuple[StimulusFile, ...] = ()
    taken_as_asked: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it is known which problem or task this is."""
        return self.problem_number is not None or self.task is not None

    def take_as(self, problem_number: int | None, task: str | None) -> FoundSet:
        """The set as what was asked for, where no name says what it is."""
        if self.is_named or (problem_number is None and task is None):
            return self
        return replace(self, problem_number=problem_number, task=task, taken_as_asked=True)

    @property
    def title(self) -> str:
        """What the set is, in words."""
        if self.problem_number is not None:
            return f"SVRT problem {self.problem_number}"
        if self.task:
            return f"task {self.task}"
        return self.files[0].path.name if len(self.files) == 1 else self.folder.resolve().name

    @property
    def place(self) -> str:
        """What to call the set beside others of the same problem."""
        return self.files[0].path.name if self.files else self.folder.name


def name_folder_set(folder: Path) -> FoundSet | None:
    """The set that a folder's name announces; None when it announces none."""
    if match := _PROBLEM.fullmatch(folder.name):
        return FoundSet(folder=folder, problem_number=int(match[1]), stamp=match[2])
    if match := _SVRT.fullmatch(folder.name):
        return FoundSet(folder=folder, problem_number=int(match[1]))
    if match := _TASK.fullmatch(folder.name):
        return FoundSet(folder=folder, task=match[1])
    return None


def name_file_sets(paths: Sequence[Path], folder: Path) -> list[FoundSet]:
    """The sets that files which hold many images belong to, by their names, or else by the folder's.

    One set per problem or task; its files differ in split and support size.
    """
    announced = name_folder_set(folder.resolve()) or FoundSet(folder=folder)
    grouped: dict[tuple[int | None, str | None], list[StimulusFile]] = {}
    for path in paths:
        rest = path.stem
        split = path.parent.name if path.parent != folder and path.parent.name in SPLIT_FOLDERS else "all"
        if match := _SPLIT.fullmatch(rest):
            rest, split = match[1] or "", match[2]
        support_size = 0
        if match := _SUPPORT.fullmatch(rest):
            rest, support_size = match[1] or "", int(match[2])
        named = name_folder_set(Path(rest)) or FoundSet(folder=folder, task=rest)
        if rest.lower() in _UNTELLING:
            named = announced
        file = StimulusFile(path=path, split=split, support_size=support_size)
        grouped.setdefault((named.problem_number, named.task), []).append(file)
    return [
        FoundSet(folder=folder, problem_number=number, task=task, files=tuple(files))
        for (number, task), files in grouped.items()
    ]


def describe_sets(sets: Sequence[FoundSet]) -> str:
    """The problems and tasks of sets, for messages."""
    numbers = sorted({one.problem_number for one in sets if one.problem_number is not None})
    tasks = sorted({one.task for one in sets if one.task is not None})
    parts = [f"problems: {', '.join(map(str, numbers))}"] if numbers else []
    return in_one_line("; ".join([*parts, f"tasks: {', '.join(tasks)}"] if tasks else parts))
