"""``meta-baseline generate``: stimuli in the folder layout that ``analyze`` reads, with their latents."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from meta_baseline.commits import committing, hash_values, is_committed, locked, record_path
from meta_baseline.console import HelpFormatter, say, show_progress
from meta_baseline.errors import EnvironmentProblem, OutputFolderError, UsageError

_DESCRIPTION = """\
Same-different stimuli as PNG files, with everything that is known about each image in latents.csv.

  meta-baseline generate --problem-number 1 --num-images 2000 --output-dir stimuli
      -> stimuli/results_problem_1/test/sample_<class>_<index>.png
  meta-baseline generate --task irregular filled --split train --identities 100
      -> stimuli/results_irregular/train/..., stimuli/results_filled/train/...

Half of the images are of class 1 (same), half of class 0. An image depends on the task, the seed, the split and its
index alone: the number of workers changes nothing, and splits share neither images nor shape identities.
"""


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "generate",
        help="same-different stimuli with everything that is known about them",
        description=_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--problem-number", type=int, metavar="N", help="problem of the SVRT, 1 to 23; so far: 1")
    what.add_argument("--task", nargs="+", metavar="TASK",
                      help="regular, irregular, open, wider_line, scrambled, random_color, filled, lines, arrows, "
                           "original (= SVRT problem 1)")  # fmt: skip
    parser.add_argument("--num-images", type=int, default=2000, metavar="N", help="of each task (default: 2000)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test",
                        help="train, val or test (default: test)", metavar="SPLIT")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the images (default: 0)")
    parser.add_argument("--image-size", type=int, default=128, metavar="PX",
                        help="side in px; under 128 by area averaging (default: 128)")  # fmt: skip
    parser.add_argument("--identities", type=int, metavar="K",
                        help="let K shape identities repeat at many places (default: one per image)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw (default: 1)")
    parser.add_argument("--output-dir", type=Path, default=Path("stimuli"), metavar="OUT",
                        help="output folder (default: stimuli)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="move other stimuli in the way aside")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check everything, then write each task's folder whole or not at all."""
    from meta_baseline.stimuli import check_options, get_problem, get_task, name_folder

    if options.problem_number is not None:
        tasks = (get_problem(options.problem_number),)
    else:
        tasks = tuple(get_task(name) for name in options.task)
    if len({task.name for task in tasks}) < len(tasks):
        raise UsageError(f"A task is named twice in --task {' '.join(options.task)}. Name each once.")
    settings = {name: getattr(options, name) for name in ("num_images", "seed", "image_size", "identities")}
    check_options(**settings, workers=options.workers)
    _check_writable(options.output_dir)
    targets = [(task, options.output_dir / name_folder(task) / options.split) for task in tasks]
    keys = [hash_values("stimuli", task.name, task.code, options.split, settings) for task in tasks]
    with locked(options.output_dir):
        done = [is_committed(folder, key) for (_, folder), key in zip(targets, keys)]
        for (_, folder), finished in zip(targets, done):
            if not finished:
                _check_free(folder, overwrite=options.overwrite)
        for (task, folder), key, finished in zip(targets, keys, done):
            if finished:
                say(f"Already there: {options.num_images} images of {task.name} in {folder}")
            else:
                _write_task(task, folder, key, options, settings)
    return 0


def _write_task(task: Any, folder: Path, key: str, options: argparse.Namespace, settings: dict[str, Any]) -> None:
    from meta_baseline.stimuli import prepare_tasks, write_svrt_folder

    if task.needs_compilation:
        say("Preparing the contour generator (compiles for about ten seconds the first time on a machine).")
        prepare_tasks((task,))
    with committing(folder, key) as temporary:
        write_svrt_folder(
            temporary, task, **settings, split=options.split, workers=options.workers, progress=show_progress
        )
        if folder.exists() and any(folder.iterdir()):
            _move_aside(folder)
    say(f"{options.num_images} images of {task.name}, half of each class, with latents.csv: {folder}")


def _check_free(folder: Path, *, overwrite: bool) -> None:
    if overwrite or not folder.exists():
        return
    if not folder.is_dir():
        raise OutputFolderError(f"{folder} is a file. Choose another folder with --output-dir.")
    if any(folder.iterdir()):
        raise OutputFolderError(
            f"{folder} holds other files. Choose another folder with --output-dir, or move them aside with --overwrite."
        )


def _check_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise EnvironmentProblem(f"{existing} is a file, not a folder. Choose another folder with --output-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"Cannot write to {existing}. Choose another folder with --output-dir.")


def _move_aside(folder: Path) -> None:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    record = record_path(folder)
    if record.exists():
        record.replace(record_path(aside))
    folder.replace(aside)
