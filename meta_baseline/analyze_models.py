"""The command line of the comparison: arguments -> Study -> run_study -> files; nothing else.

    python -m meta_baseline.analyze_models --meta-model M.pt --baseline-model B.pt \\
        --data-dir D --problem-number 1 --run-all

The same as ``meta-baseline analyze``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meta_baseline.console import CommandParser, HelpFormatter, run_guarded, say, show_progress
from meta_baseline.cores import count_cores
from meta_baseline.errors import UsageError
from meta_baseline.models import SCALINGS
from meta_baseline.pipeline import ANALYSES, run_study
from meta_baseline.study import Study, resolve_device

_DESCRIPTION = """\
Open up a meta-learned and a conventionally trained network side by side: what differs inside, how sure that is,
and against which control. The result is OUTPUT_DIR/report.html, with every figure, table and number beside it.

  python -m meta_baseline.analyze_models --meta-model M.pt --baseline-model B.pt \\
      --data-dir D --problem-number 1 --run-all

Checkpoints (.pt, .pth, .safetensors) of the conv2/conv4/conv6 family are read without being told anything: head,
wrapper, prefix and precision are found out, and no checkpoint can run code. D holds folders of images as the SVRT
generator writes them (results_problem_1/sample_<class>_<index>.png, with or without train|val|test and cat_<class>)
or as "meta-baseline generate" does.
"""

_EPILOG = """\
exit codes: 0 done; 2 usage; 3 bad input; 4 device, disk, permission or memory; 5 output folder busy or holding
other results; 6 finished, but at least one analysis failed; 70 a bug of ours. A run that was interrupted continues
where it stopped when it is started again.
"""

_PARSER_WORDS: dict[str, Any] = {
    "description": _DESCRIPTION,
    "epilog": _EPILOG,
    "formatter_class": HelpFormatter,
}


class _ExplicitDevice(argparse.Action):
    """Remembers that the device was asked for by name: then it has to be there."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.device, namespace.device_explicit = values, True


class _PairDir(argparse.Action):
    """A folder of train-pair brings the networks of all seeds, their test and stimuli; what is named stands."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        seeds = sorted(int(path.name[5:]) for path in values.glob("seed-*") if path.name[5:].isdigit())
        if not seeds:
            raise argparse.ArgumentError(self, f"{values} holds no seed-<n>; make it with meta-baseline train-pair")
        found: dict[str, Any] = {
            f"{arm}_model": [values / f"seed-{seed}" / arm / "last.safetensors" for seed in seeds]
            for arm in ("meta", "baseline")
        }
        tasks = sorted(values.glob("stimuli/results_*"))
        if tasks and namespace.data_dir is None:
            found |= {"data_dir": values / "stimuli", "task": tasks[0].name.removeprefix("results_")}
        namespace.pair_dir = values
        for name, value in found.items():
            if getattr(namespace, name) is None:
                setattr(namespace, name, value)
        for action in parser._actions:
            if action.dest in found:
                action.required = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse one meta-learned and one baseline checkpoint; returns the exit code."""
    parser = CommandParser(prog="meta_baseline.analyze_models", **_PARSER_WORDS)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return run_guarded(lambda: run(options), debug=options.debug)


