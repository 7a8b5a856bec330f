"""What a report says, as frozen values, before anything is known about the page."""

from __future__ import annotations

from dataclasses import dataclass

from pandas import DataFrame

from meta_baseline.results import Check, Finding, Provenance


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """A drawing with the sentence that says how to read it; ``svg`` as ``svg.figure_to_svg`` makes it."""

    slug: str
    title: str
    how_to_read: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A tidy table; column names are shown with spaces for underscores and saved as they are."""

    title: str
    caption: str
    frame: DataFrame


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """One analysis: what it asks, what came out in one sentence, and what that rests on.

    ``findings`` are those of this analysis; one that is also in ``ReportContent.findings`` links here from the top,
    and one whose sentence is part of ``answer`` is not said again.
    """

    slug: str
    title: str
    question: str
    answer: str
    figures: tuple[ReportFigure, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    checks: tuple[Check, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything on the page, in the order in which it is read.

    Attributes:
        title: what the report is about, e.g. "Meta-learned and baseline conv6 on SVRT problem 1".
        subtitle: one line: what was compared, on what.
        networks: the meta-learned network and the baseline, in this order.
        facts: label and value of what reproduces the run: command, versions, seeds, device, time.
        findings: in any order; the most important six are shown, the rest folded.
        checks: of the whole study; those of the sections are added where they are missing.
        sections: one for each analysis.
    """

    title: str
    subtitle: str
    networks: tuple[Provenance, Provenance]
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    sections: tuple[ReportSection, ...]
