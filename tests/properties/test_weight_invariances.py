"""What the weight analysis must not notice, each with a twin that it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from weight_worlds import add_noise, make_network, random_images, scale_filters, shuffle_units

from meta_baseline.layers import list_layers
from meta_baseline.weight_analysis import compare_weight_spaces
from meta_baseline.weight_space.layer_statistics import STATISTICS, measure_layer

SCALE_FREE = [statistic.name for statistic in STATISTICS if statistic.name != "stored_norm"]


def measure(network):
    return {layer.role: measure_layer(network, layer) for layer in list_layers(network)}


def test_statistics_ignore_the_order_of_units():
    network = make_network(0)
    before, after = measure(network), measure(shuffle_units(network, seed=1)[0])
    for role, layer in before.items():
        for name, value in layer.values.items():
            assert after[role].values[name] == pytest.approx(value, rel=1e-5, nan_ok=True), (role, name)
        np.testing.assert_allclose(after[role].singular_values, layer.singular_values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(after[role].survival, layer.survival, atol=1e-12)
        assert after[role].tail.reason == layer.tail.reason
        np.testing.assert_allclose(after[role].tail.exponent, layer.tail.exponent, rtol=1e-3)


def test_every_statistic_notices_a_change_of_the_function():
    network = make_network(0)
    before = measure(network)
    weight = network.conv3.weight.data
    weight[:6] = weight[6:12]  # copies
    weight[12:16] = 0.0
    weight[16:] = weight[16:].sign() * weight[16:].abs() ** 1.5  # heavier tails
    weight[20:] += (
        2.5 * weight[20:].std() * torch.outer(torch.ones(44), weight[16].flatten().sign()).view_as(weight[20:])
    )
    network.bn3.weight.data *= 2
    network.fc_layers[0].weight.data[:3] *= 4
    after = measure(network)
    for statistic in STATISTICS:
        role = "fc1" if statistic.name == "operator_norm" else "conv3"
        was, now = before[role].values[statistic.name], after[role].values[statistic.name]
        assert abs(now - was) > 0.01 * max(abs(was), 1e-3), (statistic.name, was, now)


def test_statistics_notice_the_order_of_single_weights():
    network = make_network(0)
    network.conv3.weight.data[:, :, 0, 0] = network.conv3.weight.data[:, :, 1, 1]
    before = measure(network)["conv3"]
    weight = network.conv3.weight.data
    order = torch.randperm(weight[0].numel(), generator=torch.Generator().manual_seed(3))
    weight[::2] = weight[::2].flatten(1)[:, order].view_as(weight[::2])
    after = measure(network)["conv3"]
    assert abs(after.values["effective_rank"] - before.values["effective_rank"]) > 0.1
    assert after.values["kurtosis"] == pytest.approx(before.values["kurtosis"])


def test_statistics_ignore_the_size_of_filters_before_batch_norm():
    network = make_network(1)
    factors = torch.rand(64, generator=torch.Generator().manual_seed(0)) * 9 + 0.5
    scaled = scale_filters(network, 3, factors)
    images = random_images(network)
    with torch.inference_mode():
        torch.testing.assert_close(scaled(images), network(images), atol=1e-4, rtol=1e-3)
    before, after = measure(network)["conv3"], measure(scaled)["conv3"]
    for name in SCALE_FREE:
        assert after.values[name] == pytest.approx(before.values[name], rel=1e-4, nan_ok=True), name
    assert after.values["stored_norm"] > 2 * before.values["stored_norm"]


def test_statistics_notice_the_size_of_units_where_nothing_normalises_them_one_by_one():
    network = make_network(1, head="baseline")
    before = measure(network)["fc1"]
    network.fc1.weight.data[::3] *= 5
    after = measure(network)["fc1"]
    assert after.form == "layer at equal norm"
    assert after.values["kurtosis"] > before.values["kurtosis"] + 1
    assert after.values["stable_rank"] < before.values["stable_rank"]


def test_statistics_of_a_layer_before_layer_norm_ignore_its_size_but_not_that_of_single_units():
    network = make_network(2, head="meta")
    before = measure(network)["fc1"]
    network.fc_layers[0].weight.data *= 7
    whole = measure(network)["fc1"]
    network.fc_layers[0].weight.data[:10] *= 7
    single = measure(network)["fc1"]
    for name in SCALE_FREE:
        assert whole.values[name] == pytest.approx(before.values[name], rel=1e-4), name
    assert single.values["kurtosis"] > before.values["kurtosis"] + 1


def test_relations_ignore_the_order_and_the_scale_of_the_baseline():
    meta = make_network(3)
    baseline = add_noise(meta, 0.8)
    factors = torch.rand(32, generator=torch.Generator().manual_seed(4)) * 3 + 0.5
    changed, _ = shuffle_units(scale_filters(baseline, 2, factors), seed=5)
    images = [(random_images(meta, num=32), torch.arange(32) % 2)]
    once, again = (
        compare_weight_spaces(meta, other, meta_initial=make_network(8), loader=images, rng=np.random.default_rng(0))
        for other in (baseline, changed)
    )
    assert once.relation is not None and again.relation is not None
    for one, other in zip(once.relation.layers, again.relation.layers, strict=True):
        assert other.cosine_aligned == pytest.approx(one.cosine_aligned, abs=1e-5)
        assert other.distance_aligned == pytest.approx(one.distance_aligned, abs=1e-5)
        assert other.overlap == pytest.approx(one.overlap, abs=1e-4, nan_ok=True)
    for one, other in zip(once.projections, again.projections, strict=True):
        np.testing.assert_allclose(one.projection.explained, other.projection.explained, atol=1e-5)
        np.testing.assert_allclose(one.projection.meta, other.projection.meta, atol=1e-3)
        np.testing.assert_allclose(one.stability, other.stability, atol=1e-2)
    assert once.yardstick is not None and again.yardstick is not None
    np.testing.assert_allclose(once.yardstick.scores, again.yardstick.scores, rtol=1e-3)
    assert once.network_projection is not None and again.network_projection is not None
    kept = [name != "shuffled" for name in once.network_projection.networks]  # random places are drawn, not measured
    np.testing.assert_allclose(
        once.network_projection.coordinates[kept], again.network_projection.coordinates[kept], atol=1e-2
    )
    assert once.connectivity is not None and again.connectivity is not None
    for one, other in zip(once.connectivity.paths[2:], again.connectivity.paths[2:]):  # statistics taken anew
        np.testing.assert_allclose(other.losses[[0, -1]], one.losses[[0, -1]], atol=1e-3)
    assert again.relation.cosine_unaligned < 0.3 < once.relation.cosine_unaligned


def test_relations_notice_a_filter_that_is_turned_around():
    meta = make_network(3)
    baseline = add_noise(meta, 0.1)
    before = compare_weight_spaces(meta, baseline).relation
    baseline.conv2.weight.data[:16] *= -1
    after = compare_weight_spaces(meta, baseline).relation
    assert before is not None and after is not None
    assert after.by_role("conv2").cosine_aligned < before.by_role("conv2").cosine_aligned - 0.5
    assert after.by_role("conv4").cosine_aligned == pytest.approx(before.by_role("conv4").cosine_aligned, abs=1e-6)


def test_running_statistics_are_no_weights():
    network = make_network(4)
    before = measure(network)["conv2"]
    network.bn2.running_mean += 3.0
    network.bn2.running_var *= 4.0
    after = measure(network)["conv2"]
    for name in SCALE_FREE:
        if name != "norm":
            np.testing.assert_equal(after.values[name], before.values[name])
    # Only the norm in use has batch norm folded in, and says so.
    assert after.values["norm"] == pytest.approx(before.values["norm"] / 2, rel=1e-4)
