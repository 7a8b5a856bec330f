"""The subcommands of ``meta-baseline``, one file each: ``add_parser(subparsers)`` and ``run(arguments) -> exit code``."""
