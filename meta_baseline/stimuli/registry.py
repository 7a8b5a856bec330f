"""Every task by name and every SVRT problem by number: its rule, what class 1 means, its known shortcuts.

A task is two functions. ``draw_shapes(rng)`` draws what an image is about; ``compose(rng, label, shapes)`` draws and
places it, or gives None where the rule throws the attempt away; without ``shapes`` it draws its own, anew for every
attempt, as published. Keeping them apart is what lets one shape identity appear at many places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from meta_baseline.errors import UsageError
from meta_baseline.stimuli.puebla_bowers import arrows, lines, scrambled
from meta_baseline.stimuli.puebla_bowers.polygons import PolygonPair, PolygonTask
from meta_baseline.stimuli.scene import Scene, list_latents
from meta_baseline.stimuli.svrt import problem_01

NUM_SVRT_PROBLEMS = 23


@dataclass(frozen=True, kw_only=True)
class Task:
    """One same-different task.

    Attributes:
        name: as on the command line.
        code: number that keys the random generators; never changes, so that stimuli can be made again.
        rule: the rule in one sentence.
        class_1_means: what label 1 says about an image.
        shortcuts: ways to do better than chance without comparing the two objects.
        identity: what is held fixed when shape identities repeat.
        latents: names of the latents that come with every image.
        colour: whether images are RGB instead of grey.
        needs_compilation: whether the first image waits for a compiler.
        draw_shapes, compose: see the module.
        swap: exchanges the two shapes of an identity where the rule treats them alike, so that "same" repeats the
            one as often as the other and neither gives the class away; None where the rule tells them apart.
    """

    name: str
    code: int
    rule: str
    class_1_means: str
    shortcuts: tuple[str, ...] = ()
    identity: str
    latents: tuple[str, ...]
    colour: bool = False
    needs_compilation: bool = False
    draw_shapes: Callable[[Generator], Any]
    compose: Callable[..., Scene | None]
    swap: Callable[[Any], Any] | None = None


def _polygon_task(name: str, code: int, rule: str, drawing: PolygonTask, shortcuts: tuple[str, ...] = ()) -> Task:
    shared = ("radius", "red", "green", "blue") if drawing.coloured else ("radius",)
    return Task(
        name=name,
        code=code,
        rule=rule,
        class_1_means="both objects are the same polygon",
        shortcuts=("equal objects have equal component sizes", *shortcuts),
        identity="radius, both polygons with their rotations and noise" + (", colour" if drawing.coloured else ""),
        latents=list_latents(("num_sides", "rotation"), shared),
        colour=drawing.coloured,
        draw_shapes=drawing.draw_shapes,
        compose=drawing.compose,
        swap=PolygonPair.swapped,
    )


def _svrt_1(name: str, code: int) -> Task:
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


PROBLEMS: dict[int, Task] = {1: _svrt_1("svrt1", 1)}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _polygon_task("regular", 101, "Outlines of regular polygons.", PolygonTask(irregular=False)),
        _polygon_task("irregular", 102, "Outlines of polygons with displaced vertices.", PolygonTask()),
        _polygon_task("open", 103, "Irregular outlines without their last edge.", PolygonTask(closed=False)),
        _polygon_task("wider_line", 104, "Irregular outlines in a line 3 px wide.", PolygonTask(line_width=2)),
        _polygon_task(
            "random_color", 106, "Irregular outlines in one random colour per image.", PolygonTask(coloured=True)
        ),
        _polygon_task("filled", 107, "Irregular polygons filled with ink.", PolygonTask(filled=True)),
        Task(
            name="scrambled",
            code=105,
            rule="A regular polygon twice; in class 0 the second is cut into quadrants that are moved apart.",
            class_1_means="both objects are whole",
            shortcuts=("components: 2 in every 'same' image, 5 in every 'different' one; no comparison is needed",),
            identity="radius, side count, rotation, and the displacements of the pieces",
            latents=list_latents(("num_sides", "scrambled"), ("radius", "rotation")),
            draw_shapes=scrambled.draw_shapes,
            compose=scrambled.compose,
        ),
        Task(
            name="lines",
            code=108,
            rule="Open polylines along two squares that share a corner; class 0 shows one and its mirror image.",
            class_1_means="both figures have the same handedness",
            shortcuts=("a mirrored figure occurs in class 0 only",),
            identity="the size: there is no other shape parameter, so at most 15 identities differ",
            latents=list_latents(("mirrored",), ("side",)),
            draw_shapes=lines.draw_shapes,
            compose=lines.compose,
        ),
        Task(
            name="arrows",
            code=109,
            rule="Arrows with one or two heads; in class 0 the heads point the other way, at the other end.",
            class_1_means="both arrows have the same heads",
            shortcuts=("a two-headed arrow with one inverted head occurs in class 1 only, in 1/8 of its images",),
            identity="size, rotation and heads",
            latents=list_latents(
                ("num_heads", "has_head_a", "has_head_b", "inverted_a", "inverted_b"), ("arrow_size", "rotation")
            ),
            draw_shapes=arrows.draw_shapes,
            compose=arrows.compose,
        ),
        *PROBLEMS.values(),
        _svrt_1("original", 1),
    )
}


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
        UsageError: when the number is none of the 23, or the problem is not generated yet.
    """
    if number in PROBLEMS:
        return PROBLEMS[number]
    available = f"Problems that can be generated: {', '.join(map(str, sorted(PROBLEMS)))}."
    if 1 <= number <= NUM_SVRT_PROBLEMS:
        raise UsageError(f"SVRT problem {number} cannot be generated yet. {available}")
    raise UsageError(f"No SVRT problem {number}: they are numbered 1 to {NUM_SVRT_PROBLEMS}. {available}")
