"""What of two networks can be compared at all: damage, parameters of no layer, equal layers, a step 0 that fits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from meta_baseline.errors import InputError, UsageError
from meta_baseline.layers import Layer, LayerPairing, list_layers


@dataclass(frozen=True, kw_only=True)
class NotCompared:
    """A layer or parameter that was left out of a comparison; ``network`` is "meta", "baseline" or "both"."""

    role: str
    network: str
    reason: str


def list_damaged(network: str, model: nn.Module) -> tuple[NotCompared, ...]:
    """Layers with parameters that are not finite."""
    state = dict(model.named_parameters())
    damaged: list[NotCompared] = []
    for layer in list_layers(model):
        values = [state[name] for name in parameter_names(layer) if name in state]
        # A sum is finite only where everything in it is; most layers need no second look.
        suspects = [value for value in values if not bool(torch.isfinite(value.detach().sum()))]
        count = sum(int((~torch.isfinite(value)).sum()) for value in suspects)
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
        known = {name for layer in list_layers(model) for name in parameter_names(layer)}
        layers += [
            NotCompared(role=name, network=network, reason="a parameter of no convolution, linear layer or their norm")
            for name, _ in model.named_parameters()
            if name not in known
        ]
    return tuple(layers)


def parameter_names(layer: Layer) -> list[str]:
    """The parameters of a layer and of the normalisation after it."""
    owners = [layer.name] if layer.norm is None else [layer.name, layer.norm]
    return [f"{owner}.{name}" for owner in owners for name in ("weight", "bias")]


def check_parameters(network: str, model: nn.Module) -> None:
    """Refuse weights that are no real numbers.

    Raises:
        InputError: for complex, integer or boolean weights of a layer.
    """
    state = dict(model.named_parameters())
    for layer in list_layers(model):
        for name in parameter_names(layer):
            if name in state and not state[name].is_floating_point():
                kind = str(state[name].dtype).removeprefix("torch.")
                raise InputError(
                    f"{name} of the {network} network holds {kind} numbers, where weights are compared as real ones. "
                    "Convert the network to float32 (dequantise it) first."
                )


def check_companion(what: str, network: str, model: nn.Module, companion: nn.Module | None) -> None:
    """Refuse a step 0, checkpoint or seed of another architecture than its network's, or with damaged parameters.

    Raises:
        InputError: when layers differ in shape, or a parameter is not finite or no real number.
    """
    if companion is None:
        return
    shapes = [{layer.role: layer.shape for layer in list_layers(net)} for net in (model, companion)]
    if shapes[0] != shapes[1]:
        role = next(role for role in shapes[0] | shapes[1] if shapes[0].get(role) != shapes[1].get(role))
        raise InputError(
            f"The {what} given for the {network} network is of another architecture: {role} has shape "
            f"{shapes[1].get(role, 'none')} there and {shapes[0].get(role, 'none')} in the network. "
            "Pass a checkpoint of the same architecture, or none."
        )
    check_parameters(f"{what} of the {network}", companion)
    if damaged := list_damaged(network, companion):
        raise InputError(
            f"The {what} given for the {network} network is damaged: in {damaged[0].role} {damaged[0].reason}. "
            "Pass another one, or none."
        )


def check_counts(network: str, num_seeds: int, num_starts: int) -> None:
    """Refuse step 0 of some further seeds only: it could not be told which.

    Raises:
        UsageError: when there are any, but not one for every seed.
    """
    if num_starts not in (0, num_seeds):
        raise UsageError(
            f"{num_seeds} further seeds of the {network} network were given and {num_starts} step 0 of them. "
            "Give one for each, in their order, or none."
        )


def list_constant(network: str, model: nn.Module) -> tuple[NotCompared, ...]:
    """Layers whose weights are all one number: they are compared, but have no spread to speak of."""
    constant: list[NotCompared] = []
    for layer in list_layers(model):
        weight = model.get_parameter(f"{layer.name}.weight").detach()
        if weight.numel() > 1 and bool((weight == weight.reshape(-1)[0]).all()):
            reason = f"all its weights are {float(weight.reshape(-1)[0]):.3g}"
            constant.append(NotCompared(role=layer.role, network=network, reason=reason))
    return tuple(constant)


def list_bad_statistics(network: str, model: nn.Module) -> tuple[NotCompared, ...]:
    """Layers whose batch norm keeps statistics that cannot be: not finite, or a negative variance."""
    bad: list[NotCompared] = []
    for layer in list_layers(model):
        norm = None if layer.norm is None else model.get_submodule(layer.norm)
        mean, variance = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
        if mean is None or variance is None:
            continue
        if not bool(torch.isfinite(mean).all() & torch.isfinite(variance).all()):
            bad.append(NotCompared(role=layer.role, network=network, reason="running statistics that are not finite"))
        elif bool((variance < 0).any()):
            bad.append(NotCompared(role=layer.role, network=network, reason="a negative running variance"))
    return tuple(bad)


def share_parameters(meta: nn.Module | None, baseline: nn.Module | None, roles: list[str]) -> bool:
    """True when two networks have equal parameters, to the last bit, in all layers of ``roles``."""
    if meta is None or baseline is None or not roles:
        return False
    for one, other in zip(_chosen(meta, roles), _chosen(baseline, roles), strict=True):
        first, second = dict(meta.named_parameters()), dict(baseline.named_parameters())
        for name, twin in zip(parameter_names(one), parameter_names(other), strict=True):
            values = first.get(name), second.get(twin)
            if (values[0] is None) != (values[1] is None):
                return False
            if values[0] is not None and values[1] is not None and not torch.equal(values[0].cpu(), values[1].cpu()):
                return False
    return True


def _chosen(model: nn.Module, roles: list[str]) -> list[Layer]:
    return [layer for layer in list_layers(model) if layer.role in roles]
