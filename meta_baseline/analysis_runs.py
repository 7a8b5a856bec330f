"""Each analysis on the materials of a study: which networks, images, random numbers and processes it is given."""

from __future__ import annotations

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
from meta_baseline.datasets import build_loader, read_grey_images
from meta_baseline.models import ConvNet
from meta_baseline.probing import compare_probes
from meta_baseline.results import Result, load_result
from meta_baseline.sparse_autoencoders import compare_dictionaries
from meta_baseline.stages import Materials
from meta_baseline.study import stage_rng
from meta_baseline.training.learnt_adaptation import read_adaptation
from meta_baseline.training.objectives import classification_loss
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.checkpoint_series import load_series


def run_training(materials: Materials) -> Result:
    """What the run that trained both networks found."""
    assert materials.study.training_outcome is not None, "selected only where there is one"
    return load_result(materials.study.training_outcome)


def run_arms(materials: Materials) -> Result:
    """What ``train-pair`` found when it tested all arms."""
    assert materials.study.arms_outcome is not None, "selected only where there is one"
    return load_result(materials.study.arms_outcome)


def run_behaviour(materials: Materials) -> Result:
    """What both networks answer."""
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


def run_weights(materials: Materials) -> Result:
    """Weights of both networks, beside step 0, checkpoints on the way and further seeds."""
    inputs = materials.inputs
    return compare_weight_spaces(
        inputs.meta,
        inputs.baseline,
        meta_initial=inputs.meta_initial,
        baseline_initial=inputs.baseline_initial,
        meta_seeds=inputs.meta_seeds,
        baseline_seeds=inputs.baseline_seeds,
        meta_seed_initials=inputs.meta_seed_initials,
        baseline_seed_initials=inputs.baseline_seed_initials,
        meta_checkpoints=load_series(inputs.meta_series, inputs.meta),
        baseline_checkpoints=load_series(inputs.baseline_series, inputs.baseline),
        loader=None if inputs.stimuli is None else build_loader(inputs.stimuli, materials.study.batch_size, 0),
        rng=stage_rng(materials.study, "weights"),
        workers=materials.study.num_threads if materials.study.device == "cpu" else 1,
    )


def run_activations(materials: Materials) -> Result:
    """Representations of the same stimuli, beside untrained networks."""
    rng = stage_rng(materials.study, "activation analysis")
    return compare_activations(materials.stores, rng=rng, stimuli=materials.inputs.stimuli)


def run_autoencoders(materials: Materials) -> Result:
    """Sparse dictionaries of every layer of both networks."""
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


def run_probes(materials: Materials) -> Result:
    """What can be read from each layer."""
    rng = stage_rng(materials.study, "probes")
    return compare_probes(materials.stores, rng=rng, progress=materials.progress)


def run_adaptation(materials: Materials) -> Result:
    """What the inner loop changes, on the study's images and on fresh ones of held-out tasks."""
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
