"""``meta-baseline train``: one network, conventionally or by meta-learning, from step 0 to the last checkpoint."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_baseline.commands.train_options import (
    ALGORITHMS,
    add_machine_options,
    add_recipe_options,
    move_aside,
    parse_recipe,
)
from meta_baseline.commits import locked, write_atomic
from meta_baseline.console import HelpFormatter, say, show_progress
from meta_baseline.errors import InputError, OutputFolderError, UsageError
from meta_baseline.study import check_output_dir, resolve_device

if TYPE_CHECKING:
    from meta_baseline.results import Check
    from meta_baseline.training.loop import TrainingStatus

_DESCRIPTION = """\
Train one network on same-different tasks: generates the images, then uses each of them once.

  meta-baseline train --algorithm baseline --seed 0 --output-dir runs/baseline
  meta-baseline train --algorithm fomaml   --seed 0 --output-dir runs/meta
      -> two networks that differ in the learning rule alone: the same initial weights (the same initial.safetensors),
         the same images, the same optimiser, the same number of images
  meta-baseline train --resume --output-dir runs/meta
      -> goes on from the last saved state; the result is that of a run without interruption, to the byte
  meta-baseline analyze --meta-model runs/meta/last.safetensors --baseline-model runs/baseline/last.safetensors ...

