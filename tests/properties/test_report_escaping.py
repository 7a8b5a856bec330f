"""A name from a file stays a name: whatever stands in it, the page shows it and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from browser import DESKTOP, PHONE, Browser, open_browser
from hypothesis import given, settings
from hypothesis import strategies as st
from report_example import draw_small
from selenium.webdriver.common.by import By

from meta_baseline.figures.style import INK, new_figure, styled
from meta_baseline.report.content import ReportContent, ReportFigure, ReportSection, ReportTable
from meta_baseline.report.page import render_report
from meta_baseline.report.svg import clean_svg, figure_to_svg
from meta_baseline.report.text import visible_text
from meta_baseline.results import Check, Finding, Provenance

HOSTILE = (
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 2</script>",
    "</style><script>window.ran = 3</script><style>",
    "\"><img src=x onerror='window.ran = 4'>",
    "' onmouseover='window.ran = 5' x='",
    "javascript:window.ran=6",
    "{{ 7 * 191 }}{% raw %}",
    "<!-- --><svg onload=window.ran=8>",
    "</title></head><body onload=window.ran=9>",
    "&lt;b&gt; &amp; &#x3c;i&#x3e; $x_0$",
    "exe.\u202egpj.pt \u2066x\u2069 \x00\x07\x1b[31m \ud83d",
    '=HYPERLINK("http://example.org")',
    "名前 \U0001f600 é e\u0301 \u200b \ufeff \u2028 end",
)
HOSTILE_SVG = """<?xml version="1.0"?><!DOCTYPE svg>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="300pt" height="200pt"
  viewBox="0 0 300 200" onload="window.ran = 20"><script>window.ran = 21</script>
