"""One PNG file to pixels, or one sentence that says why not: nothing is decoded before its size is known."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

MAX_SIDE = 4096
MAX_BYTES = 64 * 2**20
"""An honest PNG of the largest size stays under this; a longer file is not read at all."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class UnreadableImage(ValueError):
    """A file that is no usable PNG; the message is the reason, without the file's name."""


def read_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """RGB pixels of a PNG: grey is repeated, palettes are looked up, transparency is laid on white paper, 16 bits
    become 8.

    Raises:
        UnreadableImage: when the file is missing, too large, damaged, or no PNG.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage(f"larger than {MAX_BYTES // 2**20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror or "not readable") from error
    _check_size(data)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            return _to_rgb(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UnreadableImage("damaged or truncated PNG") from error


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
    return np.array(image.convert("RGB"))
