"""Set the text of a figure again, for a narrower font than the one that matplotlib laid it out in.

The page's sans-serif is narrower than DejaVu Sans. A line that SVG anchors at its middle or end does not mind, but
matplotlib writes three kinds of text by their left end, computed with its own font: lines of several, slanted ones,
and formulas (glyph by glyph). Set in another font they would hang to the left, and formulas would be spaced out. Here
each such line gets the anchor that its author asked for, at the place where that anchor was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from xml.etree.ElementTree import Element

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

_SVG = "{http://www.w3.org/2000/svg}"
_MARK = "anchor:"
_SHARES = {"start": 0.0, "middle": 0.5, "end": 1.0}
_TIGHT = 0.1
"""A gap between two glyphs of a formula below this many ems is spacing of the old font; above, it is meant."""


@contextmanager
def marked_anchors(figure: Figure) -> Iterator[None]:
    """While the block runs, every text of the figure carries its horizontal anchor as the id of its SVG group.

    The figure is laid out once, on entry; drawing it inside the block does not lay it out again.
    """
    figure.draw_without_rendering()  # makes the tick labels
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    texts = [artist for artist in figure.findobj() if isinstance(artist, Text)]
    before = [text.get_gid() for text in texts]
    for text in texts:
        text.set_gid(_MARK + _anchor(text))
    try:
        yield
    finally:
        figure.set_layout_engine(layout)
        for text, gid in zip(texts, before, strict=True):
            text.set_gid(gid)  # pyright: ignore[reportArgumentType]  # None is how it was


def _anchor(text: Text) -> str:
    slanted = text.get_rotation() % 360 != 0 and text.get_rotation_mode() != "anchor"
    # The alignment of a slanted text is that of its box, which says little about its line: split the difference.
    return "middle" if slanted else {"left": "start", "right": "end"}.get(text.get_horizontalalignment(), "middle")


def reset_text(root: Element) -> None:
    """Give the lines under each marked group their anchor, and let the glyphs of formulas follow each other."""
    for group in root.iter(f"{_SVG}g"):
        if (mark := group.get("id", "")).startswith(_MARK):
            anchor = mark.removeprefix(_MARK)
            for line in group.iter(f"{_SVG}text"):
                if len(line):
                    _anchor_line(line, anchor, _join_glyphs(line))
                elif "text-anchor" not in line.get("style", ""):
                    _anchor_line(line, anchor, _width(line.text or "", line.get("style", "")))


def _anchor_line(line: Element, anchor: str, width: float) -> None:
    line.set("text-anchor", anchor)
    line.set("x", f"{float(line.get('x', 0)) + _SHARES[anchor] * width:.2f}")


def _join_glyphs(line: Element) -> float:
    """Turn the absolute places of the glyphs of a formula into relative ones; returns how wide the formula was."""
    glyphs = sorted(line, key=lambda glyph: float(glyph.get("x", "0").split()[0]))
    runs: list[Element] = []
    end = height = 0.0
    for glyph in glyphs:
        style, text = glyph.get("style", ""), glyph.text or ""
        x, y = float(glyph.get("x", "0").split()[0]), float(glyph.get("y", 0))
        gap = x - end if runs else 0.0
        end = x + _width(text, style)
        apart = gap > _TIGHT * _font_size(style)
        if runs and not apart and y == height and style == runs[-1].get("style"):
            runs[-1].text = (runs[-1].text or "") + text
            continue
        run = Element(f"{_SVG}tspan", {"style": style})
        run.text = text
        if y != height:
            run.set("dy", f"{y - height:.2f}")
        if apart:
            run.set("dx", f"{gap:.2f}")
        runs.append(run)
        height = y
    line[:] = runs
    return end


def _font_size(style: str) -> float:
    match = re.search(r"font-size: ([\d.]+)", style)
    return float(match[1]) if match else 10.0


def _width(text: str, style: str) -> float:
    return _measure(text, _font_size(style), "font-weight: 700" in style, "oblique" in style or "italic" in style)


@lru_cache(maxsize=4096)
def _measure(text: str, size: float, bold: bool, slanted: bool) -> float:
    font = FontProperties(
        family="DejaVu Sans", size=size, weight="bold" if bold else "normal", style="oblique" if slanted else "normal"
    )
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
