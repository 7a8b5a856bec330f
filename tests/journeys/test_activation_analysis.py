"""From networks and image files to stores, a result on disk, tables and figures."""

import dataclasses

import numpy as np
import pytest
import torch
from activation_world import make_stores
from matplotlib.figure import Figure

from meta_baseline.activation_analysis import ActivationResult, compare_activations
from meta_baseline.activations import collect_stores
from meta_baseline.activations.untrained import is_same_weights
from meta_baseline.datasets import read_stimuli
from meta_baseline.figures.activations import FIGURES
from meta_baseline.models import architecture_of, build_network
from meta_baseline.results import load_result, save_result
from meta_baseline.stimuli import write_svrt_folder
from meta_baseline.tables.activations import tabulate_activations


def build(seed, head="meta", **options):
    architecture = architecture_of("stack4", image_size=32, head=head, **options)
    return build_network(architecture, torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stimuli")
    images = folder / "results_irregular" / "test"
    images.mkdir(parents=True)
    write_svrt_folder(images, "irregular", num_images=40, seed=0, split="test")
    return read_stimuli(folder, task="irregular")


@pytest.fixture(scope="module")
def stores(stimuli):
    return collect_stores(
        build(1), build(2), stimuli, meta_initial=build(0), baseline_initial=build(0), rng=np.random.default_rng(0)
    )


@pytest.fixture(scope="module")
def result(stores, stimuli):
    return compare_activations(stores, rng=np.random.default_rng(0), stimuli=stimuli)


def test_a_known_common_start_is_the_first_of_three_untrained_networks(stores):
    assert [store.network for store in stores.networks] == [
        "meta",
        "baseline",
        "untrained 1",
        "untrained 2",
        "untrained 3",
    ]
    assert stores.shared_initial and stores.meta_initial is stores.untrained[0]
    assert stores.untrained_meta is stores.untrained_baseline or stores.untrained_meta == stores.untrained_baseline
    assert "they started from the same weights" in stores.untrained[0].notes[0]
    assert stores.untrained[1].notes[0] == "A fresh initialisation."
    assert "recalibrated on 32 of the images without labels" in stores.untrained[1].notes[1]


def test_all_networks_see_the_same_images_at_the_same_positions(stores, stimuli):
    assert stores.pixels.shape == (40, 256) and stores.pixels.min() >= 0 and 0.01 < stores.pixels.mean() < 0.2
    assert len(stores.image_paths) == 40
    assert [len(store.layers["conv2"].positions) > 0 for store in stores.networks] == [True, True, True, False, False]
    for store in stores.networks[:3]:
        assert (store.labels == stimuli.labels).all()
        for role in ("conv1", "conv4"):
            for name in ("position_image", "position_row", "position_column"):
                own, other = getattr(store.layers[role], name), getattr(stores.meta.layers[role], name)
                assert (own == other).all()


def test_untrained_networks_with_recalibrated_norms_have_unit_variance_before_the_non_linearity(stores):
    for store in stores.untrained:
        assert 0.2 < store.layers["conv3"].channel_sd.mean() < 2


def test_own_starts_that_differ_are_both_kept(stimuli):
    own = (build(3), build(4))
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in own]
    stores = collect_stores(
        build(1), build(2), stimuli, meta_initial=own[0], baseline_initial=own[1], rng=np.random.default_rng(0)
    )
    assert not stores.shared_initial
    assert stores.meta_initial is stores.untrained[0] and stores.baseline_initial is stores.untrained[1]
    assert [len(store.layers["conv2"].positions) > 0 for store in stores.untrained] == [True, True, False]
    for network, state in zip(own, before):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_networks_of_different_heads_have_untrained_twins_each(stimuli):
    stores = collect_stores(build(1), build(2, head="baseline"), stimuli, num_untrained=2, rng=np.random.default_rng(0))
    assert [store.network for store in stores.untrained] == [
        "untrained meta 1",
        "untrained meta 2",
        "untrained baseline 1",
        "untrained baseline 2",
    ]
    assert stores.meta_initial is None
    result = compare_activations(stores, rng=np.random.default_rng(0))
    assert len(result.facts.agreement("conv4").controls) == 4
    assert result.facts.tables[3].row_network == "untrained meta 1"


