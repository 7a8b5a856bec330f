"""The same network, arranged to be adapted in fewer operations: batch norm inside the convolutions, pool before ReLU.

With running statistics batch norm is one factor and one shift per channel,

    s (W x + b - m) + g = (s W) x + s (b - m) + g,        s = gain / sqrt(variance + epsilon):

two small products of parameters in place of a pass over all maps, forward and
backward. Gains and shifts keep their names and are differentiated through the product, so they adapt as before. The
larger of two numbers stays the larger under ReLU, which therefore may act on what the pool leaves of a map. Results
agree up to rounding; whoever records what a layer gives to the next finds it where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_baseline.adaptation_space.parts import copy_modules
from meta_baseline.layers import Layer


def fold(network: nn.Module, layers: Sequence[Layer], images: Float[Tensor, "N ..."]) -> nn.Module:
    """Modules so arranged, with ``network``'s own tensors; as they were where that gives other logits for ``images``.

    Args:
        network: in evaluation mode; its layers need not be a chain, which is why logits are compared.
        layers: of the network.
        images: a few, as the network reads them.
    """
    plain, folded = copy_modules(network), copy_modules(network)
    for layer in layers:
        _fold_norm(folded, layer)
        _pool_first(folded, layer)
    with torch.no_grad():
        try:
            agrees = torch.allclose(folded(images), plain(images), rtol=1e-3, atol=1e-4)
        except (RuntimeError, ValueError):  # shapes of a network whose layers are no chain
            agrees = False
    return folded if agrees else plain


def _fold_norm(network: nn.Module, layer: Layer) -> None:
    conv = network.get_submodule(layer.name)
    norm = network.get_submodule(layer.norm) if layer.norm is not None else None
    if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats:
        conv.__class__ = _FoldedConv2d
        norm.__class__ = _FoldedNorm
        conv.__dict__["folded"] = (norm,)  # so that it is not registered a second time


def _pool_first(network: nn.Module, layer: Layer) -> None:
    relu, pool = network.get_submodule(layer.activation), network.get_submodule(layer.pooled)
    if type(relu) is nn.ReLU and type(pool) is nn.MaxPool2d:
        network.set_submodule(layer.activation, pool)
        network.set_submodule(layer.pooled, relu)


class _FoldedConv2d(nn.Conv2d):
    """A convolution that gives what its batch norm would make of it."""

    folded: tuple[nn.BatchNorm2d]

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D Y X"]:
        (norm,) = self.folded
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        weight = self.weight * scale[:, None, None, None]
        return self._conv_forward(input, weight, torch.addcmul(norm.bias, scale, shift))


class _FoldedNorm(nn.BatchNorm2d):
    """Done already by the convolution before it."""

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return input
