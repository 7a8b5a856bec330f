"""What the report does to make figures small changes nothing that one sees."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from meta_baseline.report.svg import clean_svg
from meta_baseline.report.svg_images import shrink_images

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'


def embed(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(stream, "PNG")
    return f'{HEAD}<image xlink:href="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"/></svg>'


def shrunk(pixels: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Pixels afterwards, bytes before, bytes afterwards."""
    root = ElementTree.fromstring(embed(pixels))
    before = len(ElementTree.tostring(root))
    shrink_images(root)
    data = re.search(r"base64,([^\"]*)", text := ElementTree.tostring(root).decode())
    assert data is not None
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as picture:
        return np.asarray(picture.convert("RGBA")), before, len(text)


def test_a_picture_of_few_colours_keeps_every_pixel_and_its_transparency() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (256, 4), dtype=np.uint8)
    pixels = colours[rng.integers(0, 256, (60, 90))]
    after, before_bytes, after_bytes = shrunk(pixels)
    assert np.array_equal(after, pixels)
    assert after_bytes < before_bytes / 2


def test_a_picture_of_many_colours_stays_near_its_own() -> None:
    dots = np.zeros((120, 120, 4), dtype=np.uint8)
    y, x = np.mgrid[:120, :120]
    for number, colour in enumerate(((47, 111, 223), (224, 123, 31), (140, 140, 140))):
        edge = np.clip(255 * (14 - np.hypot(y - 60, x - 20 - 40 * number)), 0, 255)
        dots[edge > 0] = (*colour, 0)
        dots[..., 3] = np.maximum(dots[..., 3], edge).astype(np.uint8)
    noise = np.random.default_rng(1).integers(-2, 3, dots.shape)
    dots = np.clip(dots + noise, 0, 255).astype(np.uint8)
    after, *_ = shrunk(dots)
    seen = [image[..., :3] * (image[..., 3:] / 255.0) + 255 - image[..., 3:] for image in (dots, after)]
    assert np.abs(seen[0] - seen[1]).mean() < 2


def test_markers_of_a_series_share_their_look_and_keep_their_places() -> None:
    def use(x: int, fill: str) -> str:
        return f'<use xlink:href="#m" x="{x}" y="1" style="fill: {fill}; stroke: #222222"/>'

    marks = "".join(use(x, "#ff0000") for x in range(5)) + "".join(use(x, "#0000ff") for x in range(5, 7))
    text = clean_svg(f'{HEAD}<defs><path id="m" d="M 0 0"/></defs><g>{marks}</g></svg>', name="f1", title="t")
    groups = re.findall(r'<g fill="([^"]*)" stroke="#222222">(.*?)</g>', text)
    assert [(fill, re.findall(r'x="(\d)"', inside)) for fill, inside in groups] == [
        ("#ff0000", list("01234")),
        ("#0000ff", list("56")),
    ]
    assert text.count('href="#f1-1"') == 7
    assert clean_svg(text, name="f1", title="t") == text
