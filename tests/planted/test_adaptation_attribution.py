"""Whether a difference is there before adaptation or appears with it is planted, and so is what controls do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from adaptation_worlds import QUICK, World, make_subject, make_task

from meta_baseline.adaptation import AdaptationResult, Subject, compare_adaptation
from meta_baseline.adaptation_space.contrasts import predict_difference


def _blind(name: str) -> Subject:
    """A network whose first layer is dead, hence sees nothing and learns nothing."""
    subject = make_subject("nothing to learn", name)
    with torch.no_grad():
        subject.network.get_parameter("fc1.weight").zero_()
        subject.network.get_parameter("fc1.bias").fill_(-1.0)
    return subject


def _trained(name: str) -> Subject:
    """A network that answers already."""
    subject = make_subject("head", name)
    with torch.no_grad():
        subject.network.get_parameter("classifier.weight")[0, :2] = torch.tensor([4.0, -4.0])
    return subject


def _compare(meta: Subject, baseline: Subject, *, task: World = "head", **changes: float) -> AdaptationResult:
    settings = dataclasses.replace(QUICK, **changes)
    controls = [_blind(f"untrained {number}") for number in (1, 2, 3)]
    return compare_adaptation(
        [meta, baseline, *controls], [make_task(task)], rng=np.random.default_rng(0), settings=settings
    )


def _attribution(result: AdaptationResult) -> str:
    return next(finding.sentence for finding in result.findings if "meta minus baseline" in finding.sentence)


def test_a_difference_that_adaptation_makes_is_said_to_appear_with_it():
    result = _compare(make_subject("head", "meta"), _blind("baseline"))
    assert "appears with adaptation" in _attribution(result)


def test_a_difference_that_is_there_at_the_start_is_said_to_be_there():
    result = _compare(_trained("meta"), _blind("baseline"), learning_rate=1e-4)
    assert "is there before adaptation, which does not change it noticeably" in _attribution(result)


def test_what_a_network_gains_is_beyond_three_untrained_ones_only_where_they_do_not_gain_it():
    gains = _compare(make_subject("head", "meta"), _blind("baseline")).facts
    meta, baseline = gains.trained
    assert gains.is_beyond_controls(meta, lambda own: own.gain)
    assert not gains.is_beyond_controls(baseline, lambda own: own.gain)
    band = gains.band(meta, lambda own: own.gain)
    assert band is not None
    low, high = band
    means = [control.gain.mean() for control in gains.controls_of(meta)]
    assert (float(low), float(high)) == pytest.approx((min(means), max(means)))


def test_a_network_like_the_untrained_ones_is_beyond_them_at_no_more_than_the_nominal_rate():
    rng = np.random.default_rng(0)
    facts = _compare(_blind("meta"), _blind("baseline")).facts
    false = 0
    for _ in range(300):
        drawn = {subject.name: rng.normal(rng.normal(0, 0.02), 0.05, len(subject.gain)) for subject in facts.subjects}
        false += bool(facts.is_beyond_controls(facts.trained[0], lambda own, drawn=drawn: drawn[own.name]))
    assert false <= 25  # 15 expected


def test_two_more_untrained_networks_differ_by_more_than_predicted_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    beyond = [abs(own[3] - own[4]) > predict_difference(own[:3].tolist()) for own in rng.normal(size=(2000, 5))]
    assert abs(np.mean(beyond) - 0.05) < 0.015


def test_the_verdict_names_the_layer_that_is_enough_alone():
    subjects = [make_subject("first layer", "meta"), _blind("untrained 1")]
    result = compare_adaptation(subjects, [make_task("first layer")], rng=np.random.default_rng(0), settings=QUICK)
    assert "each alone gains something: fc1" in result.findings[0].sentence
    assert "rapid learning" in result.findings[0].sentence


def test_layers_in_which_networks_part_by_adaptation_are_told_from_those_that_were_apart_before():
    still = {name: torch.zeros(1) for name in ("fc1", "fc2", "classifier")}
    start = make_subject("first layer", "meta")
    same = dataclasses.replace(start, name="baseline", rates=still)
    parting = _compare(start, same, task="first layer")
    pair = parting.facts.resemblance
    assert pair is not None
    np.testing.assert_allclose(pair.before[:, :2], 1.0)
    assert pair.after[:, 0].mean() < 0.9
    (sentence,) = (own.sentence for own in parting.findings if "see the same queries" in own.sentence)
    assert "adaptation changes how much alike" in sentence
    assert "fc1" in sentence
    apart = _compare(
        dataclasses.replace(start, rates=still),
        dataclasses.replace(make_subject("head", "baseline", seed=4), rates=still),
        task="first layer",
    )
    (sentence,) = (own.sentence for own in apart.findings if "see the same queries" in own.sentence)
    assert "in no layer does adaptation surely change it" in sentence


def test_paths_of_one_task_agree_where_those_of_different_tasks_do_not():
    here, there = make_task("head"), make_task("head", seed=1, held_out=True)

    def read_elsewhere(rows: np.ndarray) -> torch.Tensor:
        return there.read(rows).flip(1, 2, 3)  # the label is in the last pixel

    elsewhere = dataclasses.replace(there, read=read_elsewhere, name="elsewhere")
    subject = make_subject("head")
    with torch.no_grad():  # passes both pixels on
        weight = subject.network.get_parameter("fc1.weight")
        weight.zero_()
        weight[0, 0], weight[1, 0], weight[2, 3], weight[3, 3] = 1.0, -1.0, 1.0, -1.0
    result = compare_adaptation([subject], [here, elsewhere], rng=np.random.default_rng(0), settings=QUICK)
    compared = result.facts.compare_tasks(result.facts.subjects[0])
    assert compared is not None
    within, between = compared
    assert within.low > 0.3
    assert abs(between.value) < 0.2
    names = {estimate.name for estimate in result.estimates}
    assert {"coherence.within_tasks.meta", "coherence.between_tasks.meta", "held_out.gain.all.meta"} <= names
