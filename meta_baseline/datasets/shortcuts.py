"""How far one gets without comparing shapes: what single numbers of an image give away about its class.

A task whose classes differ in the amount of ink or in the number of components is *leaky*: a network can solve it
without the relation that the task is about. Each feature here is a number of the whole image. Two of them, the
largest and the smallest component, are numbers of one object each; put together they compare sizes, though never
shapes, so what is reached with them is told apart from what is reached without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from meta_baseline.datasets.auc import AucEstimate, estimate_auc, from_error
from meta_baseline.datasets.images import UnreadableImage
from meta_baseline.datasets.measured import Components, find_components
from meta_baseline.datasets.reading import Stimuli
from meta_baseline.results import Check
from meta_baseline.statistics import adjust_holm

LEAKY_BEYOND = 0.1
"""Distance of a single feature's AUC from .5 that counts as a leak, if it is not chance."""
LEAKY_TOGETHER_BEYOND = 0.2
"""The same for trees on several features, which find some trace of the class in most tasks."""
SIGNIFICANT_BELOW = 0.05
FEWEST_PER_CLASS = 50
"""With fewer images of a class an AUC of .6 is within what chance does."""

WHOLE_IMAGE_FEATURES = (
    "ink", "mean_grey", "num_components", "margin_left", "margin_top", "margin_right", "margin_bottom",
)  # fmt: skip
FEATURES = (*WHOLE_IMAGE_FEATURES, "largest_component", "smallest_component")

_MOST_FROM_DISK = 2000
_IMAGES_AT_A_TIME = 64
_NUM_FOLDS = 5
_MOST_FOR_COMBINATION = 4000
_TOGETHER = "whole image, together"
_WITH_SIZES = "all, with component sizes"


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """What one feature, or several together, give away.

    Attributes:
        feature: its name.
        auc: as it is.
        adjusted_p_value: after Holm over the single features; of a combination, its own.
        limit: distance from .5 beyond which the AUC counts as a leak.
    """

    feature: str
    auc: AucEstimate
    adjusted_p_value: float
    limit: float

    @property
    def is_leaky(self) -> bool:
        """Further from .5 than the limit, and not by chance."""
        return abs(self.auc.auc - 0.5) > self.limit and self.adjusted_p_value < SIGNIFICANT_BELOW

    @property
    def in_words(self) -> str:
        """Name, AUC and interval."""
        return f"{self.feature} (AUC {self.auc.auc:.2f}, 95 % interval {self.auc.low:.2f} to {self.auc.high:.2f})"


@dataclass(frozen=True, kw_only=True)
class ShortcutAudit:
    """All features of one data set.

    Attributes:
        single: one for each feature, in the order of ``FEATURES``.
        together: a boosted tree on the features of the whole image.
        with_sizes: the same with the sizes of the largest and the smallest component.
        num_images: how many images went in.
    """

    single: tuple[Shortcut, ...]
    together: Shortcut
    with_sizes: Shortcut
    num_images: int


def measure_shortcuts(image: UInt8[ndarray, "H W 3"] | UInt8[ndarray, "H W"]) -> dict[str, float]:
    """Every feature of one image; see ``describe_shortcuts``."""
    return describe_shortcuts(find_components(image))


def describe_shortcuts(components: Components) -> dict[str, float]:
    """Every feature of one image whose components have been found.

    Returns:
        ink (px), mean_grey (0 to 255), num_components, margins (px of paper between the ink and each border; the side
        of the image where there is no ink), largest_component and smallest_component (px of ink).
    """
    boxes, areas = components.boxes, components.areas
    height, width = components.grey.shape
    right, bottom = (boxes[:, :2] + boxes[:, 2:4]).max(axis=0, initial=0).tolist()
    left, top = (boxes[:, 0].min(initial=width), boxes[:, 1].min(initial=height))
    return {
        "ink": float(areas.sum()),
        "mean_grey": float(components.grey.mean()),
        "num_components": float(len(areas)),
        "margin_left": float(left),
        "margin_top": float(top),
        "margin_right": float(width - right),
        "margin_bottom": float(height - bottom),
        "largest_component": float(areas.max(initial=0)),
        "smallest_component": float(areas.min()) if len(areas) else 0.0,
    }


