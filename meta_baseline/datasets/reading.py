"""Stimuli on disk to labels, latents and groups, with a check for everything that was found on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.datasets.checks import (
    check_blank,
    check_changed,
    check_choice,
    check_duplicates,
    check_labels,
    check_unusable,
    describe_labels,
    name_unusable,
)
from meta_baseline.datasets.finding import find_set, open_set
from meta_baseline.datasets.latents import (
    fit_latents_table,
    number_identities,
    read_latents_table,
    take_stored_latents,
)
from meta_baseline.datasets.leaks import check_leaks
from meta_baseline.datasets.scanning import Scan, find_usual_shape, scan_images
from meta_baseline.datasets.sources import ImageSource, OpenedSet, PngFiles
from meta_baseline.errors import StimulusError, UsageError, in_one_line
from meta_baseline.results import Check
from meta_baseline.stimuli.folder import LATENTS_FILE

_SVRT_TASK = re.compile(r"svrt(\d{1,4})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Stimuli:
    """Images of one problem or task, all of one size.

    Attributes:
        paths: the file of every image; the same one for all where a file holds many.
        labels: int64 [N]; 1 = the rule holds, which is "same" in our own same-different stimuli and the PB tasks.
        latents: [N] rows of numbers, none missing; positions and sizes in px.
        groups: int64 [N]; shape identity where it is known, else the row number.
        name: what they are, in words, with the split.
        image_shape: height and width in px.
        checks: what was found while reading.
        source: where the pixels come from; None where every image is a PNG of its own.
        positions: int64 [N]; place of every image in ``source``.
    """

    paths: tuple[Path, ...]
    labels: Int64[ndarray, " N"]
    latents: pd.DataFrame
    groups: Int64[ndarray, " N"]
    name: str
    image_shape: tuple[int, int]
    checks: tuple[Check, ...]
    source: ImageSource | None = None
    positions: Int64[ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> tuple[ImageSource, Int64[ndarray, " N"]]:
        """Where the pixels come from, and the place of every image there."""
        source = PngFiles(self.paths) if self.source is None else self.source
        return source, np.arange(len(self.labels)) if self.positions is None else self.positions

    @property
    def image_names(self) -> tuple[str, ...]:
        """A path for every image; with its position where a file holds many."""
        if self.positions is None:
            return tuple(str(path) for path in self.paths)
        return tuple(f"{path}#{position}" for path, position in zip(self.paths, self.positions))


def read_stimuli(
    data_dir: str | Path,
    problem_number: int | None = None,
    *,
    task: str | None = None,
    split: str | None = None,
    max_images: int | None = None,
    seed: int = 0,
) -> Stimuli:
    """The images of a problem or task, in whatever format they lie there; see docs/formats.md.

    Args:
        data_dir: a folder that holds one or several sets, or is one; or a file that holds images.
        problem_number, task: which set; may be left out when there is only one. Task ``svrt7`` is problem 7.
        split: train, val, test or all; by default the first of test, val, all, train that is there.
        max_images: at most this many, half of each class, drawn with ``seed``.
        seed: of that draw.

    Raises:
        StimulusError: when there is nothing usable; the message names the folder or file and says what was found.
        UsageError: when several sets are there and none was asked for, or ``max_images`` is under 2.
    """
    if problem_number is not None and task is not None:
        raise UsageError(f"Both problem {problem_number} and task {task} were asked for. Choose one.")
    if max_images is not None and max_images < 2:
        raise UsageError(f"Cannot analyse {max_images} images. Choose 2 or more, half of each class.")
    if task is not None and (match := _SVRT_TASK.fullmatch(task)):
        problem_number, task = int(match[1]), None
    root = Path(data_dir)
    found, other_sets = find_set(root, problem_number, task)
    opened, other_files = open_set(found, root, split)
    known = np.flatnonzero(np.isin(opened.labels, (0, 1)))
    if not len(known):
        raise StimulusError(
            f"No images of class 0 or 1 in {opened.place}. Found classes: {describe_labels(opened.labels)}."
        )
    order = known if max_images is None else np.random.default_rng(seed).permutation(known)
    shape = find_usual_shape(opened.source, order[:1000].tolist())
    table, problem = (None, "") if found.files else read_latents_table(opened.source.locate(0))
    scan = _scan_share(opened, order, shape, max_images, measure=table is None and opened.latents is None)
    labels = _check_usable(opened, scan)
    if opened.latents is not None or found.files:
        given, problem = take_stored_latents(opened, scan.positions)
    elif table is not None:
        paths = [opened.source.locate(position) for position in scan.positions]
        given, problem = fit_latents_table(table, paths, labels)
    else:
        given = None
    measured = scan.measured
    if given is None and not len(measured.columns):
        measured = scan_images(opened.source, scan.positions, shape, measure=True).measured
    origin = LATENTS_FILE if not found.files else opened.place.name
    latents, groups, latent_check = _choose_latents(given, measured, origin, problem)
    checks = (
        check_choice(opened, found.title, labels, max_images, [*(one.place for one in other_sets), *other_files]),
        check_labels(found, opened),
        *opened.checks,
        *check_unusable(opened, scan),
        *check_changed(scan),
        *check_blank(scan),
        *check_duplicates(scan, labels),
        *check_leaks(found, root, opened, scan, shape),
        latent_check,
    )
    return Stimuli(
        paths=tuple(opened.source.locate(position) for position in scan.positions),
        labels=labels,
        latents=latents,
        groups=groups,
        name=in_one_line(found.title if opened.split == "all" else f"{found.title}, {opened.split} split"),
        image_shape=shape,
        checks=tuple(replace(check, sentence=in_one_line(check.sentence)) for check in checks),
        source=opened.source if found.files else None,
        positions=scan.positions if found.files else None,
    )


def _scan_share(
    opened: OpenedSet, order: Int64[ndarray, " M"], shape: tuple[int, int], max_images: int | None, *, measure: bool
) -> Scan:
    """Look at images in drawing order until each class has its share of usable ones, or there are no more."""
    if max_images is None:
        return scan_images(opened.source, order, shape, measure=measure)
    waiting = [order[opened.labels[order] == label] for label in (0, 1)]
    missing = [max_images // 2, max_images // 2]
    scans: list[Scan] = []
    while any(number and len(rest) for number, rest in zip(missing, waiting)):
        chosen = np.concatenate([rest[:number] for number, rest in zip(missing, waiting)])
        waiting = [rest[number:] for number, rest in zip(missing, waiting)]
        scans.append(scan_images(opened.source, chosen, shape, measure=measure))
        taken = opened.labels[scans[-1].positions]
        missing = [number - int((taken == label).sum()) for label, number in enumerate(missing)]
    return Scan.join(scans)


def _check_usable(opened: OpenedSet, scan: Scan) -> Int64[ndarray, " N"]:
    """Labels of the usable images.

    Raises:
        StimulusError: when there are none, or none of one class.
    """
    if not len(scan.positions):
        raise StimulusError(
            f"None of the {len(opened.source)} images in {opened.place} can be used ({name_unusable(opened, scan)}). "
            "PNG files of one size are needed, at most 4096 px a side."
        )
    labels = opened.labels[scan.positions].astype(np.int64)
    if len(set(labels.tolist())) == 1:
        raise StimulusError(
            f"All {len(labels)} usable images in {opened.place} ({opened.split} split) are of class {labels[0]}. "
            "Both classes are needed, for example sample_0_*.png and sample_1_*.png."
        )
    return labels


def _choose_latents(
    given: pd.DataFrame | None, measured: pd.DataFrame, origin: str, problem: str
) -> tuple[pd.DataFrame, Int64[ndarray, " N"], Check]:
    if given is not None:
        rows = np.arange(len(given), dtype=np.int64)
        groups = number_identities(given.pop("identity").to_numpy(np.float64)) if "identity" in given else rows
        num_identities = len(np.unique(groups))
        repeated = f"{num_identities} shape identities" if num_identities < len(rows) else "no shape repeats"
        sentence = f"Latents come from {origin}: {len(given.columns)} of them; {repeated}."
        return given, groups, Check(code="data.latents", verdict="pass", sentence=sentence)
    undefined = [str(name) for name in measured.columns[measured.isna().any()]]
    sentence = f"Latents were measured from pixels, because {problem}"
    sentence += f"; left out, as some images have fewer than two objects: {', '.join(undefined)}." if undefined else "."
    check = Check(code="data.latents", verdict="note", sentence=sentence)
    return measured.drop(columns=undefined), np.arange(len(measured), dtype=np.int64), check
