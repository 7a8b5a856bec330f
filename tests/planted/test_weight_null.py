"""Networks of one recipe are called different at the nominal rate; a planted difference is found in its layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from weight_worlds import add_noise, make_network

from meta_baseline.models import architecture_of, build_network
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.controls import measure_network, values_of
from meta_baseline.weight_space.yardstick import judge_pair, pair_seeds, split_pairs

NUM_PAIRS, NUM_YARDSTICK = 200, 3

SMALL = replace(
    architecture_of("stack4"),
    name="custom",
    widths=(6, 8, 8),
    kernels=(3,) * 3,
    paddings=(1,) * 3,
    hidden=(12,),
    image_size=16,
)


def draw_values(seed: int):
    network = build_network(SMALL, torch.Generator().manual_seed(seed)).eval()
    for parameter in network.parameters():  # gains and biases vary over units as well
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
    return values_of(measure_network(network))


@pytest.fixture(scope="module")
def population():
    """Values of 200 x (1 + 3) pairs of networks of one recipe."""
    return [draw_values(seed) for seed in range(2 * NUM_PAIRS * (1 + NUM_YARDSTICK))]


def test_two_networks_of_one_recipe_exceed_the_yardstick_at_its_nominal_rate(population):
    size = 2 * (1 + NUM_YARDSTICK)
    verdicts = []
    for start in range(0, len(population), size):
        meta, baseline, *others = population[start : start + size]
        verdicts.append(judge_pair(meta, baseline, split_pairs(others), roles=list(meta), source="seeds"))
    assert len(verdicts) == NUM_PAIRS and all(verdict.chance == 0.25 for verdict in verdicts)
    exceeded = sum(verdict.exceeded for verdict in verdicts)
    low, high = binom.interval(0.99, NUM_PAIRS, verdicts[0].chance)
    assert low <= exceeded <= high, exceeded


def test_no_layer_is_preferred_where_nothing_was_planted(population):
    leaders = [
        judge_pair(*population[i : i + 2], split_pairs(population[i + 2 : i + 8]), roles=list(population[0]), source="")
        for i in range(0, len(population), 8)
    ]
    counts = {role: sum(leader.most_different == role for leader in leaders) for role in population[0]}
    assert min(counts.values()) > 0.04 * len(leaders), counts


def scale(network):
    network.bn3.weight.data *= 1.8  # filters before batch norm have no size; their gain has


def prune(network):
    weight = network.conv3.weight.data
    weight[weight.abs() < 0.5 * weight.std()] = 0.0


def lower_rank(network):
    weight = network.conv3.weight.data
    u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    s[8:] *= 0.2
    network.conv3.weight.data = (u * s @ v).view_as(weight)


def widen_tails(network):
    weight = network.conv3.weight.data
    network.conv3.weight.data = weight.sign() * weight.abs() ** 1.6


@pytest.mark.parametrize("plant", [scale, prune, lower_rank, widen_tails])
def test_a_planted_difference_is_found_in_its_layer(plant):
    network = make_network(1)
    plant(network)
    seeds = [make_network(seed) for seed in range(10, 18)]
    result = compare_weight_spaces(network, make_network(2), meta_seeds=seeds[:4], baseline_seeds=seeds[4:])
    assert result.yardstick is not None
    assert len(result.yardstick.controls) == 4 == len(result.seed_relations)
    assert result.yardstick.exceeded
    assert result.yardstick.most_different == "conv3"
    sentence = next(f.sentence for f in result.findings if "beyond all 4 pairs of seeds" in f.sentence)
    assert "differ most in conv3" in sentence and "once in 5 times" in sentence


def test_a_layer_that_was_initialised_again_is_the_one_that_is_no_longer_alike():
    network = make_network(3)
    baseline = add_noise(network, 0.4)
    generator = torch.Generator().manual_seed(9)
    weight = baseline.conv3.weight.data
    baseline.conv3.weight.data = weight.std() * torch.randn(weight.shape, generator=generator)
    initial = make_network(3)
    result = compare_weight_spaces(network, baseline, meta_initial=initial, baseline_initial=initial)
    assert result.relation is not None
    cosines = {layer.role: layer.cosine_aligned for layer in result.relation.layers}
    assert min(cosines, key=lambda role: cosines[role]) == "conv3"
    assert cosines["conv3"] < 0.35 < 0.85 < min(cosine for role, cosine in cosines.items() if role != "conv3")
    moved = {x.role: x.displacement for x in result.displacements if x.network == "baseline"}
    assert max(moved, key=lambda role: moved[role]) == "conv3"


def test_yardstick_pairs_share_no_network():
    assert split_pairs([1, 2, 3, 4, 5]) == [(1, 2), (3, 4)]
    assert pair_seeds(0, [1, 2]) == [(1, 2)]
    assert pair_seeds(0, [1]) == [(0, 1)], "with one further seed there is no other pair"
    assert pair_seeds(0, []) == []


def test_what_some_networks_lack_is_not_judged(population):
    meta, baseline, *others = population[:8]
    blank = {role: {**values, "norm": float("nan")} for role, values in meta.items()}
    judged = judge_pair(blank, baseline, split_pairs(others), roles=list(meta), source="seeds")
    assert judged is not None and "norm" not in judged.statistics
    assert np.isfinite(judged.scores).all()
    assert judge_pair(meta, baseline, [], roles=list(meta), source="none") is None


def test_differences_of_rounding_size_are_none(population):
    meta, baseline, *others = population[:8]
    same = [
        {role: {**values, "gain": 1.0} for role, values in network.items()} for network in (meta, baseline, *others)
    ]
    nearly = {role: {**values, "gain": 1.0 + 1e-15} for role, values in meta.items()}
    exact, rounded = (
        judge_pair(first, same[1], split_pairs(same[2:]), roles=list(meta), source="seeds")
        for first in (same[0], nearly)
    )
    assert exact is not None and rounded is not None
    np.testing.assert_allclose(exact.scores, rounded.scores)
