"""What was planted in the weights is found, in the layer where it was planted; what was not, is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from weight_worlds import add_noise, make_network, scale_filters, shuffle_units

from meta_baseline.alignment import apply_permutation
from meta_baseline.errors import InputError
from meta_baseline.models import untrained_copy
from meta_baseline.results import load_result
from meta_baseline.weight_analysis import WeightSpaceResult, compare_weight_spaces


def verdicts(result: WeightSpaceResult) -> dict[str, str]:
    return {check.code: check.verdict for check in result.checks}


def values(result: WeightSpaceResult, statistic: str, network: str = "meta") -> dict[str, float]:
    return {x.role: x.values[statistic] for x in result.layers if x.network == network}


def excess(result: WeightSpaceResult, statistic: str) -> dict[str, float]:
    """How far each layer of the meta network lies from untrained ones, in ranges of these."""
    return {
        x.role: (x.values[statistic] - x.untrained[statistic].mean()) / (np.ptp(x.untrained[statistic]) + 1e-3)
        for x in result.layers
        if x.network == "meta"
    }


@pytest.fixture(scope="module")
def baseline():
    return make_network(100)


def test_pruning_is_found_in_the_pruned_layer(baseline):
    network = make_network(0)
    weight = network.conv3.weight.data
    weight[weight.abs() < 0.7 * weight.std()] = 0.0
    result = compare_weight_spaces(network, baseline)
    near_zero = values(result, "near_zero")
    assert near_zero["conv3"] == pytest.approx(0.52, abs=0.03)
    assert max(share for role, share in near_zero.items() if role != "conv3") < 0.1
    for statistic in ("near_zero", "hoyer"):
        found = excess(result, statistic)
        assert max(found, key=lambda role: found[role]) == "conv3"


def test_a_low_rank_layer_is_found(baseline):
    network = make_network(1)
    matrix = network.conv4.weight.data.flatten(1)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s[3:] *= 0.05
    network.conv4.weight.data = (u * s @ v).view_as(network.conv4.weight)
    result = compare_weight_spaces(network, baseline)
    assert values(result, "stable_rank")["conv4"] < 4 < 30 < values(result, "stable_rank", "baseline")["conv4"]
    assert any("differ most in conv4: " in finding.sentence for finding in result.findings)


def test_dead_filters_are_found_by_weight_and_by_gain(baseline):
    network = make_network(2)
    network.bn2.weight.data[:8] = 0.0
    network.conv4.weight.data[:16] = 0.0
    result = compare_weight_spaces(network, baseline)
    dead = values(result, "dead")
    assert (dead["conv2"], dead["conv4"], dead["conv3"]) == (0.25, 0.25, 0.0)
    sentence = next(f.sentence for f in result.findings if "dead" in f.sentence)
    assert "25% of conv2 (meta), 25% of conv4 (meta); untrained layers have 0%" in sentence


def test_heavy_tails_are_found(baseline):
    network = make_network(3)
    network.fc_layers[0].weight.data.view(-1)[::50] *= 6
    result = compare_weight_spaces(network, baseline)
    found = excess(result, "kurtosis")
    assert max(found, key=lambda role: found[role]) == "fc1"


def test_two_untrained_networks_are_no_more_alike_than_untrained_networks():
    for seed in range(5):
        result = compare_weight_spaces(
            make_network(seed, trained=False), make_network(50 + seed, trained=False), rng=np.random.default_rng(seed)
        )
        assert "no more alike than untrained networks" in result.findings[0].sentence
        assert max(finding.importance for finding in result.findings) <= 0.4


def test_a_hidden_likeness_is_found_beyond_the_control():
    network = make_network(4)
    hidden, _ = shuffle_units(add_noise(network, 1.0), seed=5)
    result = compare_weight_spaces(network, hidden)
    assert "more alike than untrained networks" in result.findings[0].sentence
    assert result.findings[0].importance == 0.7
    estimates = {estimate.name: estimate for estimate in result.estimates}
    for role in ("conv1", "conv4", "fc1"):
        # Noise as large as the signal leaves a cosine of 1 / sqrt(2).
        assert estimates[f"{role}.cosine.aligned"].value == pytest.approx(math.sqrt(0.5), abs=0.08)
        assert abs(estimates[f"{role}.cosine.unaligned"].value) < 0.35
    assert estimates["network.moved"].value > 0.9


def test_one_network_given_twice_is_noticed():
    network = make_network(6)
    result = compare_weight_spaces(network, apply_permutation(network, {}))
    assert verdicts(result)["weights.identical"] == "fail"
    assert [finding.importance for finding in result.findings] == [0.95]


def test_one_network_given_twice_in_another_order_and_scale_is_noticed():
    network = make_network(7)
    factors = torch.rand(32, generator=torch.Generator().manual_seed(1)) + 0.5
    result = compare_weight_spaces(network, shuffle_units(scale_filters(network, 1, factors), seed=8)[0])
    check = next(check for check in result.checks if check.code == "weights.identical")
    assert check.verdict == "fail"
    assert "up to the order of their units" in check.sentence


def test_a_layer_that_both_networks_share_is_named(baseline):
    network = make_network(8)
    network.conv1.load_state_dict(baseline.conv1.state_dict())
    network.bn1.load_state_dict(baseline.bn1.state_dict())
    check = next(c for c in compare_weight_spaces(network, baseline).checks if c.code == "weights.identical")
    assert (check.verdict, check.sentence.split()[-1]) == ("warn", "conv1.")


def test_displacement_from_step_0_is_what_was_planted():
    initial = make_network(9, trained=False)
    networks = [apply_permutation(initial, {}) for _ in range(2)]
    start = initial.fc_layers[0].weight.data
    step = torch.outer(torch.randn(128, generator=torch.Generator().manual_seed(2)), torch.ones(start.shape[1]))
    step -= start * (step * start).sum() / start.square().sum()
    step *= start.norm() / step.norm()
    networks[0].fc_layers[0].weight.data += 0.5 * step
    networks[1].fc_layers[0].weight.data += 0.2 * step
    result = compare_weight_spaces(*networks, meta_initial=initial, baseline_initial=initial)
    found = {(x.role, x.network): x for x in result.displacements}
    assert found["fc1", "meta"].stored_displacement == pytest.approx(0.5, rel=1e-4)
    assert found["fc1", "meta"].cosine == pytest.approx(1 / math.sqrt(1.25), abs=1e-3)
    assert found["fc1", "meta"].stable_rank < 2 < 10 < found["fc1", "meta"].random_stable_rank
    assert found["conv2", "baseline"].displacement == 0.0
    assert abs(found["conv2", "meta"].untrained_cosine).max() < 0.1
    assert result.displacement_cosines["fc1"] == pytest.approx(1.0, abs=1e-5)
    assert math.isnan(result.displacement_cosines["conv2"])


def test_unrelated_displacements_from_one_step_0_have_no_common_direction():
    initial = make_network(10, trained=False)
    result = compare_weight_spaces(
        add_noise(initial, 0.8, seed=1), add_noise(initial, 0.8, seed=2), meta_initial=initial, baseline_initial=initial
    )
    wide = [result.displacement_cosines[role] for role in ("conv2", "conv3", "conv4", "fc1")]
    assert np.abs(wide).max() < 0.05
    assert result.relation is not None and result.relation.cosine_aligned > 0.5, "they still share their start"
    assert "started from the same weights" in result.findings[0].sentence
    assert result.findings[0].beyond_control


def test_without_step_0_the_report_says_what_cannot_be_assessed(baseline):
    network = make_network(11)
    result = compare_weight_spaces(network, baseline)
    check = next(check for check in result.checks if check.code == "weights.initialisation")
    assert check.verdict == "warn"
    assert "how far training moved it" in check.sentence and "cannot be assessed" in check.sentence
    assert result.displacements == ()
    initial = untrained_copy(network, torch.Generator().manual_seed(0))
    half = compare_weight_spaces(network, baseline, meta_initial=initial)
    check = next(check for check in half.checks if check.code == "weights.initialisation")
    assert "Step 0 of the baseline network is unknown" in check.sentence
    assert {x.network for x in half.displacements} == {"meta"}


def test_a_step_0_of_another_architecture_is_refused(baseline):
    with pytest.raises(InputError, match="another architecture: conv1 has shape"):
        compare_weight_spaces(make_network(0), baseline, meta_initial=make_network(0, name="conv2"))


def test_networks_with_different_heads_are_compared_where_they_correspond():
    result = compare_weight_spaces(make_network(0, head="meta"), make_network(1, head="baseline"))
    assert result.relation is not None
    assert [layer.role for layer in result.relation.layers] == ["conv1", "conv2", "conv3", "conv4"]
    assert {item.role for item in result.not_compared} == {"fc1", "classifier"}
    assert all(item.reason for item in result.not_compared)
    assert {layer.role for layer in result.layers if layer.network == "baseline"} >= {"fc1", "classifier"}
    assert verdicts(result)["weights.function_kept"] == "pass"


def test_networks_of_different_depth_and_width_leave_a_reason_for_every_layer():
    result = compare_weight_spaces(make_network(0), make_network(1, name="conv2", head="baseline"))
    assert result.relation is None and result.projections == ()
    assert {item.role for item in result.not_compared} >= {"conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "fc3"}
    assert verdicts(result)["weights.matching"] == "warn"


def test_layers_that_are_not_finite_are_left_out_with_the_reason(baseline):
    network = make_network(12)
    network.conv2.weight.data[0, 0, 0, 0] = float("nan")
    network.layer_norms[0].bias.data[3] = float("inf")
    result = compare_weight_spaces(network, baseline)
    assert verdicts(result)["weights.finite"] == "fail"
    assert {(x.role, x.network) for x in result.not_compared} == {("conv2", "meta"), ("fc1", "meta")}
    assert result.relation is not None
    assert [layer.role for layer in result.relation.layers] == ["conv1", "conv3", "conv4", "classifier"]
    assert all(math.isfinite(estimate.value) for estimate in result.estimates)


def test_matching_without_the_first_layer_is_not_trusted(baseline):
    network = make_network(12)
    network.conv1.weight.data[0, 0, 0, 0] = float("nan")
    check = next(c for c in compare_weight_spaces(network, baseline).checks if c.code == "weights.matching")
    assert check.verdict == "warn"
    assert "may miss a likeness" in check.sentence


def test_a_network_that_is_no_chain_of_its_layers_is_noticed():
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.architecture = make_network(0).architecture
            self.conv1, self.relu1 = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()
            self.conv2, self.relu2 = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
            self.fc = nn.Linear(8, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            first = self.relu1(self.conv1(images))
            return self.fc((first + self.relu2(self.conv2(first))).mean(dim=(2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = Shortcut(), Shortcut()
    check = next(c for c in compare_weight_spaces(*networks).checks if c.code == "weights.function_kept")
    assert check.verdict == "fail"


def test_the_same_generator_gives_the_same_result_and_it_survives_the_disk(tmp_path, baseline):
    network = make_network(13)
    once = compare_weight_spaces(network, baseline, tmp_path / "a", rng=np.random.default_rng(4))
    compare_weight_spaces(network, baseline, tmp_path / "b", rng=np.random.default_rng(4))
    for name in ("result.json", "result.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = load_result(tmp_path / "a")
    assert isinstance(loaded, WeightSpaceResult)
    assert loaded.estimates == once.estimates and loaded.checks == once.checks and loaded.findings == once.findings
    np.testing.assert_array_equal(loaded.projections[0].projection.meta, once.projections[0].projection.meta)


def test_every_number_is_named_once_and_marked_as_descriptive(baseline):
    result = compare_weight_spaces(make_network(14), baseline)
    names = [estimate.name for estimate in result.estimates]
    assert len(names) == len(set(names))
    assert all(estimate.descriptive and estimate.low is None for estimate in result.estimates)
    assert {"conv1.cosine.aligned", "conv1.kurtosis.meta", "network.cosine.aligned"} <= set(names)
    for finding in result.findings:
        assert set(finding.estimates) <= set(names) and finding.estimates