Writes into OUTPUT_DIR: initial.safetensors (step 0), images-<n>.safetensors on the way, best.safetensors (by accuracy
on fresh images of the trained tasks), last.safetensors, metrics.jsonl (the learning curve), outcome (what would make
its accuracy meaningless) and run.json (every setting). Expect accuracy to stay at chance for tens of thousands of
images before it rises. About three minutes on one core with the settings as they are, if the processor knows bf16.
"""

_RUN = "run.json"


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "train",
        help="a network, conventionally or by meta-learning",
        description=_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--algorithm", choices=ALGORITHMS, metavar="NAME",
                        help="baseline: batches of mixed tasks; matched: episodes without adaptation; maml, fomaml, "
                             "anil, reptile, protonet: episodes")  # fmt: skip
    parser.add_argument("--twin", choices=("maml", "fomaml", "anil", "reptile"), metavar="NAME",
                        help="what --algorithm matched is the control of (default: fomaml)")  # fmt: skip
    add_recipe_options(parser)
    output = parser.add_argument_group("where and with what")
    output.add_argument("--output-dir", type=Path, required=True, metavar="RUN", help="folder of this run")
    output.add_argument("--resume", action="store_true",
                        help="go on with the run in that folder, with the settings it was begun with")  # fmt: skip
    output.add_argument("--overwrite", action="store_true", help="move another run in that folder aside")
    output.add_argument("--pool-dir", type=Path, metavar="DIR",
                        help="keep the images there, and use them again if they fit")  # fmt: skip
    output.add_argument("--threads", type=int, metavar="N",
                        help="of the arithmetic; results depend on it in the last digits (default: 1)")  # fmt: skip
    add_machine_options(output)
    parser.set_defaults(run=run, device=None, device_explicit=False)


def run(options: argparse.Namespace) -> int:
    """Check everything, then train, or say that it has been done."""
    import torch

    from meta_baseline.training.loop import LAST, is_finished, train
    from meta_baseline.training.progress import TrainingBars

    folder: Path = options.output_dir
    check_output_dir(folder)
    begun = _read_run(folder) if options.resume else None
    if options.resume and begun is None:
        raise InputError(f"There is no run to resume in {folder}: it has no {_RUN}. Leave --resume out to begin one.")
    settings = _settle(options, begun)
    recipe, device, threads = settings["recipe"], settings["device"], settings["threads"]
    with locked(folder):
        _make_room(folder, settings, overwrite=options.overwrite)
        if is_finished(folder):
            say(f"Already there: {folder / LAST}")
            return 0
        write_atomic(folder / _RUN, _encode(settings) + "\n")
        say(
            f"Training {recipe.architecture} ({recipe.image_size} px, {recipe.norm} norm, {recipe.precision}) by "
            f"{recipe.algorithm} on {recipe.pool_size:,} images of {', '.join(recipe.tasks)}."
        )
        torch.set_num_threads(threads)
        with _images_folder(options) as images, TrainingBars((recipe.algorithm,), recipe.pool_size) as bars:
            from meta_baseline.training.pools import prepare_pool, prepare_validation

            pool = prepare_pool(recipe, images, workers=options.workers, progress=show_progress)
            validation = prepare_validation(recipe, images, workers=options.workers, progress=show_progress)
            teller = _Teller()

            def report(status: TrainingStatus) -> None:
                bars.show(recipe.algorithm, status)
                teller.tell(status)

            path = train(recipe, pool, folder, device=device, report=report, validation=validation)
    for line in _describe_checks(folder):
        say(line)
    say(f"{path}: accuracy {teller.last.accuracy:.1%} on the last thousand training images, each seen once.")
    return 0


class _Teller:
    """One line for every validation: loss, accuracy by task, images per second."""

    last: TrainingStatus

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None

    def tell(self, status: TrainingStatus) -> None:
        """Say how far the run is, where it was just measured."""
        self.last = status
        now = time.monotonic()
        since, self._since = self._since, self._since or (status.images, now)
        if status.validation is None or status.trained_accuracy is None:
            return
        speed = f", {(status.images - since[0]) / max(now - since[1], 1e-9):,.0f} images/s" if since else ""
        held_out = f", held out {status.held_out_accuracy:.1%}" if status.held_out_accuracy is not None else ""
        by_task = " ".join(f"{task} {accuracy:.0%}" for task, accuracy in status.validation.items())
        say(
            f"{status.images:>9,} images: loss {status.loss:.3f}, trained tasks {status.trained_accuracy:.1%}{held_out}"
            f"{speed} ({by_task})"
        )


def _describe_checks(folder: Path) -> Iterator[str]:
    """The guards that found something, a line each."""
    from meta_baseline.results import load_result
    from meta_baseline.training.loop import OUTCOME

    checks: tuple[Check, ...] = load_result(folder / OUTCOME).checks
    for check in checks:
        if check.verdict in ("warn", "fail"):
            yield f"{'WARNING' if check.verdict == 'warn' else 'FAILED'}: {check.sentence}"


def _settle(options: argparse.Namespace, begun: dict[str, Any] | None) -> dict[str, Any]:
    """Recipe, device and threads, from the options alone or from the run that goes on.

    Raises:
        OutputFolderError: an option differs from the run that goes on.
    """
    from meta_baseline.training.agreement import find_difference
    from meta_baseline.training.recipes import RECIPES, encode_recipe

    if begun is None:
        if options.algorithm is None and options.recipe is None:
            raise UsageError(f"No algorithm. Choose one with --algorithm: {', '.join(ALGORITHMS)}.")
        base = RECIPES[options.recipe or "demo"](options.seed or 0)
        if options.algorithm is not None:
            base = base.as_arm(options.algorithm, twin=options.twin)
        device = resolve_device(options.device or "cpu", explicit=options.device_explicit)
        threads = _check_threads(1 if options.threads is None else options.threads)
        return {"recipe": parse_recipe(options, base, device), "device": device, "threads": threads}
    if options.recipe is not None:
        raise UsageError("A run that goes on has its recipe. Leave --recipe out.")
    recorded = begun["recipe"]
    device = resolve_device(options.device or begun["device"], explicit=True)
    threads = _check_threads(begun["threads"] if options.threads is None else options.threads)
    recipe = parse_recipe(options, recorded, device, begun=True)
    difference = find_difference(encode_recipe(recorded), recipe)
    for name, there, here in (("device", begun["device"], device), ("threads", begun["threads"], threads)):
        difference = difference or (f"--{name} {there} there, {here} here" if there != here else None)
    if difference:
        raise OutputFolderError(
            f"{options.output_dir} was begun with another configuration ({difference}). "
            "Leave that option out to go on, or choose another folder with --output-dir."
        )
    return {"recipe": recipe, "device": device, "threads": threads}


def _check_threads(threads: int) -> int:
    if threads < 1:
        raise UsageError(f"Cannot work with {threads} threads. Use --workers and --threads of 1 or more.")
    return threads


@contextmanager
def _images_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Where the images go: ``--pool-dir``, or a folder that is gone afterwards."""
    import tempfile

    if options.pool_dir is not None:
        yield options.pool_dir
        return
    for left in options.output_dir.glob(".images.*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=options.output_dir, prefix=".images.") as folder:
        yield Path(folder)


def _read_run(folder: Path) -> dict[str, Any] | None:
    """Recipe, device and threads of the run in the folder; None when there is none.

    Raises:
        InputError: when they cannot be read.
    """
    from meta_baseline.training.recipes import decode_recipe

    path = folder / _RUN
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            "recipe": decode_recipe(record["recipe"]),
            "device": str(record["device"]),
            "threads": int(record["threads"]),
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(
            f"{path} is no record of a run that this version can read ({' '.join(str(error).split())[:80]}). "
            "Choose another folder with --output-dir."
        ) from error


def _encode(settings: dict[str, Any]) -> str:
    from meta_baseline.training.recipes import encode_recipe

    return json.dumps(settings | {"recipe": encode_recipe(settings["recipe"])}, indent=1)


def _make_room(folder: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Leave a folder that is free or holds an interrupted run of the same settings; move another run aside if told."""
    from meta_baseline.training.agreement import find_difference
    from meta_baseline.training.recipes import encode_recipe

    others = [path for path in sorted(folder.iterdir()) if path.name != ".lock"]
    try:
        begun = _read_run(folder)
    except InputError:
        begun = None
    if not others or begun == settings:
        return
    if overwrite:
        move_aside(folder)
        return
    what = f"other files ({others[0].name})"
    if begun is not None:
        difference = find_difference(encode_recipe(begun["recipe"]), settings["recipe"])
        what = f"a run with other settings ({difference or 'another device or number of threads'})"
    raise OutputFolderError(
        f"{folder} holds {what}. Choose another folder with --output-dir, or move that aside with --overwrite."
    )