def audit_shortcuts(
    features: pd.DataFrame | Sequence[dict[str, float]],
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"] | None = None,
) -> ShortcutAudit | None:
    """AUC of every feature and of all together; None with fewer than ``FEWEST_PER_CLASS`` images of a class.

    Args:
        features: [N] rows as ``describe_shortcuts`` gives them.
        labels: 0 or 1.
        groups: shape identities, where they repeat.
    """
    frame = pd.DataFrame(features)
    labels = np.asarray(labels)
    if min(int((labels == 0).sum()), int((labels == 1).sum())) < FEWEST_PER_CLASS:
        return None
    estimates = [estimate_auc(frame[name].to_numpy(dtype=np.float64), labels, groups) for name in FEATURES]
    adjusted = adjust_holm(np.array([one.p_value for one in estimates])).tolist()
    single = tuple(
        Shortcut(feature=name, auc=one, adjusted_p_value=p, limit=LEAKY_BEYOND)
        for name, one, p in zip(FEATURES, estimates, adjusted)
    )
    return ShortcutAudit(
        single=single,
        together=_combine(_TOGETHER, frame[list(WHOLE_IMAGE_FEATURES)].to_numpy(), labels, groups),
        with_sizes=_combine(_WITH_SIZES, frame[list(FEATURES)].to_numpy(), labels, groups),
        num_images=len(labels),
    )


def check_shortcuts(
    features: pd.DataFrame | Sequence[dict[str, float]],
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"] | None = None,
) -> tuple[Check, ...]:
    """The audit as checks for the report; none where there are too few images to say anything."""
    audit = audit_shortcuts(features, labels, groups)
    return () if audit is None else describe_audit(audit)


def check_stimuli_shortcuts(stimuli: Stimuli) -> tuple[Check, ...]:
    """The checks of ``check_shortcuts`` for images on disk, at most 2000 of them, drawn at random."""
    source, positions = stimuli.images
    chosen = np.sort(np.random.default_rng(0).permutation(len(stimuli.labels))[:_MOST_FROM_DISK])
    rows: list[dict[str, float]] = []
    kept: list[int] = []
    for start in range(0, len(chosen), _IMAGES_AT_A_TIME):
        some = chosen[start : start + _IMAGES_AT_A_TIME]
        for number, image in zip(some.tolist(), source.read(positions[some].tolist())):
            if not isinstance(image, UnreadableImage):
                rows.append(measure_shortcuts(image))
                kept.append(number)
    return check_shortcuts(rows, stimuli.labels[kept], stimuli.groups[kept])


def describe_audit(audit: ShortcutAudit) -> tuple[Check, ...]:
    """Two checks: of single features (``data.shortcuts``), and of all together (``data.shortcuts_together``)."""
    leaky = sorted((one for one in audit.single if one.is_leaky), key=_distance, reverse=True)
    if leaky:
        sentence = (
            f"The classes are leaky: they can be told apart without comparing any two shapes, by "
            f"{', '.join(one.in_words for one in leaky)}. A network may have learned that instead of the relation."
        )
        single = Check(code="data.shortcuts", verdict="warn", sentence=sentence)
    else:
        largest = max(audit.single, key=_distance)
        sentence = (
            f"No single feature tells the classes apart by more than {LEAKY_BEYOND} in AUC; the most is "
            f"{largest.in_words}. Tested: {', '.join(FEATURES)}."
        )
        single = Check(code="data.shortcuts", verdict="pass", sentence=sentence)
    together, with_sizes = audit.together, audit.with_sizes
    sentence = (
        f"Boosted trees on ink, number of components and margins, which compare nothing, reach an AUC of "
        f"{together.auc.auc:.2f} ({together.auc.low:.2f} to {together.auc.high:.2f}, five-fold cross-validation)"
    )
    by_size = with_sizes.is_leaky and with_sizes.auc.low > together.auc.high
    if by_size:
        sentence += (
            f"; with the sizes of the largest and the smallest component they reach {with_sizes.auc.auc:.2f} "
            f"({with_sizes.auc.low:.2f} to {with_sizes.auc.high:.2f}), so far one gets by comparing sizes alone"
        )
    verdict = "warn" if together.is_leaky else "note" if by_size else "pass"
    return single, Check(code="data.shortcuts_together", verdict=verdict, sentence=f"{sentence}.")


