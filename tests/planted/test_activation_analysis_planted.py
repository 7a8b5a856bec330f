"""Whole activation analyses of worlds that are known: what was planted is found, and nothing else is."""

import numpy as np
import pytest
from activation_world import make_stores

from meta_baseline.activation_analysis import compare_activations
from meta_baseline.representations.control_band import predict_band
from meta_baseline.representations.layer_statistics import deal_folds, measure_separability

NUM = 160
LABELS = np.arange(NUM) % 2


def mix(rng, *parts, width=30):
    """A layer that shows the given signals [N, k] through random non-negative units."""
    signals = np.hstack(parts)
    return np.maximum(
        signals @ rng.normal(size=(signals.shape[1], width)) + 0.3 * rng.normal(size=(len(signals), width)), 0
    )


def make_world(rng, *, learned=0.0, forgets=False, num_untrained=3, groups=None):
    """Networks that all see the pixels; the trained two also share what they learned, unless one forgets the pixels."""
    pixels = rng.normal(size=(NUM, 6))
    shared = learned * rng.normal(size=(NUM, 4))

    def network(trained):
        own = [rng.normal(size=(NUM, 3))]
        if trained and learned:
            own.append(shared)
        late = mix(rng, *own, *([] if trained and forgets else [pixels]))
        return {"fc1": mix(rng, pixels), "fc2": late, "classifier": rng.normal(size=(NUM, 1))}

    trained = [network(True), network(True)]
    controls = [network(False) for _ in range(num_untrained)]
    return make_stores(*trained, controls, labels=LABELS, pixels=pixels, groups=groups)


def analyse(stores):
    return compare_activations(stores, rng=np.random.default_rng(0))


def check(result, code):
    return next(check for check in result.checks if check.code == code)


def test_what_two_networks_learned_in_common_makes_them_more_alike_than_untrained_pairs():
    result = analyse(make_world(np.random.default_rng(0), learned=4.0, num_untrained=5))
    assert result.facts.agreement("fc2").verdict == "more"
    assert result.facts.agreement("fc1").verdict == "within"
    assert "the two are more alike in fc2 (2 layers judged)" in result.findings[0].sentence
    assert result.findings[0].importance == 0.7


def test_networks_that_stop_seeing_the_images_are_less_alike_than_untrained_pairs():
    result = analyse(make_world(np.random.default_rng(1), forgets=True, num_untrained=5))
    assert result.facts.agreement("fc2").verdict == "less"
    assert "lowest in fc2" in result.findings[0].sentence


def test_agreement_that_comes_from_the_pixels_goes_when_they_are_taken_out():
    layer = analyse(make_world(np.random.default_rng(2))).facts.agreement("fc2")
    assert layer.cka > 0.4
    assert abs(layer.partial_cka) < 0.15
    assert layer.pixels_meta > 0.5


def test_untrained_networks_compared_with_each_other_are_within_their_band():
    outside = 0
    for seed in range(12):
        facts = analyse(make_world(np.random.default_rng(100 + seed))).facts
        outside += sum(facts.agreement(role).verdict != "within" for role in ("fc1", "fc2"))
    assert outside <= 1


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("own_noise", [0.0, 1.0])
@pytest.mark.parametrize("num", [3, 5])
def test_the_band_holds_one_more_pair_of_unseen_networks_at_least_at_the_nominal_rate(num, own_noise, crossed):
    rng = np.random.default_rng(3)
    first, second = [f"a{i}" for i in range(num)], [f"b{i}" if crossed else f"a{i}" for i in range(num)]
    pairs = [(a, b) for i, a in enumerate(first) for j, b in enumerate(second) if crossed or i < j]
    held = 0
    for _ in range(1500):
        effects = {name: 0.1 * rng.normal() for name in dict.fromkeys([*first, *second, "x", "y"])}
        values = [0.5 + effects[a] + effects[b] + 0.1 * own_noise * rng.normal() for a, b in [*pairs, ("x", "y")]]
        low, high = predict_band(np.tanh(values[:-1]).tolist(), pairs)
        held += low <= np.tanh(values[-1]) <= high
    assert held / 1500 >= 0.935


def test_two_untrained_networks_leave_the_comparison_unjudged():
    result = analyse(make_world(np.random.default_rng(4), num_untrained=2))
    assert result.facts.agreement("fc2").verdict == "unknown"
    assert check(result, "activations.untrained").verdict == "warn"
    assert result.findings[0].importance == 0.3


def test_one_untrained_network_is_no_control():
    result = analyse(make_world(np.random.default_rng(5), num_untrained=1))
    assert check(result, "activations.untrained").verdict == "fail"
    assert "there is no control" in result.findings[0].sentence
    assert [table.name for table in result.facts.tables if "untrained" in table.name] == []


def test_the_same_network_given_twice_is_noticed():
    stores = make_world(np.random.default_rng(6))
    twice = make_stores(
        *[{role: layer.grid for role, layer in stores.meta.layers.items()}] * 2,
        [{role: layer.grid for role, layer in store.layers.items()} for store in stores.untrained],
        labels=LABELS,
        pixels=stores.pixels,
    )
    assert "is one file given twice" in analyse(twice).findings[0].sentence