<style>@import url(http://example.org/x.css); * { fill: url(http://example.org/) }</style>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><script>window.ran = 22</script></body></foreignObject>
<a xlink:href="javascript:window.ran=23"><text x="9" y="9">link</text></a>
<image xlink:href="http://example.org/a.png" width="9" height="9"/><image href="data:text/html,x"/>
<image href="data:image/svg+xml;base64,PHN2Zy8+" width="9" height="9"/>
<use xlink:href="http://example.org/b.svg#x"/><use href="data:image/svg+xml,x#y"/>
<set attributeName="href" to="javascript:window.ran=24"/><animate onbegin="window.ran=25" attributeName="x" dur="1s"/>
<rect width="9" height="9" fill="url(http://example.org/c)" style="fill: url('http://example.org/d'); x: y"
  onclick="window.ran = 26" filter="url(#f)" mask="url(http://example.org/e)"/>
<text x="20" y="40" style="fill: #1b1c1e">&lt;script&gt;window.ran = 27&lt;/script&gt;</text></svg>"""


@pytest.fixture(scope="module")
def drawing() -> str:
    return figure_to_svg(draw_small(np.random.default_rng(0)), name="small", title="small")


def build_content(text: str, svg: str) -> ReportContent:
    """A report that has the same text in every place that takes one."""
    network = Provenance(
        path=text,
        sha256=text,
        architecture=text,
        parameters=text,
        decision_rule=text,
        input_scaling=text,
        notes=(text,),
    )
    finding = Finding(sentence=text, importance=0.7, estimates=(text,))
    checks = (Check(code=text, verdict="fail", sentence=text), Check(code=text, verdict="pass", sentence=text))
    frame = pd.DataFrame([[text, 1.0], [f"{text} ", 2.0]], columns=[text, "number"])
    section = ReportSection(
        slug=text,
        title=text,
        question=text,
        answer=f"{text}.",
        figures=(ReportFigure(slug=text, title=text, how_to_read=text, svg=svg),),
        tables=(ReportTable(title=text, caption=text, frame=frame),),
        checks=checks,
        findings=(finding,),
    )
    return ReportContent(
        title=text,
        subtitle=text,
        networks=(network, network),
        facts=((text, text),),
        findings=(finding,),
        checks=(),
        sections=(section,),
    )


class _Structure(HTMLParser):
    """Every tag with the names of its attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(key for key, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_content_with_the_same_text_everywhere_leaves_no_field_out(drawing: str) -> None:
    def strings(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                yield from strings(item)
        elif is_dataclass(value):
            for field in fields(value):
                yield from strings(getattr(value, field.name))

    everything = [text for text in strings(build_content("mark", drawing)) if text != drawing]
    assert all(text.startswith("mark") or text in ("fail", "pass") for text in everything)


@given(text=st.text(max_size=40) | st.text("<>&\"'/-={}%!;()$ abscript\n", max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_text_changes_the_structure_of_the_page(text: str) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>a</text></svg>'
    # Words long enough to wrap, and the word for a network, have their own class; both texts are neither.
    plain = _Structure(render_report(build_content("plain", svg)))
    odd = _Structure(render_report(build_content(f"x{text[:20]}", svg)))
    assert odd.tags == plain.tags


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is_written(text: str, drawing: str) -> None:
    page = render_report(build_content(text, drawing))
    shown = _Structure(page).text
    assert shown.count(visible_text(text)) > 20
    page.encode("utf-8")


def test_characters_that_mislead_or_cannot_be_shown_are_replaced() -> None:
    assert visible_text("exe.\u202egpj \x00 \ud83d") == "exe.\ufffdgpj \ufffd \ufffd"
    assert visible_text("名前 é \U0001f600\ttab\nline") == "名前 é \U0001f600\ttab\nline"


def test_of_a_hostile_drawing_only_its_text_and_shapes_are_left() -> None:
    cleaned = clean_svg(HOSTILE_SVG, name="x", title='"><script>')
    root = ElementTree.fromstring(cleaned)
    assert [element.tag.rpartition("}")[2] for element in root.iter()] == ["svg", "rect", "text"]
    assert set(root[0].attrib) == {"width", "height"}
    assert root[1].attrib == {"x": "20", "y": "40"}
    assert root.get("fill") == "currentColor"
    assert root[1].text == "<script>window.ran = 27</script>"
    for word in ("example.org", "onload", "javascript", "style", "http://", "onclick"):
        assert word not in cleaned.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_entities_are_refused() -> None:
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>'
    with pytest.raises(ValueError, match=r"The SVG of figure 'x' declares entities\. Draw it again"):
        clean_svg(bomb, name="x", title="x")


@pytest.mark.parametrize("text", ["", "no svg", "<svg", "<html></html>"])
def test_what_is_no_drawing_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="'weights'"):
        clean_svg(text, name="weights", title="x")


def test_cleaning_a_clean_drawing_changes_nothing(drawing: str) -> None:
    assert clean_svg(drawing, name="small", title="small") == drawing


def test_a_drawing_brings_no_ink_font_style_or_foreign_id_of_its_own(drawing: str) -> None:
    assert "currentColor" in drawing
    for word in (INK, "font-family", " style=", "<style", "xlink", "<?xml", "<!DOCTYPE", "metadata"):
        assert word not in drawing
    ids = [element.get("id") for element in ElementTree.fromstring(drawing).iter() if element.get("id")]
    assert ids and all(str(name).startswith("small-") for name in ids)


def test_the_same_drawing_gives_the_same_bytes(drawing: str) -> None:
    assert figure_to_svg(draw_small(np.random.default_rng(0)), name="small", title="small") == drawing


@styled
def _draw_titled(text: str) -> Any:
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.set_title(text, parse_math=False)
    axes.set_xlabel("a\nlabel of two lines")
    return figure


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_a_drawing_stays_text(text: str) -> None:
    text = text.replace("\ud83d", "")  # matplotlib itself draws no lone surrogate
    cleaned = clean_svg(figure_to_svg(_draw_titled(text), name="x", title=text), name="x", title=text)
    root = ElementTree.fromstring(cleaned)
    # matplotlib breaks a title at a line break and nowhere else, so the whole text stands in one element.
    assert visible_text(text).strip() in [(element.text or "").strip() for element in root.iter()]
    assert root.get("aria-label") == visible_text(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_in_a_browser_hostile_text_runs_nothing_and_asks_nobody(browser: Browser, number: int, tmp_path: Path) -> None:
    content = build_content(HOSTILE[number], HOSTILE_SVG)
    twin = replace(content.sections[0], title="twin")
    path = tmp_path / "report.html"
    path.write_text(render_report(replace(content, sections=(*content.sections, twin))), encoding="utf-8")
    browser.show(path)
    browser.driver.execute_script(
        """for (const d of document.querySelectorAll('details')) d.open = true;
        for (const b of document.querySelectorAll('th button')) { b.click(); b.click(); }
        for (const e of document.querySelectorAll('main *'))
          for (const kind of ['mouseover', 'click', 'focus', 'error', 'load'])
            if (!e.closest('.tools')) e.dispatchEvent(new Event(kind));"""
    )
    assert browser.evaluate("window.ran") is None
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [path.resolve().as_uri()]
    shown = browser.evaluate("document.querySelector('h1').textContent")
    assert shown == visible_text(HOSTILE[number])


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_an_endless_word_does_not_make_the_page_scroll_sideways(browser: Browser, width: int, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(build_content("runs_of_" * 60, HOSTILE_SVG)), encoding="utf-8")
    browser.show(path, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.browser
def test_a_saved_table_holds_no_formula(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(build_content("=1+1", HOSTILE_SVG)), encoding="utf-8")
    browser.show(path)
    browser.driver.find_element(By.CSS_SELECTOR, ".table .tools button").click()
    assert browser.downloaded("1-1.csv").splitlines() == ["'=1+1,number", "'=1+1,1", "'=1+1 ,2"]
