"""``meta-baseline demo``: everything once, from stimuli to the report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from meta_baseline.console import HelpFormatter, say, show_progress

_DESCRIPTION = """\
Everything once, on this machine: generates same-different stimuli, trains a conventional baseline and a meta-learned
network (FOMAML) from the same weights on the same images, and analyses both on stimuli that neither has seen.
About six minutes on two cores. Run again, it continues where it stopped, or finishes in seconds.
"""


def add_parser(subparsers: Any) -> None:
    """Join the console command."""
    parser = subparsers.add_parser(
        "demo", help="everything once, with a report", description=_DESCRIPTION, formatter_class=HelpFormatter
    )
    parser.add_argument("--output-dir", type=Path, default=Path("demo_results"), metavar="OUT",
                        help="output folder (default: demo_results)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of weights and images (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and end with the report's path and its three most important findings."""
    from meta_baseline.demo import run_demo

    result = run_demo(options.output_dir, seed=options.seed, progress=show_progress, say=say)
    say("\nThe three most important findings:")
    for number, finding in enumerate(result.findings[:3], start=1):
        say(f"{number}. {finding.sentence}")
    say(f"\nReport: {result.report.resolve()}")
    return 6 if result.failures else 0
