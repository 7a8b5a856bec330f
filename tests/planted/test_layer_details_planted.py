"""Layers in which something is planted: a unit, a share of variance, a path, an extreme image, an active corner."""

import numpy as np
import pytest
from activation_world import make_store

from meta_baseline import similarity
from meta_baseline.activations import LayerActivations
from meta_baseline.representations.dimension import measure_local_dimension
from meta_baseline.representations.explained import bin_targets, explain_layer
from meta_baseline.representations.extremes import find_extremes
from meta_baseline.representations.layer_statistics import describe_layer
from meta_baseline.representations.mean_maps import average_maps
from meta_baseline.representations.paths import trace_paths
from meta_baseline.representations.shuffles import deal_parts, shuffle_groups, shuffle_within
from meta_baseline.representations.unit_selectivity import measure_units

NUM = 200
LABELS = np.arange(NUM) % 2
ROWS = np.arange(NUM)
NAMES = tuple(f"latent{i}" for i in range(6))


def shuffle(groups, rng, num=100):
    return np.stack([shuffle_groups(groups, rng) for _ in range(num)])


def measure(pooled, latents, rng, groups=ROWS):
    return measure_units(
        pooled,
        latents,
        NAMES,
        network="meta",
        role="fc1",
        halves=deal_parts(groups, 2, rng),
        shuffles=shuffle(groups, rng),
    )


def test_the_unit_that_follows_a_latent_is_found_with_what_it_is_worth_elsewhere():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(NUM, 6))
    pooled = rng.normal(size=(NUM, 40))
    pooled[:, 17] = np.exp(latents[:, 2] + 0.5 * rng.normal(size=NUM))
    found = measure(pooled, latents, rng)
    assert (found[2].best, found[2].num_selective) == (17, 1)
    assert found[2].held_out == pytest.approx(found[2].correlation, abs=0.1)
    assert [unit.num_selective for unit in found] == [0, 0, 1, 0, 0, 0]


def test_units_that_know_nothing_are_called_selective_in_one_layer_of_twenty():
    rng = np.random.default_rng(1)
    claimed, held_out = 0, []
    for _ in range(100):
        found = measure(rng.normal(size=(NUM, 20)), rng.normal(size=(NUM, 6)), rng)
        claimed += any(unit.num_selective for unit in found)
        held_out += [unit.held_out for unit in found]
    assert claimed <= 13  # 5 % of 100 is 5; three binomial standard deviations, and 100 shuffles
    assert abs(np.mean(held_out)) < 0.02  # while the best of 20 reaches .15 on its own images


def make_identities(rng, num=10):
    """Few identities, each with a latent and a response of its own that have nothing to do with each other."""
    groups = np.repeat(np.arange(num), NUM // num)
    latents = rng.normal(size=(num, 6))[groups] + 1e-3 * rng.normal(size=(NUM, 6))
    return groups, latents, rng.normal(size=(num, 5))[groups] + 0.3 * rng.normal(size=(NUM, 5))


def test_what_ten_identities_share_by_chance_is_not_taken_for_selectivity():
    rng = np.random.default_rng(2)
    claimed = {"identities": 0, "images": 0}
    for _ in range(40):
        groups, latents, pooled = make_identities(rng)
        for unit, used in (("identities", groups), ("images", ROWS)):
            claimed[unit] += any(found.num_selective for found in measure(pooled, latents, rng, used))
    assert claimed["identities"] <= 7
    assert claimed["images"] > 35


def explain(features, latents, rng, groups=ROWS, labels=LABELS):
    return explain_layer(
        similarity.gram_matrix(features),
        bin_targets(labels, latents, NAMES),
        network="meta",
        role="fc1",
        parts=deal_parts(groups, 20, rng),
        shuffles=shuffle(groups, rng),
    )


def test_the_planted_share_of_variance_is_found_and_no_other():
    rng = np.random.default_rng(3)
    latents = rng.integers(0, 4, (NUM, 6)).astype(float)
    features = 0.5 * rng.normal(size=(NUM, 30))
    features[:, :5] += latents[:, [1]] - 1.5
    truth = 5 * 1.25 / (5 * 1.25 + 30 * 0.25)  # a latent of variance 1.25 in five of the units
    shares = {share.target: share for share in explain(features, latents, rng)}
    assert shares["latent1"].low < truth < shares["latent1"].high
    assert [name for name, share in shares.items() if share.beyond_chance] == ["latent1"]
    assert shares["all latents"].share == pytest.approx(truth, abs=0.06)


def test_shares_of_unrelated_latents_are_zero_on_average_and_claimed_in_one_layer_of_twenty():
    rng = np.random.default_rng(4)
    claimed, found = 0, []
    for _ in range(80):
        shares = explain(rng.normal(size=(NUM, 8)), rng.normal(size=(NUM, 6)), rng)
        claimed += any(share.beyond_chance for share in shares)
        found += [share.share for share in shares]
    assert claimed <= 11
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(80)


def test_shuffles_keep_what_they_are_to_keep():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(20), 10)
    taken = shuffle_groups(groups, rng)
    assert sorted(taken) == ROWS.tolist()
    partner = groups[taken].reshape(20, 10)
    assert (partner == partner[:, :1]).all()  # whole identities change places
    assert (LABELS[taken] != LABELS).any()  # and their images are not kept in order
    assert (LABELS[shuffle_within(LABELS, groups, rng)] == LABELS).all()


