"""Every measure of the activation analysis in worlds that are known, with the images a similarity rests on."""

import dataclasses

import numpy as np
import pytest
from activation_world import make_stores

from meta_baseline.activation_analysis import compare_activations
from meta_baseline.activations import Stores
from meta_baseline.figures.similarity import SIMILARITY_FIGURES, draw_measures
from meta_baseline.similarity import gram_matrix
from meta_baseline.tables.similarity import tabulate_similarity_measures

NUM = 120


def make_world(rng, *, learned=True, planted=()):
    """Untrained networks share the pixels; the trained two also what they learned, and perhaps two odd images."""
    pixels, shared = rng.normal(size=(NUM, 5)), 2.0 * rng.normal(size=(NUM, 5))

    def network(trained):
        own = np.hstack([pixels, rng.normal(size=(NUM, 5)), shared * (trained and learned)])
        features = own @ rng.normal(size=(15, 9)) + 0.2 * rng.normal(size=(NUM, 9))
        if trained and len(planted):
            features[list(planted)] += 30.0
        return {"fc1": features, "classifier": rng.normal(size=(NUM, 1))}

    stores = make_stores(
        network(True),
        network(True),
        [network(False) for _ in range(4)],
        labels=np.arange(NUM) % 2,
        pixels=pixels,
    )
    return with_grams(stores)


def with_grams(stores: Stores) -> Stores:
    """The same stores as a pass leaves them: with Gram matrices of whole maps."""

    def add(store):
        layers = {
            role: dataclasses.replace(layer, gram=gram_matrix(layer.grid)) for role, layer in store.layers.items()
        }
        return dataclasses.replace(store, layers=layers, gram_rows=np.arange(NUM))

    controls = tuple(map(add, stores.untrained_meta))
    return dataclasses.replace(
        stores,
        meta=add(stores.meta),
        baseline=add(stores.baseline),
        untrained_meta=controls,
        untrained_baseline=controls,
    )


def analyse(stores):
    return compare_activations(stores, rng=np.random.default_rng(0))


MEASURES = ("whole_maps", "channel_means", "rbf", "neighbours", "rank", "rank_partial", "procrustes", "canonical")


@pytest.fixture(scope="module")
def learned():
    return analyse(make_world(np.random.default_rng(0)))


def test_what_was_learned_in_common_leaves_the_band_in_every_measure_but_the_ones_that_cannot_see_it(learned):
    found = {measure.name: measure for measure in learned.facts.agreement("fc1").measures}
    assert tuple(found) == MEASURES
    for name in ("whole_maps", "channel_means", "rbf", "neighbours", "rank", "rank_partial", "procrustes"):
        assert found[name].value > found[name].control + 0.05, name
        assert found[name].value > max(found[name].controls), name


def test_networks_that_learned_nothing_in_common_stay_in_the_band():
    outside = 0
    for seed in range(4):
        layer = analyse(make_world(np.random.default_rng(50 + seed), learned=False)).facts.agreement("fc1")
        outside += sum(not m.band_low <= m.value <= m.band_high for m in layer.measures)
    assert outside <= 5  # of 32 at 5 %, of which those of one world go together


def test_unrelated_layers_lie_at_the_stated_chance(learned):
    for measure in learned.facts.agreement("classifier").measures:
        if np.isfinite(measure.chance):
            assert abs(measure.value - measure.chance) < 0.12, measure.name


def test_the_two_planted_images_are_those_that_the_similarity_rests_on():
    result = analyse(make_world(np.random.default_rng(3), learned=False, planted=(17, 84)))
    influential = result.facts.agreement("fc1").influential
    assert {image.image for image in influential[:2]} == {17, 84}
    assert influential[1].influence > 5 * abs(influential[2].influence)
    table = tabulate_similarity_measures(result.facts.matched)["influential"]
    assert table["image"].tolist()[:2] in (["18", "85"], ["85", "18"])


def test_an_interval_over_images_holds_its_value_and_tables_and_figures_show_all_measures(learned):
    for layer in learned.facts.matched:
        for measure in layer.measures:
            if np.isfinite(measure.low):
                assert measure.low < measure.value < measure.high
    tables = tabulate_similarity_measures(learned.facts.matched)
    assert set(tables["measures"]["measure"]) == {name.replace("_", " ") for name in MEASURES}
    titles = [axes.get_title(loc="left") for axes in draw_measures(learned).axes]
    assert len([title for title in titles if title]) == 8
    assert [spec.slug for spec in SIMILARITY_FIGURES] == ["measures", "layer_by_layer", "layer_by_layer_without_pixels"]


def test_a_heat_map_without_the_pixels_loses_what_only_the_pixels_made(learned):
    tables = {table.name: table for table in learned.facts.tables}
    plain, partial = (
        tables[name].values[0, 0] for name in ("untrained_untrained", "untrained_untrained_without_pixels")
    )
    assert plain > 0.15 and abs(partial) < 0.1
    assert tables["meta_baseline_without_pixels"].values[0, 0] > 0.25
    assert np.diag(tables["meta_meta_without_pixels"].values) == pytest.approx(np.ones(2), abs=1e-5)
