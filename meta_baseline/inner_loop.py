"""The one inner loop: a few gradient steps on a support set, as a pure function of parameters.

Training (MAML, FOMAML) and the analysis of adaptation call the same function, so that what is analysed is what was
trained. Nothing of the network that is passed in changes: not its parameters, not its batch-norm statistics, not its
mode. Adapted parameters are new tensors that remember how they came from the old ones, hence a loss at adapted
parameters can be differentiated back to the parameters before adaptation::

    theta_0  --step-->  theta_1  --step-->  ...  --step-->  theta_k,     theta_{i+1} = theta_i - rate * grad L(theta_i)

(Finn, Abbeel and Levine 2017, arXiv:1703.03400, equation 1.) With ``first_order`` the gradient of each step is taken
for a constant: the derivative of theta_k with respect to theta_0 is then the identity, and the meta-gradient is the
gradient of the query loss at theta_k (FOMAML, section 5.2 there).

Batch norm: a network in evaluation mode normalises with its running statistics. In training mode it normalises with
the statistics of the batch and would update its running ones; here the update lands in copies that every step returns
(``InnerStep.buffers``), so that no adapted network can leak statistics into another or into the network it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call

from meta_baseline.errors import UsageError

Loss = Callable[[Float[Tensor, "N K"], Int64[Tensor, " N"]], Float[Tensor, ""]]
"""Logits and labels (1 = same, 0 = different) to the mean loss in nats."""

Parameters = Mapping[str, Tensor]
"""Tensors of a network by their name in its state dict."""

Precision = Literal["fp32", "bf16"]
"""Of the forward pass: bf16 means autocast. Parameters, losses and gradients are 32 bits wide either way."""


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """How a network is adapted to a support set.

    Attributes:
        num_steps: gradient steps; 0 leaves the parameters as they are.
        learning_rate: of every step, for every parameter.
        first_order: take each step's gradient for a constant (FOMAML); otherwise the steps stay differentiable (MAML).
    """

    num_steps: int = 1
    learning_rate: float = 0.05
    first_order: bool = True

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise UsageError(f"An inner loop cannot have {self.num_steps} steps. Use --inner-steps 0 or more.")
        if not 0.0 <= self.learning_rate < float("inf"):
            raise UsageError(f"An inner learning rate of {self.learning_rate} is no rate. Use --inner-lr 0 or more.")


@dataclass(frozen=True, kw_only=True)
class InnerStep:
    """One gradient step on the support set, from theta_i to theta_{i+1}.

    Attributes:
        loss: support loss at theta_i, in nats.
        logits: support logits at theta_i, [N, K].
        gradient: gradient of ``loss`` at theta_i, by parameter.
        parameters: theta_{i+1}, by name.
        buffers: the network's buffers after the forward pass at theta_i; copies.
    """

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "N K"]
    gradient: dict[str, Tensor]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]


def adapt(
    network: nn.Module,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"],
    *,
    inner_loop: InnerLoop,
    loss: Loss,
    precision: Precision = "fp32",
) -> dict[str, Tensor]:
    """The parameters after the inner loop on one support set; what was passed in is unchanged.

    Args:
        network: gives the computation and the mode of batch norm; its own parameters and buffers are not used.
        parameters: theta_0, by name; gradients flow back to those that require one.
        buffers: batch-norm statistics and the like, by name.
        images: the support set, ready for the network.
        labels: 1 for same, 0 for different.
        inner_loop: number of steps, learning rate, order.
        loss: of logits and labels.
        precision: of the forward passes.
    """
    steps = inner_steps(
        network, parameters, buffers, images, labels, inner_loop=inner_loop, loss=loss, precision=precision
    )
    adapted = dict(parameters)
    for step in steps:
        adapted = step.parameters
    return adapted


def inner_steps(
    network: nn.Module,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"],
    *,
    inner_loop: InnerLoop,
    loss: Loss,
    precision: Precision = "fp32",
) -> Iterator[InnerStep]:
    """The inner loop step by step: every theta_i on the way, for losses at each step and for trajectories."""
    current = dict(parameters)
    for _ in range(inner_loop.num_steps):
        with torch.enable_grad():
            # Parameters that require no gradient (of a finished network) still have to be differentiated by this step.
            current = {k: v if v.requires_grad else v.detach().requires_grad_() for k, v in current.items()}
            logits, new_buffers = forward(network, current, buffers, images, precision=precision)
            support_loss = loss(logits, labels)
            gradients = torch.autograd.grad(
                support_loss, tuple(current.values()), create_graph=not inner_loop.first_order, materialize_grads=True
            )
            gradient = dict(zip(current, gradients))
            current = {name: value - inner_loop.learning_rate * gradient[name] for name, value in current.items()}
        yield InnerStep(loss=support_loss, logits=logits, gradient=gradient, parameters=current, buffers=new_buffers)


def forward(
    network: nn.Module,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    *,
    precision: Precision = "fp32",
) -> tuple[Float[Tensor, "N K"], dict[str, Tensor]]:
    """Logits of the network at other parameters and buffers, and the buffers after this pass (copies)."""
    copies = {name: value.detach().clone() for name, value in buffers.items()}
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = functional_call(network, {**parameters, **copies}, (images,))
    return logits.float() if precision == "bf16" else logits, copies


def parameters_and_buffers(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's own parameters and buffers by name: the usual start of an inner loop. Not copies."""
    return dict(network.named_parameters()), dict(network.named_buffers())
