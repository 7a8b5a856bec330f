"""What ``train`` and ``train-pair`` are asked in the same words: options, and the recipe that they make."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_baseline.errors import InputError, UsageError

if TYPE_CHECKING:
    from meta_baseline.training.recipes import Recipe

ALGORITHMS = ("baseline", "matched", "maml", "fomaml", "anil", "reptile", "protonet")
ARCHITECTURES = ("conv2", "conv4", "conv6", "stack4", "stack5")
NORMS = ("batch", "frozen", "per-step", "group")
RECIPES = (
    "demo",
    "demo_32px",
    "laptop",
    "paper_table1",
    "paper_table1_published",
    "paper_leave_one_out",
    "paper_leave_one_out_published",
)

_FIELDS = {
    "algorithm": "algorithm",
    "twin": "twin",
    "arch": "architecture",
    "head": "head",
    "norm": "norm",
    "seed": "seed",
    "tasks": "tasks",
    "held_out": "held_out",
    "data_dir": "data_dir",
    "num_images": "num_images",
    "dropout": "dropout",
    "optimiser": "optimiser",
    "learning_rate": "learning_rate",
    "batch_size": "batch_size",
    "learn_inner_rates": "learn_inner_rates",
    "multi_step_fraction": "multi_step_fraction",
    "first_order_fraction": "first_order_fraction",
    "support_loss_weight": "support_loss_weight",
}
_EPISODE_FIELDS = {
    "tasks_per_step": "tasks_per_step",
    "support_sizes": "support_sizes",
    "query_size": "query_size",
}
_INNER_FIELDS = {"inner_steps": "num_steps", "inner_lr": "learning_rate"}


class _ExplicitDevice(argparse.Action):
    """Remembers that the device was asked for by name: then it has to be there."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.device, namespace.device_explicit = values, True


def add_recipe_options(parser: argparse.ArgumentParser, *, with_seed: bool = True) -> None:
    """Options that replace single fields of a recipe; every one is None unless given."""
    what = parser.add_argument_group("what is trained")
    what.add_argument("--recipe", choices=RECIPES, metavar="NAME",
                      help=f"full configuration that the options below change: {', '.join(RECIPES)} "
                           "(default: demo)")  # fmt: skip
    what.add_argument("--arch", choices=ARCHITECTURES, metavar="ARCH",
                      help="conv2, conv4, conv6, stack4 or stack5 (default: stack5)")  # fmt: skip
    what.add_argument("--head", choices=("meta", "baseline"),
                      help="with LayerNorm (meta) or without; not the algorithm (default: meta)")  # fmt: skip
    what.add_argument("--image-size", type=int, metavar="PX",
                      help="side of the input (default: 64 for stack5, 32 for stack4, 128 for conv)")  # fmt: skip
    what.add_argument("--norm", choices=NORMS, metavar="MODE",
                      help="batch: of the batch or set; frozen: of the untrained network; per-step: batch, with "
                           "running statistics for each inner step; group (default: batch)")  # fmt: skip
    what.add_argument("--dropout", type=float, metavar="P", help="after fully connected layers (default: 0)")
    data = parser.add_argument_group("on what")
    data.add_argument("--tasks", type=_names, metavar="A,B,...", help="trained on (default: the demo's eight)")
    data.add_argument("--held-out", type=_names, metavar="A,B,...",
                      help="never trained on, only watched (default: filled,arrows)")  # fmt: skip
    data.add_argument("--data-dir", metavar="D",
                      help="folder of images to train on, with train, val and test splits of every task "
                           "(default: fresh images from the generator)")  # fmt: skip
    budget = data.add_mutually_exclusive_group()
    budget.add_argument("--num-images", type=_count, metavar="N", help="budget, each used once (default: the recipe's)")
    budget.add_argument("--num-steps", type=_count, metavar="N", help="budget in steps of the optimiser instead")
    if with_seed:
        data.add_argument("--seed", type=int, metavar="N",
                          help="of weights, images, order and augmentation (default: 0)")  # fmt: skip
    how = parser.add_argument_group("how")
    how.add_argument("--optimiser", choices=("muon", "adamw"),
                     help="muon: orthogonalised steps in hidden weights, AdamW elsewhere (default: muon)")  # fmt: skip
    how.add_argument("--outer-lr", "--learning-rate", dest="learning_rate", type=float, metavar="X",
                     help="of AdamW, at its highest (default: 0.003)")  # fmt: skip
    how.add_argument("--batch-size", type=int, metavar="N", help="images per step of the baseline (default: 32)")
    how.add_argument("--meta-batch", "--tasks-per-step", dest="tasks_per_step", type=int, metavar="N",
                     help="episodes per meta-step (default: 4)")  # fmt: skip
    how.add_argument("--support-sizes", "--support", dest="support_sizes", type=_counts, metavar="N,N,...",
                     help="images to adapt to, per episode; episodes take turns (default: 8)")  # fmt: skip
    how.add_argument("--query-size", "--query", dest="query_size", type=int, metavar="N",
                     help="images to be judged on, per episode (default: 8)")  # fmt: skip
    how.add_argument("--inner-steps", type=int, metavar="N", help="gradient steps on the support (default: 1)")
    how.add_argument("--inner-lr", type=float, metavar="X", help="of the inner steps (default: 0.05)")
    how.add_argument("--support-loss-weight", type=float, metavar="X",
                     help="of the support loss before adaptation (default: 1)")  # fmt: skip
    how.add_argument("--learn-inner-rates", action="store_const", const=True,
                     help="learn an inner rate for every layer and step")  # fmt: skip
    how.add_argument("--multi-step-fraction", type=float, metavar="X",
                     help="early share of the run with query losses after every inner step (default: 0)")  # fmt: skip
    how.add_argument("--first-order-fraction", type=float, metavar="X",
                     help="early share of the run in which maml and anil are first-order (default: 0)")  # fmt: skip


