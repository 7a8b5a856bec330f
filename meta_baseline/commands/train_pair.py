"""``meta-baseline train-pair``: a meta-learned network, its matched control and a plain baseline, seed by seed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meta_baseline.commands.train_options import (
    add_machine_options,
    add_recipe_options,
    move_aside,
    parse_recipe,
)
from meta_baseline.commits import committing, hash_values, is_committed, locked, write_atomic
from meta_baseline.console import HelpFormatter, say, show_progress
from meta_baseline.cores import count_cores
from meta_baseline.errors import OutputFolderError, UsageError
from meta_baseline.study import check_output_dir, resolve_device

if TYPE_CHECKING:
    from meta_baseline.results import Check
    from meta_baseline.training.arm_accuracy import ArmsTest
    from meta_baseline.training.arms_outcome import ArmsOutcome
    from meta_baseline.training.pair import ArmWork
    from meta_baseline.training.recipes import Recipe

_DESCRIPTION = """\
Train networks that differ in one thing only, from the same step-0 weights on the same images, and compare them:

  meta      by --algorithm, on episodes of one task each
  matched   the same episodes, order, batch statistics and gradients, with an inner learning rate of 0
  baseline  the same images in mixed batches

  meta-baseline train-pair --seeds 0,1,2 --output-dir pair
      -> pair/seed-0/meta/last.safetensors, ..., pair/evaluation (0, 1, 5 and 15 adaptation steps on 10 and on 80
         labelled images, trained and held-out tasks), pair/learning_curves.png, pair/stimuli
  meta-baseline analyze --pair-dir pair --run-all
      -> what differs inside the first seed's meta and baseline networks

A run that was interrupted goes on when the same command is given again; more seeds can be added later.
"""

_RUN = "pair.json"
_ALGORITHMS = ("maml", "fomaml", "anil", "reptile", "protonet")
_NUM_STIMULI, _NUM_IDENTITIES = 1000, 50
_OUTCOME_FORMAT = 5
"""To be raised when the same accuracies would be compared in another way."""


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "train-pair",
        help="a meta-learned network and its controls, over several seeds",
        description=_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--algorithm", choices=_ALGORITHMS, metavar="NAME",
                        help=f"of the meta arm: {', '.join(_ALGORITHMS)} (default: fomaml)")  # fmt: skip
    parser.add_argument("--seeds", type=_seeds, default=(0,), metavar="N,N,...", help="paired runs (default: 0)")
    add_recipe_options(parser, with_seed=False)
    output = parser.add_argument_group("where and with what")
    output.add_argument("--output-dir", type=Path, required=True, metavar="OUT", help="folder of all runs")
    output.add_argument("--overwrite", action="store_true", help="move other runs in that folder aside")
    output.add_argument("--processes", type=int, metavar="N", help="arms that train at once (default: all cores)")
    output.add_argument("--num-queries", type=int, default=400, metavar="N",
                        help="images of each task that every arm is asked about (default: 400)")  # fmt: skip
    add_machine_options(output)
    parser.set_defaults(run=run, device=None, device_explicit=False)


def run(options: argparse.Namespace) -> int:
    """Train what is not there yet, test all of it, and say what was found."""
    from meta_baseline.training.arm_accuracy import ArmsTest
    from meta_baseline.training.recipes import RECIPES

    device = resolve_device(options.device or "cpu", explicit=options.device_explicit)
    base = RECIPES[options.recipe or "demo"](options.seeds[0])
    options.algorithm = options.algorithm or (base.algorithm if base.algorithm in _ALGORITHMS else "fomaml")
    recipe = parse_recipe(options, base.as_arm(options.algorithm), device)
    if options.num_queries < 20 or options.num_queries % 2:
        raise UsageError(f"Cannot ask about {options.num_queries} images. Use an even --num-queries of 20 or more.")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"Cannot train in {options.processes} processes. Use --processes of 1 or more.")
    folder: Path = options.output_dir
    check_output_dir(folder)
    test = ArmsTest(learning_rate=recipe.inner_loop.learning_rate, num_queries=options.num_queries)
    with locked(folder):
        _claim(folder, recipe, overwrite=options.overwrite)
        _train(folder, recipe, options, device)
        outcome = _evaluate(folder, recipe, options, test, device)
        if recipe.data_dir is None:
            _write_stimuli(folder, recipe)
        _draw_curves(folder, recipe, options.seeds)
    _tell(folder, recipe, options.seeds, outcome)
    return 0


def arms_of(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of each arm by name, for the recipe of the meta arm."""
    from meta_baseline.training.recipes import ADAPTING

    arms = {"meta": recipe}
    if recipe.algorithm in ADAPTING:
        arms["matched"] = recipe.as_arm("matched", twin=recipe.algorithm)
    return arms | {"baseline": recipe.as_arm("baseline")}