def tabulate_shortcuts(audit: ShortcutAudit) -> pd.DataFrame:
    """One row for each feature and combination: feature, auc, low, high, p_value, adjusted_p_value, leaky."""
    return pd.DataFrame(
        [
            {
                "feature": one.feature,
                "auc": one.auc.auc,
                "low": one.auc.low,
                "high": one.auc.high,
                "p_value": one.auc.p_value,
                "adjusted_p_value": one.adjusted_p_value,
                "leaky": one.is_leaky,
            }
            for one in (*audit.single, audit.together, audit.with_sizes)
        ]
    )


def _combine(
    name: str, features: Float[ndarray, "N F"], labels: Int[ndarray, " N"], groups: Int[ndarray, " N"] | None
) -> Shortcut:
    """Mean over folds of the AUC of trees that were fitted on the others.

    Its variance is that of the folds (LeDell, Petersen & van der Laan 2015, doi:10.1214/15-EJS1035), widened because
    trees that share images of their fits err together (Nadeau & Bengio 2003, doi:10.1023/A:1024068626366, eq. 10
    with one fold held out and the others fitted); without that, shuffled labels passed for predictable in 12 % of
    sets. Groups stay in one fold; where too few leave no fold to judge by, the interval is 0 to 1.
    """
    # scikit-learn takes a second to import, which reading images need not wait for.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(labels))[:_MOST_FOR_COMBINATION])
    features, labels = features[chosen], labels[chosen]
    groups = np.arange(len(labels)) if groups is None else groups[chosen]
    folds: list[AucEstimate] = []
    num_folds = min(_NUM_FOLDS, len(np.unique(groups)))
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0) if num_folds > 1 else None
    for fitted, held_out in splitter.split(features, labels, groups) if splitter else ():
        groups_by_class = [len(np.unique(groups[held_out][labels[held_out] == label])) for label in (0, 1)]
        if len(np.unique(labels[fitted])) < 2 or min(groups_by_class) < 2:
            continue
        trees = HistGradientBoostingClassifier(
            max_iter=40,
            max_leaf_nodes=8,
            # Coarse bins: the ink of an exact copy is an even number, which nothing but a count to the pixel can see.
            max_bins=16,
            early_stopping=False,  # pyright: ignore[reportArgumentType]
            random_state=0,
        )
        trees.fit(features[fitted], labels[fitted])
        scores = trees.decision_function(features[held_out])
        folds.append(estimate_auc(scores, labels[held_out], groups[held_out]))
    if not folds:
        return Shortcut(feature=name, auc=from_error(0.5, inf), adjusted_p_value=1.0, limit=LEAKY_TOGETHER_BEYOND)
    auc = float(np.mean([fold.auc for fold in folds]))
    variance = float(np.sum([fold.error**2 for fold in folds])) / len(folds) ** 2
    estimate = from_error(auc, float(np.sqrt(variance * (1 + len(folds) / (num_folds - 1)))))
    return Shortcut(feature=name, auc=estimate, adjusted_p_value=estimate.p_value, limit=LEAKY_TOGETHER_BEYOND)


def _distance(shortcut: Shortcut) -> float:
    return abs(shortcut.auc.auc - 0.5)
