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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from xml.etree import ElementTree

from matplotlib.figure import Figure

from meta_baseline.figures.style import INK, house_style
from meta_baseline.report.svg_images import shrink_images
from meta_baseline.report.svg_text import marked_anchors, reset_text
from meta_baseline.report.text import slugify, visible_text

RASTER_DPI = 128
"""Resolution of rasterised parts; a CSS pixel is 1/96 inch. The figures beside the report have 200."""


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
_USUAL_SIZE = "9px"
_TEXT_DEFAULTS = (("fill", "currentColor"), ("text-anchor", "start"), ("font-size", _USUAL_SIZE))
_LONG_NUMBER = re.compile(r"-?\d*\.\d{2,}(?:e-?\d+)?")
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
    content = "".join(_write_children(root, _Names(ids=ids, looks=_looks_of_markers(root, ids))))
    attributes = {"viewBox": _attributes(root, {}).get("viewBox"), **_natural_size(root)}
    start = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items() if value)
    # matplotlib's own style element says round and butt for everything; as inherited attributes they need no style.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{start} role="img" aria-label="{escape(visible_text(title))}" '
        f'fill="currentColor" font-size="{_USUAL_SIZE}" stroke-linejoin="round" stroke-linecap="butt">{content}</svg>'
    )


@dataclass(frozen=True, kw_only=True)
class _Names:
    """New ids by old ones, and how the shapes behind new ids look by themselves."""

    ids: dict[str, str]
    looks: dict[str, dict[str, str]]


def _looks_of_markers(root: ElementTree.Element, ids: dict[str, str]) -> dict[str, dict[str, str]]:
    shapes = [element for element in root.iter() if element.get("id") in ids and _local(element.tag) != "clipPath"]
    return {ids[shape.get("id", "")]: _look(_attributes(shape, ids)) for shape in shapes}


def _look(attributes: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if key in _PRESENTATION and key != "clip-path"}


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


def _write_children(element: ElementTree.Element, names: _Names) -> Iterator[str]:
    for is_shape, group in groupby(_flatten(element, names), key=lambda child: _local(child.tag) in ("use", "path")):
        if is_shape:
            yield from _write_shapes(list(group), names)
        else:
            yield from (_write(child, names) for child in group)


def _flatten(element: ElementTree.Element, names: _Names) -> Iterator[ElementTree.Element]:
    """What is drawn, in order; groups that say nothing are left out, what is in them is not."""
    for child in element:
        if not isinstance(child.tag, str) or _local(child.tag) not in _ELEMENTS - {"svg"}:
            continue
        if _local(child.tag) == "g" and not _attributes(child, names.ids):
            yield from _flatten(child, names)
        else:
            yield child


def _write_shapes(shapes: Sequence[ElementTree.Element], names: _Names) -> Iterator[str]:
    """Shapes one after the other; what a series of them looks like is said once, around them."""
    described = [(_local(shape.tag), _describe_shape(shape, names)) for shape in shapes]
    shown = [(tag, attributes) for tag, attributes in described if _is_seen(tag, attributes)]
    for look, group in groupby(shown, key=lambda shape: _look(shape[1])):
        series = list(group)
        around = look if len(series) > 1 else {}
        inside = "".join(
            f"<{tag}{_as_text({key: value for key, value in attributes.items() if key not in around})}/>"
            for tag, attributes in series
        )
        yield f"<g{_as_text(around)}>{inside}</g>" if around else inside


def _describe_shape(shape: ElementTree.Element, names: _Names) -> dict[str, str]:
    """Its attributes, but for those that the marker it repeats, or the root, has already."""
    attributes = _attributes(shape, names.ids)
    if _local(shape.tag) != "use":
        return attributes
    own = {"fill": "currentColor"} | names.looks.get(attributes.get("href", "")[1:], {})
    return {key: value for key, value in attributes.items() if own.get(key) != value}


def _is_seen(tag: str, attributes: dict[str, str]) -> bool:
    if tag == "use":
        return "href" in attributes
    return "id" in attributes or not (attributes.get("fill") == "none" and "stroke" not in attributes)


def _as_text(attributes: dict[str, str]) -> str:
    return "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())


def _write(element: ElementTree.Element, names: _Names) -> str:
    tag = _local(element.tag)
    attributes = _attributes(element, names.ids)
    words = escape(visible_text(element.text or ""), quote=False) if tag in ("text", "tspan") else ""
    if tag == "text":  # the root and SVG itself say the same
        attributes = {key: value for key, value in attributes.items() if (key, value) not in _TEXT_DEFAULTS}
    inside = words.strip("\n") + "".join(_write_children(element, names))
    if tag == "image" and "href" not in attributes:
        return ""
    if tag == "defs":
        return f"<defs>{inside}</defs>" if inside else ""
    if tag == "g" and not inside:
        return ""
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
    """A tenth of a point is beyond what a screen shows; small numbers are parts of markers, or steps of text."""
    number = float(match[0])
    return f"{round(number, 1 if abs(number) >= 10 else 2):g}" if abs(number) >= 1 else f"{number:.4g}"


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
