"""How sharp the place is that a network stands at: what the loss gains within a small distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

RADIUS = 0.01
"""Of the ball, as a share of |theta_0|: both places, before and after adaptation, are probed equally far."""

NUM_PROBED = 20
"""Queries whose loss is followed, half "same"."""


def steepest_rise(
    loss: Callable[[Mapping[str, Tensor]], Tensor],
    parameters: Mapping[str, Tensor],
    here: float,
    gradient: Mapping[str, Tensor],
    radius: float,
) -> float:
    """By how much the loss rises, in nats, over a step of length ``radius`` straight up its gradient.

    The sharpness of Foret et al. 2021 (arXiv:2010.01412, equations 1 and 2): the largest rise within the ball, its
    place found to first order. 0 where the gradient is; not a number where the place is none.

    Args:
        loss: at parameters.
        parameters: the place.
        here: the loss there.
        gradient: of the loss there.
        radius: of the ball.
    """
    length = measure_length(gradient)
    if length == 0:
        return 0.0
    ahead = {name: value + (radius / length) * gradient[name] for name, value in parameters.items()}
    with torch.no_grad():
        return float(loss(ahead)) - here


def measure_length(values: Mapping[str, Tensor]) -> float:
    """Euclidean length of all numbers together."""
    return float(torch.stack([(value.detach().double() ** 2).sum() for value in values.values()]).sum().sqrt())
