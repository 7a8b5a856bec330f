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

from meta_baseline.activation_analysis import compare_activations
from meta_baseline.activations.untrained import is_same_architecture, iterate_untrained, read_calibration_images
from meta_baseline.adaptation import (
    Subject,
    choose_settings,
    compare_adaptation,
    draw_fresh_tasks,
    find_held_out,
    read_origin,
    take_stimuli,
)
from meta_baseline.behaviour import Deciders, measure_behaviour
from meta_baseline.commits import locked, write_atomic
from meta_baseline.datasets import Stimuli, build_loader, read_grey_images
from meta_baseline.datasets.shortcuts import check_stimuli_shortcuts
from meta_baseline.errors import MetaBaselineError
from meta_baseline.figures import activations, adaptation, arms, autoencoders, behaviour, probes, training, weights
from meta_baseline.layers import pair_layers
from meta_baseline.models import ConvNet
from meta_baseline.probing import compare_probes
from meta_baseline.results import Check, Finding, Result, load_result
from meta_baseline.run_record import logging_to, write_run, write_summary
from meta_baseline.sparse_autoencoders import compare_dictionaries
from meta_baseline.stages import ACTIVATIONS, Analysis, Materials, Progress, read_stage, run_stage
from meta_baseline.study import Study, StudyInputs, check_output_dir, claim_output_dir, read_inputs, stage_rng
from meta_baseline.study_report import rank_findings, render_study_report
from meta_baseline.tables.activations import tabulate_activations
from meta_baseline.tables.adaptation import tabulate_adaptation
from meta_baseline.tables.arms import tabulate_arms
from meta_baseline.tables.autoencoders import tabulate_autoencoders
from meta_baseline.tables.behaviour import tabulate_behaviour
from meta_baseline.tables.probes import tabulate_probes
from meta_baseline.tables.training import tabulate_training
from meta_baseline.tables.weights import tabulate_weights
from meta_baseline.training.learnt_adaptation import read_adaptation
from meta_baseline.training.objectives import classification_loss
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.checkpoint_series import load_series

_LOG = logging.getLogger("meta_baseline")


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
        for analysis in select_analyses(study):
            started = time.monotonic()
            try:
                reused = run_stage(analysis, materials)
            except ANALYSIS_FAILURES as error:
                _LOG.error("%s failed", analysis.slug, exc_info=error)
                failures[analysis] = " ".join(str(error).split())
                say(f"  {analysis.title}: failed ({failures[analysis]}). The traceback is in log.txt.")
            else:
                stages[analysis.slug] = {"seconds": round(time.monotonic() - started, 2), "reused": reused}
                say(f"  {analysis.title}: {'already there' if reused else f'{time.monotonic() - started:.0f} s'}")
        everything = {analysis: read_stage(analysis, study, inputs) for analysis in SECTIONS}
        results = {analysis: result for analysis, result in everything.items() if result is not None}
        checks = (*pairing.checks, *_check_stimuli(inputs.stimuli))
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


def _check_stimuli(stimuli: Stimuli | None) -> tuple[Check, ...]:
    return () if stimuli is None else (*stimuli.checks, *check_stimuli_shortcuts(stimuli))


def select_analyses(study: Study) -> tuple[Analysis, ...]:
    """The stages of a study in the order of the report."""
    chosen = [analysis for analysis in (*ANALYSES, *FURTHER) if analysis.slug in study.analyses]
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
    duration = " ".join(text for text, group in _DURATIONS if any(analysis in group for analysis in analyses))
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


def _run_training(materials: Materials) -> Result:
    assert materials.study.training_outcome is not None, "selected only where there is one"
    return load_result(materials.study.training_outcome)


def _run_arms(materials: Materials) -> Result:
    assert materials.study.arms_outcome is not None, "selected only where there is one"
    return load_result(materials.study.arms_outcome)


