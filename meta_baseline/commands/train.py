"""``meta-baseline train``: one network, conventionally or by meta-learning, from step 0 to the last checkpoint."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_baseline.commits import locked, write_atomic
from meta_baseline.console import HelpFormatter, say, show_progress
from meta_baseline.errors import OutputFolderError, UsageError
from meta_baseline.study import check_output_dir, resolve_device

if TYPE_CHECKING:
    from meta_baseline.stimuli import TrainingPool
    from meta_baseline.training.recipes import Recipe

_DESCRIPTION = """\
Train one network on same-different tasks: generates the images, then uses each of them once.

  meta-baseline train --algorithm baseline --seed 0 --output-dir runs/baseline
  meta-baseline train --algorithm fomaml   --seed 0 --output-dir runs/meta
      -> two networks that differ in the learning rule alone: the same initial weights (the same initial.safetensors),
         the same images, the same optimiser, the same number of images
  meta-baseline analyze --meta-model runs/meta/last.safetensors --baseline-model runs/baseline/last.safetensors ...

Writes into OUTPUT_DIR: initial.safetensors (step 0), images-<n>.safetensors on the way, last.safetensors, metrics.jsonl
(the learning curve) and run.json (every setting). Expect accuracy to stay at chance for tens of thousands of images
before it rises. About three minutes on one core with the settings as they are, if the processor knows bf16.
"""

ALGORITHMS = ("baseline", "matched", "maml", "fomaml", "anil", "reptile", "protonet")
_ARCHITECTURES = ("conv2", "conv4", "conv6", "stack4", "stack5")
_RUN = "run.json"


class _ExplicitDevice(argparse.Action):
    """Remembers that the device was asked for by name: then it has to be there."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.device, namespace.device_explicit = values, True


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "train",
        help="a network, conventionally or by meta-learning",
        description=_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    what = parser.add_argument_group("what is trained")
    what.add_argument("--algorithm", required=True, choices=ALGORITHMS,
                      help="baseline: batches of mixed tasks; fomaml: first-order MAML on episodes")  # fmt: skip
    what.add_argument("--arch", choices=_ARCHITECTURES, default="stack5",
                      help="conv2, conv4, conv6, stack4 or stack5 (default: stack5)", metavar="ARCH")  # fmt: skip
    what.add_argument("--head", choices=("meta", "baseline"), default="meta",
                      help="with LayerNorm (meta) or without; not the algorithm (default: meta)")  # fmt: skip
    what.add_argument("--image-size", type=int, metavar="PX",
                      help="side of the input (default: 64 for stack5, 32 for stack4, 128 for conv)")  # fmt: skip
    what.add_argument("--dropout", type=float, metavar="P", help="after fully connected layers (default: 0)")
    data = parser.add_argument_group("on what")
    data.add_argument("--tasks", type=_names, metavar="A,B,...", help="trained on (default: the demo's eight)")
    data.add_argument("--held-out", type=_names, metavar="A,B,...",
                      help="never trained on; noted in the checkpoint (default: filled,arrows)")  # fmt: skip
    data.add_argument("--num-images", type=int, metavar="N", help="budget, each used once (default: the demo's)")
    data.add_argument("--seed", type=int, default=0, metavar="N",
                      help="of weights, images, order and augmentation (default: 0)")  # fmt: skip
    data.add_argument("--pool-dir", type=Path, metavar="DIR",
                      help="keep the images there, and use them again if they fit (default: thrown away)")  # fmt: skip
    how = parser.add_argument_group("how")
    how.add_argument("--optimiser", choices=("muon", "adamw"),
                     help="muon: orthogonalised steps in hidden weights, AdamW elsewhere (default: muon)")  # fmt: skip
    how.add_argument("--learning-rate", type=float, metavar="X", help="of AdamW, at its highest (default: 0.003)")
    how.add_argument("--batch-size", type=int, metavar="N", help="images per step of the baseline (default: 32)")
    how.add_argument("--meta-batch", "--tasks-per-step", dest="tasks_per_step", type=int, metavar="N",
                     help="episodes per meta-step (default: 4)")  # fmt: skip
    how.add_argument("--support-sizes", "--support", dest="support_sizes", type=_counts, metavar="N,N,...",
                     help="images to adapt to, per episode; episodes take turns (default: 8)")  # fmt: skip
    how.add_argument("--query-size", "--query", dest="query_size", type=int, metavar="N",
                     help="images to be judged on, per episode (default: 8)")  # fmt: skip
    how.add_argument("--inner-steps", type=int, metavar="N", help="gradient steps on the support (default: 1)")
    how.add_argument("--inner-lr", type=float, metavar="X",
                     help="of the inner steps; 0 is the matched control: episodes, but no adaptation "
                          "(default: 0.05)")  # fmt: skip
    output = parser.add_argument_group("where and with what")
    output.add_argument("--output-dir", type=Path, required=True, metavar="RUN", help="folder of this run")
    output.add_argument("--overwrite", action="store_true", help="move another run in that folder aside")
    output.add_argument("--device", default="cpu", action=_ExplicitDevice, help="cpu or cuda (default: cpu)")
    output.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto",
                        help="of forward passes (default: bf16 where the processor knows it)")  # fmt: skip
    output.add_argument("--threads", type=int, default=1, metavar="N",
                        help="of the arithmetic; results depend on it in the last digits (default: 1)")  # fmt: skip
    output.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw images (default: 1)")
    output.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, device_explicit=False)


