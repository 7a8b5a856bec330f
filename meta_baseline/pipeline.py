"""From a Study to results and a report: ``run_study`` is the tool on one screen.

Each analysis is a stage that is committed whole: its result, figures and tables. A run that was killed continues with
the first stage that is not there; a finished stage is never redone.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_baseline.catalogue import ANALYSES, ARMS, BEHAVIOUR, SECTIONS, TRAINING
from meta_baseline.commits import locked, write_atomic
from meta_baseline.datasets import Stimuli
from meta_baseline.datasets.shortcuts import check_stimuli_shortcuts
from meta_baseline.errors import MetaBaselineError, UsageError
from meta_baseline.layers import pair_layers
from meta_baseline.results import Check, Finding
from meta_baseline.run_record import logging_to, write_run, write_summary
from meta_baseline.stages import ACTIVATIONS, Analysis, Materials, Progress, read_stage, run_stage
from meta_baseline.study import Study, StudyInputs, check_output_dir, claim_output_dir, read_inputs
from meta_baseline.study_report import rank_findings, render_study_report

_LOG = logging.getLogger("meta_baseline")
_DURATION = "All of them take two to three minutes for a small network and six to seven for a conv6 pair on two cores."

ANALYSIS_FAILURES = (MetaBaselineError, ArithmeticError, ValueError, RuntimeError)
"""What may end one analysis without ending the others: numbers and shapes that it cannot work with."""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """Where the report is, what was found, and which analyses failed with what message."""

    report: Path
    findings: tuple[Finding, ...]
    failures: dict[str, str]


def run_study(study: Study, *, argv: Sequence[str] = (), progress: Progress, say: Callable[[str], None]) -> StudyResult:
    """Check the inputs, run the analyses that are not there yet, and write the report.

    Raises:
        MetaBaselineError: the inputs or the output folder cannot be used; then nothing was written.
    """
    check_output_dir(study.output_dir)
    inputs = read_inputs(study)
    pairing = pair_layers(inputs.meta, inputs.baseline)
    with locked(study.output_dir), logging_to(study.output_dir / "log.txt"):
        claim_output_dir(study, inputs)
        say(describe_plan(study, inputs))
        for line in list_cautions(inputs):
            say(line)
        materials = Materials(study=study, inputs=inputs, progress=progress)
        stages: dict[str, dict[str, Any]] = {}
        failures: dict[Analysis, str] = {}
        left_out: list[Check] = []
        for analysis in select_analyses(study):
            started = time.monotonic()
            if not analysis.needs_pass:
                materials.forget_stores()
            try:
                reused = run_stage(analysis, materials)
            except UsageError as error:
                if analysis.slug not in study.optional:
                    failures[analysis] = _report_failure(analysis, error, say)
                    continue
                left_out.append(_leave_out(analysis, error))
                say(f"  {left_out[-1].sentence}")
            except ANALYSIS_FAILURES as error:
                failures[analysis] = _report_failure(analysis, error, say)
            else:
                stages[analysis.slug] = {"seconds": round(time.monotonic() - started, 2), "reused": reused}
                say(f"  {analysis.title}: {'already there' if reused else f'{time.monotonic() - started:.0f} s'}")
        everything = {analysis: read_stage(analysis, study, inputs) for analysis in SECTIONS}
        results = {analysis: result for analysis, result in everything.items() if result is not None}
        checks = (*left_out, *pairing.checks, *_check_stimuli(inputs.stimuli))
        page = render_study_report(study, inputs, results, checks, failures, argv)
        write_atomic(study.output_dir / "report.html", page)
        write_summary(study.output_dir / "summary.json", {a.slug: result for a, result in results.items()})
        write_run(
            study.output_dir / "run.json", study=study, hashes=inputs.hashes, checks=checks, stages=stages, argv=argv
        )
        if not failures:
            shutil.rmtree(study.output_dir / ACTIVATIONS, ignore_errors=True)
    return StudyResult(
        report=study.output_dir / "report.html",
        findings=rank_findings(results.values()),
        failures={analysis.slug: message for analysis, message in failures.items()},
    )


def _report_failure(analysis: Analysis, error: Exception, say: Callable[[str], None]) -> str:
    """What it failed of, in one line; the traceback goes to the log."""
    _LOG.error("%s failed", analysis.slug, exc_info=error)
    message = " ".join(str(error).split())
    say(f"  {analysis.title}: failed ({message}). The traceback is in log.txt.")
    return message


def _leave_out(analysis: Analysis, error: UsageError) -> Check:
    sentence = f"{analysis.title}: left out, since the inputs do not suffice. {' '.join(str(error).split())}"
    return Check(code=f"{analysis.slug}.left_out", verdict="note", sentence=sentence)


def _check_stimuli(stimuli: Stimuli | None) -> tuple[Check, ...]:
    return () if stimuli is None else (*stimuli.checks, *check_stimuli_shortcuts(stimuli))


def select_analyses(study: Study) -> tuple[Analysis, ...]:
    """The stages of a study in the order of the report."""
    chosen = [analysis for analysis in ANALYSES if analysis.slug in study.analyses]
    if any(analysis.needs_images for analysis in chosen):
        chosen = [BEHAVIOUR, *chosen]
    outcomes = [(ARMS, study.arms_outcome), (TRAINING, study.training_outcome)]
    return (*(analysis for analysis, folder in outcomes if folder is not None), *chosen)


def describe_plan(study: Study, inputs: StudyInputs) -> str:
    """The line before the first expensive stage: what will run, on what, and how long that may take."""
    analyses = [analysis for analysis in select_analyses(study) if read_stage(analysis, study, inputs) is None]
    if not analyses:
        return f"Everything is already in {study.output_dir}; only the report is written again."
    images = f" on {len(inputs.stimuli.paths)} images of {inputs.stimuli.name}" if inputs.stimuli else ""
    titles = ", ".join(analysis.title.lower() for analysis in analyses)
    duration = _DURATION if any(analysis in ANALYSES for analysis in analyses) else ""
    return f"Will run {titles}{images}, on {study.device}. {duration}".strip()


def list_cautions(inputs: StudyInputs) -> Iterator[str]:
    """What cannot wait for the report: a scaling of the images that was assumed, and images that limit conclusions."""
    if inputs.stimuli is None:
        return
    networks = {"meta": inputs.meta.preprocessing, "baseline": inputs.baseline.preprocessing}
    if assumed := {name: used for name, used in networks.items() if used.assumed}:
        scalings = " and ".join(f"{used.describe()} for the {name} network" for name, used in assumed.items())
        options = " and ".join(f"--{name}-input-scaling" for name in assumed)
        yield f"No file says how images were scaled: {scalings}. If that is wrong, choose it with {options}."
    for check in inputs.stimuli.checks:
        if check.verdict in ("warn", "fail"):
            yield f"Caution: {check.sentence}"
