"""What has to be said about a set of stimuli before anything is concluded from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from meta_baseline.datasets.names import FoundSet
from meta_baseline.datasets.scanning import Scan
from meta_baseline.datasets.sources import OpenedSet
from meta_baseline.results import Check
from meta_baseline.stimuli.registry import PROBLEMS, TASKS

_NUM_NAMED = 3
BLANK_SHARE = 0.5


def check_choice(
    opened: OpenedSet, title: str, labels: Int64[ndarray, " N"], max_images: int | None, others: Sequence[str]
) -> Check:
    """Which images were taken, how many of each class, and what else is there."""
    zeros, ones = int((labels == 0).sum()), int((labels == 1).sum())
    num_all = len(opened.source)
    drawn = f", drawn from {num_all}" if max_images is not None and len(labels) < num_all else ""
    which = "images that are in no split" if opened.split == "all" else f"the {opened.split} split"
    sentence = f"{title}: {which}; {zeros} images of class 0 and {ones} of class 1{drawn}."
    if len(opened.splits) > 1:
        sentence += f" Other splits there: {', '.join(name for name in opened.splits if name != opened.split)}."
    if others:
        listed = ", ".join(others[:10]) + (", ..." if len(others) > 10 else "")
        sentence += f" Others of the same problem or task were passed over: {listed}."
    imbalanced = max(zeros, ones) > 1.5 * min(zeros, ones)
    verdict = "warn" if imbalanced else "note" if others or opened.split == "train" else "pass"
    return Check(code="data.images", verdict=verdict, sentence=sentence)


def check_labels(found: FoundSet, opened: OpenedSet) -> Check:
    """What class 1 means here, and how the source says it: in every format that is known, 1 = the rule holds."""
    sentence = f"Class 1 is where {_describe_rule(found)}. Labels come from {opened.labels_from}."
    if not found.taken_as_asked:
        return Check(code="data.labels", verdict="pass", sentence=sentence)
    sentence += f" No name says which problem or task this is; it was taken for {found.title}, as asked."
    return Check(code="data.labels", verdict="note", sentence=sentence)


def check_unusable(opened: OpenedSet, scan: Scan) -> tuple[Check, ...]:
    """Images that could not be used, and labels that are none."""
    checks: list[Check] = []
    if scan.unusable:
        sentence = f"{len(scan.unusable)} images could not be used and were left out ({name_unusable(opened, scan)})."
        checks.append(Check(code="data.unusable", verdict="warn", sentence=sentence))
    others = opened.labels[~np.isin(opened.labels, (0, 1))]
    if len(others):
        sentence = (
            f"{len(others)} images of classes other than 0 and 1 were left out (labels: {describe_labels(others)})."
        )
        checks.append(Check(code="data.other_classes", verdict="warn", sentence=sentence))
    return tuple(checks)


def check_changed(scan: Scan) -> tuple[Check, ...]:
    """Images that were not what a network is fed, and what was done about it."""
    if not scan.changed:
        return ()
    listed = ", ".join(f"{number} with {change}" for change, number in sorted(scan.changed.items()))
    sentence = (
        f"{scan.changed.total()} of {len(scan.positions)} images were converted to RGB of 8 bits ({listed}); "
        "what is transparent was laid on white."
    )
    return (Check(code="data.converted", verdict="note", sentence=sentence),)


def check_blank(scan: Scan) -> tuple[Check, ...]:
    """Images that show nothing; where they are the majority, nothing can be concluded."""
    if not scan.is_blank.any():
        return ()
    share = float(scan.is_blank.mean())
    sentence = (
        f"{scan.is_blank.sum()} of {len(scan.is_blank)} images ({share:.1%}) are blank: one constant colour throughout."
    )
    if share >= BLANK_SHARE:
        sentence += (
            " Nothing that is said about them is about shapes. The published random_color episode files are blank "
            "like this: images that were 0..255 already were multiplied by 255 and clipped to white."
        )
    return (Check(code="data.blank", verdict="fail" if share >= BLANK_SHARE else "warn", sentence=sentence),)


def check_duplicates(scan: Scan, labels: Int64[ndarray, " N"]) -> tuple[Check, ...]:
    """Images with the same pixels as another one; worst where the two are of different classes. Blank ones aside."""
    seen = ~scan.is_blank
    _, place, counts = np.unique(scan.digests[seen], return_inverse=True, return_counts=True)
    num_repeated = int((counts - 1).sum())
    if not num_repeated:
        return ()
    ones = np.bincount(place, weights=labels[seen])
    num_contradicting = int(((ones > 0) & (ones < counts)).sum())
    sentence = f"{num_repeated} of {len(labels)} images repeat the pixels of another one"
    sentence += f", {num_contradicting} of them with the other class." if num_contradicting else "."
    few = num_repeated < 0.01 * len(labels) and not num_contradicting
    return (Check(code="data.duplicates", verdict="note" if few else "warn", sentence=sentence),)


def name_unusable(opened: OpenedSet, scan: Scan) -> str:
    """The first unusable images with their reasons."""
    named = "; ".join(f"{opened.source.name(position)}: {reason}" for position, reason in scan.unusable[:_NUM_NAMED])
    return f"{named}; ..." if len(scan.unusable) > _NUM_NAMED else named


def _describe_rule(found: FoundSet) -> str:
    known = TASKS.get(found.task or "") if found.problem_number is None else PROBLEMS.get(found.problem_number)
    if known is not None:
        return f"the rule holds: {known.class_1_means}"
    if found.problem_number is not None:
        return f"the rule of SVRT problem {found.problem_number} holds, which is not 'same' in every problem"
    return "the rule holds (same), class 0 where it does not (different)"


def describe_labels(labels: Float64[ndarray, " n"]) -> str:
    """The different labels, as few as can be read."""
    found = sorted({f"{label:g}" for label in labels[:100_000]})
    return ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
