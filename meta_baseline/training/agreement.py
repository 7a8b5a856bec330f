"""Whether a run that goes on is the run that was begun: the first setting in which two recipes differ, by its option.

A state saved under one recipe fits no other: even a change that leaves all shapes alone would give a network that no
recipe describes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from meta_baseline.training.recipe import Recipe, encode_recipe

OPTIONS: dict[str, str] = {
    "algorithm": "--algorithm",
    "twin": "--twin",
    "architecture": "--arch",
    "head": "--head",
    "image_size": "--image-size",
    "norm": "--norm",
    "dropout": "--dropout",
    "tasks": "--tasks",
    "held_out": "--held-out",
    "data_dir": "--data-dir",
    "num_images": "--num-images",
    "seed": "--seed",
    "batch_size": "--batch-size",
    "episodes.tasks_per_step": "--meta-batch",
    "episodes.support_sizes": "--support-sizes",
    "episodes.query_size": "--query-size",
    "inner_loop.num_steps": "--inner-steps",
    "inner_loop.learning_rate": "--inner-lr",
    "learn_inner_rates": "--learn-inner-rates",
    "multi_step_fraction": "--multi-step-fraction",
    "first_order_fraction": "--first-order-fraction",
    "optimiser": "--optimiser",
    "learning_rate": "--outer-lr",
    "precision": "--precision",
}
"""Option of the command line by field of a recipe; fields that have none are called by their own name."""


def find_difference(begun: Mapping[str, Any], wanted: Recipe) -> str | None:
    """The first setting that differs, in words such as ``--inner-lr 0.05 there, 0.1 here``; None when none does.

    Args:
        begun: recipe of the run as ``encode_recipe`` wrote it, perhaps by another version: unknown fields differ.
        wanted: recipe to go on with.
    """
    there, here = (dict(_flatten(json.loads(json.dumps(values)))) for values in (dict(begun), encode_recipe(wanted)))
    for name in dict.fromkeys([*here, *there]):
        if there.get(name) != here.get(name):
            return f"{OPTIONS.get(name, name)} {_show(there, name)} there, {_show(here, name)} here"
    return None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _show(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "unknown"
    value = values[name]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