def add_parser(subparsers: Any) -> None:
    """Join the console command as its subcommand ``analyze``."""
    parser = subparsers.add_parser("analyze", help="compare two checkpoints", **_PARSER_WORDS)
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every option of the comparison; names and defaults of the original tool are pinned by a test."""
    inputs = parser.add_argument_group("what is compared")
    for name, metavar, words in (("meta", "M", "meta-learned"), ("baseline", "B", "baseline")):
        inputs.add_argument(f"--{name}-model", type=Path, nargs="+", required=True, metavar=metavar,
                            help=f"checkpoint of the {words} network; further ones are other seeds, whose "
                            "differences show what a seed alone does")  # fmt: skip
    inputs.add_argument("--pair-dir", type=Path, action=_PairDir, metavar="P",
                        help="folder of train-pair: the checkpoints of all its seeds, and stimuli")  # fmt: skip
    inputs.add_argument("--data-dir", type=Path, metavar="D", help="folder that holds the stimuli")
    inputs.add_argument("--problem-number", type=int, metavar="N", help="SVRT problem, 1 to 23")
    inputs.add_argument("--task", metavar="NAME", help="task by name instead of a problem number, e.g. irregular")
    inputs.add_argument(
        "--split", choices=("train", "val", "test"), help="which split (default: test where there is one)"
    )
    inputs.add_argument("--max-images", type=int, default=1000, metavar="N",
                        help="look at this many images, balanced over classes (default: 1000)")  # fmt: skip
    for network in ("meta", "baseline"):
        inputs.add_argument(f"--{network}-input-scaling", choices=SCALINGS,
                            help=f"pixel range of the {network} network (default: its checkpoint knows)")  # fmt: skip
    chosen = parser.add_argument_group("which analyses (at least one)")
    for analysis in ANALYSES:
        chosen.add_argument(analysis.flag, dest=analysis.slug, action="store_true", help=analysis.question)
    chosen.add_argument("--run-all", action="store_true", help="all of them")
    output = parser.add_argument_group("where the results go")
    output.add_argument("--output-dir", type=Path, default=Path("model_analysis_results"), metavar="OUT",
                        help="output folder (default: model_analysis_results)")  # fmt: skip
    output.add_argument("--overwrite", action="store_true", help="move results of other inputs aside first")
    compute = parser.add_argument_group("how it is computed")
    compute.add_argument("--batch-size", type=int, default=32, metavar="N", help="images per batch (default: 32)")
    compute.add_argument("--device", default="cuda", action=_ExplicitDevice,
                         help="cpu or cuda (default: cuda if there is one, else cpu)")  # fmt: skip
    compute.add_argument(
        "--num-workers", type=int, default=4, metavar="N", help="processes that read images (default: 4)"
    )
    compute.add_argument("--max-memory", type=float, default=2.0, metavar="GIB",
                         help="of activations at a time; more goes to files (default: 2)")  # fmt: skip
    compute.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default: 0)")
    compute.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(device_explicit=False)


def parse_study(options: argparse.Namespace) -> Study:
    """The frozen study that the options describe.

    Raises:
        UsageError: no analysis was chosen, or an option is out of its range.
        EnvironmentProblem: the device asked for is not there.
    """
    analyses = tuple(a.slug for a in ANALYSES if options.run_all or getattr(options, a.slug))
    if not analyses:
        flags = ", ".join(a.flag for a in ANALYSES)
        raise UsageError(f"No analysis was chosen. Give one or more of {flags}, or --run-all.")
    needs_images = any(a.needs_images for a in ANALYSES if a.slug in analyses)
    if needs_images and options.data_dir is None:
        raise UsageError("No --data-dir was given. Name the folder that holds the stimuli; only weights need none.")
    for name, least in (("batch_size", 1), ("num_workers", 0), ("max_images", 20), ("seed", 0)):
        if getattr(options, name) < least:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} {getattr(options, name)} is too small. Give {least} or more.")
    if not 0 < options.max_memory < float("inf"):
        raise UsageError(f"--max-memory {options.max_memory:g} is no amount of memory. Give GiB above 0.")
    return Study(
        meta_model=options.meta_model[0],
        baseline_model=options.baseline_model[0],
        meta_seeds=tuple(options.meta_model[1:]),
        baseline_seeds=tuple(options.baseline_model[1:]),
        arms_outcome=_find_arms_outcome(options),
        analyses=analyses,
        optional=tuple(a.slug for a in ANALYSES if a.may_be_left_out and not getattr(options, a.slug)),
        data_dir=options.data_dir,
        problem_number=options.problem_number,
        task=options.task,
        split=options.split,
        batch_size=options.batch_size,
        output_dir=options.output_dir,
        device=resolve_device(options.device, explicit=options.device_explicit),
        num_workers=options.num_workers,
        num_threads=count_cores(),
        max_images=options.max_images,
        max_memory=int(options.max_memory * 2**30),
        seed=options.seed,
        meta_input_scaling=options.meta_input_scaling,
        baseline_input_scaling=options.baseline_input_scaling,
        overwrite=options.overwrite,
    )


def _find_arms_outcome(options: argparse.Namespace) -> Path | None:
    """What train-pair found, where all networks to analyse are its own."""
    folder: Path | None = options.pair_dir
    if folder is None or not (folder / "evaluation").is_dir():
        return None
    own = all(path.is_relative_to(folder) for path in (*options.meta_model, *options.baseline_model))
    return folder / "evaluation" if own else None


def run(options: argparse.Namespace) -> int:
    """Run the study that the options describe and say where its report is; 6 when an analysis failed."""
    study = parse_study(options)
    if study.device == "cpu" and options.device.startswith("cuda"):
        say("No CUDA device: using the CPU.")
    result = run_study(study, argv=sys.argv, progress=show_progress, say=say)
    say()
    for finding in result.findings[:3]:
        say(f"- {finding.sentence}")
    say(f"\nReport: {result.report}")
    return 6 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
