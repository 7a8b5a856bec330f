"""One PNG to pixels, or one sentence that says why not: nothing is decoded before its size is known."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

MAX_SIDE = 4096
MAX_BYTES = 64 * 2**20
"""An honest PNG of the largest size stays under this; a longer file is not read at all."""

_WHITE = 255
_PALETTE = 3
_ALPHA = 4
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on bytes that are no PNG."""


class UnreadableImage(ValueError):
    """A file that is no usable PNG; the message is the reason, without the file's name."""


def read_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """RGB pixels of a PNG: grey is repeated, palettes are looked up, transparency is laid on white paper, 16 bits
    become 8.

    Raises:
        UnreadableImage: when the file is missing, too large, damaged, or no PNG.
    """
    return decode_png(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, no more than are of use.

    Raises:
        UnreadableImage: when it is missing or may not be read.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            return stream.read(min(size, MAX_BYTES + 1))
    except OSError as error:
        raise UnreadableImage(error.strerror or "not readable") from error


def decode_png(data: bytes) -> UInt8[ndarray, "H W 3"]:
    """RGB pixels of the bytes of a PNG; see ``read_image``.

    Raises:
        UnreadableImage: when they are too many, damaged, or no PNG.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableImage(f"larger than {MAX_BYTES // 2**20} MiB")
    _check_size(data)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            return _to_rgb(image)
    except _DAMAGE as error:
        raise UnreadableImage("damaged or truncated PNG") from error


def describe_change(data: bytes) -> str:
    """What of a PNG is not in its RGB pixels of 8 bits: "a palette", "16 bits", "transparency", or nothing."""
    # Header chunk: depth and colour type (PNG specification, section 11.2.1); tRNS has to come before the pixels.
    depth, colour = data[24], data[25]
    if colour == _PALETTE:
        return "a palette"
    if depth == 16:
        return "16 bits"
    return "transparency" if colour & _ALPHA or 0 < data.find(b"tRNS") < data.find(b"IDAT") else ""


def as_rgb(image: UInt8[ndarray, "H W ..."]) -> UInt8[ndarray, "H W 3"]:
    """An image [H, W], [H, W, 1], RGB or RGBA as RGB; what is transparent is laid on white paper."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.uint16)
        return ((image[..., :3] * alpha + _WHITE * (_WHITE - alpha) + 127) // _WHITE).astype(np.uint8)
    grey = np.ascontiguousarray(image.reshape(image.shape[:2]))
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def _check_size(data: bytes) -> None:
    # The header chunk comes first in every PNG: length, "IHDR", width, height (PNG specification, section 11.2.1).
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < 24:
        raise UnreadableImage("no PNG file")
    width, height = struct.unpack(">II", data[16:24])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise UnreadableImage(f"{width} x {height} px, more than {MAX_SIDE} a side")


def _to_rgb(image: Image.Image) -> UInt8[ndarray, "H W 3"]:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.uint32)
        return np.repeat(((deep * 255 + 32767) // 65535).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, with_alpha)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
