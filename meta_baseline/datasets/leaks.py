"""Do the splits of a set share images, or shape identities? Then "held out" is not what it says.

Images are compared by a digest of their pixels: those that are analysed with a sample of every other split, taken in
runs because that is how files are read fast. So a shared image can be missed; that a split was copied cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from meta_baseline.datasets.finding import open_set
from meta_baseline.datasets.latents import read_identity_table
from meta_baseline.datasets.names import FoundSet
from meta_baseline.datasets.scanning import CHUNK_IMAGES, Scan, scan_images
from meta_baseline.datasets.sources import OpenedSet
from meta_baseline.errors import StimulusError
from meta_baseline.results import Check

MAX_COMPARED = 1024
"""Images of every other split that are looked at."""


def check_leaks(
    found: FoundSet, root: Path, opened: OpenedSet, scan: Scan, shape: tuple[int, int]
) -> tuple[Check, ...]:
    """Images and shape identities that other splits of the set share with the images that were scanned."""
    checks: list[Check] = []
    compared: list[str] = []
    for name in opened.splits:
        if name == opened.split:
            continue
        try:
            other, _ = open_set(found, root, name)
            theirs = scan_images(other.source, _choose_runs(len(other.source)), shape, measure=False)
        except StimulusError as error:
            checks.append(
                Check(code="data.leak", verdict="note", sentence=f"The {name} split was not compared: {error}")
            )
            continue
        compared.append(f"{len(theirs.positions)} of {len(other.source)} in {name}")
        num_shared = int(np.isin(scan.digests[~scan.is_blank], theirs.digests).sum())
        if num_shared:
            sentence = (
                f"{num_shared} of the {len(scan.positions)} images are also in the {name} split, of which "
                f"{compared[-1].removesuffix(f' in {name}')} were looked at: these splits are not held out."
            )
            checks.append(Check(code="data.leak", verdict="warn", sentence=sentence))
        checks.extend(_check_identities(opened, other, name))
    if compared and not checks:
        sentence = f"No image is shared with another split (compared with {', '.join(compared)})."
        checks.append(Check(code="data.leak", verdict="pass", sentence=sentence))
    return tuple(checks)


def _choose_runs(num_images: int) -> Int64[ndarray, " n"]:
    """All positions, or evenly spaced runs of them."""
    if num_images <= MAX_COMPARED:
        return np.arange(num_images)
    starts = np.linspace(0, num_images - CHUNK_IMAGES, MAX_COMPARED // CHUNK_IMAGES).astype(np.int64)
    return np.unique(np.concatenate([np.arange(start, start + CHUNK_IMAGES) for start in starts]))


def _check_identities(opened: OpenedSet, other: OpenedSet, name: str) -> Iterator[Check]:
    if not len(opened.source) or not len(other.source):
        return
    mine = read_identity_table(opened.source.locate(0))
    theirs = read_identity_table(other.source.locate(0))
    if mine is None or theirs is None or not _count_alike(mine, theirs):
        return
    shared = np.intersect1d(mine["identity"], theirs["identity"])
    if len(shared):
        sentence = (
            f"{len(shared)} of {mine['identity'].nunique()} shape identities are also in the {name} split: "
            "what is learned there about a shape is known here."
        )
        yield Check(code="data.identity_leak", verdict="warn", sentence=sentence)


def _count_alike(mine: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Whether an identity of one table is the same shape in the other.

    Our own generator numbers the identities of every split anew: then seeds and indices come again as well. One data
    set that was split afterwards has every index once.
    """
    keys = ["seed", "index"]
    if not all(key in frame for frame in (mine, theirs) for key in keys):
        return True
    return mine[keys].merge(theirs[keys], on=keys).empty
