"""The 23 problems of the SVRT by number: rule, what class 1 means, known shortcuts, and what each one draws.

Class 1 means that the rule of the problem holds; in most problems it does not mean "same".
"""

from __future__ import annotations

from meta_baseline.stimuli.svrt.cast import Cast, describe_problem
from meta_baseline.stimuli.task import Task

_BIG, _MEDIUM, _SMALL = (48.0, 21.0), (21.0, 2.0), (10.0, 1.0)
_SIZES = (
    "equal contours have equal component sizes: AUC {} for the ratio of the largest to the smallest, {} for the largest"
)
_MARGINS = "margins round all ink are wider in class 1 (AUC {})"

_PROBLEM_1 = Cast(problem=1, sizes=((26.25, 2.5), (26.25, 2.5)), num_alike=2, vary=("same", "position"))
_ABOUT_1 = {
    "rule": "Two contours anywhere; in class 0 they differ.",
    "class_1_means": "the second contour is the first one, translated",
    "shortcuts": (_SIZES.format(".01", ".30"),),
    "identity": "both contours",
}

ORIGINAL: Task = describe_problem(_PROBLEM_1, name="original", **_ABOUT_1)
"""Problem 1 under the name it has among the tasks of Puebla & Bowers."""

_TASKS = (
    describe_problem(_PROBLEM_1, name="svrt1", **_ABOUT_1),
    describe_problem(
        Cast(problem=2, sizes=(_BIG, _SMALL), shared=("gap",)),
        name="svrt2",
        rule="A small contour inside a big one; in class 0 it is far from the outline of the big one.",
        class_1_means="the small contour is close to the outline of the big one",
        shortcuts=("the smallest component is larger in class 1 (AUC .61)",),
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=3, sizes=(_MEDIUM,) * 4, num_alike=4, num_objects=4, details=("group",)),
        name="svrt3",
        rule="Four contours, some of them in contact; in class 0 three are, and one is alone.",
        class_1_means="the contours form two pairs in contact",
        shortcuts=("the smallest component is one contour in class 0 and two in class 1 (AUC 1.00)",),
        identity="the four contours",
    ),
    describe_problem(
        Cast(problem=4, sizes=(_BIG, _SMALL)),
        name="svrt4",
        rule="A big contour and a small one; in class 0 the small one is outside.",
        class_1_means="the small contour is inside the big one",
        shortcuts=(_MARGINS.format(".62"),),
        identity="both contours",
    ),
    describe_problem(
        Cast(
            problem=5, sizes=(_MEDIUM,) * 4, num_alike=4, num_objects=4, details=("shape",), vary=("same", "position")
        ),
        name="svrt5",
        rule="Four contours anywhere; in class 0 all of them differ.",
        class_1_means="the contours are two pairs of equal ones",
        shortcuts=(_SIZES.format(".23", ".33"),),
        identity="the four contours",
    ),
    describe_problem(
        Cast(
            problem=6,
            sizes=(_SMALL, _SMALL),
            num_alike=2,
            num_objects=4,
            details=("shape",),
            shared=("distance_difference",),
        ),
        name="svrt6",
        rule="Two pairs of equal contours; in class 0 one pair is further apart than the other.",
        class_1_means="the distances within both pairs are equal",
        shortcuts=(_MARGINS.format(".63"),),
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=7, sizes=(_MEDIUM,) * 3, num_alike=3, num_objects=6, details=("shape",), vary=("position",)),
        name="svrt7",
        rule="Six contours, some of them equal; in class 0 there are three pairs.",
        class_1_means="the contours are two triples of equal ones",
        shortcuts=(_SIZES.format(".32", ".41"),),
        identity="three contours",
    ),
    describe_problem(
        Cast(problem=8, sizes=(_BIG, _BIG), num_alike=2, shared=("inside", "same_shape")),
        name="svrt8",
        rule="A big contour and one of half its size; in class 0 either the same one outside, or another one inside.",
        class_1_means="the small contour is the same as the big one, and inside it",
        shortcuts=("in class 0 the small contour is outside in eight of ten images", _MARGINS.format(".68")),
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=9, sizes=(_MEDIUM,), num_objects=3, details=("scale",)),
        name="svrt9",
        rule="Three copies of a contour on a line, two reduced to a half; in class 0 the big one is in the middle.",
        class_1_means="the big one is at an end of the line",
        identity="the contour",
    ),
    describe_problem(
        Cast(problem=10, sizes=(_SMALL,), num_objects=4),
        name="svrt10",
        rule="Four equal contours; in class 0 they are anywhere.",
        class_1_means="they are at the corners of a square",
        shortcuts=(_MARGINS.format(".68"),),
        identity="the contour",
    ),
    describe_problem(
        Cast(problem=11, sizes=((48.0, 16.0), (21.0, 7.0)), shared=("gap",)),
        name="svrt11",
        rule="A big contour and a small one outside of it; in class 0 they are well apart.",
        class_1_means="they touch",
        shortcuts=("components: one in every image of class 1, two in every one of class 0",),
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=12, sizes=((10.0, 5.0), (10.0, 5.0), (21.0, 10.0)), num_alike=2, num_objects=3, details=("big",)),
        name="svrt12",
        rule="Two small contours and a big one; two lie close together, in class 0 one of each size.",
        class_1_means="the small ones are close together, and the big one is far from them",
        identity="the three contours",
    ),
    describe_problem(
        Cast(
            problem=13,
            sizes=((32.0, 16.0), (10.0, 5.0)),
            num_objects=4,
            details=("big",),
            shared=("displacement",),
        ),
        name="svrt13",
        rule="Two equal big contours, each with an equal small one near it; in class 0 these lie differently.",
        class_1_means="both small ones lie alike relative to their big ones",
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=14, sizes=(_SMALL,), num_objects=3, shared=("alignment_error",)),
        name="svrt14",
        rule="Three equal contours; in class 0 none of them is between the others.",
        class_1_means="they are on a line",
        shortcuts=(_MARGINS.format(".58"),),
        identity="the contour",
    ),
    describe_problem(
        Cast(problem=15, sizes=(_SMALL,) * 4, num_alike=4, num_objects=4, details=("shape",), vary=("same",)),
        name="svrt15",
        rule="Four contours at the corners of a square; in class 0 all of them differ.",
        class_1_means="all four are the same",
        shortcuts=(_SIZES.format(".00", ".18"),),
        identity="the four contours",
    ),
    describe_problem(
        Cast(problem=16, sizes=(_SMALL,), num_objects=6, details=("mirrored",), vary=("same",)),
        name="svrt16",
        rule="Three copies of a contour, and three at the mirrored places, in class 0 unmirrored.",
        class_1_means="the copies at the mirrored places are mirrored, too",
        identity="the contour",
    ),
    describe_problem(
        Cast(
            problem=17,
            sizes=(_SMALL, _SMALL),
            num_alike=2,
            num_objects=4,
            details=("shape",),
            shared=("centre_error",),
        ),
        name="svrt17",
        rule="Three equal contours and another one; in class 0 it is off the centre of the circle through them.",
        class_1_means="the other one is at the same distance from the three",
        shortcuts=(_MARGINS.format(".58"),),
        identity="both contours",
    ),
    describe_problem(
        Cast(problem=18, sizes=(_SMALL,), num_objects=6),
        name="svrt18",
        rule="Six equal contours, two in each of three rows; in class 0 these are anywhere in their row.",
        class_1_means="they lie symmetrically about the vertical midline",
        identity="the contour",
    ),
    describe_problem(
        Cast(problem=19, sizes=((10.5, 1.0), (10.5, 1.0)), num_alike=2, details=("scale",), vary=("same", "position")),
        name="svrt19",
        rule="Two contours of different sizes; in class 0 they differ.",
        class_1_means="the second contour is the first one, scaled",
        identity="both contours, and the scale of the larger one",
    ),
    describe_problem(
        Cast(problem=20, sizes=((16.0, 2.0), (16.0, 2.0)), num_alike=2, vary=("same",)),
        name="svrt20",
        rule="Two contours; in class 0 they differ.",
        class_1_means="the second contour is the mirror image of the first one across the line halfway between them",
        shortcuts=(_SIZES.format(".10", ".35"),),
        identity="both contours",
    ),
    describe_problem(
        Cast(
            problem=21,
            sizes=((10.5, 1.0), (10.5, 1.0)),
            num_alike=2,
            details=("scale", "rotation"),
            vary=("same", "position"),
        ),
        name="svrt21",
        rule="Two contours of different sizes and orientations; in class 0 they differ.",
        class_1_means="the second contour is the first one, scaled and rotated",
        identity="both contours, and the scale of the larger one",
    ),
    describe_problem(
        Cast(problem=22, sizes=(_SMALL,) * 3, num_alike=3, num_objects=3, details=("shape",), vary=("same",)),
        name="svrt22",
        rule="Three contours on a line; in class 0 all of them differ.",
        class_1_means="all three are the same",
        shortcuts=(_SIZES.format(".00", ".23"),),
        identity="the three contours",
    ),
    describe_problem(
        Cast(problem=23, sizes=(_BIG, _SMALL, _SMALL), num_objects=3, details=("inside",), shared=("num_inside",)),
        name="svrt23",
        rule="A big contour and two small ones; in class 0 both are on the same side of its outline.",
        class_1_means="one small contour is inside the big one and the other outside",
        identity="the three contours",
    ),
)

PROBLEMS: dict[int, Task] = dict(enumerate(_TASKS, start=1))
