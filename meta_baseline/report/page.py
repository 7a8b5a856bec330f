"""The one HTML file that says what a report says.

The page needs nothing but itself: style and script stand inside it and are allowed by their hashes, and the content
security policy forbids everything else, so that opening a report from a stranger runs nothing and asks nobody.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from meta_baseline import __version__
from meta_baseline.report.content import ReportContent, ReportFigure, ReportSection, ReportTable
from meta_baseline.report.svg import clean_svg, natural_width
from meta_baseline.report.table_view import MAX_ROWS, TableView, view_table
from meta_baseline.report.text import slugify, visible_text
from meta_baseline.results import Check, Finding

_FOLDER = Path(__file__).parent
_SHOWN_FINDINGS = 6
_LONG_TABLE = 20
_PHONE_WIDTH = 540.0


@dataclass(frozen=True, kw_only=True)
class _FindingView:
    kind: str
    label: str
    sentence: str
    leads: bool
    section: str
    section_title: str


@dataclass(frozen=True, kw_only=True)
class _CheckView:
    verdict: str
    label: str
    code: str
    sentence: str
    section: str
    section_title: str


@dataclass(frozen=True, kw_only=True)
class _FigureView:
    number: int
    id: str
    figure: ReportFigure
    svg: Markup
    scrolls: bool


@dataclass(frozen=True, kw_only=True)
class _TableView:
    number: int
    id: str
    table: ReportTable
    view: TableView
    folded: bool


@dataclass(frozen=True, kw_only=True)
class _SectionView:
    id: str
    section: ReportSection
    findings: tuple[_FindingView, ...]
    checks: tuple[_CheckView, ...]
    figures: tuple[_FigureView, ...]
    tables: tuple[_TableView, ...]


_CAUTION_FROM = 0.8
"""Importance, on the scale that ``results.Finding`` sets, of what has to be known before anything else is read."""

_KINDS = {
    True: ("beyond", "Outside the control band"),
    False: ("within", "Inside the control band"),
    None: ("description", "Description"),
}
"""Icon and words of a finding, by whether it exceeds its control."""

_VERDICTS = {"fail": "Fails", "warn": "Warning", "note": "Note", "pass": "Passed"}
"""Words of each verdict, gravest first."""


def render_report(content: ReportContent) -> str:
    """The report as one HTML document; the same content gives the same text.

    Raises:
        ValueError: when the drawing of a figure is not SVG.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    sections = _view_sections(content)
    findings = tuple(_view_findings(content.findings, sections))
    checks = tuple(_view_checks(_all_checks(content), sections))
    return _template().render(
        content=content,
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        findings=findings[:_SHOWN_FINDINGS],
        further_findings=findings[_SHOWN_FINDINGS:],
        open_checks=tuple(check for check in checks if check.verdict in ("fail", "warn")),
        folded_checks=tuple(check for check in checks if check.verdict in ("note", "pass")),
        tally=tuple((v, label, sum(c.verdict == v for c in checks)) for v, label in _VERDICTS.items()),
        sections=sections,
        networks=tuple(zip(("meta", "baseline"), content.networks, strict=True)),
        names=_tell_apart(*(network.path for network in content.networks)),
        max_rows=MAX_ROWS,
        version=__version__,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html")


def _tell_apart(first: str, second: str) -> tuple[str, str]:
    """The file names; where they are the same, with as many of their folders as tell them apart."""
    parts, others = PurePath(first).parts or (first,), PurePath(second).parts or (second,)
    same = 0
    while same < min(len(parts), len(others)) - 1 and parts[-1 - same] == others[-1 - same]:
        same += 1
    return "/".join(parts[-1 - same :]), "/".join(others[-1 - same :])


def _finalize(value: Any) -> Any:
    return visible_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> Markup:
    return Markup("sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())


def _view_sections(content: ReportContent) -> tuple[_SectionView, ...]:
    figure_numbers, table_numbers = count(1), count(1)
    views: list[_SectionView] = []
    for position, section in enumerate(content.sections, start=1):
        views.append(
            _SectionView(
                # The position keeps ids apart where two slugs are alike.
                id=f"s{position}-{slugify(section.slug)}",
                section=section,
                findings=tuple(_view_findings(_further(section), ())),
                checks=tuple(_view_checks(section.checks, ())),
                figures=tuple(_view_figure(figure, next(figure_numbers)) for figure in section.figures),
                tables=tuple(_view_table(table, next(table_numbers)) for table in section.tables),
            )
        )
    return tuple(views)


def _further(section: ReportSection) -> tuple[Finding, ...]:
    return tuple(finding for finding in section.findings if finding.sentence not in section.answer)


def _view_figure(figure: ReportFigure, number: int) -> _FigureView:
    name = f"f{number}-{slugify(figure.slug)}"
    svg = clean_svg(figure.svg, name=f"f{number}", title=figure.title)
    return _FigureView(
        number=number, id=name, figure=figure, svg=Markup(svg), scrolls=natural_width(svg) > _PHONE_WIDTH
    )


def _view_table(table: ReportTable, number: int) -> _TableView:
    view = view_table(table.frame)
    name = f"t{number}-{slugify(table.title)}"
    return _TableView(number=number, id=name, table=table, view=view, folded=view.num_rows > _LONG_TABLE)


def _classify(finding: Finding) -> tuple[str, str]:
    """Icon and words of a finding's kind."""
    if finding.importance >= _CAUTION_FROM:
        return "caution", "Read this first"
    return _KINDS[finding.beyond_control]


def _view_findings(findings: tuple[Finding, ...], sections: tuple[_SectionView, ...]) -> Iterator[_FindingView]:
    leading = True
    for finding in sorted(findings, key=lambda item: -item.importance):
        home = next((view for view in sections if finding in view.section.findings), None)
        kind, label = _classify(finding)
        yield _FindingView(
            kind=kind,
            label=label,
            sentence=finding.sentence,
            # What limits the comparison comes first, but what was found is the headline.
            leads=leading and kind != "caution",
            section=home.id if home else "",
            section_title=home.section.title if home else "",
        )
        leading = leading and kind == "caution"


def _all_checks(content: ReportContent) -> tuple[Check, ...]:
    checks = dict.fromkeys(content.checks)
    for section in content.sections:
        checks.update(dict.fromkeys(section.checks))
    return tuple(checks)


def _view_checks(checks: tuple[Check, ...], sections: tuple[_SectionView, ...]) -> Iterator[_CheckView]:
    gravity = list(_VERDICTS)
    for check in sorted(checks, key=lambda item: gravity.index(item.verdict)):
        home = next((view for view in sections if check in view.section.checks), None)
        yield _CheckView(
            verdict=check.verdict,
            label=_VERDICTS[check.verdict],
            code=check.code,
            sentence=check.sentence,
            section=home.id if home else "",
            section_title=home.section.title if home else "",
        )