@pytest.mark.parametrize("dimension", [2, 6])
def test_the_dimension_of_a_cloud_is_found_in_any_number_of_units(dimension):
    rng = np.random.default_rng(6)
    cloud = rng.normal(size=(600, dimension)) @ rng.normal(size=(dimension, 50))
    found = measure_local_dimension(similarity.gram_matrix(cloud), np.arange(600) % 20)
    assert found.low < dimension * 1.02 and found.high > dimension * 0.9
    assert found.at_half == pytest.approx(found.value, rel=0.25)


def test_the_interval_of_the_dimension_holds_the_truth_at_about_the_nominal_rate():
    rng = np.random.default_rng(13)
    held = 0
    for _ in range(100):
        cloud = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 9))
        found = measure_local_dimension(similarity.gram_matrix(cloud), np.arange(300) % 20)
        held += found.low <= 2 <= found.high
    assert held >= 88  # 95 % of 100; three binomial standard deviations


def test_dead_and_always_on_channels_are_told_apart():
    rng = np.random.default_rng(7)
    values = np.maximum(rng.normal(size=(NUM, 10)), 0)
    values[:, :3], values[:, 3:5] = 0, 1 + rng.random((NUM, 2))
    layer = make_store("meta", {"fc1": values}, LABELS).layers["fc1"]
    dimension = measure_local_dimension(similarity.gram_matrix(values), ROWS % 20)
    found = describe_layer(
        layer, network="meta", labels=LABELS, folds=ROWS % 5, participation_ratio=1.0, local_dimension=dimension
    )
    assert (found.num_dead, found.num_always_on) == (3, 2)
    assert found.dead_fraction == 0.3


def test_classes_that_part_in_one_layer_are_seen_to_part_there():
    rng = np.random.default_rng(8)
    early = rng.normal(size=(NUM, 20))
    late = np.concatenate([3.0 * LABELS[:, None] + 0.2 * early[:, :2], 0.3 * early], axis=1)
    paths = trace_paths(
        {("meta", "conv1"): similarity.gram_matrix(early), ("meta", "fc1"): similarity.gram_matrix(late)},
        similarity.gram_matrix(early[:, :10]),
        images=ROWS,
        followed=("meta",),
        labels=LABELS,
        latents=early[:, :3],
        latent_names=("a", "b", "c"),
        shuffles=shuffle(ROWS, rng),
    )
    first, last = (path for path in paths.of("meta") if path.network == "meta")
    assert last.class_distance > 5 * last.class_chance
    assert first.class_distance < 2 * first.class_chance
    assert paths.of("meta")[0].role == "pixels"


def make_map_layer(rng, mean_map=None):
    """Two channels on 4 x 4 maps: channel 1 answers at one known cell of the images 7 and 9, most in 9."""
    maps = 0.1 * rng.random((NUM, 2, 4, 4)).astype(np.float32)
    maps[7, 1, 2, 3], maps[9, 1, 0, 1] = 5.0, 8.0
    cells = np.indices((NUM, 4, 4)).reshape(3, -1)
    return LayerActivations(
        role="conv1",
        name="conv1",
        map_shape=(2, 4, 4),
        pooled=maps.mean(axis=(2, 3)),
        grid=maps.reshape(NUM, -1),
        positions=maps.transpose(0, 2, 3, 1).reshape(-1, 2),
        position_image=cells[0],
        position_row=cells[1],
        position_column=cells[2],
        position_foreground=(cells[1] + cells[2]) < 6,  # all but the last corner
        channel_mean=maps.mean(axis=(0, 2, 3)),
        channel_sd=maps.std(axis=(0, 2, 3)),
        channel_zero_fraction=np.zeros(2),
        channel_max=maps.max(axis=(0, 2, 3)),
        mean_map=maps.mean(axis=1) if mean_map is None else mean_map,
    )


def test_the_images_that_drive_a_channel_most_come_first_with_their_place():
    found = find_extremes(make_map_layer(np.random.default_rng(9)), network="meta")
    assert found.top[1, :2].tolist() == [9, 7]
    assert found.top_values[1, :2] == pytest.approx([8.0, 5.0])
    assert found.top_cells[1, :2].tolist() == [[0, 1], [2, 3]]
    assert not {7, 9} & set(found.least[1].tolist())
    assert (np.diff(found.least_values, axis=1) >= 0).all() and (np.diff(found.top_values, axis=1) <= 0).all()


def test_what_lies_on_blank_paper_does_not_make_an_extreme():
    layer = make_map_layer(np.random.default_rng(10))
    layer.positions[(layer.position_image == 3) & ~layer.position_foreground] = 100.0
    assert 3 not in find_extremes(layer, network="meta").top


def test_a_corner_that_is_active_for_one_class_is_found_there_and_nowhere_else():
    rng = np.random.default_rng(11)
    maps = rng.random((NUM, 4, 4)).astype(np.float32)
    maps[:, 3, 0] += 0.3 * LABELS
    found = average_maps(make_map_layer(rng, maps), LABELS, LABELS[shuffle(ROWS, rng)], ROWS, network="meta")
    assert np.argwhere(np.abs(found.difference) > found.chance).tolist() == [[3, 0]]
    assert found.difference[3, 0] > 0.6
    assert found.ones[3, 0] > found.zeros[3, 0]


def test_maps_that_know_nothing_of_the_class_are_claimed_in_one_case_of_twenty():
    rng = np.random.default_rng(12)
    claimed = 0
    for _ in range(60):
        maps = rng.random((NUM, 4, 4)).astype(np.float32)
        found = average_maps(make_map_layer(rng, maps), LABELS, LABELS[shuffle(ROWS, rng)], ROWS, network="meta")
        claimed += bool((np.abs(found.difference) > found.chance).any())
    assert claimed <= 9
