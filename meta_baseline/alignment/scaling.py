"""Filters before batch norm have no size: parameters with what their normalisation ignores taken out, or folded in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meta_baseline.layers import Layer

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class ScaledLayer:
    """One layer's parameters with what its normalisation ignores taken out; the mean squared row norm is 1.

    Attributes:
        form: "filters at equal norm" where each filter is normalised on its own (batch norm follows), "layer at equal
            norm" otherwise.
        weight: [C, ...] in the shape of the parameter.
        vectors: [C, V] the other parameters of each unit: gain and shift of the normalisation, and the bias unless
            batch norm removes it.
    """

    role: str
    form: str
    weight: Float[np.ndarray, "C ..."]
    vectors: Float[np.ndarray, "C V"]


def fold_batch_norm(
    model: nn.Module, layer: Layer
) -> tuple[Float[np.ndarray, "C ..."], Float[np.ndarray, " C"]] | None:
    """Weight and bias of the layer that does in evaluation what this one and its batch norm do together.

    w' = w g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + h, with gain g, shift h and running mean and variance
    m, v. None where no batch norm with running statistics follows.
    """
    norm = _norm_of(model, layer)
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        return None
    weight, bias = _parameter(model, f"{layer.name}.weight"), _parameter(model, f"{layer.name}.bias")
    gain, shift = _parameter(model, f"{layer.norm}.weight"), _parameter(model, f"{layer.norm}.bias")
    assert weight is not None
    scale = (1.0 if gain is None else gain) / np.sqrt(_to_numpy(norm.running_var) + norm.eps)
    folded_bias = ((0.0 if bias is None else bias) - _to_numpy(norm.running_mean)) * scale
    rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return weight * rows, folded_bias + (0.0 if shift is None else shift)


def normalises_filters(model: nn.Module, layer: Layer) -> bool:
    """True where each filter is normalised on its own after the layer, so that its size has no effect."""
    norm = _norm_of(model, layer)
    if isinstance(norm, nn.GroupNorm):
        return norm.num_groups == norm.num_channels
    return isinstance(norm, _BatchNorm)


def scale_layer(model: nn.Module, layer: Layer) -> ScaledLayer:
    """The layer's parameters brought to a common scale; unchanged when a filter before batch norm is scaled.

    Parameters only: running statistics do not enter. Filters that are zero stay zero.
    """
    bias = _parameter(model, f"{layer.name}.bias")
    weight = model.get_parameter(f"{layer.name}.weight").detach().to("cpu", torch.float32)
    norms = torch.linalg.vector_norm(weight.reshape(len(weight), -1), dim=1).double().numpy()
    vectors: list[Array] = []
    if normalises_filters(model, layer):
        form, size = "filters at equal norm", norms
    else:
        form, size = "layer at equal norm", np.full(len(norms), np.sqrt(np.mean(norms**2)))
        if bias is not None:
            vectors.append((bias / _nonzero(size))[:, None])
    affine = [] if layer.norm is None else [_parameter(model, f"{layer.norm}.{name}") for name in ("weight", "bias")]
    if columns := [vector for vector in affine if vector is not None and vector.shape == norms.shape]:
        pair = np.stack(columns, axis=1)
        vectors.append(pair / _nonzero(np.sqrt(np.square(pair).sum(axis=1).mean())))
    scaled = weight.numpy() / _nonzero(size).astype(np.float32).reshape(-1, *[1] * (weight.ndim - 1))
    joined = np.concatenate(vectors, axis=1) if vectors else np.zeros((len(norms), 0))
    return ScaledLayer(role=layer.role, form=form, weight=scaled, vectors=joined.astype(np.float32))


def _norm_of(model: nn.Module, layer: Layer) -> nn.Module | None:
    return None if layer.norm is None else model.get_submodule(layer.norm)


def _parameter(model: nn.Module, name: str) -> Array | None:
    owner, _, leaf = name.rpartition(".")
    value = getattr(model.get_submodule(owner), leaf, None)
    return None if value is None else _to_numpy(value)


def _to_numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _nonzero(sizes: Array) -> Array:
    return np.where(sizes > 0, sizes, 1.0)
