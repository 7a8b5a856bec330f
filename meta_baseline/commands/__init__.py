"""The subcommands of ``meta-baseline``, one file each: ``add_parser(subparsers)``, ``run(options) -> exit code``."""