def _run_behaviour(materials: Materials) -> Result:
    inputs, study = materials.inputs, materials.study
    assert inputs.stimuli is not None, "the command line asks for --data-dir before it gets here"
    return measure_behaviour(
        materials.stores,
        meta_rule=inputs.meta.decision_rule,
        baseline_rule=inputs.baseline.decision_rule,
        rng=stage_rng(study, "behaviour"),
        deciders=Deciders(
            meta=inputs.meta,
            baseline=inputs.baseline,
            meta_initial=inputs.meta_initial,
            stimuli=inputs.stimuli,
            device=study.device,
        ),
    )


def _run_weights(materials: Materials) -> Result:
    inputs = materials.inputs
    return compare_weight_spaces(
        inputs.meta,
        inputs.baseline,
        meta_initial=inputs.meta_initial,
        baseline_initial=inputs.baseline_initial,
        meta_seeds=inputs.meta_seeds,
        baseline_seeds=inputs.baseline_seeds,
        meta_checkpoints=load_series(inputs.meta_series, inputs.meta),
        baseline_checkpoints=load_series(inputs.baseline_series, inputs.baseline),
        loader=None if inputs.stimuli is None else build_loader(inputs.stimuli, materials.study.batch_size, 0),
        rng=stage_rng(materials.study, "weights"),
        workers=materials.study.num_threads if materials.study.device == "cpu" else 1,
    )


def _run_activations(materials: Materials) -> Result:
    rng = stage_rng(materials.study, "activation analysis")
    return compare_activations(materials.stores, rng=rng, stimuli=materials.inputs.stimuli)


def _run_autoencoders(materials: Materials) -> Result:
    assert materials.inputs.stimuli is not None, "the command line asks for --data-dir before it gets here"
    images = read_grey_images(materials.inputs.stimuli, 128)
    rng = stage_rng(materials.study, "autoencoders")
    return compare_dictionaries(
        materials.stores,
        images=images,
        rng=rng,
        device=materials.study.device,
        workers=materials.study.num_threads if materials.study.device == "cpu" else 1,
        progress=materials.progress,
    )


def _run_probes(materials: Materials) -> Result:
    rng = stage_rng(materials.study, "probes")
    return compare_probes(materials.stores, rng=rng, progress=materials.progress)


def _run_adaptation(materials: Materials) -> Result:
    inputs, study = materials.inputs, materials.study
    assert inputs.stimuli is not None, "the command line asks for --data-dir before it gets here"
    rng = stage_rng(study, "adaptation")
    calibration = read_calibration_images(inputs.stimuli)
    subjects = [_take_subject("meta", inputs.meta), _take_subject("baseline", inputs.baseline)]
    controls = [("untrained", "meta", inputs.meta, inputs.meta_initial)]
    if not is_same_architecture(inputs.meta, inputs.baseline):
        controls.append(("untrained baseline", "baseline", inputs.baseline, inputs.baseline_initial))
    for name, arm, model, initial in controls:
        known = () if initial is None else ((initial, f"Step 0 of the {arm} network."),)
        twins = iterate_untrained(
            model, known, num_networks=study.num_untrained, calibration=calibration, device=study.device, rng=rng
        )
        for number, twin in enumerate(twins, start=1):
            subjects.append(
                Subject(
                    name=f"{name} {number}",
                    network=twin.model,
                    loss=classification_loss(model.decision_rule),
                    rule=model.decision_rule,
                    note=" ".join(twin.notes),
                )
            )
    for subject in subjects:
        subject.network.to(study.device)
    given = take_stimuli(inputs.stimuli)
    origins = [read_origin(model.provenance.path) for model in (inputs.meta, inputs.baseline)]
    settings = choose_settings(inputs.meta, given, learning_rate=origins[0].learning_rate)
    fresh = draw_fresh_tasks(
        find_held_out(origins, given.name),
        num_episodes=settings.max_episodes,
        image_size=inputs.meta.preprocessing.image_size,
        seed=study.seed,
        progress=materials.progress,
    )
    return compare_adaptation(
        subjects,
        [given, *fresh],
        rng=rng,
        settings=settings,
        workers=study.num_threads if study.device == "cpu" else 1,
        progress=materials.progress,
    )


