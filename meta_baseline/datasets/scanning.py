"""One look at every image: can it be used, is it blank, what are its pixels' digest and its measured latents.

A few dozen images are in memory at a time; only what was found stays. One thread decodes: an image of 128 px takes a
tenth of a millisecond, and threads that hand Python's lock to and fro that often are slower together than one alone.
Where another process does the work, as for HDF5, it reads ahead while this one looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64, UInt64
from numpy import ndarray

from meta_baseline.datasets.images import UnreadableImage
from meta_baseline.datasets.measured import measure_latents
from meta_baseline.datasets.sources import ImageSource, Pixels

CHUNK_IMAGES = 64
_Seen = tuple[Pixels | UnreadableImage, str]
_NUM_FOR_SHAPE = 25


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found in some images of a source, in the order in which they were asked for.

    Attributes:
        positions: of the usable images, in their source.
        digests: equal for equal pixels, within one run of Python: 64 bits of its keyed hash of bytes (SipHash).
        is_blank: True for an image of one colour throughout.
        measured: latents measured from pixels, one row per usable image; no columns when they were not asked for.
        unusable: positions of the others, and the reason.
        changed: number of usable images by what was changed on the way to RGB of 8 bits.
    """

    positions: Int64[ndarray, " N"]
    digests: UInt64[ndarray, " N"]
    is_blank: Bool[ndarray, " N"]
    measured: pd.DataFrame
    unusable: tuple[tuple[int, str], ...]
    changed: Counter[str]

    @staticmethod
    def join(scans: Sequence[Scan]) -> Scan:
        """Several scans of one source as one, by position."""
        positions = np.concatenate([np.zeros(0, np.int64), *(scan.positions for scan in scans)])
        order = np.argsort(positions, kind="stable")
        tables = [scan.measured for scan in scans if len(scan.measured)]
        measured = pd.concat(tables, ignore_index=True).iloc[order] if tables else pd.DataFrame(index=range(len(order)))
        return Scan(
            positions=positions[order],
            digests=np.concatenate([np.zeros(0, np.uint64), *(scan.digests for scan in scans)])[order],
            is_blank=np.concatenate([np.zeros(0, bool), *(scan.is_blank for scan in scans)])[order],
            measured=measured.reset_index(drop=True),
            unusable=tuple(sorted(problem for scan in scans for problem in scan.unusable)),
            changed=sum((scan.changed for scan in scans), Counter()),
        )


def scan_images(
    source: ImageSource, positions: Sequence[int] | ndarray, shape: tuple[int, int], *, measure: bool
) -> Scan:
    """Look at the images at these positions, in ascending order.

    Args:
        shape: height and width that images have to have.
        measure: measure latents as well.
    """
    ordered = np.sort(np.asarray(positions, dtype=np.int64))
    chunks = [ordered[start : start + CHUNK_IMAGES].tolist() for start in range(0, len(ordered), CHUNK_IMAGES)]
    images = _look_ahead(source, chunks) if not source.decodes else map(source.look, chunks)
    return Scan.join([_look(chunk, some, shape, measure) for chunk, some in zip(chunks, images)])


def find_usual_shape(source: ImageSource, positions: Sequence[int]) -> tuple[int, int]:
    """Height and width of most of the first readable images; (0, 0) when there is none."""
    shapes: Counter[tuple[int, int]] = Counter()
    for start in range(0, len(positions), _NUM_FOR_SHAPE):
        for image in source.read(positions[start : start + _NUM_FOR_SHAPE]):
            if not isinstance(image, UnreadableImage) and shapes.total() < _NUM_FOR_SHAPE:
                shapes[image.shape[0], image.shape[1]] += 1
        if shapes.total() == _NUM_FOR_SHAPE:
            break
    return max(shapes, key=lambda shape: shapes[shape], default=(0, 0))


def _look_ahead(source: ImageSource, chunks: Sequence[list[int]]) -> Iterator[list[_Seen]]:
    """The chunks in order, each one read while the one before it is looked at."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(source.look, chunks[0]) if chunks else None
        for following in [*chunks[1:], None]:
            if coming is None:
                return
            images = coming.result()
            coming = None if following is None else pool.submit(source.look, following)
            yield images


def _look(positions: list[int], images: list[_Seen], shape: tuple[int, int], measure: bool) -> Scan:
    usable: list[int] = []
    digests: list[int] = []
    blank: list[bool] = []
    measured: list[dict[str, float | int]] = []
    unusable: list[tuple[int, str]] = []
    changed: Counter[str] = Counter()
    for position, (image, change) in zip(positions, images):
        if isinstance(image, UnreadableImage) or image.shape[:2] != shape:
            unusable.append((position, _describe_problem(image, shape)))
            continue
        usable.append(position)
        if change:
            changed[change] += 1
        digests.append(hash(image.tobytes()) & (2**64 - 1))
        values = image.reshape(-1)
        blank.append(bool((values[3:] == values[:-3]).all()))
        if measure:
            measured.append(measure_latents(image))
    return Scan(
        positions=np.array(usable, np.int64),
        digests=np.array(digests, np.uint64),
        is_blank=np.array(blank, bool),
        measured=pd.DataFrame(measured),
        unusable=tuple(unusable),
        changed=changed,
    )


def _describe_problem(image: Pixels | UnreadableImage, shape: tuple[int, int]) -> str:
    if isinstance(image, UnreadableImage):
        return str(image)
    return f"{image.shape[1]} x {image.shape[0]} px, not {shape[1]} x {shape[0]}"
