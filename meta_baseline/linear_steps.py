"""Gradient steps of large linear layers without their matrices.

The gradient of a loss of N images for the weight W of a linear layer y = x W^T is a product of two thin matrices,
G = D^T X: what the layer read [N, U], and the loss's gradient for what it gave [N, V]. After steps at rates a_i,

    y = x W_k^T = x W_0^T - sum_i a_i (x X_i^T) D_i,        W_k = W_0 - sum_i a_i D_i^T X_i,

so a step on a few images needs neither the matrix G nor a new matrix W_k: N (U + V) numbers in place of U V, the same
sums in another order. The dense layers of conv6 hold five of its six million weights, and writing such matrices takes
longer than multiplying by them. Whoever asks for a parameter or a gradient by name gets the matrix.

Everything can be differentiated, hence serves inner loops of either order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]

_MIN_WEIGHTS = 2**17
"""Smaller matrices are as quick as they are."""
_MIN_SIDE_PER_ROW = 4
"""Sides of a matrix against the rows of all steps together, from which on factors are the less work."""


class LinearGradient(NamedTuple):
    """The gradient for one linear layer's weight, as its factors; the rows of several may be put together.

    Attributes:
        inputs: what the layer read, [N, U].
        outputs: the loss's gradient for what it gave, [N, V].
    """

    inputs: Float[Tensor, "N U"]
    outputs: Float[Tensor, "N V"]

    def multiply_out(self) -> Float[Tensor, "V U"]:
        """The gradient itself."""
        return self.outputs.T @ self.inputs

    def scale(self, factor: float | Tensor) -> LinearGradient:
        """This gradient times a number."""
        return LinearGradient(self.inputs, factor * self.outputs)

    def detach(self) -> LinearGradient:
        """The same numbers, as constants."""
        return LinearGradient(self.inputs.detach(), self.outputs.detach())


class Gradient(Mapping[str, Tensor]):
    """Gradients by name of the parameter, those of some linear layers as factors."""

    def __init__(self, tensors: Mapping[str, Tensor], factors: Mapping[str, LinearGradient]) -> None:
        self.tensors, self.factors = tensors, factors

    def detach(self) -> Gradient:
        """The same numbers, as constants."""
        return Gradient(
            {name: value.detach() for name, value in self.tensors.items()},
            {name: value.detach() for name, value in self.factors.items()},
        )

    def __getitem__(self, name: str) -> Tensor:
        return self.factors[name].multiply_out() if name in self.factors else self.tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors or name in self.factors

    def __iter__(self) -> Iterator[str]:
        yield from self.tensors
        yield from self.factors

    def __len__(self) -> int:
        return len(self.tensors) + len(self.factors)


class MovedParameters(Mapping[str, Tensor]):
    """Parameters by name, some weights of linear layers as where they began and the sum of their steps."""

    def __init__(self, tensors: Mapping[str, Tensor], shifts: Mapping[str, LinearGradient]) -> None:
        self.tensors, self.shifts = tensors, shifts

    def __getitem__(self, name: str) -> Tensor:
        value = self.tensors[name]
        return value - self.shifts[name].multiply_out() if name in self.shifts else value

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def descend(self, tensors: Mapping[str, Tensor], steps: Mapping[str, LinearGradient]) -> MovedParameters:
        """With other tensors, and one step further for the weights in ``steps``, which hold rate times gradient."""
        shifts = {
            name: join([self.shifts[name], step]) if name in self.shifts else step for name, step in steps.items()
        }
        return MovedParameters({**self.tensors, **tensors}, {**self.shifts, **shifts})


def join(parts: Sequence[LinearGradient]) -> LinearGradient:
    """The sum of several gradients for one weight."""
    if len(parts) == 1:
        return parts[0]
    return LinearGradient(torch.cat([p.inputs for p in parts]), torch.cat([p.outputs for p in parts]))


def find_large_linear_weights(network: nn.Module, num_rows: int, among: Collection[str]) -> tuple[str, ...]:
    """Those of some parameters that gain by staying factors for ``num_rows`` images, of all steps together.

    Only weights of plain linear layers that share them with no other.
    """
    owners = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    return tuple(
        f"{name}.weight"
        for name, module in network.named_modules()
        if type(module) is nn.Linear
        and f"{name}.weight" in among
        and module.weight.numel() >= _MIN_WEIGHTS
        and min(module.weight.shape) >= _MIN_SIDE_PER_ROW * num_rows
        and owners[id(module.weight)] == 1
    )


@contextmanager
def moved(network: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Tensors at which ``network`` gives, while the block lasts, what it gives at ``parameters``."""
    if not isinstance(parameters, MovedParameters):
        yield parameters
        return
    handles = [
        network.get_submodule(name.removesuffix(".weight")).register_forward_hook(_correct(shift))
        for name, shift in parameters.shifts.items()
    ]
    try:
        yield parameters.tensors
    finally:
        for handle in handles:
            handle.remove()


def _correct(shift: LinearGradient) -> Hook:
    """What the shift of a layer's weight makes of its inputs, taken from what the layer gives at W_0."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            change = (inputs[0].to(shift.inputs.dtype) @ shift.inputs.T) @ shift.outputs
            return (output - change).to(output.dtype)

    return hook


class LinearCalls:
    """What linear layers read and gave, by the name of their weight."""

    def __init__(self, weights: Sequence[str]) -> None:
        self.calls: list[tuple[str, Tensor, Tensor]] = []
        self.weights = weights

    @contextmanager
    def recording(self, network: nn.Module) -> Iterator[None]:
        """Record while the block lasts."""
        handles = [
            network.get_submodule(name.removesuffix(".weight")).register_forward_hook(self._note(name))
            for name in self.weights
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, name: str) -> Hook:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.calls.append((name, inputs[0], output))

        return hook

    def factors(
        self, slopes: Sequence[Tensor], parameters: Mapping[str, Tensor], *, constant: bool
    ) -> dict[str, LinearGradient]:
        """The gradient for each weight, from that for each output in ``calls``, in the precision of the parameters."""
        parts: dict[str, list[LinearGradient]] = {name: [] for name in self.weights}
        for (name, read, _), slope in zip(self.calls, slopes, strict=True):
            dtype = parameters[name].dtype
            part = LinearGradient(read.flatten(0, -2).to(dtype), slope.flatten(0, -2).to(dtype))
            parts[name].append(part.detach() if constant else part)
        for name, found in parts.items():
            if not found:
                outputs, inputs = parameters[name].shape
                found.append(
                    LinearGradient(parameters[name].new_zeros(0, inputs), parameters[name].new_zeros(0, outputs))
                )
        return {name: join(found) for name, found in parts.items()}


@torch.no_grad()
def add_gradients(parameters: Mapping[str, Tensor], terms: Sequence[tuple[float, Gradient]]) -> None:
    """Add to each parameter's ``.grad`` the weighted sum of gradients; factors are multiplied out once for all."""
    for name, parameter in parameters.items():
        own = [(weight, gradient) for weight, gradient in terms if name in gradient]
        if not own:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        for weight, gradient in own:
            if name in gradient.tensors:
                parameter.grad.add_(gradient.tensors[name], alpha=weight)
        factors = [gradient.factors[name].scale(weight) for weight, gradient in own if name in gradient.factors]
        if factors:
            inputs, outputs = join(factors)
            parameter.grad.addmm_(outputs.T, inputs)
