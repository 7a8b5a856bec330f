"""The one inner loop: a few gradient steps on a support set, as a pure function of parameters.

Training (MAML, FOMAML) and the analysis of adaptation call the same function, so that what is analysed is what was
trained. Nothing of the network that is passed in changes: not its parameters, not its batch-norm statistics, not its
mode. Adapted parameters are new tensors that remember how they came from the old ones, hence a loss at adapted
parameters can be differentiated back to the parameters before adaptation::

    theta_0  --step-->  theta_1  --step-->  ...  --step-->  theta_k,     theta_{i+1} = theta_i - rate * grad L(theta_i)

(Finn, Abbeel and Levine 2017, arXiv:1703.03400, equation 1.) With ``first_order`` the gradient of each step is taken
for a constant: the derivative of theta_k with respect to theta_0 is then the identity, and the meta-gradient is the
gradient of the query loss at theta_k (FOMAML, section 5.2 there). With ``adapted="head"`` only the classifier moves
(ANIL: Raghu et al. 2020, arXiv:1909.09157). ``rates`` gives every layer a learning rate of its own for every step,
which can be learnt like any parameter (Antoniou, Edwards and Storkey 2019, arXiv:1810.09502, section 4). A learning
rate of 0 is the matched control: the same passes and gradients, and no step taken.

Batch norm: a network in evaluation mode normalises with its running statistics. In training mode it normalises with
the statistics of the batch and would update its running ones; here the update lands in copies that every step returns
(``InnerStep.buffers``), so that no adapted network can leak statistics into another or into the network it came from.
Where each theta_i has running statistics of its own, ``buffers`` is a sequence: one set for each number of steps taken.

Steps of large linear layers are kept as the factors of their gradients (``linear_steps``); by name, parameters and
gradients are tensors like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call

from meta_baseline.errors import UsageError
from meta_baseline.linear_steps import Gradient, LinearCalls, MovedParameters, find_large_linear_weights, moved

Loss = Callable[[Float[Tensor, "N K"], Int64[Tensor, " N"]], Float[Tensor, ""]]
"""Logits and labels (1 = same, 0 = different) to the mean loss in nats."""

Parameters = Mapping[str, Tensor]
"""Tensors of a network by their name in its state dict."""

Buffers = Parameters | Sequence[Parameters]
"""Buffers for every theta_i alike, or one set for each number of steps taken; the last set serves all later ones."""

Adapted = Literal["all", "head"]
"""Which parameters an inner step moves: all of them, or the last linear layer alone."""

Precision = Literal["fp32", "bf16"]
"""Of the forward pass: bf16 means autocast. Parameters, losses and gradients are 32 bits wide either way."""


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """How a network is adapted to a support set.

    Attributes:
        num_steps: gradient steps; 0 leaves the parameters as they are.
        learning_rate: of every step, for every parameter.
        first_order: take each step's gradient for a constant (FOMAML); otherwise the steps stay differentiable (MAML).
        adapted: "all" parameters, or the "head" alone (ANIL).
    """

    num_steps: int = 1
    learning_rate: float = 0.05
    first_order: bool = True
    adapted: Adapted = "all"

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise UsageError(f"An inner loop cannot have {self.num_steps} steps. Use --inner-steps 0 or more.")
        if not 0.0 <= self.learning_rate < float("inf"):
            raise UsageError(f"An inner learning rate of {self.learning_rate} is no rate. Use --inner-lr 0 or more.")
        if self.adapted not in get_args(Adapted):
            raise UsageError(f"Cannot adapt {self.adapted!r}. Choose one of: {', '.join(get_args(Adapted))}.")


@dataclass(frozen=True, kw_only=True)
class InnerStep:
    """One gradient step on the support set, from theta_i to theta_{i+1}.

    Attributes:
        loss: support loss at theta_i, in nats.
        logits: support logits at theta_i, [N, K].
        gradient: gradient of ``loss`` at theta_i, by name of each parameter that is adapted.
        parameters: theta_{i+1}, by name; may refer to theta_0, hence holds while that stays as it is.
        buffers: the network's buffers after the forward pass at theta_i; copies.
    """

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "N K"]
    gradient: Gradient
    parameters: Parameters
    buffers: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class LossGradient:
    """A loss at some parameters, and its gradient there.

    Attributes:
        loss: in nats.
        logits: [N, K].
        gradient: by name of each parameter that was asked for.
        buffers: after the forward pass; copies.
    """

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "N K"]
    gradient: Gradient
    buffers: dict[str, Tensor]


def adapt(
    network: nn.Module,
    parameters: Parameters,
    buffers: Buffers,
    images: Float[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"],
    *,
    inner_loop: InnerLoop,
    loss: Loss,
    precision: Precision = "fp32",
    rates: Parameters | None = None,
) -> dict[str, Tensor]:
    """The parameters after the inner loop on one support set; what was passed in is unchanged.

    Args:
        network: gives the computation and the mode of batch norm; its own parameters and buffers are not used.
        parameters: theta_0, by name; gradients flow back to those that require one.
        buffers: batch-norm statistics and the like, by name; or one such set for each number of steps taken.
        images: the support set, ready for the network.
        labels: 1 for same, 0 for different.
        inner_loop: number of steps, learning rate, order, what is adapted.
        loss: of logits and labels.
        precision: of the forward passes.
        rates: learning rates [K] of each layer by its name, one for each step, in place of that of ``inner_loop``;
            gradients flow back to them too. The last one serves all later steps.
    """
    steps = inner_steps(
        network, parameters, buffers, images, labels, inner_loop=inner_loop, loss=loss, precision=precision, rates=rates
    )
    adapted = parameters
    for step in steps:
        adapted = step.parameters
    return dict(adapted)


def inner_steps(
    network: nn.Module,
    parameters: Parameters,
    buffers: Buffers,
    images: Float[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"],
    *,
    inner_loop: InnerLoop,
    loss: Loss,
    precision: Precision = "fp32",
    rates: Parameters | None = None,
    first: LossGradient | None = None,
) -> Iterator[InnerStep]:
    """The inner loop step by step: every theta_i on the way, for losses at each step and for trajectories.

    ``first`` is what ``differentiate`` would give at theta_0, where that is known; then it is not computed again.
    """
    head_only = inner_loop.adapted == "head"
    moving = find_head(network) if head_only else tuple(parameters)
    ask = _HeadAnswers(network, images, precision) if head_only and isinstance(buffers, Mapping) else None
    large = () if head_only else find_large_linear_weights(network, len(images) * inner_loop.num_steps, moving)
    current = MovedParameters(parameters, {})
    for number in range(inner_loop.num_steps):
        with torch.enable_grad():
            # Parameters that require no gradient (of a finished network) still have to be differentiated by this step.
            still = [name for name in moving if not current.tensors[name].requires_grad]
            current = current.descend({name: current.tensors[name].detach().requires_grad_() for name in still}, {})
            known = first if number == 0 else None
            at = known or differentiate(
                network,
                current,
                buffers_at(buffers, number),
                images,
                labels,
                loss=loss,
                precision=precision,
                moving=moving,
                large=large,
                create_graph=not inner_loop.first_order,
                ask=ask,
            )
            rate_of = {name: _rate_of(name, number, inner_loop, rates) for name in moving}
            current = current.descend(
                {
                    name: _descend(current.tensors[name], gradient, rate_of[name])
                    for name, gradient in at.gradient.tensors.items()
                },
                {name: factors.scale(rate_of[name]) for name, factors in at.gradient.factors.items()},
            )
        yield InnerStep(loss=at.loss, logits=at.logits, gradient=at.gradient, parameters=current, buffers=at.buffers)


def differentiate(
    network: nn.Module,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    labels: Int64[Tensor, " N"],
    *,
    loss: Loss,
    precision: Precision = "fp32",
    moving: Sequence[str] | None = None,
    large: Sequence[str] | None = None,
    create_graph: bool = False,
    ask: Callable[[Parameters, Parameters], tuple[Tensor, dict[str, Tensor]]] | None = None,
) -> LossGradient:
    """The mean loss on some images and its gradient at ``parameters``, which all require one.

    Args:
        network: gives the computation and the mode of batch norm.
        parameters: by name.
        buffers: by name; unchanged.
        images: ready for the network.
        labels: 1 for same, 0 for different.
        loss: of logits and labels.
        precision: of the forward pass.
        moving: parameters to differentiate by; None means all.
        large: weights whose gradient is left as factors; None finds those that gain by it.
        create_graph: let the gradient be differentiated in turn.
        ask: gives the logits at parameters and buffers, and the buffers afterwards, if not ``forward``.
    """
    moving = tuple(parameters) if moving is None else moving
    calls = LinearCalls(find_large_linear_weights(network, len(images), moving) if large is None else large)
    with calls.recording(network):
        if ask is None:
            logits, new_buffers = forward(network, parameters, buffers, images, precision=precision)
        else:
            logits, new_buffers = ask(parameters, buffers)
    value = loss(logits, labels)
    tensors = parameters.tensors if isinstance(parameters, MovedParameters) else parameters
    dense = [name for name in moving if name not in calls.weights]
    slopes = torch.autograd.grad(
        value,
        (*(tensors[name] for name in dense), *(given for _, _, given in calls.calls)),
        create_graph=create_graph,
        # Where only some parameters move, the gradient for the others may be asked for later.
        retain_graph=create_graph or len(moving) < len(parameters),
        materialize_grads=True,
    )
    factors = calls.factors(slopes[len(dense) :], tensors, constant=not create_graph)
    return LossGradient(
        loss=value, logits=logits, gradient=Gradient(dict(zip(dense, slopes)), factors), buffers=new_buffers
    )


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
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16")
    with moved(network, parameters) as tensors, autocast:
        logits = functional_call(network, {**tensors, **copies}, (images,))
    return logits.float() if precision == "bf16" else logits, copies


def embed(
    network: nn.Module,
    parameters: Parameters,
    buffers: Parameters,
    images: Float[Tensor, "N C H W"],
    *,
    precision: Precision = "fp32",
) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N K"], dict[str, Tensor]]:
    """What the head reads, the logits that it makes of it, and the buffers after this pass (copies)."""
    read: list[Tensor] = []
    head = network.get_submodule(layer_of(find_head(network)[0]))

    def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read.append(inputs[0])

    handle = head.register_forward_pre_hook(note)
    try:
        logits, copies = forward(network, parameters, buffers, images, precision=precision)
    finally:
        handle.remove()
    return read[-1].float() if precision == "bf16" else read[-1], logits, copies


def find_head(network: nn.Module) -> tuple[str, ...]:
    """Names of the parameters of the last linear layer: what ANIL adapts.

    Raises:
        UsageError: when the network has no linear layer.
    """
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise UsageError(f"{type(network).__name__} has no linear layer to adapt alone. Adapt all of it.")
    return tuple(name for name, _ in network.named_parameters() if layer_of(name) == linears[-1])


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: its name up to the last dot."""
    return name.rpartition(".")[0]