def _claim(folder: Path, recipe: Recipe, *, overwrite: bool) -> None:
    """Mark the folder as holding these arms; seeds may come and go."""
    from dataclasses import replace

    from meta_baseline.training.agreement import find_difference
    from meta_baseline.training.recipes import encode_recipe

    path, wanted = folder / _RUN, replace(recipe, seed=0)
    others = [other for other in sorted(folder.iterdir()) if other.name != ".lock"]
    difference = None
    if path.exists():
        try:
            difference = find_difference(json.loads(path.read_text(encoding="utf-8"))["recipe"], wanted)
        except (ValueError, LookupError, TypeError, AttributeError):
            difference = f"{_RUN} cannot be read"
    elif others:
        difference = f"there is {others[0].name}"
    if difference and not overwrite:
        raise OutputFolderError(
            f"{folder} holds other runs ({difference}). Choose another folder with --output-dir, or move them aside "
            "with --overwrite."
        )
    if difference:
        move_aside(folder)
    if not path.exists():
        write_atomic(
            path, json.dumps({"recipe": encode_recipe(wanted), "arms": list(arms_of(recipe))}, indent=1) + "\n"
        )


def _train(folder: Path, recipe: Recipe, options: argparse.Namespace, device: str) -> None:
    """Train every arm of every seed that is not finished; images go when all is done."""
    from dataclasses import replace

    from meta_baseline.training.loop import TrainingStatus, is_finished
    from meta_baseline.training.pair import ArmWork, train_arms
    from meta_baseline.training.pools import prepare_pool, prepare_validation, remove_pool
    from meta_baseline.training.progress import TrainingBars

    work: dict[str, ArmWork] = {}
    for seed in options.seeds:
        arms = {name: replace(arm, seed=seed) for name, arm in arms_of(recipe).items()}
        images = folder / "pools" / f"seed-{seed}"
        left = {name: arm for name, arm in arms.items() if not is_finished(folder / f"seed-{seed}" / name)}
        if left:
            prepare_pool(replace(recipe, seed=seed), images, workers=options.workers, progress=show_progress)
            prepare_validation(replace(recipe, seed=seed), images, workers=options.workers, progress=show_progress)
        for name, arm in left.items():
            work[f"seed-{seed}/{name}"] = ArmWork(
                recipe=arm,
                pool=images,
                validation=images / "validation",
                folder=folder / f"seed-{seed}" / name,
                device=device,
            )
    if work:
        processes = options.processes or count_cores()
        say(
            f"Training {len(work)} networks ({recipe.architecture}, {recipe.image_size} px, {recipe.precision}) on "
            f"{recipe.pool_size:,} images each, {min(processes, len(work))} at a time."
        )

        def show(name: str, status: TrainingStatus) -> None:
            bars.show(name, status)
            if status.trained_accuracy is not None and status.held_out_accuracy is not None:
                say(
                    f"{name}: {status.images:>9,} images, loss {status.loss:.3f}, trained tasks "
                    f"{status.trained_accuracy:.1%}, held out {status.held_out_accuracy:.1%}"
                )

        with TrainingBars(tuple(work), recipe.pool_size) as bars:
            train_arms(work, max_processes=processes, report=show)
    for seed in options.seeds:
        remove_pool(folder / "pools" / f"seed-{seed}")
    if (folder / "pools").is_dir() and not any((folder / "pools").iterdir()):
        (folder / "pools").rmdir()


def _evaluate(folder: Path, recipe: Recipe, options: argparse.Namespace, test: ArmsTest, device: str) -> ArmsOutcome:
    """Test all arms that were not, and put them side by side."""
    from meta_baseline.figures.arms import draw_arm_accuracy
    from meta_baseline.figures.style import save_figure
    from meta_baseline.results import load_result, save_result
    from meta_baseline.tables.arms import tabulate_arms
    from meta_baseline.training.arms_outcome import contrast_arms
    from meta_baseline.training.loop import INITIAL, LAST
    from meta_baseline.training.pair_evaluation import ArmToTest, measure_arms

    names = (*arms_of(recipe), "untrained")
    arms = [
        ArmToTest(
            seed=seed,
            checkpoint=of_seed / "meta" / INITIAL if name == "untrained" else of_seed / name / LAST,
            folder=of_seed / name / "accuracy",
            tasks=recipe.tasks + recipe.held_out,
            trained_tasks=recipe.tasks,
            image_size=recipe.image_size,
            test=test,
            precision=recipe.precision,
            data_dir=recipe.data_dir,
            device=device,
        )
        for seed, of_seed in ((seed, folder / f"seed-{seed}") for seed in options.seeds)
        for name in names
    ]
    tested = iter(measure_arms(arms, processes=options.processes or count_cores(), progress=show_progress))
    accuracies = {seed: {name: next(tested) for name in names} for seed in options.seeds}
    key, target = hash_values([arm.key for arm in arms], _OUTCOME_FORMAT), folder / "evaluation"
    if not is_committed(target, key):
        outcome = contrast_arms(accuracies, trained_tasks=recipe.tasks, test=test)
        with committing(target, key) as temporary:
            save_result(outcome, temporary)
            save_figure(draw_arm_accuracy(outcome), temporary / "accuracy")
            for name, table in tabulate_arms(outcome).items():
                table.to_csv(temporary / f"{name}.csv", index=False)
    return load_result(target)


