"""Make the pictures inside a figure small: a scatter of many dots is one, and they are most of a report's bytes."""

from __future__ import annotations

import base64
import io
import re
from xml.etree.ElementTree import Element

from PIL import Image

_HREF = "{http://www.w3.org/1999/xlink}href"
_PREFIX = "data:image/png;base64,"
_SMALL_BYTES = 16_384
_COLOURS = 256


def shrink_images(root: Element) -> None:
    """Write every embedded PNG again in fewer bytes; those of more than 256 colours keep the 256 nearest to them.

    On anti-aliased dots that is a quarter of the bytes and no visible difference. Pictures of few colours, such as
    patches of grey stimuli and heat maps, and small ones, stay as they are, pixel by pixel.
    """
    for image in root.iter("{http://www.w3.org/2000/svg}image"):
        link = image.get(_HREF, "")
        if link.startswith(_PREFIX):
            data = base64.b64decode(re.sub(r"\s", "", link.removeprefix(_PREFIX)))
            shrunk = _shrink(data) if len(data) > _SMALL_BYTES else data
            image.set(_HREF, _PREFIX + base64.b64encode(shrunk).decode())


def _shrink(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        whole = picture.convert("RGBA")
    if whole.getcolors(_COLOURS) is None:
        whole = whole.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    return min(stream.getvalue(), data, key=len)
