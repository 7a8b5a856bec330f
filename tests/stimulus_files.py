"""Stimuli written as laboratories have them: episodes in HDF5, TFRecords, folders; independent of our code."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image


def draw(seed: int, size: int = 16) -> np.ndarray:
    """Two dark rectangles on white, RGB [size, size, 3]; different for every seed."""
    rng = np.random.default_rng(seed)
    image = np.full((size, size, 3), 255, np.uint8)
    for left in (1, size // 2 + 1):
        width, height = rng.integers(2, size // 2 - 2, size=2)
        top = rng.integers(1, size // 2 + 1)
        image[top : top + height, left : left + width] = rng.integers(0, 100, 3)
    return image


def draw_many(shape: tuple[int, ...], seed: int = 0, size: int = 16) -> np.ndarray:
    """Images [*shape, size, size, 3]."""
    num = int(np.prod(shape))
    return np.stack([draw(seed + i, size) for i in range(num)]).reshape(*shape, size, size, 3)


def alternate(shape: tuple[int, ...]) -> np.ndarray:
    """Labels 0, 1, 0, 1, ... as float32."""
    return (np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(np.float32)


def write_episodes(
    path: Path, *, episodes: int = 5, support: int = 4, query: int = 3, seed: int = 0, size: int = 16, **options
) -> Path:
    """The published episode layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for part, number in (("support", support), ("query", query)):
            images = draw_many((episodes, number), seed + (10_000 if part == "query" else 0), size)
            file.create_dataset(f"{part}_images", data=images, **options)
            file.create_dataset(f"{part}_labels", data=alternate((episodes, number)))
    return path


def write_groups(path: Path, sizes: Sequence[int], *, support: int = 4, query: int = 2) -> Path:
    """The naturalistic layout: a group for every episode, here with one image size each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for number, size in enumerate(sizes):
            group = file.create_group(f"episode_{number:06d}")
            for part, count in (("support", support), ("query", query)):
                seed = 1000 * number + (500 if part == "query" else 0)
                group.create_dataset(f"{part}_images", data=draw_many((count,), seed, size))
                group.create_dataset(f"{part}_labels", data=alternate((count,)).astype(np.int32))
    return path


def encode_png(image: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=form)
    return buffer.getvalue()


def make_example(image: bytes, label: int | None) -> bytes:
    """A serialised tf.train.Example with the features of the published TFRecords."""
    box = np.array([1.0, 2.0, 3.0, 4.0]).tobytes()
    features = [
        _feature(b"coordinates", _field(1, _field(1, box))),
        _feature(b"image_raw", _field(1, _field(1, image))),
        _feature(b"relative_position", _field(3, _field(1, b"\x00"))),
    ]
    if label is not None:
        features.insert(2, _feature(b"label", _field(3, _field(1, _varint(label & (2**64 - 1))))))
    return _field(1, b"".join(features))


def make_record(data: bytes) -> bytes:
    """A TFRecord: length, checksum, data, checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_checksum(length)) + data + struct.pack("<I", _masked_checksum(data))


def write_tfrecords(path: Path, num_images: int = 8, *, seed: int = 0, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = (draw(seed + i, size) for i in range(num_images))
    path.write_bytes(b"".join(make_record(make_example(encode_png(image), i % 2)) for i, image in enumerate(images)))
    return path


def write_pngs(folder: Path, num_images: int = 8, *, seed: int = 0, size: int = 16) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(num_images):
        (folder / f"sample_{index % 2}_{index:04d}.png").write_bytes(encode_png(draw(seed + index, size)))
    return folder


def _feature(key: bytes, value: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, value))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def bitwise_crc32c(data: bytes) -> int:
    """CRC-32C by its definition, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def _masked_checksum(data: bytes) -> int:
    checksum = bitwise_crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