def _take_subject(name: str, model: ConvNet) -> Subject:
    learnt = read_adaptation(model.provenance.path) if model.provenance.path else None
    return Subject(
        name=name,
        network=model,
        loss=classification_loss(model.decision_rule),
        rule=model.decision_rule,
        rates=learnt.rates_or_none if learnt else None,
        statistics=tuple(learnt.statistics) if learnt else (),
    )


ARMS = Analysis(
    slug="training_arms",
    title="Training, over seeds",
    question="How well did every arm of every seed learn, and does what is said below hold beyond one pair?",
    needs_images=False,
    run=_run_arms,
    figures=arms.FIGURES,
    tabulate=tabulate_arms,
)
"""Only where the networks are those of ``train-pair``, which tested them."""

TRAINING = Analysis(
    slug="training",
    title="Training",
    question="How well did both networks learn, on trained and on held-out tasks, before and after adaptation?",
    needs_images=False,
    run=_run_training,
    figures=training.FIGURES,
    tabulate=tabulate_training,
)
"""Only where the run that trained both networks left its outcome."""

BEHAVIOUR = Analysis(
    slug="behaviour",
    title="Behaviour",
    question="What do the two networks answer on these stimuli?",
    needs_images=True,
    run=_run_behaviour,
    figures=behaviour.FIGURES,
    tabulate=tabulate_behaviour,
)
"""Not a choice: whoever looks inside two networks on stimuli has to know what they do on them."""

ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        slug="weight_analysis",
        flag="--analyze-weights",
        title="Weight space",
        question="How do the weights differ, once units are matched and the initialisation is taken into account?",
        needs_images=False,
        run=_run_weights,
        figures=weights.FIGURES,
        tabulate=tabulate_weights,
    ),
    Analysis(
        slug="activation_analysis",
        flag="--analyze-activations",
        title="Activations",
        question="Do the two networks represent the stimuli alike, layer by layer, beyond what any network would?",
        needs_images=True,
        run=_run_activations,
        figures=activations.FIGURES,
        tabulate=tabulate_activations,
    ),
    Analysis(
        slug="autoencoder_analysis",
        flag="--train-autoencoders",
        title="Sparse autoencoders",
        question="Which sparse features are the activations made of, and do the two networks share them?",
        needs_images=True,
        run=_run_autoencoders,
        figures=autoencoders.FIGURES,
        tabulate=tabulate_autoencoders,
    ),
    Analysis(
        slug="probe_analysis",
        flag="--probe-representations",
        title="Probes",
        question="What can be read from each layer, linearly and not, and is it more than an untrained layer gives?",
        needs_images=True,
        run=_run_probes,
        figures=probes.FIGURES,
        tabulate=tabulate_probes,
    ),
)
"""The four analyses in the order of the report; flags, sections and folders all follow from this tuple."""

FURTHER: tuple[Analysis, ...] = (
    Analysis(
        slug="adaptation_analysis",
        flag="--analyze-adaptation",
        title="Adaptation",
        question="What does adaptation to a few labelled images change: which layers learn, and which are reused?",
        needs_images=True,
        run=_run_adaptation,
        figures=adaptation.FIGURES,
        tabulate=tabulate_adaptation,
    ),
)
"""Analyses that are run when they are asked for by name, and not by --run-all."""

_DURATIONS = (
    ("All four take about a minute for a small network and four for a conv6 pair on two cores.", ANALYSES),
    ("Adaptation takes about a minute for a small network and four for a conv6 pair on two cores.", FURTHER),
)

SECTIONS = (ARMS, TRAINING, BEHAVIOUR, *ANALYSES, *FURTHER)
