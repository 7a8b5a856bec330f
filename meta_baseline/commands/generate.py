"""``meta-baseline generate``: stimuli in the layouts that ``analyze`` and other people's code read, with latents."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from meta_baseline.console import HelpFormatter, say
from meta_baseline.errors import UsageError

_DESCRIPTION = """\
Same-different stimuli, with everything that is known about each image.

  meta-baseline generate --list
      -> every task: its rule, what class 1 means, known shortcuts
  meta-baseline generate --problem-number 1 --num-images 2000 --preview
      -> stimuli/results_problem_1/test/sample_<class>_<index>.png, latents.csv beside them,
         and one sheet to look at, stimuli/svrt1_test_preview.png
  meta-baseline generate --task irregular filled --split train --identities 100 --audit
      -> two tasks; and how far one gets in each without comparing any two shapes
  meta-baseline generate --task regular --format h5-episodes --support-size 4,10 --num-episodes 200
      -> stimuli/regular_support4_test.h5, stimuli/regular_support10_test.h5
  meta-baseline generate --objects my_objects --rotation each --scale same --split train
      -> stimuli/results_objects/train/, and stimuli/objects.csv: which object has which number and split
  meta-baseline generate --all --num-images 5600 --workers 8 --format npz --output-dir stimuli

Half of the images are of class 1, half of class 0. An image depends on the task, the seed, the split and its index
alone: the number of workers changes nothing, and splits share neither images nor shape identities. Interrupt it as
you like: the same command continues where it stopped, and the files are the same to the byte.
"""

_FORMATS = """\
formats:
  png          results_problem_<N>/<split>/ or results_<task>/<split>/ with sample_<class>_<index>.png, 8-bit RGB, and
               latents.csv: one row per image, with what makes the image again (the layout of the SVRT generator)
  h5-episodes  <task>_support<k>_<split>.h5, the layout of the published meta-learning code: support_images and
               query_images uint8 [E, k, 128, 128, 3], support_labels and query_labels float32 [E, k]; and *_latents,
               *_index, which it has not
  npz          <task>_<split>.npz: images uint8 [N, H, W] (colour: [N, H, W, 3]), labels, identity, index, latent_<name>

Read them with meta_baseline.datasets, or with Pillow, h5py, numpy. White is 255. Positions in px of the 128 px canvas.
"""


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "generate",
        help="same-different stimuli with everything that is known about them",
        description=_DESCRIPTION,
        epilog=_FORMATS,
        formatter_class=HelpFormatter,
    )
    group = parser.add_argument_group("what (one of these)")
    what = group.add_mutually_exclusive_group(required=True)
    what.add_argument("--problem-number", type=int, nargs="+", metavar="N", help="problems of the SVRT, 1 to 23")
    what.add_argument("--task", nargs="+", metavar="TASK", help="tasks by name; --list has the names")
    what.add_argument("--all", action="store_true", help="every task")
    what.add_argument("--objects", type=Path, metavar="FOLDER",
                      help="scenes of your own objects: a folder of PNG files, one object on white each")  # fmt: skip
    what.add_argument("--list", action="store_true", help="generate nothing; say what can be generated")
    images = parser.add_argument_group("which images")
    images.add_argument("--num-images", type=int, metavar="N", help="of each task, half of each class (default: 2000)")
    images.add_argument("--split", choices=("train", "val", "test"), default="test",
                        help="train, val or test (default: test)", metavar="SPLIT")  # fmt: skip
    images.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the images (default: 0)")
    images.add_argument("--image-size", type=int, default=128, metavar="PX",
                        help="side in px; under 128 by area averaging (default: 128)")  # fmt: skip
    images.add_argument("--identities", type=int, metavar="K",
                        help="let K shape identities repeat at many places, each equally often in both classes "
                             "(default: one per image)")  # fmt: skip
    images.add_argument("--minimal-pairs", metavar="LATENT",
                        help="let images 2p and 2p+1 differ in one latent alone, e.g. same (--list says in which); "
                             "column pair")  # fmt: skip
    objects = parser.add_argument_group("scenes of your own objects")
    objects.add_argument("--object-size", type=int, metavar="PX",
                         help="longer side of an object on the 128 px canvas (default: 40)")  # fmt: skip
    for name, words in (("rotation", "angle, 0 to 360 degrees"), ("scale", "factor of the size, 0.45 to 0.9")):
        objects.add_argument(f"--{name}", choices=("none", "same", "each"), metavar="WHICH",
                             help=f"none, same or each: no {name}, one random {words}, for both objects of an "
                                  "image, or one for each (default: none)")  # fmt: skip
    output = parser.add_argument_group("as what, and where")
    output.add_argument("--format", choices=("png", "h5-episodes", "npz"), default="png", metavar="FORMAT",
                        help="png, h5-episodes or npz, see below (default: png)")  # fmt: skip
    output.add_argument("--support-size", type=_sizes, metavar="K,K,...",
                        help="episodes: support images, one file for each number (default: 4,6,8,10)")  # fmt: skip
    output.add_argument("--query-size", type=int, metavar="Q", help="episodes: query images (default: 4)")
    output.add_argument("--num-episodes", type=int, metavar="E",
                        help="episodes in each file (default: 1000 for train, 200 for val and test)")  # fmt: skip
    output.add_argument("--output-dir", type=Path, default=Path("stimuli"), metavar="OUT",
                        help="output folder (default: stimuli)")  # fmt: skip
    output.add_argument("--overwrite", action="store_true", help="move other stimuli in the way aside")
    besides = parser.add_argument_group("besides")
    besides.add_argument("--preview", action="store_true",
                         help="also a contact sheet of each task, <task>_<split>_preview.png")  # fmt: skip
    besides.add_argument("--audit", action="store_true",
                         help="also a table of what single features, such as the amount of ink or the number of "
                              "components, give away about the class")  # fmt: skip
    besides.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw (default: 1)")
    besides.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the tasks, or check everything and write each export whole or not at all."""
    from meta_baseline.commands.generate_exports import plan_exports, write_exports
    from meta_baseline.stimuli import TASKS, get_problem, get_task

    if options.list:
        _list_tasks()
        return 0
    if options.objects is not None:
        tasks = ()
    elif options.problem_number is not None:
        tasks = tuple(get_problem(number) for number in options.problem_number)
    else:
        tasks = tuple(TASKS.values()) if options.all else tuple(get_task(name) for name in options.task)
    if len({task.name for task in tasks}) < len(tasks):
        raise UsageError(f"A task is named twice in {' '.join(task.name for task in tasks)}. Name each once.")
    exports = plan_exports(tasks, options)
    write_exports(exports, options)
    return 0


def _list_tasks() -> None:
    from meta_baseline.stimuli import TASKS

    for task in TASKS.values():
        say(f"{task.name:<18} {task.rule}")
        say(f"{'':<18}   class 1: {task.class_1_means}")
        for shortcut in task.shortcuts:
            say(f"{'':<18}   shortcut: {shortcut}")
        if task.vary:
            say(f"{'':<18}   minimal pairs: {', '.join(task.vary)}")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 4,6,8,10") from None
