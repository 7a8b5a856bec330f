"""A network by layers: which parameters belong to which role, and the network from one layer on.

Freezing is nothing but leaving parameters out of what the inner loop is given. What lies below the lowest layer that
adapts stays as it is, so it is computed once for an episode, and only the rest of the network takes part in its steps.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_baseline.inner_loop import layer_of
from meta_baseline.layers import Layer

_CHECKED = 4
"""Images on which a network that was cut must answer as the whole one does."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """A network from one layer on, with what this layer reads of some images.

    Attributes:
        network: gives the logits of ``support`` and ``query``; its parameters keep their names.
        support, query: inputs.
    """

    network: nn.Module
    support: Float[Tensor, "M ..."]
    query: Float[Tensor, "N ..."]


def copy_modules(network: nn.Module) -> nn.Module:
    """Modules of one's own, to be hooked or replaced, with the same parameters and buffers, which must not change."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def name_parameters(network: nn.Module, layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """The parameters of each role: weights, biases and the norm's gains; any others belong to the last layer."""
    owners = {name: layer.role for layer in layers for name in (layer.name, layer.norm) if name is not None}
    names: dict[str, list[str]] = {layer.role: [] for layer in layers}
    for name, _ in network.named_parameters():
        names[owners.get(layer_of(name), layers[-1].role)].append(name)
    return {role: tuple(own) for role, own in names.items()}


def cut_below(
    network: nn.Module,
    layers: Sequence[Layer],
    first: int,
    read: Sequence[Float[Tensor, ...]],
    images: tuple[Tensor, Tensor],
    logits: Float[Tensor, "L K"],
) -> Tail:
    """The network from layer number ``first`` on; all of it where it is no chain of these layers.

    Args:
        network: in evaluation mode.
        layers: in the order in which they act.
        first: number of the lowest layer to keep.
        read: what each layer gives to the next, for supports and then queries.
        images: supports and queries.
        logits: the network's of all of them.
    """
    whole = Tail(network=network, support=images[0], query=images[1])
    if first == 0:
        return whole
    tail = copy_modules(network)
    for layer in layers[:first]:
        for name in {layer.name, layer.norm, layer.activation, layer.pooled} - {None}:
            assert name is not None
            tail.set_submodule(name, nn.Identity())
    for name, module in list(tail.named_modules()):
        if isinstance(module, nn.modules.dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
            tail.set_submodule(name, nn.Identity())  # as in evaluation, and for any shape
    inputs = read[first - 1]
    with torch.no_grad():
        try:
            agrees = torch.allclose(tail(inputs[:_CHECKED]), logits[:_CHECKED], rtol=1e-3, atol=1e-4)
        except (RuntimeError, ValueError):  # shapes of a network whose layers are no chain
            agrees = False
    num_support = len(images[0])
    return Tail(network=tail, support=inputs[:num_support], query=inputs[num_support:]) if agrees else whole
