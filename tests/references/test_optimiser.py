"""The optimiser against torch's own, and the orthogonalised direction against the singular value decomposition."""

from __future__ import annotations

import copy

import pytest
import torch
from small_training import RECIPE
from torch import nn

from meta_baseline.training.optimiser import Optimiser, list_hidden_weights, orthogonalise


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_an_orthogonalised_matrix_keeps_its_singular_vectors_and_loses_its_singular_values(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalise(matrix) @ right.T
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), rtol=0, atol=1e-10)
    assert float(values.max() / values.min()) > 1.8 or shape == (16, 16)
    assert float(inside.diagonal().min()) > 0.6
    assert float(inside.diagonal().max()) < 1.3


def test_a_zero_gradient_stays_zero() -> None:
    assert torch.count_nonzero(orthogonalise(torch.zeros(3, 5))) == 0


def make_layers(seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network


def backward(network: nn.Module, seed: int) -> None:
    network(torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))).square().mean().backward()


def test_hidden_matrices_move_as_under_torchs_muon_and_the_rest_as_under_its_adamw() -> None:
    network = make_layers(0)
    reference = copy.deepcopy(network)
    ours = Optimiser(network, weight_decay=0.01, matrix_rate=5.0, momentum=0.9)
    hidden = list(reference.parameters())[2]
    muon = torch.optim.Muon([hidden], lr=0.05, weight_decay=0.01 / 5.0, momentum=0.9)
    others = [parameter for parameter in reference.parameters() if parameter is not hidden]
    adamw = torch.optim.AdamW(others, lr=0.01, weight_decay=0.01)
    for step in range(4):
        ours.zero_grad()
        backward(network, step)
        ours.step(0.01)
        reference.zero_grad()
        backward(reference, step)
        muon.step()
        adamw.step()
    # torch iterates in bfloat16, hence the tolerance.
    start = list(make_layers(0).parameters())
    for first, moved, other in zip(start, network.parameters(), reference.parameters()):
        assert float((moved - other).detach().norm() / (other - first).detach().norm()) < 0.02


def test_plain_adamw_is_torchs_adamw() -> None:
    network = make_layers(1)
    reference = copy.deepcopy(network)
    ours, theirs = Optimiser(network, name="adamw"), torch.optim.AdamW(reference.parameters(), weight_decay=1e-4)
    for step in range(3):
        for optimiser, layers in ((ours, network), (theirs, reference)):
            optimiser.zero_grad()
            backward(layers, step)
        ours.step(1e-3)
        theirs.step()
    for parameter, other in zip(network.parameters(), reference.parameters()):
        torch.testing.assert_close(parameter, other)


def test_the_layout_of_convolutions_in_memory_does_not_matter() -> None:
    networks = [RECIPE.build_initial_network().double() for _ in range(2)]
    networks[1].to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for network in networks:
        optimiser = Optimiser(network)
        network.train()(images).square().mean().backward()
        optimiser.step(1e-3)
    for parameter, other in zip(networks[0].parameters(), networks[1].parameters()):
        torch.testing.assert_close(parameter, other.contiguous(), rtol=1e-7, atol=1e-9)


def test_matrices_too_large_to_orthogonalise_are_left_to_adamw() -> None:
    network = nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 2048), nn.Linear(2048, 1024), nn.Linear(1024, 1))
    assert [tuple(weight.shape) for weight in list_hidden_weights(network)] == [(2048, 64)]


def test_the_first_convolution_and_the_classifier_are_not_hidden() -> None:
    network = RECIPE.build_initial_network()
    hidden = {id(weight) for weight in list_hidden_weights(network)}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in hidden]
    assert names == ["conv2.weight", "conv3.weight", "conv4.weight", "fc_layers.0.weight"]
