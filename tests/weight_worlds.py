"""Small networks with known weights, for the tests of matching and of the weight analysis."""

from __future__ import annotations

import numpy as np
import torch

from meta_baseline.alignment import apply_permutation, derive_permutations
from meta_baseline.architectures import Head
from meta_baseline.models import ConvNet, architecture_of, build_network


def make_network(seed: int, *, name: str = "stack4", head: Head = "meta", trained: bool = True) -> ConvNet:
    """A network whose gains, shifts and running statistics differ from unit to unit, as after training."""
    generator = torch.Generator().manual_seed(seed)
    size = 32 if name == "conv2" else None  # at its own 128 px its first dense layer alone has 13 million weights
    network = build_network(architecture_of(name, head=head, image_size=size), generator).eval()
    if trained:
        for key, value in network.state_dict().items():
            owner = key.rsplit(".", 1)[0]
            if "num_batches" in key or value.ndim != 1:
                continue
            noise = torch.rand(value.shape, generator=generator)
            if key.endswith("running_var"):
                value.copy_(0.5 + noise)
            elif key.endswith("weight") and ("bn" in owner or "norm" in owner):
                value.copy_(0.6 + 0.8 * noise)
            else:
                value.add_(0.2 * (noise - 0.5))
    return network


def add_noise(network: ConvNet, size: float, seed: int = 99) -> ConvNet:
    """A copy with normal noise on every weight matrix, ``size`` times as large as the weights."""
    noisy = apply_permutation(network, {})
    generator = torch.Generator().manual_seed(seed)
    for parameter in noisy.parameters():
        if parameter.ndim > 1:
            parameter.data += size * parameter.data.std() * torch.randn(parameter.shape, generator=generator)
    return noisy


def shuffle_units(network: ConvNet, seed: int) -> tuple[ConvNet, dict[str, np.ndarray]]:
    """A copy with the units of every hidden layer in random order, and that order."""
    rng = np.random.default_rng(seed)
    orders = {group.role: rng.permutation(group.num_units) for group in derive_permutations(network).groups}
    return apply_permutation(network, orders), orders


def scale_filters(network: ConvNet, block: int, factors: torch.Tensor) -> ConvNet:
    """A copy whose filters of one block are multiplied, with the batch norm after them set to undo it."""
    scaled = apply_permutation(network, {})
    conv, norm = scaled.get_submodule(f"conv{block}"), scaled.get_submodule(f"bn{block}")
    conv.weight.data *= factors.view(-1, 1, 1, 1)
    conv.bias.data *= factors
    norm.running_mean *= factors
    norm.running_var *= factors**2
    return scaled


def random_images(network: ConvNet, seed: int = 5, num: int = 3) -> torch.Tensor:
    architecture = network.architecture
    shape = (num, architecture.in_channels, architecture.image_size, architecture.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
