"""The tasks of Puebla & Bowers (2022): rule, what class 1 means, known shortcuts, and how each is drawn.

The matched tasks are our own: controls for published tasks that can be solved without comparing the objects.
"""

from __future__ import annotations

from meta_baseline.stimuli.figure_tasks import describe_figures
from meta_baseline.stimuli.puebla_bowers.arrows import ArrowFigures
from meta_baseline.stimuli.puebla_bowers.circles import CircleFigures
from meta_baseline.stimuli.puebla_bowers.outlines import DoubleSquareFigures, RectangleFigures, StraightLineFigures
from meta_baseline.stimuli.puebla_bowers.polygons import PolygonFigures
from meta_baseline.stimuli.puebla_bowers.scrambled import ScrambledFigures
from meta_baseline.stimuli.scene import list_latents
from meta_baseline.stimuli.task import Task

_EQUAL_SIZES = "equal objects have equal component sizes: the largest component is larger in class 0 (AUC {})"
_ARROW_LATENTS = list_latents(
    ("num_heads", "has_head_a", "has_head_b", "inverted_a", "inverted_b"), ("arrow_size", "rotation")
)


def _polygon_task(name: str, code: int, rule: str, figures: PolygonFigures, *, auc: str) -> Task:
    shared = ("radius", "red", "green", "blue") if figures.coloured else ("radius",)
    return describe_figures(
        figures,
        name=name,
        code=code,
        rule=rule,
        class_1_means="both objects are the same polygon",
        shortcuts=(_EQUAL_SIZES.format(auc),),
        identity="radius, both polygons with their rotations and noise" + (", colour" if figures.coloured else ""),
        latents=list_latents(("num_sides", "rotation"), shared),
    )


TASKS: tuple[Task, ...] = (
    _polygon_task("regular", 101, "Outlines of regular polygons.", PolygonFigures(irregular=False), auc=".44"),
    _polygon_task("irregular", 102, "Outlines of polygons with displaced vertices.", PolygonFigures(), auc=".39"),
    _polygon_task("open", 103, "Irregular outlines without their last edge.", PolygonFigures(closed=False), auc=".39"),
    _polygon_task(
        "wider_line", 104, "Irregular outlines in a line 3 px wide.", PolygonFigures(line_width=2), auc=".40"
    ),
    _polygon_task(
        "random_color",
        106,
        "Irregular outlines in one random colour per image.",
        PolygonFigures(coloured=True),
        auc=".39",
    ),
    _polygon_task("filled", 107, "Irregular polygons filled with ink.", PolygonFigures(filled=True), auc=".38"),
    describe_figures(
        ScrambledFigures(),
        name="scrambled",
        code=105,
        rule="A regular polygon twice; in class 0 the second is cut into quadrants that are moved apart.",
        class_1_means="both objects are whole",
        shortcuts=("components: 2 in every 'same' image, 5 in every 'different' one; no comparison is needed",),
        identity="radius, side count, rotation, and the displacements of the pieces",
        latents=list_latents(("num_sides", "scrambled"), ("radius", "rotation")),
    ),
    describe_figures(
        DoubleSquareFigures(),
        name="lines",
        code=108,
        rule="Open polylines along two squares that share a corner; class 0 shows one and its mirror image.",
        class_1_means="both figures have the same handedness",
        shortcuts=("a mirrored figure occurs in class 0 only",),
        identity="the size: there is no other shape parameter, so at most 15 identities differ",
        latents=list_latents(("mirrored",), ("side",)),
    ),
    describe_figures(
        ArrowFigures(),
        name="arrows",
        code=109,
        rule="Arrows with one or two heads; in class 0 the heads point the other way, at the other end.",
        class_1_means="both arrows have the same heads",
        shortcuts=("a two-headed arrow with one inverted head occurs in class 1 only, in 1/8 of its images",),
        identity="size, rotation and heads",
        latents=_ARROW_LATENTS,
    ),
    describe_figures(
        RectangleFigures(),
        name="rectangles",
        code=110,
        rule="Outlines of upright rectangles with one dimension in common; in class 0 the other one differs.",
        class_1_means="both rectangles have the same width and height",
        shortcuts=(_EQUAL_SIZES.format(".32"),),
        identity="the common side and both others",
        latents=list_latents(),
    ),
    describe_figures(
        StraightLineFigures(),
        name="straight_lines",
        code=111,
        rule="Straight lines at one of four angles; in class 0 their lengths differ.",
        class_1_means="both lines have the same length",
        shortcuts=(_EQUAL_SIZES.format(".34") + ", the smallest one smaller (AUC .65)",),
        identity="both lengths and the angle",
        latents=list_latents(("length",), ("line_angle",)),
    ),
    describe_figures(
        DoubleSquareFigures(closed=True),
        name="connected_squares",
        code=112,
        rule="Two squares that share a corner, twice; in class 0 the second pair lies along the other diagonal.",
        class_1_means="both pairs lie along the same diagonal",
        shortcuts=("squares along the rising diagonal occur in class 0 only",),
        identity="the size: there is no other shape parameter, so at most 15 identities differ",
        latents=list_latents(("mirrored",), ("side",)),
    ),
    describe_figures(
        CircleFigures(),
        name="connected_circles",
        code=113,
        rule="Two pairs of touching circles, one above the other; in class 0 the second pair is upside down.",
        class_1_means="both pairs have the same circle on top",
        identity="both radii and which of them is on top: 12 identities differ",
        latents=list_latents(("upper_radius", "lower_radius")),
    ),
    describe_figures(
        ScrambledFigures(matched=True),
        name="scrambled_matched",
        code=114,
        rule="A regular polygon twice, both cut into quadrants; in class 0 their pieces are moved apart differently.",
        class_1_means="the pieces of both objects are moved equally",
        shortcuts=("equal objects have equal boxes",),
        identity="radius, side count, rotation, and both displacements of the pieces",
        latents=list_latents(("num_sides", "spread"), ("radius", "rotation")),
    ),
    describe_figures(
        ArrowFigures(matched=True),
        name="arrows_matched",
        code=115,
        rule="Arrows; in class 0 all heads of the second are inverted, and a single one is at the other end.",
        class_1_means="both arrows have the same heads",
        identity="size, rotation and heads",
        latents=_ARROW_LATENTS,
    ),
)