def test_class_separability_is_zero_on_average_for_features_that_know_nothing():
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        folds = deal_folds(LABELS, np.arange(NUM), rng)
        found.append(measure_separability(rng.normal(size=(NUM, 60)), LABELS, folds)[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)


@pytest.mark.parametrize("width", [3, 400])
def test_class_separability_finds_the_planted_distance(width):
    rng = np.random.default_rng(8)
    found, held = [], 0
    for _ in range(20):
        features = rng.normal(size=(NUM, width)).astype(np.float32) * np.geomspace(1, 100, width)
        features[:, 0] = (LABELS - 0.5) * 2.5 + (rng.normal(size=NUM) if width == 3 else 0.2 * rng.normal(size=NUM))
        value, low, high = measure_separability(features, LABELS, deal_folds(LABELS, np.arange(NUM), rng))
        found.append(value)
        held += low <= 2.5 <= high
    if width == 3:
        assert np.mean(found) == pytest.approx(2.5, abs=0.25)
        assert held >= 17
    else:
        assert np.mean(found) > 1.0


def test_units_that_fire_for_single_images_do_not_hide_how_far_the_classes_lie_apart():
    rng = np.random.default_rng(13)
    num = 150  # not a power of two, so that the mean of a silent unit is off by its rounding
    labels = np.arange(num) % 2
    known = np.stack([(labels - 0.5) * 2 + rng.normal(size=num), rng.normal(size=num)], axis=1)
    rare = np.zeros((num, 40))
    rare[rng.choice(num, 40, replace=False), np.arange(40)] = rng.random(40)
    folds = deal_folds(labels, np.arange(num), rng)
    features = np.hstack([known, rare + 0.7]).astype(np.float32)
    alone, beside = (measure_separability(x, labels, folds)[0] for x in (features[:, :2], features))
    assert beside == pytest.approx(alone, abs=0.35)


def test_separability_of_the_classes_is_reported_against_untrained_networks():
    rng = np.random.default_rng(9)
    stores = make_world(rng)
    seen = {role: layer.grid for role, layer in stores.meta.layers.items()}
    seen["fc2"] = np.maximum(seen["fc2"] + 2.0 * LABELS[:, None] * rng.random(30), 0)
    rest = [
        {role: layer.grid for role, layer in store.layers.items()} for store in (stores.baseline, *stores.untrained)
    ]
    result = analyse(make_stores(seen, rest[0], rest[1:], labels=LABELS, pixels=stores.pixels))
    finding = next(f for f in result.findings if "furthest apart" in f.sentence)
    assert finding.importance == 0.7
    assert "fc2 (d' = " in finding.sentence and "of the meta" in finding.sentence
    assert "fc2.separability.meta" in finding.estimates


def test_dead_and_constant_layers_are_counted_and_checked():
    stores = make_world(np.random.default_rng(10))
    parts = [{role: layer.grid.copy() for role, layer in store.layers.items()} for store in stores.networks]
    parts[0]["fc1"][:, :20] = 0
    parts[1]["fc2"][:] = 3.25
    result = analyse(make_stores(parts[0], parts[1], parts[2:], labels=LABELS, pixels=stores.pixels))
    assert result.facts.layer("meta", "fc1").num_dead == 20
    assert check(result, "activations.dead_channels").sentence.endswith("in fc1 of meta (20 of 30).")
    assert "fc2 of baseline" in check(result, "activations.constant_layers").sentence
    assert check(result, "activations.constant_layers").verdict == "fail"
    assert np.isnan(result.facts.agreement("fc2").cka)
    assert result.facts.layer("baseline", "fc2").num_dead == 0


def test_few_shape_identities_are_said_and_many_are_left_out_whole():
    few = analyse(make_world(np.random.default_rng(11), groups=np.arange(NUM) % 6))
    assert check(few, "activations.groups").verdict == "warn"
    assert few.facts.agreement("fc1").interval == "jackknife over 160 images"
    many = analyse(make_world(np.random.default_rng(11), groups=np.arange(NUM) % 40))
    assert many.facts.agreement("fc1").interval == "jackknife over 40 groups of images"


def test_the_plane_of_a_layer_shows_the_latent_that_drives_it():
    rng = np.random.default_rng(12)
    stores = make_world(rng)
    parts = [{role: layer.grid.copy() for role, layer in store.layers.items()} for store in stores.networks]
    parts[0]["fc2"] += 0.2 * np.arange(NUM)[:, None] * rng.random(30)
    facts = analyse(make_stores(parts[0], parts[1], parts[2:], labels=LABELS, pixels=stores.pixels)).facts
    assert facts.latent_names == ("size1",) and facts.strongest_latent == "size1"
    plane = next(plane for plane in facts.planes if (plane.network, plane.role) == ("meta", "fc2"))
    assert plane.latent_shares[0] > 0.95
    centred = parts[0]["fc2"] - parts[0]["fc2"].mean(0)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert plane.explained == pytest.approx(singular[:2] ** 2 / (singular**2).sum(), rel=1e-5)
    assert np.linalg.norm(plane.scores, axis=0) == pytest.approx(singular[:2], rel=1e-5)
    assert (plane.scores[np.abs(plane.scores).argmax(0), [0, 1]] > 0).all()
