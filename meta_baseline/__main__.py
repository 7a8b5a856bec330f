"""The console command ``meta-baseline``, also ``python -m meta_baseline``: it only finds the subcommand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from meta_baseline import __version__
from meta_baseline.console import CommandParser, HelpFormatter, run_guarded

_DESCRIPTION = """\
Open up a meta-learned and a conventionally trained convolutional network side by side.

  meta-baseline demo        everything once, from stimuli to report.html (about six minutes)
  meta-baseline generate    same-different stimuli with everything that is known about them
  meta-baseline train       a network, conventionally or by meta-learning
  meta-baseline train-pair  a meta-learned network and its controls, over several seeds
  meta-baseline analyze     two checkpoints -> what differs inside, how sure, against which control

Each has a --help of its own.
"""

_COMMANDS = {
    "demo": "meta_baseline.commands.demo",
    "generate": "meta_baseline.commands.generate",
    "train": "meta_baseline.commands.train",
    "train-pair": "meta_baseline.commands.train_pair",
    "analyze": "meta_baseline.analyze_models",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = CommandParser(prog="meta-baseline", description=_DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"meta_baseline {__version__}")
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", required=True, parser_class=CommandParser
    )
    for name, module in _COMMANDS.items():
        # Only the command that was asked for is imported: generating stimuli does not wait for torch.
        if arguments[:1] == [name]:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name)
    options = parser.parse_args(arguments)
    return run_guarded(lambda: options.run(options), debug=getattr(options, "debug", False))


if __name__ == "__main__":
    sys.exit(main())
