"""The console command ``meta-baseline``, also ``python -m meta_baseline``: it only finds the subcommand."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from meta_baseline import __version__, analyze_models
from meta_baseline.commands import demo, generate, train
from meta_baseline.console import CommandParser, HelpFormatter, run_guarded

_DESCRIPTION = """\
Open up a meta-learned and a conventionally trained convolutional network side by side.

  meta-baseline demo        everything once, from stimuli to report.html (about six minutes)
  meta-baseline generate    same-different stimuli with everything that is known about them
  meta-baseline train       a network, conventionally or by meta-learning
  meta-baseline analyze     two checkpoints -> what differs inside, how sure, against which control
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = CommandParser(prog="meta-baseline", description=_DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"meta_baseline {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for command in (demo, generate, train, analyze_models):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    return run_guarded(lambda: options.run(options), debug=getattr(options, "debug", False))


if __name__ == "__main__":
    sys.exit(main())
