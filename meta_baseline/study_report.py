"""The results of a study put in the order in which a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meta_baseline.datasets import Stimuli
from meta_baseline.report.content import ReportContent, ReportFigure, ReportSection, ReportTable
from meta_baseline.report.page import render_report
from meta_baseline.report.svg import figure_to_svg
from meta_baseline.results import Check, Finding, Result
from meta_baseline.run_record import describe_versions
from meta_baseline.stages import Analysis
from meta_baseline.study import Study, StudyInputs

_ORDER = {"fail": 0, "warn": 1, "note": 2, "pass": 3}


def render_study_report(
    study: Study,
    inputs: StudyInputs,
    results: Mapping[Analysis, Result],
    checks: Sequence[Check],
    failures: Mapping[Analysis, str],
    argv: Sequence[str],
) -> str:
    """One HTML page: the answer, the checks, one section per analysis, and where every number came from."""
    failed = [
        Check(code=f"{analysis.slug}.failed", verdict="fail", sentence=f"{analysis.title} did not finish: {message}.")
        for analysis, message in failures.items()
    ]
    everything = [*failed, *checks, *(check for result in results.values() for check in result.checks)]
    content = ReportContent(
        title="Meta-learned and baseline network, side by side",
        subtitle=_describe_comparison(inputs),
        networks=(inputs.meta.provenance, inputs.baseline.provenance),
        facts=_list_facts(study, argv),
        findings=rank_findings(results.values()),
        checks=tuple(sorted(everything, key=lambda check: _ORDER[check.verdict])),
        sections=tuple(_build_section(analysis, result) for analysis, result in results.items()),
    )
    return render_report(content)


def rank_findings(results: Iterable[Result]) -> tuple[Finding, ...]:
    """All findings, the most important first; ties keep the order of the analyses."""
    findings = [finding for result in results for finding in result.findings]
    return tuple(sorted(findings, key=lambda finding: -finding.importance))


def _build_section(analysis: Analysis, result: Result) -> ReportSection:
    figures = [
        ReportFigure(
            slug=f"{analysis.slug}-{spec.slug}",
            title=spec.title,
            how_to_read=spec.how_to_read,
            svg=figure_to_svg(figure, name=f"{analysis.slug}-{spec.slug}", title=spec.title),
        )
        for spec in analysis.figures
        if (figure := spec.draw(result)) is not None
    ]
    tables = [
        ReportTable(title=name.replace("_", " "), caption="", frame=frame)
        for name, frame in analysis.tabulate(result).items()
    ]
    return ReportSection(
        slug=analysis.slug,
        title=analysis.title,
        question=analysis.question,
        answer=" ".join(finding.sentence for finding in result.findings[:2]),
        figures=tuple(figures),
        tables=tuple(tables),
        checks=result.checks,
        findings=result.findings,
    )


def _describe_comparison(inputs: StudyInputs) -> str:
    words = f"{inputs.meta.provenance.architecture} v {inputs.baseline.provenance.architecture}"
    return words if inputs.stimuli is None else f"{words}, on {_describe_stimuli(inputs.stimuli)}"


def _describe_stimuli(stimuli: Stimuli) -> str:
    return f"{len(stimuli.paths)} images of {stimuli.name}"


def _list_facts(study: Study, argv: Sequence[str]) -> tuple[tuple[str, str], ...]:
    versions = describe_versions()
    return (
        ("Command", " ".join(argv)),
        ("Version", " ".join(filter(None, (versions["meta_baseline"], versions["git"])))),
        ("Libraries", ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy", "scikit-learn"))),
        ("Device", f"{study.device}, {versions['threads']} threads"),
        ("Seed", str(study.seed)),
        ("Untrained networks", str(study.num_untrained)),
    )