def buffers_at(buffers: Buffers, num_steps: int) -> Parameters:
    """The buffers of theta_i, for i steps taken."""
    return buffers if isinstance(buffers, Mapping) else buffers[min(num_steps, len(buffers) - 1)]


def parameters_and_buffers(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's own parameters and buffers by name: the usual start of an inner loop. Not copies."""
    return dict(network.named_parameters()), dict(network.named_buffers())


def _rate_of(name: str, number: int, inner_loop: InnerLoop, rates: Parameters | None) -> float | Tensor:
    if rates is None:
        return inner_loop.learning_rate
    of_layer = rates[layer_of(name)]
    return of_layer[min(number, len(of_layer) - 1)]


def _descend(parameter: Tensor, gradient: Tensor, rate: float | Tensor) -> Tensor:
    """theta - rate * gradient."""
    if isinstance(rate, Tensor) or gradient.requires_grad or gradient.stride() != parameter.stride():
        return parameter - rate * gradient
    return cast("Tensor", _ConstantStep.apply(parameter, gradient, rate))


class _ConstantStep(torch.autograd.Function):
    """theta - rate * gradient for a constant gradient, to the bit, in one new tensor instead of two.

    New tensors of the size of a network cost more than the arithmetic on them.
    """

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, gradient: Tensor, rate: float) -> Tensor:
        step = rate * gradient
        return torch.sub(parameter, step, out=step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class _HeadAnswers:
    """Support logits while the head alone moves: what it reads stays the same, so the body is computed once.

    With dropout in the body this keeps one mask for all steps. A network that still changes what its head gives (a
    temperature) is computed anew each time.
    """

    def __init__(self, network: nn.Module, images: Float[Tensor, "N C H W"], precision: Precision) -> None:
        self._network, self._images = network, images
        self._precision: Precision = precision
        self._names = find_head(network)
        self._head = network.get_submodule(layer_of(self._names[0]))
        self._seen: tuple[Tensor, dict[str, Tensor]] | None = None
        self._final = True

    def __call__(self, parameters: Parameters, buffers: Parameters) -> tuple[Tensor, dict[str, Tensor]]:
        if self._seen is None or not self._final:
            return self._compute(parameters, buffers)
        read, copies = self._seen
        own = {name.rpartition(".")[2]: parameters[name] for name in self._names}
        with torch.autocast(self._images.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            logits = functional_call(self._head, own, (read,))
        return logits.float() if self._precision == "bf16" else logits, copies

    def _compute(self, parameters: Parameters, buffers: Parameters) -> tuple[Tensor, dict[str, Tensor]]:
        passed: list[tuple[Tensor, Tensor]] = []

        def note(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            passed.append((inputs[0], output))

        handle = self._head.register_forward_hook(note)
        try:
            logits, copies = forward(self._network, parameters, buffers, self._images, precision=self._precision)
        finally:
            handle.remove()
        read, given = passed[-1]
        self._final = len(passed) == 1 and torch.equal(given.detach().float(), logits.detach().float())
        self._seen = read, copies
        return logits, copies