def test_stores_are_the_same_bytes_for_the_same_seed(stores, stimuli):
    again = collect_stores(
        build(1), build(2), stimuli, meta_initial=build(0), baseline_initial=build(0), rng=np.random.default_rng(0)
    )
    for first, second in zip(stores.networks, again.networks):
        for role, layer in first.layers.items():
            for name, values in vars(layer).items():
                if isinstance(values, np.ndarray):
                    assert values.tobytes() == getattr(second.layers[role], name).tobytes()


def test_a_result_survives_the_disk(result, tmp_path):
    save_result(result, tmp_path)
    back = load_result(tmp_path)
    assert isinstance(back, ActivationResult)
    assert back.checks == result.checks and back.findings == result.findings
    assert [e.name for e in back.estimates] == [e.name for e in result.estimates]
    first, second = (dataclasses.asdict(facts.matched[0]) for facts in (result.facts, back.facts))
    np.testing.assert_equal(first, second)


def test_every_estimate_has_a_name_of_its_own_and_findings_rest_on_estimates(result):
    names = [estimate.name for estimate in result.estimates]
    assert len(set(names)) == len(names)
    assert {"conv3.cka.meta_baseline", "conv3.cka.meta_initial", "fc1.separability.baseline"} <= set(names)
    assert {name for finding in result.findings for name in finding.estimates} <= set(names)
    cka = next(e for e in result.estimates if e.name == "conv3.cka.meta_baseline")
    assert cka.low < cka.value < cka.high and cka.reference is not None
    assert cka.interval == "jackknife over 40 images" and cka.reference_label == "untrained networks, mean of 3 pairs"


def test_checks_say_that_one_pair_makes_no_population_claim(result):
    codes = [check.code for check in result.checks]
    assert len(set(codes)) == len(codes)
    assert "no population claim" in next(c.sentence for c in result.checks if c.code == "activations.one_pair")
    assert "activations.shared_start" in codes


def test_tables_have_a_row_per_layer(result):
    tables = tabulate_activations(result)
    named = {"agreement", "layers", "relations", "similarity", "latents", "measures", "influential"}
    assert named <= set(tables)
    assert tables["agreement"]["layer"].tolist() == ["conv1", "conv2", "conv3", "conv4", "fc1", "classifier"]
    assert len(tables["layers"]) == 5 * 6
    assert len(tables["similarity"]) == 2 * 4 * 36
    assert set(tables["measures"]["measure"]) >= {"whole maps", "channel means", "rbf", "rank", "procrustes"}
    assert (tables["influential"].groupby("layer").size() == 6).all()
    assert "ink" in tables["latents"].columns
    assert {"explained", "units", "paths", "extremes", "mean_maps"} <= set(tables)
    assert tables["explained"]["target"].iloc[0] == "class"
    assert len(tables["extremes"]) == 2 * 2 * 4 and len(tables["mean_maps"]) == 5 * 4
    assert tables["layers"]["TwoNN"].notna().all() and tables["layers"]["always on"].dtype == int


def test_every_figure_is_drawn_and_says_how_to_read_it(result):
    for spec in FIGURES:
        assert isinstance(spec.draw(result), Figure)
        assert len(spec.how_to_read) > 100


def test_figures_are_drawn_without_latents_without_pairs_and_with_a_constant_layer():
    rng = np.random.default_rng(0)
    networks = [{"fc1": rng.random((30, 5)), "classifier": rng.random((30, 1))} for _ in range(3)]
    networks[1]["fc1"][:] = 0.0
    stores = make_stores(*networks[:2], networks[2:], labels=np.arange(30) % 2, pixels=rng.random((30, 4)))
    for store in stores.networks:
        del store.latents["size1"], store.latents["same"]
    result = compare_activations(stores, rng=rng)
    drawn = {spec.slug: spec.draw(result) for spec in FIGURES}
    no_images_no_maps_no_sample = {"planes_by_latent", "extremes", "mean_maps", "distributions"}
    assert {slug for slug in no_images_no_maps_no_sample if drawn.pop(slug) is None} == no_images_no_maps_no_sample
    assert all(len(frame) for frame in tabulate_activations(result).values())
    assert all(isinstance(figure, Figure) for figure in drawn.values())


def test_equal_parameters_are_recognised_whatever_the_buffers_hold():
    first, second = build(0), build(0)
    second.bn1.running_mean += 1
    assert is_same_weights(first, second)
    assert not is_same_weights(first, build(1))