def add_machine_options(parser: argparse._ArgumentGroup) -> None:
    """Options of device, precision, threads and processes."""
    parser.add_argument("--device", action=_ExplicitDevice, help="cpu or cuda (default: cpu)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"),
                        help="of forward passes (default: bf16 where the processor knows it)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw images (default: 1)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def parse_recipe(options: argparse.Namespace, base: Recipe, device: str, *, begun: bool = False) -> Recipe:
    """A recipe with what the options change; everything impossible is found here.

    Args:
        options: from ``add_recipe_options`` and ``add_machine_options``.
        base: the named recipe, or that of the run that goes on.
        device: where it will run.
        begun: ``base`` is of a run that goes on: whatever was not given stays as it was there.

    Raises:
        UsageError: for what cannot be trained.
        InputError: there is no such folder of images.
    """
    from meta_baseline.models import architecture_of
    from meta_baseline.stimuli import check_options, get_task
    from meta_baseline.stimuli.canvas import CANVAS_SIZE
    from meta_baseline.training.precision import resolve_precision

    changes = _given(options, _FIELDS)
    if options.tasks and options.held_out is None and not begun:
        changes["held_out"] = tuple(task for task in base.held_out if task not in options.tasks)
    if options.image_size is not None:
        changes["image_size"] = options.image_size
    elif options.arch is not None and options.arch != base.architecture:
        changes["image_size"] = architecture_of(options.arch).image_size
    if options.precision is not None or not begun:
        changes["precision"] = resolve_precision(options.precision or "auto", device)
    recipe = replace(
        base,
        episodes=replace(base.episodes, **_given(options, _EPISODE_FIELDS)),
        inner_loop=replace(base.inner_loop, **_given(options, _INNER_FIELDS)),
        **changes,
    )
    if options.num_steps is not None:
        recipe = replace(recipe, num_images=recipe.images_of_steps(options.num_steps))
    for task in (*recipe.tasks, *recipe.held_out) if recipe.data_dir is None else ():
        get_task(task)
    if recipe.data_dir is not None and not Path(recipe.data_dir).exists():
        raise InputError(f"There is no folder {recipe.data_dir}. Name the one that holds the images with --data-dir.")
    drawn_size = recipe.image_size if recipe.data_dir is None else CANVAS_SIZE  # a folder has its own bound
    check_options(num_images=recipe.pool_size, image_size=drawn_size, seed=recipe.seed, identities=None, workers=1)
    if options.workers < 1:
        raise UsageError("Cannot draw images with less than one process. Use --workers of 1 or more.")
    recipe.build_architecture()
    return recipe


def _given(options: argparse.Namespace, fields: dict[str, str]) -> dict[str, Any]:
    """The fields whose option is there and was given, by field name."""
    values = {field: getattr(options, option, None) for option, field in fields.items()}
    return {field: value for field, value in values.items() if value is not None}


def move_aside(folder: Path) -> None:
    """Move what is in ``folder`` to the first free ``<folder>.replaced-<n>``; the lock stays with this run."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    aside.mkdir()
    for path in sorted(folder.iterdir()):
        if path.name != ".lock":
            path.rename(aside / path.name)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is none; use 1 or more")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
