"""Weights that cannot be compared get a line or a check, never a traceback or a silent number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from weight_worlds import make_network, random_images

from meta_baseline.alignment import apply_permutation
from meta_baseline.errors import InputError, UsageError
from meta_baseline.figures.weights import FIGURES
from meta_baseline.tables.weights import tabulate_weights
from meta_baseline.weight_analysis import compare_weight_spaces


def analyse(meta: nn.Module, baseline: nn.Module, **options):
    """The result, with everything drawn, tabulated, and no number that is not finite among the estimates."""
    result = compare_weight_spaces(meta, baseline, **options)
    assert [estimate.name for estimate in result.estimates if not math.isfinite(estimate.value)] == []
    for spec in FIGURES:
        spec.draw(result)
    tabulate_weights(result)
    return result, {check.code: check for check in result.checks}


def labelled(network, num: int = 8):
    return [(random_images(network, num=num), torch.arange(num) % 2)]


@pytest.fixture(scope="module")
def baseline():
    return make_network(100)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_left_out_also_on_images(baseline, value):
    network = make_network(0)
    network.conv1.weight.data[0] = value
    result, checks = analyse(network, baseline, loader=labelled(baseline))
    assert checks["weights.finite"].verdict == "fail"
    assert "conv1 of the meta network" in checks["weights.finite"].sentence
    assert "damaged" in checks["weights.connectivity"].sentence
    assert result.first_layer is None


def test_a_damaged_step_0_seed_or_checkpoint_is_refused_in_one_line(baseline):
    network, bad = make_network(0), make_network(1)
    bad.conv2.weight.data[0] = float("nan")
    for options, what in (
        ({"meta_initial": bad}, "step 0"),
        ({"meta_seeds": [bad]}, "further seed"),
        ({"meta_checkpoints": [(10, bad)]}, "checkpoint on the way"),
    ):
        with pytest.raises(InputError, match=f"The {what} given for the meta network is damaged: in conv2") as found:
            compare_weight_spaces(network, baseline, **options)
        assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="further seed given for the baseline network is of another architecture"):
        compare_weight_spaces(network, baseline, baseline_seeds=[make_network(0, name="conv2")])


def test_step_0_of_some_further_seeds_only_is_refused(baseline):
    seeds = [make_network(1), make_network(2)]
    with pytest.raises(UsageError, match="2 further seeds of the meta network were given and 1 step 0 of them"):
        compare_weight_spaces(make_network(0), baseline, meta_seeds=seeds, meta_seed_initials=[make_network(3)])


@pytest.mark.parametrize("constant", [0.0, 0.25])
def test_layers_without_spread_are_named(baseline, constant):
    network = make_network(2)
    network.conv3.weight.data.fill_(constant)
    network.fc_layers[0].weight.data.fill_(constant)
    result, checks = analyse(network, baseline, meta_initial=make_network(3, trained=False))
    assert checks["weights.constant"].verdict == "warn"
    assert "conv3 of the meta network" in checks["weights.constant"].sentence
    layer = result.of("conv3", "meta")
    assert layer is not None and math.isnan(layer.values["kurtosis"])


def test_a_network_of_zeros_is_analysed_without_a_word_it_cannot_keep(baseline):
    network = make_network(4)
    for parameter in network.parameters():
        parameter.data.zero_()
    result, checks = analyse(network, baseline, loader=labelled(baseline))
    assert checks["weights.constant"].verdict == "warn"
    assert not any("nan" in finding.sentence for finding in result.findings)


class Narrow(nn.Module):
    """One filter, one unit, one logit."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1, self.norm, self.relu = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1), nn.ReLU()
            self.fc, self.relu2 = nn.Linear(64, 1), nn.ReLU()
            self.classifier = nn.Linear(1, 1)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.relu2(self.fc(self.relu(self.norm(self.conv1(images))).flatten(1))))


def test_layers_of_one_filter_are_analysed_and_named():
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    result, checks = analyse(Narrow(0), Narrow(1), loader=[(images, torch.arange(8) % 2)])
    assert checks["weights.one_unit"].verdict == "warn"
    assert "conv1 (meta), fc1 (meta), conv1 (baseline), fc1 (baseline)" in checks["weights.one_unit"].sentence
    assert result.projections == ()
    assert result.connectivity is not None


@pytest.mark.parametrize("kind", [torch.complex64, torch.int8])
def test_weights_that_are_no_real_numbers_are_refused_by_name(baseline, kind):
    network = make_network(5)
    weight = network.conv2.weight.data
    network.conv2.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    name = str(kind).removeprefix("torch.")
    with pytest.raises(InputError, match=f"conv2.weight of the meta network holds {name} numbers"):
        compare_weight_spaces(network, baseline)
    with pytest.raises(InputError, match=f"conv2.weight of the baseline network holds {name} numbers"):
        compare_weight_spaces(baseline, network)


def test_half_precision_is_compared_as_it_is(baseline):
    network = make_network(6)
    result, _ = analyse(apply_permutation(network, {}).bfloat16(), network)
    assert result.relation is not None and result.relation.cosine_aligned > 0.999


def test_networks_that_correspond_nowhere_are_refused_or_named():
    with pytest.raises(InputError, match="No layers correspond"):
        compare_weight_spaces(nn.Sequential(nn.Conv2d(1, 4, 3)), nn.Sequential(nn.Linear(9, 2)))
    result, checks = analyse(nn.Sequential(nn.Linear(5, 2)), nn.Sequential(nn.Linear(7, 2)))
    assert result.relation is None
    assert checks["weights.matching"].verdict == "warn"
    assert [item.role for item in result.not_compared] == ["classifier"]


def test_one_network_given_twice_is_noticed_also_on_images(baseline):
    result, checks = analyse(baseline, baseline, loader=labelled(baseline))
    assert checks["weights.identical"].verdict == "fail"
    assert result.connectivity is not None and result.connectivity.surface is None
    assert all(path.barrier == pytest.approx(0.0, abs=1e-6) for path in result.connectivity.paths)


@pytest.mark.parametrize("bad", [float("nan"), -1.0])
def test_impossible_running_statistics_are_named(baseline, bad):
    network = make_network(7)
    network.bn2.running_var[3] = bad
    _, checks = analyse(network, baseline, loader=labelled(baseline))
    assert checks["weights.batch_norm"].verdict == "fail"
    assert "conv2 of the meta network" in checks["weights.batch_norm"].sentence
