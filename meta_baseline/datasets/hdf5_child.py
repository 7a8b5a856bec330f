"""The process in which HDF5 is parsed: a file that nobody vouches for is opened by no other.

``hdf5_process`` runs this file as a script with the path of one HDF5 file. Once that file is open the process may open
no other one, write none, and use no more than ``MAX_MEMORY`` bytes; its parent ends it when it takes too long. It
answers lines of JSON on stdin: ``{"describe": true}`` and ``{"read": [positions]}``.

Only NumPy and h5py are imported, so that it starts in a fraction of a second.
"""

from __future__ import annotations

import bisect
import codecs
import json
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import numpy as np

MAX_MEMORY = 2 * 2**30
MAX_IMAGES = 2_000_000
MAX_SIDE = 4096
MAX_CHUNK_BYTES = 256 * 2**20
MAX_LATENTS = 256
MAX_LATENT_VALUES = 2**25
MAX_COMPRESSION = 1100
"""Deflate makes nothing smaller than a 1032nd; what declares more than its bytes can hold is no data."""

_CHUNK_CACHE_BYTES = 128 * 2**20
_PART_BYTES = 32 * 2**20
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_EPISODE = re.compile(r"episode_\d{1,9}", re.ASCII)
_CLASS = re.compile(r"class_\d{1,3}", re.ASCII)
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError, OverflowError)
"""What h5py raises on a file that is damaged."""


class Refused(Exception):
    """The file holds something that is not read; the message says what."""


@dataclass
class Block:
    """Images in one or two data sets ("parts") of which every episode has a row.

    ``counts`` are the images per episode in each part and ``shapes`` theirs; without ``num_episodes`` the parts have no
    axis for episodes.
    """

    images: list[h5py.Dataset]
    labels: list[h5py.Dataset]
    counts: list[int]
    num_episodes: int | None
    shapes: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return sum(self.counts) * (1 if self.num_episodes is None else self.num_episodes)

    def flatten(self, parts: list[np.ndarray]) -> np.ndarray:
        """Values of the parts, episode by episode, support before query: [images, ...]."""
        if self.num_episodes is None:
            return np.concatenate(parts)
        joined = np.concatenate(parts, axis=1)
        return joined.reshape(-1, *joined.shape[2:])


