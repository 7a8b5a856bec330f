"""The problems of the Synthetic Visual Reasoning Test by number: rule, what class 1 means, known shortcuts."""

from __future__ import annotations

from meta_baseline.stimuli.scene import list_latents
from meta_baseline.stimuli.svrt import problem_01
from meta_baseline.stimuli.task import Task

NUM_PROBLEMS = 23


def describe_problem_1(name: str, code: int) -> Task:
    """Problem 1 under a name: it is also the ``original`` task of Puebla & Bowers."""
    return Task(
        name=name,
        code=code,
        rule="Two random closed contours; in class 1 the second is the first, translated.",
        class_1_means="both contours are the same",
        shortcuts=("equal objects have equal component sizes (AUC .28 for the ratio of the largest to the smallest)",),
        identity="both contours",
        latents=list_latents(),
        needs_compilation=True,
        draw_shapes=problem_01.draw_shapes,
        compose=problem_01.compose,
        swap=problem_01.swap_shapes,
    )


PROBLEMS: dict[int, Task] = {1: describe_problem_1("svrt1", 1)}
