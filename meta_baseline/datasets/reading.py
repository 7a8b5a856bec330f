"""A folder of stimuli to paths, labels, latents and groups, with a check for everything that was found on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.datasets.folders import ImageFile, Listing, find_image_set, list_images
from meta_baseline.datasets.images import UnreadableImage, read_image
from meta_baseline.datasets.latents import read_latents_file
from meta_baseline.datasets.measured import measure_latents
from meta_baseline.errors import StimulusError, UsageError
from meta_baseline.results import Check
from meta_baseline.stimuli.folder import LATENTS_FILE

_NUM_NAMED = 3
_NUM_FOR_SHAPE = 25


@dataclass(frozen=True, kw_only=True)
class Stimuli:
    """Images of one problem or task, all of one size.

    Attributes:
        paths: one PNG per image.
        labels: int64 [N]; class 0 or 1, in our own stimuli and the PB tasks 1 = same.
        latents: [N] rows of numbers, none missing; positions and sizes in px.
        groups: int64 [N]; shape identity where it is known, else the row number.
        name: what they are, in words, with the split.
        image_shape: height and width in px.
        checks: what was found while reading.
    """

    paths: tuple[Path, ...]
    labels: Int64[ndarray, " N"]
    latents: pd.DataFrame
    groups: Int64[ndarray, " N"]
    name: str
    image_shape: tuple[int, int]
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """What decoding every chosen image gave."""

    files: list[ImageFile]
    measured: list[dict[str, float | int]]
    image_shape: tuple[int, int]
    num_blank: int
    unusable: list[tuple[Path, str]]


def read_stimuli(
    data_dir: str | Path,
    problem_number: int | None = None,
    *,
    task: str | None = None,
    split: str | None = None,
    max_images: int | None = None,
    seed: int = 0,
) -> Stimuli:
    """The images of a problem or task in a folder, in every layout that ``folders`` describes.

    Args:
        data_dir: a folder that holds one or several sets, or is one.
        problem_number, task: which set; may be left out when there is only one.
        split: train, val, test or all; by default the first of test, val, all, train that is there.
        max_images: at most this many, half of each class, drawn with ``seed``.
        seed: of that draw.

    Raises:
        StimulusError: when there is nothing usable; the message names the folder and says what was found.
        UsageError: when several sets are there and none was asked for, or ``max_images`` is under 2.
    """
    if problem_number is not None and task is not None:
        raise UsageError(f"Both problem {problem_number} and task {task} were asked for. Choose one.")
    if max_images is not None and max_images < 2:
        raise UsageError(f"Cannot analyse {max_images} images. Choose 2 or more, half of each class.")
    root = Path(data_dir)
    image_set, others = find_image_set(root, problem_number, task)
    listing = list_images(image_set, root, split)
    folder = image_set.folder
    known = [file for file in listing.files if file.label in (0, 1)]
    if not known:
        classes = sorted({file.label for file in listing.files})
        raise StimulusError(f"No images of class 0 or 1 in {folder}. Found classes: {', '.join(map(str, classes))}.")
    scan = _scan_images(_in_drawing_order(known, seed, max_images), max_images)
    if not scan.files:
        named = "; ".join(f"{path.name}: {reason}" for path, reason in scan.unusable[:_NUM_NAMED])
        raise StimulusError(f"None of the {len(listing.files)} images in {folder} can be used ({named}).")
    labels = np.array([file.label for file in scan.files], dtype=np.int64)
    if len(set(labels.tolist())) == 1:
        raise StimulusError(
            f"All {len(labels)} usable images in {folder} ({listing.split} split) are of class {labels[0]}. "
            "Both classes are needed: sample_0_*.png and sample_1_*.png."
        )
    paths = tuple(file.path for file in scan.files)
    latents, groups, latent_checks = _choose_latents(paths, labels, scan.measured)
    checks = (
        _check_choice(listing, image_set.title, labels, max_images, [other.folder.name for other in others]),
        *_check_files(listing, scan, num_of_other_classes=len(listing.files) - len(known)),
        *latent_checks,
    )
    return Stimuli(
        paths=paths,
        labels=labels,
        latents=latents,
        groups=groups,
        name=image_set.title if listing.split == "all" else f"{image_set.title}, {listing.split} split",
        image_shape=scan.image_shape,
        checks=checks,
    )


def _in_drawing_order(files: list[ImageFile], seed: int, max_images: int | None) -> list[ImageFile]:
    if max_images is None:
        return files
    order = np.random.default_rng(seed).permutation(len(files))
    return [files[position] for position in order]


def _scan_images(files: list[ImageFile], max_images: int | None) -> _Scan:
    """Decode images until each class has its share; all have to be of the size that is usual among the first ones."""
    share = len(files) if max_images is None else max_images // 2
    taken: Counter[int] = Counter()
    kept: list[tuple[ImageFile, dict[str, float | int]]] = []
    unusable: list[tuple[Path, str]] = []
    shape = _usual_shape(files)
    num_blank = 0
    for file in files:
        if taken[file.label] >= share:
            continue
        try:
            image = read_image(file.path)
        except UnreadableImage as error:
            unusable.append((file.path, str(error)))
            continue
        height, width = image.shape[:2]
        if (height, width) != shape:
            unusable.append((file.path, f"{width} x {height} px, not {shape[1]} x {shape[0]}"))
            continue
        latents = measure_latents(image)
        num_blank += latents["ink"] == 0
        taken[file.label] += 1
        kept.append((file, latents))
    kept.sort(key=lambda pair: (pair[0].number, pair[0].label, pair[0].path))
    return _Scan(
        files=[file for file, _ in kept],
        measured=[latents for _, latents in kept],
        image_shape=shape,
        num_blank=num_blank,
        unusable=unusable,
    )


def _usual_shape(files: list[ImageFile]) -> tuple[int, int]:
    shapes: Counter[tuple[int, int]] = Counter()
    for file in files:
        try:
            height, width = read_image(file.path).shape[:2]
        except UnreadableImage:
            continue
        shapes[height, width] += 1
        if shapes.total() == _NUM_FOR_SHAPE:
            break
    return max(shapes, key=lambda shape: shapes[shape], default=(0, 0))


def _choose_latents(
    paths: tuple[Path, ...], labels: Int64[ndarray, " N"], measured: list[dict[str, float | int]]
) -> tuple[pd.DataFrame, Int64[ndarray, " N"], tuple[Check, ...]]:
    rows = np.arange(len(paths), dtype=np.int64)
    given, problem = read_latents_file(paths, labels)
    if given is not None:
        groups = given.pop("identity").astype(np.int64).to_numpy() if "identity" in given else rows
        num_identities = len(np.unique(groups))
        repeated = f"{num_identities} shape identities" if num_identities < len(rows) else "no shape repeats"
        sentence = f"Latents come from {LATENTS_FILE}: {len(given.columns)} of them; {repeated}."
        return given, groups, (Check(code="data.latents", verdict="pass", sentence=sentence),)
    frame = pd.DataFrame(measured)
    undefined = [str(name) for name in frame.columns[frame.isna().any()]]
    sentence = f"Latents were measured from pixels, because {problem}"
    sentence += f"; left out, as some images have fewer than two objects: {', '.join(undefined)}." if undefined else "."
    return frame.drop(columns=undefined), rows, (Check(code="data.latents", verdict="note", sentence=sentence),)


def _check_choice(
    listing: Listing, title: str, labels: Int64[ndarray, " N"], max_images: int | None, others: list[str]
) -> Check:
    zeros, ones = int((labels == 0).sum()), int((labels == 1).sum())
    drawn = f", drawn from {len(listing.files)}" if max_images is not None and len(labels) < len(listing.files) else ""
    which = "images that are in no split" if listing.split == "all" else f"the {listing.split} split"
    sentence = f"{title}: {which}; {zeros} images of class 0 and {ones} of class 1{drawn}."
    if len(listing.splits) > 1:
        sentence += f" Other splits there: {', '.join(name for name in listing.splits if name != listing.split)}."
    if others:
        sentence += f" Other folders of the same problem were passed over: {', '.join(others)}."
    imbalanced = max(zeros, ones) > 1.5 * min(zeros, ones)
    verdict = "warn" if imbalanced else "note" if others or listing.split == "train" else "pass"
    return Check(code="data.images", verdict=verdict, sentence=sentence)


def _check_files(listing: Listing, scan: _Scan, *, num_of_other_classes: int) -> tuple[Check, ...]:
    checks: list[Check] = []
    if scan.unusable:
        named = "; ".join(f"{path.name}: {reason}" for path, reason in scan.unusable[:_NUM_NAMED])
        more = "; ..." if len(scan.unusable) > _NUM_NAMED else ""
        sentence = f"{len(scan.unusable)} image files could not be used and were left out ({named}{more})."
        checks.append(Check(code="data.unusable", verdict="warn", sentence=sentence))
    if scan.num_blank:
        share = scan.num_blank / len(scan.files)
        sentence = f"{scan.num_blank} of {len(scan.files)} images ({share:.1%}) are blank: one constant grey level."
        if share >= 0.5:
            sentence += " Nothing that is said about them is about shapes."
        checks.append(Check(code="data.blank", verdict="fail" if share >= 0.5 else "warn", sentence=sentence))
    if listing.contradicting:
        sentence = (
            f"{len(listing.contradicting)} image files were left out, because their name says another class than "
            f"their folder (first: {listing.contradicting[0].name})."
        )
        checks.append(Check(code="data.contradicting", verdict="warn", sentence=sentence))
    if num_of_other_classes:
        sentence = f"{num_of_other_classes} images of classes other than 0 and 1 were left out."
        checks.append(Check(code="data.other_classes", verdict="warn", sentence=sentence))
    if listing.skipped_links:
        sentence = (
            f"{len(listing.skipped_links)} links lead out of the data folder and were not followed "
            f"(first: {listing.skipped_links[0].name})."
        )
        checks.append(Check(code="data.links", verdict="note", sentence=sentence))
    return tuple(checks)
