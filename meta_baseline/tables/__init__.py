"""Results as tidy tables: one file per analysis, ``tabulate_*(result) -> {name: DataFrame}``."""
