"""The two tasks on random patches: are they the same, and do they lie one above the other?"""

from __future__ import annotations

from meta_baseline.stimuli.figure_tasks import describe_figures
from meta_baseline.stimuli.psvrt.patches import PatchFigures
from meta_baseline.stimuli.scene import list_latents
from meta_baseline.stimuli.task import Task

_SAME, _VERTICAL = PatchFigures(), PatchFigures(relation="vertical")

TASKS: tuple[Task, ...] = (
    describe_figures(
        _SAME,
        name="psvrt_sd",
        code=201,
        rule="Two patches of 4 x 4 random bits; in class 0 at least one bit differs.",
        class_1_means="both patches are the same",
        shortcuts=("the number of black bits is even in every image of class 1, and in half of those of class 0",),
        identity="the bits of both patches",
        latents=list_latents(("black_bits",)),
    ),
    describe_figures(
        _VERTICAL,
        name="psvrt_sr",
        code=202,
        rule="Two patches of 4 x 4 random bits, the same in half of the images, beside or above each other.",
        class_1_means="the line through both patches is at 45 degrees or steeper",
        shortcuts=(
            "the ink reaches further down than across in class 1: the relation is one of places, not of shapes",
        ),
        identity="the bits of both patches, and whether both are the same",
        latents=list_latents(("black_bits",), ("patches_same",)),
    ),
)
