"""Few images, one shape identity, hardly any of one class: what cannot be known is left open, nothing fails."""

import numpy as np
import pytest
from activation_world import make_stores

from meta_baseline.activation_analysis import compare_activations
from meta_baseline.behaviour import measure_behaviour
from meta_baseline.figures import activations, behaviour
from meta_baseline.results import save_result
from meta_baseline.tables.activations import tabulate_activations
from meta_baseline.tables.behaviour import tabulate_behaviour

WORLDS = {
    "six images": (np.arange(6) % 2, None),
    "two identities": (np.arange(6) % 2, np.repeat([0, 1], 3)),
    "one identity": (np.arange(40) % 2, np.zeros(40, dtype=int)),
    "one image of a class": (np.array([0] + [1] * 29), None),
}


def make_world(name):
    rng = np.random.default_rng(0)
    labels, groups = WORLDS[name]
    num = len(labels)
    networks = [{"fc1": np.maximum(rng.normal(size=(num, 5)), 0), "classifier": rng.random((num, 1))} for _ in range(4)]
    return make_stores(*networks[:2], networks[2:], labels=labels, pixels=rng.random((num, 4)), groups=groups)


@pytest.mark.parametrize("name", WORLDS)
def test_small_worlds_of_activations_are_measured_drawn_and_saved(name, tmp_path):
    result = compare_activations(make_world(name), rng=np.random.default_rng(0))
    save_result(result, tmp_path)
    assert all(len(frame) for frame in tabulate_activations(result).values())
    assert any(spec.draw(result) is not None for spec in activations.FIGURES)


@pytest.mark.parametrize("name", WORLDS)
def test_small_worlds_of_decisions_are_measured_drawn_and_saved(name, tmp_path):
    rng = np.random.default_rng(0)
    result = measure_behaviour(make_world(name), meta_rule="logit", baseline_rule="logit", rng=rng)
    save_result(result, tmp_path)
    assert set(tabulate_behaviour(result)) >= {"accuracy", "confusion", "agreement"}
    assert any(spec.draw(result) is not None for spec in behaviour.FIGURES)
    assert not any("nan" in finding.sentence for finding in result.findings)


def test_one_identity_gives_no_interval_and_no_held_out_correlation():
    world = make_world("one identity")
    agreement = measure_behaviour(
        world, meta_rule="logit", baseline_rule="logit", rng=np.random.default_rng(0)
    ).decisions.agreements[0]
    assert np.isnan([agreement.agreement_low, agreement.kappa_high, agreement.errors_high]).all()
    facts = compare_activations(world, rng=np.random.default_rng(0)).facts
    assert all(np.isnan(unit.held_out) for unit in facts.units)
    assert all(np.isnan(share.low) for share in facts.explained)