def main(arguments: list[str]) -> None:
    """Open the file, give up every right that is no longer needed, and answer."""
    answers = sys.stdout.buffer
    _limit(resource.RLIMIT_AS, MAX_MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    try:
        file = h5py.File(arguments[1], "r", locking=False, rdcc_nbytes=_CHUNK_CACHE_BYTES, rdcc_nslots=20011)
        _import_late_parts()
        _limit(resource.RLIMIT_NOFILE, 0)
        layout, blocks = find_blocks(file)
    except Refused as refusal:
        _answer(answers, {"refused": str(refusal)})
        return
    except _DAMAGE as error:
        _answer(answers, {"refused": _in_one_line(error)})
        return
    starts = np.cumsum([0, *map(len, blocks)]).tolist()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "read" in request:
            _answer_images(answers, blocks, starts, request["read"])
            continue
        try:
            _answer_description(answers, file, layout, blocks)
        except Refused as refusal:
            _answer(answers, {"refused": str(refusal)})
        except _DAMAGE as error:
            _answer(answers, {"refused": _in_one_line(error)})


def find_blocks(file: h5py.File) -> tuple[str, list[Block]]:
    """The layout of a file and where its images are.

    Raises:
        Refused: when it is of no known layout, or of one that could lead out of the file.
    """
    if len(file) > MAX_IMAGES:
        raise Refused(f"it holds {len(file)} groups, more than {MAX_IMAGES}")
    names = list(file)
    if "support_images" in names:
        layout, blocks = "episodes", [_read_episodes(file, "", has_axis=True)]
    elif episodes := sorted(name for name in names if _EPISODE.fullmatch(name)):
        layout, blocks = "groups", [_read_episodes(file, f"{name}/", has_axis=False) for name in episodes]
    elif "images" in names:
        layout, blocks = "images", [_read_block(file, ["images"], ["labels"], has_axis=False)]
    elif any(_has(file, f"{name}/nb_shapes") for name in names if _CLASS.fullmatch(name)):
        raise Refused("it is a symbolic data set of pySVRT, shapes and relations without images")
    else:
        found = ", ".join(repr(name[:40]) for name in names[:5]) or "nothing"
        raise Refused(f"it holds neither episodes (support_images, query_images) nor images; found: {found}")
    if sum(map(len, blocks)) > MAX_IMAGES:
        raise Refused(f"it declares {sum(map(len, blocks))} images, more than {MAX_IMAGES}")
    return layout, blocks


def _read_episodes(file: h5py.File, prefix: str, *, has_axis: bool) -> Block:
    parts = [part for part in ("support", "query") if part == "support" or _has(file, f"{prefix}query_images")]
    images = [f"{prefix}{part}_images" for part in parts]
    return _read_block(file, images, [f"{prefix}{part}_labels" for part in parts], has_axis=has_axis)


def _read_block(file: h5py.File, images: list[str], labels: list[str], *, has_axis: bool) -> Block:
    pixels = [_open(file, name) for name in images]
    shapes: list[tuple[int, int, int]] = []
    for name, data in zip(images, pixels):
        if data.dtype != np.uint8:
            raise Refused(f"{name} has dtype {data.dtype}, not uint8")
        if data.ndim - has_axis == 3:  # grey
            height, width, channels = *data.shape[-2:], 1
        elif data.ndim - has_axis == 4:
            height, width, channels = data.shape[-3:]
        else:
            raise Refused(f"{name} has shape {data.shape}, which is not one of images")
        if channels not in (1, 3, 4) or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise Refused(
                f"{name} has shape {data.shape}; images are at most {MAX_SIDE} px a side, with 1, 3 or 4 channels last"
            )
        shapes.append((height, width, channels))
    depth = 2 if has_axis else 1
    if has_axis and len({data.shape[0] for data in pixels}) > 1:
        raise Refused(f"{images[0]} and {images[1]} hold different numbers of episodes")
    answers = [_open(file, name) for name in labels]
    for name, data, answer in zip(labels, pixels, answers):
        if answer.dtype.kind not in "iufb":
            raise Refused(f"{name} has dtype {answer.dtype}, not a number")
        if answer.shape[:depth] != data.shape[:depth] or any(size != 1 for size in answer.shape[depth:]):
            raise Refused(f"{name} has shape {answer.shape}, which does not fit images of shape {data.shape}")
    return Block(
        images=pixels,
        labels=answers,
        counts=[data.shape[depth - 1] for data in pixels],
        num_episodes=pixels[0].shape[0] if has_axis else None,
        shapes=shapes,
    )


def _open(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set of this name, reached by hard links and stored in the file itself."""
    if not _has(file, name):
        raise Refused(f"{name} is missing")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise Refused(f"{name} is no data set")
    if data.shape is None:
        raise Refused(f"{name} is empty")
    creation = data.id.get_create_plist()
    if data.is_virtual:
        raise Refused(f"{name} is a virtual data set, which reads other files")
    if creation.get_external_count():
        raise Refused(f"{name} is stored in another file")
    filters = [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]
    if unknown := [code for code in filters if code not in _FILTERS]:
        raise Refused(f"{name} uses filter {unknown[0]}; known are {', '.join(_FILTERS.values())}")
    if data.chunks and int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize > MAX_CHUNK_BYTES:
        raise Refused(f"{name} has chunks of more than {MAX_CHUNK_BYTES // 2**20} MiB")
    declared = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
    if declared > data.id.get_storage_size() * MAX_COMPRESSION:
        raise Refused(f"{name} declares shape {data.shape} but holds {data.id.get_storage_size()} bytes")
    return data


def _has(file: h5py.File, name: str) -> bool:
    """True when the name is there; every step of the way has to be a hard link."""
    group: Any = file
    for step in name.split("/"):
        if not isinstance(group, h5py.Group):
            return False
        link = group.get(step, getlink=True)
        if link is None:
            return False
        if not isinstance(link, h5py.HardLink):
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            raise Refused(f"{name} is {kind}, which is not followed")
        group = group[step]
    return True


def _answer_description(answers: BinaryIO, file: h5py.File, layout: str, blocks: list[Block]) -> None:
    sizes = [_repeat_shapes(block) for block in blocks]
    labels = [block.flatten([_as_column(data, block) for data in block.labels]).astype("<f8") for block in blocks]
    names, latents = _read_latents(file, blocks[0]) if layout == "episodes" else ([], np.zeros((0, 0), "<f8"))
    counts = sorted({tuple(block.counts) for block in blocks})[:8]
    header = {"layout": layout, "count": sum(map(len, blocks)), "counts": counts, "latents": names}
    _answer(answers, header, [np.concatenate(sizes), np.concatenate(labels), latents])


def _repeat_shapes(block: Block) -> np.ndarray:
    """int32 [images, 3]: height, width and channels of every image."""
    episode = np.repeat(np.array(block.shapes, "<i4"), block.counts, axis=0)
    return np.tile(episode, (1 if block.num_episodes is None else block.num_episodes, 1))


def _as_column(data: h5py.Dataset, block: Block) -> np.ndarray:
    return data[()].reshape(data.shape[: 1 if block.num_episodes is None else 2])


def _read_latents(file: h5py.File, block: Block) -> tuple[list[str], np.ndarray]:
    """Optional float64 [E, k, L] beside each part, its columns named by the attribute ``names``."""
    parts = ["support_latents", "query_latents"][: len(block.counts)]
    if not all(_has(file, part) for part in parts):
        return [], np.zeros((0, 0), "<f8")
    tables = [_open(file, part) for part in parts]
    names = [str(name)[:80] for name in np.asarray(tables[0].attrs.get("names", [])).ravel()[: MAX_LATENTS + 1]]
    fits = all(
        table.dtype == np.float64 and table.shape == (block.num_episodes, count, len(names))
        for table, count in zip(tables, block.counts)
    )
    if not fits or len(names) > MAX_LATENTS or len(block) * len(names) > MAX_LATENT_VALUES:
        raise Refused(f"{parts[0]} does not give every image a float64 for every one of at most {MAX_LATENTS} names")
    return names, block.flatten([table[()] for table in tables]).astype("<f8")


def _answer_images(answers: BinaryIO, blocks: list[Block], starts: list[int], positions: list[int]) -> None:
    found: list[np.ndarray | None] = [None] * len(positions)
    for (number, part), wanted in _sort_by_part(blocks, starts, positions).items():
        block = blocks[number]
        for row, pixels in _read_part(block.images[part], wanted, int(np.prod(block.shapes[part]))):
            found[row] = pixels
    lengths = [-1 if image is None else image.nbytes for image in found]
    _answer(answers, {"lengths": lengths}, [image for image in found if image is not None])


_Wanted = list[tuple[int, tuple[int, ...]]]
"""Rows of the answer, each with the index of its image in one data set."""


def _sort_by_part(blocks: list[Block], starts: list[int], positions: list[int]) -> dict[tuple[int, int], _Wanted]:
    wanted: dict[tuple[int, int], _Wanted] = {}
    for row, position in enumerate(positions):
        number = bisect.bisect_right(starts, position) - 1
        block = blocks[number]
        episode, place = divmod(position - starts[number], sum(block.counts))
        part = 0 if place < block.counts[0] else 1
        place -= part * block.counts[0]
        index = (place,) if block.num_episodes is None else (episode, place)
        wanted.setdefault((number, part), []).append((row, index))
    return wanted


def _read_part(data: h5py.Dataset, wanted: _Wanted, image_bytes: int) -> Iterator[tuple[int, np.ndarray]]:
    """The images wanted of one data set: one read where they lie close together, else half by half.

    Chunks that span many images, as h5py makes them by itself, are visited as seldom as possible this way.
    """
    low = [min(axis) for axis in zip(*(index for _, index in wanted))]
    high = [max(axis) + 1 for axis in zip(*(index for _, index in wanted))]
    extent = int(np.prod([last - first for first, last in zip(low, high)]))
    if len(wanted) == 1 or (extent <= 4 * len(wanted) and extent * image_bytes <= _PART_BYTES):
        with suppress(*_DAMAGE):
            pixels = data[tuple(slice(first, last) for first, last in zip(low, high))]
            for row, index in wanted:
                yield row, pixels[tuple(place - first for place, first in zip(index, low))]
            return
        if len(wanted) == 1:
            return  # an image that cannot be read is left out
    half = len(wanted) // 2
    yield from _read_part(data, wanted[:half], image_bytes)
    yield from _read_part(data, wanted[half:], image_bytes)


def _answer(answers: BinaryIO, header: dict[str, Any], arrays: list[np.ndarray] | None = None) -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    for array in arrays or []:
        answers.write(np.ascontiguousarray(array).data)
    answers.flush()


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"it needs more than {MAX_MEMORY // 2**30} GiB of memory"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _import_late_parts() -> None:
    """Python and NumPy import some of themselves at first use, which needs files."""
    for encoding in ("ascii", "latin-1", "utf-8"):
        "".encode(encoding)
        b"".decode(encoding)
        codecs.lookup(encoding)
    for kind in ("S1", "U1", "f4", [("x", "i4")]):
        str(np.dtype(kind))
        repr(np.zeros(1, kind))


def _limit(kind: int, value: int) -> None:
    # Not every system has every limit; the checks above do not rest on them.
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main(sys.argv)
