"""What the file of a network says of its training: the inner rate it was made for, and the tasks it never saw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from meta_baseline.checkpoints import read_checkpoint


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a network was trained, as far as its file says so.

    Attributes:
        learning_rate: of its inner loop; None where it had none or nothing is said.
        tasks: that it was trained on.
        held_out: that were kept from it.
    """

    learning_rate: float | None = None
    tasks: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()


def read_origin(path: str) -> Origin:
    """What the checkpoint says; nothing where this package did not write it, or for a network made in memory."""
    own = read_checkpoint(path).own if path else None
    if own is None:
        return Origin()
    rate = own.training.get("inner_learning_rate")
    return Origin(
        learning_rate=float(rate) if isinstance(rate, int | float) and rate > 0 else None,
        tasks=_split(own.training.get("tasks")),
        held_out=_split(own.training.get("held_out")),
    )


def find_held_out(origins: Sequence[Origin], given: str) -> tuple[str, ...]:
    """Tasks that the first of some networks names as held out, that none was trained on, other than those of ``given``.

    Args:
        origins: the meta network's first.
        given: the name of the stimuli of the study.
    """
    known = {*re.findall(r"\w+", given.replace("problem ", "svrt"))}
    known.update(*(origin.tasks for origin in origins))
    return tuple(task for task in origins[0].held_out if task not in known)


def _split(value: object) -> tuple[str, ...]:
    return tuple(part for part in value.split(",") if part) if isinstance(value, str) else ()
