"""How many episodes a network is worth: what they cost follows from its multiplications, and a report cannot wait."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_baseline.activations.recording import as_input, recording
from meta_baseline.adaptation_space.settings import AdaptationSettings, TaskStimuli
from meta_baseline.layers import list_layers

LARGE = 50e6
"""Multiplications per image from which on a network takes fewer episodes and steps; conv6 at 128 px has 110 million."""


def choose_settings(network: nn.Module, task: TaskStimuli, *, learning_rate: float | None = None) -> AdaptationSettings:
    """The usual settings, fewer episodes and steps for a large network, and the rate that it was made for."""
    rate = AdaptationSettings.learning_rate if learning_rate is None else learning_rate
    device = next(network.parameters()).device
    image = as_input(network, task.read(np.array([0])), device)
    if count_multiplications(network, image) < LARGE:
        return AdaptationSettings(learning_rate=rate)
    return AdaptationSettings(learning_rate=rate, steps=(0, 1, 5), max_episodes=6, control_episodes=1)


def count_multiplications(network: nn.Module, image: Float[Tensor, "1 ..."]) -> int:
    """Products of weights and inputs in one pass of one image through its convolutions and linear layers."""
    layers = list_layers(network)
    twin = copy.deepcopy(network).eval()
    with torch.no_grad(), recording(twin, [layer.name for layer in layers]) as given:
        twin(image)
    return sum(math.prod(layer.shape) * given[layer.name][0, 0].numel() for layer in layers)
