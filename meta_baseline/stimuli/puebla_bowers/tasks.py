"""The tasks of Puebla & Bowers (2022): rule, what class 1 means, known shortcuts, and how each is drawn."""

from __future__ import annotations

from meta_baseline.stimuli.puebla_bowers import arrows, lines, scrambled
from meta_baseline.stimuli.puebla_bowers.polygons import PolygonPair, PolygonTask
from meta_baseline.stimuli.scene import list_latents
from meta_baseline.stimuli.task import Task


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


TASKS: tuple[Task, ...] = (
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
)
