"""A matplotlib figure as SVG that may stand inside a page: safe, small, and in the page's own ink and font.

A figure can carry text from files (names of checkpoints, of classes), so nothing is trusted: only the elements and
attributes listed here pass, style attributes become presentation attributes (the page forbids inline styles), links
lead to the same figure or to embedded PNG data and nowhere else. ``INK`` becomes ``currentColor``, fonts become the
page's, ids are numbered under the figure's own name so that no two figures of a page can collide.
Cleaning what is clean changes nothing.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from html import escape
from itertools import groupby
from xml.etree import ElementTree

from matplotlib.figure import Figure

from meta_baseline.figures.style import INK, house_style
from meta_baseline.report.svg_images import shrink_images
from meta_baseline.report.svg_text import marked_anchors, reset_text
from meta_baseline.report.text import slugify, visible_text

RASTER_DPI = 160
"""Resolution of rasterised parts; a CSS pixel is 1/96 inch, so this is enough for a screen of high density."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTS = _names("""
    svg g defs clipPath path use text tspan image rect circle ellipse line polyline polygon
    linearGradient radialGradient stop pattern""")
_GEOMETRY = _names("""
    x y x1 x2 y1 y2 cx cy r rx ry fx fy dx dy d points width height transform viewBox
    gradientTransform patternTransform""")
_PRESENTATION = _names("""
    clip-path clip-rule dominant-baseline fill fill-opacity fill-rule font-size font-style font-weight image-rendering
    letter-spacing opacity stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap
    stroke-linejoin stroke-miterlimit stroke-opacity stroke-width text-anchor""")
_OTHER = _names("""
    id offset gradientUnits patternUnits patternContentUnits clipPathUnits preserveAspectRatio spreadMethod""")
_ATTRIBUTES = _GEOMETRY | _PRESENTATION | _OTHER
_PLAIN_VALUE = re.compile(r"[\w#.,%+\-\s()]*")
_LOCAL_URL = re.compile(r"url\(\s*['\"]?#([^'\")]+)['\"]?\s*\)")
_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")
_LONG_NUMBER = re.compile(r"-?\d*\.\d{3,}(?:e-?\d+)?")
_NO_ROTATION = re.compile(r"rotate\(-?0(?:\.0*)?(?:[ ,][^)]*)?\)")
_HREF = "{http://www.w3.org/1999/xlink}href"
_POINTS_TO_PIXELS = 96 / 72


def figure_to_svg(figure: Figure, *, name: str, title: str) -> str:
    """Draw a figure as one inline ``<svg>`` element.

    Args:
        figure: drawn in the look of ``figures.style``.
        name: unique in the page; every id in the SVG starts with it.
        title: what a screen reader says in place of the picture.
    """
    stream = io.StringIO()
    with house_style(), warnings.catch_warnings():
        # The reader's browser has the glyph, or shows its own box; here the font only measures.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with marked_anchors(figure):
            figure.savefig(stream, format="svg", dpi=RASTER_DPI, metadata={"Date": None, "Creator": None})
        root = _parse(stream.getvalue(), name)
        reset_text(root)
    shrink_images(root)
    return _write_root(root, name=name, title=title)


def clean_svg(text: str, *, name: str, title: str) -> str:
    """Rewrite an SVG document so that it can stand inside a page.

    Raises:
        ValueError: when the text is no SVG, or declares entities.
    """
    return _write_root(_parse(text, name), name=name, title=title)


def _parse(text: str, name: str) -> ElementTree.Element:
    text = visible_text(text)
    if "<!ENTITY" in text:
        raise ValueError(f"The SVG of figure {name!r} declares entities. Draw it again with figure_to_svg.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(
            f"The SVG of figure {name!r} is damaged: {error}. Draw it again with figure_to_svg."
        ) from error
    if _local(root.tag) != "svg":
        raise ValueError(f"Figure {name!r} is a <{_local(root.tag)}>, not an <svg>. Draw it with figure_to_svg.")
    return root


def _write_root(root: ElementTree.Element, *, name: str, title: str) -> str:
    ids = {old: f"{slugify(name)}-{number}" for number, old in enumerate(_referenced_ids(root), start=1)}
    content = "".join(_write_children(root, ids))
    attributes = {"viewBox": _attributes(root, {}).get("viewBox"), **_natural_size(root)}
    start = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items() if value)
    # matplotlib's own style element says round and butt for everything; as inherited attributes they need no style.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{start} role="img" aria-label="{escape(visible_text(title))}" '
        f'stroke-linejoin="round" stroke-linecap="butt">{content}</svg>'
    )


def natural_width(svg: str) -> float:
    """Width in CSS pixels at which the text of a cleaned figure has the size that it was drawn in."""
    match = re.search(r'<svg [^>]*?\bwidth="([\d.]+)"', svg)
    return float(match[1]) if match else 0.0


def _natural_size(root: ElementTree.Element) -> dict[str, str]:
    sizes = {}
    for key in ("width", "height"):
        if match := re.fullmatch(r"([\d.]+)(pt|px)?", root.get(key, "")):
            scale = _POINTS_TO_PIXELS if match[2] == "pt" else 1.0
            sizes[key] = f"{float(match[1]) * scale:.6g}"
    return sizes


def _referenced_ids(root: ElementTree.Element) -> list[str]:
    found: dict[str, None] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key in (_HREF, "href") and value.startswith("#"):
                found[value[1:]] = None
            found.update(dict.fromkeys(_LOCAL_URL.findall(value)))
    return list(found)


def _write_children(element: ElementTree.Element, ids: dict[str, str]) -> Iterator[str]:
    children = [child for child in element if isinstance(child.tag, str) and _local(child.tag) in _ELEMENTS - {"svg"}]
    for is_use, group in groupby(children, key=lambda child: _local(child.tag) == "use"):
        if is_use:
            yield from _write_markers([_attributes(child, ids) for child in group])
        else:
            yield from (_write(child, ids) for child in group)


def _write_markers(markers: list[dict[str, str]]) -> Iterator[str]:
    """Markers of a series: what they look like is said once, around them."""
    shown = [marker for marker in markers if "href" in marker]
    for look, group in groupby(shown, key=lambda marker: {k: v for k, v in marker.items() if k in _PRESENTATION}):
        series = [{key: value for key, value in marker.items() if key not in look} for marker in group]
        inside = "".join(f"<use{_as_text(marker)}/>" for marker in series)
        yield f"<g{_as_text(look)}>{inside}</g>" if look else inside


def _as_text(attributes: dict[str, str]) -> str:
    return "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())


def _write(element: ElementTree.Element, ids: dict[str, str]) -> str:
    tag = _local(element.tag)
    attributes = _attributes(element, ids)
    words = escape(visible_text(element.text or ""), quote=False) if tag in ("text", "tspan") else ""
    inside = words.strip("\n") + "".join(_write_children(element, ids))
    if tag == "image" and "href" not in attributes:
        return ""
    if tag in ("g", "defs") and not (inside and attributes):
        return inside if tag == "g" else f"<defs>{inside}</defs>" if inside else ""
    start = f"<{tag}{_as_text(attributes)}"
    return f"{start}>{inside}</{tag}>" if inside else f"{start}/>"


def _attributes(element: ElementTree.Element, ids: dict[str, str]) -> dict[str, str]:
    """The attributes of an element that may pass, those of its style attribute included, ready to be escaped."""
    given = {_local(key): value for key, value in element.attrib.items() if key not in (_HREF, "style")}
    for declaration in element.get("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() in _PRESENTATION:
            given[key.strip()] = value.strip()
    passed: dict[str, str] = {}
    for key, value in given.items():
        cleaned = _clean_value(key, value, ids)
        if key in _ATTRIBUTES and cleaned:
            passed[key] = cleaned
    link = element.get(_HREF) or element.get("href") or ""
    if _local(element.tag) == "use" and link[1:] in ids and link.startswith("#"):
        passed["href"] = f"#{ids[link[1:]]}"
    elif _local(element.tag) == "image" and _PNG.fullmatch(link):
        passed["href"] = re.sub(r"\s", "", link)
    return passed


def _clean_value(key: str, value: str, ids: dict[str, str]) -> str:
    if key == "id":
        return ids.get(value, "")
    if match := _LOCAL_URL.fullmatch(value):
        return f"url(#{ids[match[1]]})" if match[1] in ids else ""
    if not _PLAIN_VALUE.fullmatch(value) or "url" in value.lower():
        return ""
    if key in _GEOMETRY:
        value = _NO_ROTATION.sub("", value)
        # A factor is multiplied by a size that is not known here, so it keeps all its digits.
        value = value if "matrix" in value or "scale" in value else _LONG_NUMBER.sub(_shorten, value)
        return re.sub(r"\s+", " ", value).strip()
    return "currentColor" if value.lower() == INK else value


def _shorten(match: re.Match[str]) -> str:
    """Hundredths of a point are beyond what a screen or a printer shows."""
    number = float(match[0])
    return f"{round(number, 2):g}" if abs(number) >= 1 else f"{number:.4g}"


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