def _write_stimuli(folder: Path, recipe: Recipe) -> None:
    """Stimuli for the analysis, of one trained task, that no arm has seen; shapes come back in twenty images each."""
    from meta_baseline.stimuli.folder import write_svrt_folder

    task = analysed_task(recipe)
    key, target = hash_values(task, recipe.seed, _NUM_STIMULI), folder / "stimuli"
    if is_committed(target, key):
        return
    with committing(target, key) as temporary:
        images = temporary / f"results_{task}" / "test"
        images.mkdir(parents=True)
        write_svrt_folder(
            images,
            task,
            num_images=_NUM_STIMULI,
            split="test",
            seed=recipe.seed,
            identities=_NUM_IDENTITIES,
            workers=1,
            progress=show_progress,
        )


def analysed_task(recipe: Recipe) -> str:
    """The task that ``analyze`` looks at."""
    return "irregular" if "irregular" in recipe.tasks else recipe.tasks[0]


def _draw_curves(folder: Path, recipe: Recipe, seeds: tuple[int, ...]) -> None:
    from meta_baseline.figures.arms import draw_arm_curves
    from meta_baseline.figures.style import save_figure
    from meta_baseline.training.curves import read_learning_curve
    from meta_baseline.training.loop import METRICS

    curves = [
        read_learning_curve(folder / f"seed-{seed}" / name / METRICS, name)
        for seed in seeds
        for name in arms_of(recipe)
    ]
    save_figure(draw_arm_curves(curves), folder / "learning_curves")


def _tell(folder: Path, recipe: Recipe, seeds: tuple[int, ...], outcome: ArmsOutcome) -> None:
    """The table, what the guards found, what differs, and how to look inside."""
    from meta_baseline.tables.arms import summarise_arms

    table = summarise_arms(outcome)
    say("\nAccuracy, means over tasks and seeds; columns are adaptation steps and labelled images to adapt to:\n")
    say(table.to_string(index=False, float_format=lambda value: f"{value:.1%}"))
    say()
    for line in (*_describe_guards(folder, recipe, seeds), *_describe_checks("", outcome.checks)):
        say(line)
    say()
    for finding in outcome.findings:
        say(f"- {finding.sentence}")
    say(f"\nEvery task, with intervals: {folder / 'evaluation' / 'accuracy.csv'}")
    images = "" if recipe.data_dir is None else f"--data-dir {recipe.data_dir} --task {analysed_task(recipe)} "
    say(f"Look inside: meta-baseline analyze --pair-dir {folder} {images}--run-all")


def _describe_guards(folder: Path, recipe: Recipe, seeds: tuple[int, ...]) -> Iterator[str]:
    """Guards of every run that found something, and whether all arms of a seed began alike."""
    from safetensors.torch import load_file

    from meta_baseline.results import load_result
    from meta_baseline.training.loop import INITIAL, OUTCOME

    for seed in seeds:
        starts = {name: load_file(folder / f"seed-{seed}" / name / INITIAL) for name in arms_of(recipe)}
        for name, start in starts.items():
            same = start.keys() == starts["meta"].keys() and all(
                value.equal(starts["meta"][key]) for key, value in start.items()
            )
            if not same:
                yield f"WARNING: seed-{seed}/{name} did not start from the weights of seed-{seed}/meta."
            outcome = load_result(folder / f"seed-{seed}" / name / OUTCOME)
            yield from _describe_checks(f"seed-{seed}/{name}: ", outcome.checks)


def _describe_checks(where: str, checks: tuple[Check, ...]) -> Iterator[str]:
    words = {"warn": "WARNING", "fail": "FAILED", "note": "NOTE"}
    for check in checks:
        if check.verdict in words:
            yield f"{words[check.verdict]}: {where}{check.sentence}"


def _seeds(text: str) -> tuple[int, ...]:
    seeds = tuple(int(number) for number in text.split(","))
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"{text} are not different seeds of 0 or more")
    return seeds
