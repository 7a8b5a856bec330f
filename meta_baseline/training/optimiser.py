"""The optimiser of both arms: orthogonalised momentum for hidden weight matrices, AdamW for everything else.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a weight matrix by the
nearest matrix with equal singular values before it takes a step; steepest descent under the spectral norm (Bernstein
and Newhouse 2024, arXiv:2409.20325). A direction in which the gradient is weak then moves as much as one in which it
is strong. On these tasks that is worth several points of accuracy at equal images; see docs/training.md.
The first convolution, the classifier, biases and normalisations are left to AdamW, as its authors recommend, and so are
matrices so large (the published 1024-unit heads) that making them orthogonal would cost more than their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

OptimiserName = Literal["muon", "adamw"]

# A quintic a x + b x^3 + c x^5 that lifts small singular values quickly and leaves large ones near 1 (Jordan et al.).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_NUM_ITERATIONS = 5
_LARGEST_SIDE = 320


class Optimiser:
    """Steps over a network's parameters with a learning rate given at each step.

    Args:
        network: its gradients are read from ``.grad``.
        name: "muon" as above, or "adamw" for every parameter.
        weight_decay: decoupled, for every parameter.
        matrix_rate: learning rate of orthogonalised steps in units of AdamW's.
        momentum: of orthogonalised steps, after Nesterov.
        extra: parameters beside the network's (learnt inner rates), for AdamW without decay.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: OptimiserName = "muon",
        weight_decay: float = 1e-4,
        matrix_rate: float = 14.0,
        momentum: float = 0.9,
        extra: Sequence[Tensor] = (),
    ) -> None:
        self._matrices = list_hidden_weights(network) if name == "muon" else []
        hidden = {id(weight) for weight in self._matrices}
        self._others: list[Tensor] = [parameter for parameter in network.parameters() if id(parameter) not in hidden]
        self._adamw = torch.optim.AdamW(self._others, weight_decay=weight_decay, fused=True)
        if extra:
            self._others += extra
            self._adamw.add_param_group({"params": list(extra), "weight_decay": 0.0})
        self._momenta = [torch.zeros_like(weight).flatten(1) for weight in self._matrices]
        self._weight_decay, self._matrix_rate, self._momentum = weight_decay, matrix_rate, momentum

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in (*self._matrices, *self._others):
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything the next step depends on besides weights and gradients, by name; empty before the first step."""
        named = {f"momentum/{number}": mean for number, mean in enumerate(self._momenta)}
        for number, parameter in enumerate(self._others):
            for name, value in self._adamw.state.get(parameter, {}).items():
                named[f"{name}/{number}"] = value
        return named

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what ``tensors`` gave."""
        for number, mean in enumerate(self._momenta):
            mean.copy_(tensors[f"momentum/{number}"])
        for number, parameter in enumerate(self._others):
            if f"step/{number}" not in tensors:
                continue
            means = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            for name, mean in means.items():
                mean.copy_(tensors[f"{name}/{number}"])
            step = tensors[f"step/{number}"].to(parameter.device, copy=True)
            self._adamw.state[parameter] = {"step": step, **means}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step at AdamW's ``learning_rate``."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        for weight, mean in zip(self._matrices, self._momenta):
            assert weight.grad is not None
            gradient = weight.grad.flatten(1)
            mean.lerp_(gradient, 1 - self._momentum)
            direction = orthogonalise(gradient.lerp(mean, self._momentum))
            # Tall matrices get longer steps, so that outputs move equally far (same source).
            scale = self._matrix_rate * math.sqrt(max(1.0, direction.shape[0] / direction.shape[1]))
            weight.mul_(1 - learning_rate * self._weight_decay)
            weight.sub_(direction.view(weight.shape), alpha=learning_rate * scale)


def list_hidden_weights(network: nn.Module) -> list[Tensor]:
    """Weights of convolutions and linear layers except the first, the last, and those too large to orthogonalise."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [weight for weight in weights[1:-1] if min(weight.shape[0], weight[0].numel()) <= _LARGEST_SIDE]


def orthogonalise(matrix: Float[Tensor, "A B"]) -> Float[Tensor, "A B"]:
    """Nearly U V^T for a matrix U S V^T: all singular values between about .7 and 1.2; zero stays zero.

    Newton-Schulz iteration on the shorter side, in the matrix's own precision.
    """
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(_NUM_ITERATIONS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
