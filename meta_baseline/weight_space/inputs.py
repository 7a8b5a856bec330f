"""What of two networks can be compared at all: damage, parameters of no layer, equal layers, a step 0 that fits."""

from __future__ import annotations

import torch
from torch import nn

from meta_baseline.errors import InputError
from meta_baseline.layers import Layer, LayerPairing, list_layers
from meta_baseline.weight_space.facts import NotCompared


def list_damaged(network: str, model: nn.Module) -> tuple[NotCompared, ...]:
    """Layers with parameters that are not finite."""
    state = dict(model.named_parameters())
    damaged: list[NotCompared] = []
    for layer in list_layers(model):
        values = [state[name] for name in _parameter_names(layer) if name in state]
        count = sum(int((~torch.isfinite(value)).sum()) for value in values)
        if count:
            reason = f"{count} of its parameters are not finite"
            damaged.append(NotCompared(role=layer.role, network=network, reason=reason))
    return tuple(damaged)


def list_not_compared(pairing: LayerPairing, meta: nn.Module, baseline: nn.Module) -> tuple[NotCompared, ...]:
    """Layers and parameters that no comparison can use, with the reason."""
    layers = [
        NotCompared(role=pair.role, network="both", reason=pair.reason)
        for pair in pairing.pairs
        if not pair.comparable_weights
    ]
    layers += [NotCompared(role=item.role, network=item.network, reason=item.reason) for item in pairing.unpaired]
    for network, model in (("meta", meta), ("baseline", baseline)):
        known = {name for layer in list_layers(model) for name in _parameter_names(layer)}
        layers += [
            NotCompared(role=name, network=network, reason="a parameter of no convolution, linear layer or their norm")
            for name, _ in model.named_parameters()
            if name not in known
        ]
    return tuple(layers)


def _parameter_names(layer: Layer) -> list[str]:
    owners = [layer.name] if layer.norm is None else [layer.name, layer.norm]
    return [f"{owner}.{name}" for owner in owners for name in ("weight", "bias")]


def check_initial(network: str, model: nn.Module, initial: nn.Module | None) -> None:
    """Refuse a step 0 of another architecture.

    Raises:
        InputError: when the layers differ in shape.
    """
    if initial is None:
        return
    shapes = [{layer.role: layer.shape for layer in list_layers(net)} for net in (model, initial)]
    if shapes[0] != shapes[1]:
        role = next(role for role in shapes[0] | shapes[1] if shapes[0].get(role) != shapes[1].get(role))
        raise InputError(
            f"The step 0 given for the {network} network is of another architecture: {role} has shape "
            f"{shapes[1].get(role, 'none')} there and {shapes[0].get(role, 'none')} in the network. "
            "Pass the checkpoint that its own training started from, or none."
        )


def share_parameters(meta: nn.Module | None, baseline: nn.Module | None, roles: list[str]) -> bool:
    """True when two networks have equal parameters, to the last bit, in all layers of ``roles``."""
    if meta is None or baseline is None or not roles:
        return False
    for one, other in zip(_chosen(meta, roles), _chosen(baseline, roles), strict=True):
        first, second = dict(meta.named_parameters()), dict(baseline.named_parameters())
        for name, twin in zip(_parameter_names(one), _parameter_names(other), strict=True):
            values = first.get(name), second.get(twin)
            if (values[0] is None) != (values[1] is None):
                return False
            if values[0] is not None and values[1] is not None and not torch.equal(values[0].cpu(), values[1].cpu()):
                return False
    return True


def _chosen(model: nn.Module, roles: list[str]) -> list[Layer]:
    return [layer for layer in list_layers(model) if layer.role in roles]
