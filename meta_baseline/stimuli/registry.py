"""Every task by name and every SVRT problem by number."""

from __future__ import annotations

from meta_baseline.errors import UsageError
from meta_baseline.stimuli.psvrt.tasks import TASKS as PSVRT
from meta_baseline.stimuli.puebla_bowers.tasks import TASKS as PUEBLA_BOWERS
from meta_baseline.stimuli.svrt.problems import ORIGINAL, PROBLEMS
from meta_baseline.stimuli.task import Task

__all__ = ["PROBLEMS", "TASKS", "get_problem", "get_task"]

TASKS: dict[str, Task] = {task.name: task for task in (*PUEBLA_BOWERS, *PSVRT, ORIGINAL, *PROBLEMS.values())}
"""By name; an SVRT problem is ``svrt<number>``, and ``original`` is its problem 1 as a task of Puebla & Bowers."""


def get_task(name: str) -> Task:
    """The task of this name; an SVRT problem is ``svrt<number>``.

    Raises:
        UsageError: when there is none; the message lists the tasks.
    """
    if name in TASKS:
        return TASKS[name]
    if name.startswith("svrt") and name[4:].isdecimal():
        return get_problem(int(name[4:]))
    raise UsageError(f"No task {name!r}. Tasks: {', '.join(sorted(TASKS))}.")


def get_problem(number: int) -> Task:
    """The task of an SVRT problem.

    Raises:
        UsageError: when the number is none of the 23.
    """
    if number in PROBLEMS:
        return PROBLEMS[number]
    raise UsageError(f"No SVRT problem {number}. Choose 1 to {len(PROBLEMS)}.")