def run(options: argparse.Namespace) -> int:
    """Check everything, then train, or say that it has been done."""
    import torch

    from meta_baseline.training.loop import LAST, TrainingStatus, train
    from meta_baseline.training.progress import TrainingBars
    from meta_baseline.training.recipes import encode_recipe

    device = resolve_device(options.device, explicit=options.device_explicit)
    if options.workers < 1 or options.threads < 1:
        raise UsageError("Cannot work with less than one process or thread. Use --workers and --threads of 1 or more.")
    recipe = _parse_recipe(options, device)
    folder: Path = options.output_dir
    check_output_dir(folder)
    settings = json.dumps({"recipe": encode_recipe(recipe), "device": device, "threads": options.threads}, indent=1)
    with locked(folder):
        if _holds(folder, settings) and (folder / LAST).exists():
            say(f"Already there: {folder / LAST}")
            return 0
        _make_room(folder, settings, overwrite=options.overwrite)
        write_atomic(folder / _RUN, settings + "\n")
        say(
            f"Training {recipe.architecture} ({recipe.image_size} px, {recipe.precision}) by {recipe.algorithm} on "
            f"{recipe.pool_size:,} images of {', '.join(recipe.tasks)}."
        )
        last_status: list[TrainingStatus] = []
        torch.set_num_threads(options.threads)
        with _pool(recipe, options) as pool, TrainingBars((recipe.algorithm,), recipe.pool_size) as bars:

            def report(status: TrainingStatus) -> None:
                last_status[:] = [status]
                bars.show(recipe.algorithm, status)

            path = train(recipe, pool, folder, device=device, report=report)
    say(f"{path}: accuracy {last_status[0].accuracy:.1%} on the last thousand training images, each seen once.")
    return 0


def _parse_recipe(options: argparse.Namespace, device: str) -> Recipe:
    """The demo's recipe with what the options change."""
    from dataclasses import replace

    from meta_baseline.models import architecture_of
    from meta_baseline.stimuli import check_options, get_task
    from meta_baseline.training.precision import resolve_precision
    from meta_baseline.training.recipes import demo

    recipe = demo(options.seed)
    episodes = _given(options, tasks_per_step="tasks_per_step", support_sizes="support_sizes", query_size="query_size")
    inner_loop = _given(options, inner_steps="num_steps", inner_lr="learning_rate")
    changes = _given(
        options,
        tasks="tasks",
        held_out="held_out",
        num_images="num_images",
        dropout="dropout",
        optimiser="optimiser",
        learning_rate="learning_rate",
        batch_size="batch_size",
    )
    if options.tasks and options.held_out is None:
        changes["held_out"] = tuple(task for task in recipe.held_out if task not in options.tasks)
    recipe = replace(
        recipe,
        algorithm=options.algorithm,
        architecture=options.arch,
        head=options.head,
        image_size=options.image_size or architecture_of(options.arch).image_size,
        precision=resolve_precision(options.precision, device),
        episodes=replace(recipe.episodes, **episodes),
        inner_loop=replace(recipe.inner_loop, **inner_loop),
        **changes,
    )
    for task in (*recipe.tasks, *recipe.held_out):
        get_task(task)
    check_options(
        num_images=recipe.pool_size, image_size=recipe.image_size, seed=recipe.seed, identities=None, workers=1
    )
    recipe.build_architecture()
    return recipe


def _given(options: argparse.Namespace, **fields: str) -> dict[str, Any]:
    """The fields whose option was given, by field name."""
    values = {field: getattr(options, option) for option, field in fields.items()}
    return {field: value for field, value in values.items() if value is not None}


@contextmanager
def _pool(recipe: Recipe, options: argparse.Namespace) -> Iterator[TrainingPool]:
    """The images of the recipe: those in ``--pool-dir`` if they fit, else new ones, thrown away unless kept there."""
    import tempfile

    from meta_baseline.stimuli import generate_pool, open_pool

    wanted = {
        "tasks": list(recipe.tasks),
        "num_images": recipe.pool_size,
        "image_size": recipe.image_size,
        "seed": recipe.seed,
        "split": "train",
    }
    kept: Path | None = options.pool_dir
    if kept is not None and _holds_pool(kept, wanted):
        yield open_pool(kept)
        return
    with tempfile.TemporaryDirectory(dir=options.output_dir, prefix=".images.") as folder:
        yield generate_pool(
            recipe.tasks,
            recipe.pool_size,
            recipe.image_size,
            recipe.seed,
            kept or folder,
            options.workers,
            show_progress,
        )


def _holds_pool(folder: Path, wanted: dict[str, Any]) -> bool:
    try:
        record = json.loads((folder / "pool.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(record.get(name) == value for name, value in wanted.items())


def _holds(folder: Path, settings: str) -> bool:
    path = folder / _RUN
    return path.exists() and path.read_text(encoding="utf-8") == settings + "\n"


def _make_room(folder: Path, settings: str, *, overwrite: bool) -> None:
    """Leave a folder that is free or holds an interrupted run of the same settings; move another run aside if told."""
    others = [path for path in sorted(folder.iterdir()) if path.name != ".lock"]
    if not others or _holds(folder, settings):
        return
    if not overwrite:
        raise OutputFolderError(
            f"{folder} holds other files ({others[0].name}). "
            "Choose another folder with --output-dir, or move them aside with --overwrite."
        )
    number = 1
    while (aside := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    aside.mkdir()
    for path in others:
        path.rename(aside / path.name)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
