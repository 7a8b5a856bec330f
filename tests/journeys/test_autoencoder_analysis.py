from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dictionary_worlds import make_map_layer, make_map_stores, make_sparse_world

from meta_baseline.errors import InputError
from meta_baseline.figures.autoencoders import FIGURES
from meta_baseline.results import load_result, save_result
from meta_baseline.sparse_autoencoders import compare_dictionaries
from meta_baseline.tables.autoencoders import tabulate_autoencoders

NUM_IMAGES = 40


def make_layers(seed: int, *, side: int = 3, num_channels: int = 6) -> dict:
    layers = {}
    for i, role in enumerate(("conv1", "conv2")):
        world = make_sparse_world(
            NUM_IMAGES * side * side, num_channels=num_channels, num_atoms=9, active=2, seed=seed + i
        )
        layers[role] = make_map_layer(role, world.samples, num_images=NUM_IMAGES, side=side)
    return layers


@pytest.fixture(scope="module")
def stores():
    return make_map_stores(make_layers(0), make_layers(10), make_layers(20), num_images=NUM_IMAGES)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def result(stores, images):
    return compare_dictionaries(stores, images=images, rng=np.random.default_rng(0))


def test_every_figure_is_drawn_and_every_table_filled(result):
    assert all(spec.draw(result) is not None for spec in FIGURES)
    tables = tabulate_autoencoders(result)
    assert list(tables) == ["dictionaries", "matching", "stability", "selectivity", "features"]
    assert len(tables["dictionaries"]) == 2 * (3 + 3 + 2 + 4)


def test_estimates_carry_their_control_and_have_unique_names(result):
    names = [estimate.name for estimate in result.estimates]
    assert len(names) == len(set(names))
    by_name = {estimate.name: estimate for estimate in result.estimates}
    assert by_name["conv1.fve.topk.meta"].reference == by_name["conv1.fve.topk.untrained"].value
    low, value, high = (getattr(by_name["conv1.fve.topk.meta"], field) for field in ("low", "value", "high"))
    assert low < value < high
    assert {name for finding in result.findings for name in finding.estimates} <= set(names)
    assert all(estimate.descriptive for estimate in result.estimates)


def test_the_result_survives_the_disk_and_can_be_drawn_again(result, tmp_path):
    save_result(result, tmp_path)
    again = load_result(tmp_path)
    assert again.findings == result.findings and again.checks == result.checks
    save_result(again, tmp_path / "again")
    files = [(folder / "result.safetensors").read_bytes() for folder in (tmp_path, tmp_path / "again")]
    assert files[0] == files[1]
    assert all(spec.draw(again) is not None for spec in FIGURES)


def test_the_same_generator_gives_the_same_result(stores, images, result, tmp_path):
    again = compare_dictionaries(stores, images=images, rng=np.random.default_rng(0))
    for name, value in (("first", result), ("second", again)):
        save_result(value, tmp_path / name)
    for file in ("result.json", "result.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_without_images_there_are_no_patches_and_the_rest_is_there(stores):
    result = compare_dictionaries(stores, rng=np.random.default_rng(0))
    assert [spec.slug for spec in FIGURES if spec.draw(result) is None] == ["features"]
    assert "features" not in tabulate_autoencoders(result)


def test_maps_of_other_sizes_are_matched_by_image_and_other_widths_are_warned_of():
    baseline = {"conv1": make_layers(10, side=2, num_channels=8)["conv1"]}
    meta, untrained = ({"conv1": make_layers(seed)["conv1"]} for seed in (0, 20))
    result = compare_dictionaries(
        make_map_stores(meta, baseline, untrained, num_images=NUM_IMAGES), rng=np.random.default_rng(0)
    )
    assert result.study.layers[0].matching("networks")[0].unit == "images"
    verdicts = {check.code: check.verdict for check in result.checks}
    assert verdicts["autoencoder.matched_by_image"] == "note" and verdicts["autoencoder.other_width"] == "warn"


def test_a_constant_layer_is_reported_and_stops_nothing(images):
    layers = make_layers(0)
    constant = replace(layers["conv2"], positions=np.full_like(layers["conv2"].positions, 0.25))
    stores = make_map_stores({**layers, "conv2": constant}, make_layers(10), make_layers(20), num_images=NUM_IMAGES)
    result = compare_dictionaries(stores, images=images, rng=np.random.default_rng(0))
    found = [check.sentence for check in result.checks if check.code == "autoencoder.constant_layer"]
    assert len(found) == 1 and "conv2 meta" in found[0] and "baseline" not in found[0]
    assert all(spec.draw(result) is not None for spec in FIGURES)
    assert result.findings and "nan" not in result.findings[0].sentence


def test_too_few_images_are_refused_with_their_number(stores):
    few = replace(stores, meta=replace(stores.meta, labels=stores.meta.labels[:5]))
    with pytest.raises(InputError, match="5 images are too few"):
        compare_dictionaries(few, rng=np.random.default_rng(0))
