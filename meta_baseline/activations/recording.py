"""Looking inside a network while it runs: hooks on named modules, eval mode, and batches as loaders give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from meta_baseline.errors import UnknownLayerError
from meta_baseline.models import prepare_images

Batch = Tensor | Sequence[Tensor]
"""``images``, ``(images, labels)`` or ``(images, labels, index)``."""


@contextmanager
def recording(model: nn.Module, layer_names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the latest output of each named module; the hooks are gone when the block ends.

    Raises:
        UnknownLayerError: when the network has no module of that name; the message lists those it has.
    """
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in layer_names:
            module = find_module(model, name)

            def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                outputs[name] = output

            handle = module.register_forward_hook(keep)
            hooks.callback(handle.remove)
        yield outputs


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; every module's own mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The named module.

    Raises:
        UnknownLayerError: when there is none; the message lists those there are.
    """
    modules = dict(model.named_modules())
    if name not in modules or not name:
        known = ", ".join(known for known in modules if known)
        raise UnknownLayerError(f"No layer {name!r} in {type(model).__name__}. Layers: {known}.")
    return modules[name]


def images_of(batch: Batch) -> Tensor:
    """The images of a batch, whatever else it holds."""
    return batch if isinstance(batch, Tensor) else batch[0]


def channels_first(images: Num[Tensor, "N ..."]) -> Num[Tensor, "N C H W"]:
    """Images [N, H, W], uint8 [N, H, W, 3] or [N, C, H, W] with their channels second."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.dtype == torch.uint8 and images.shape[-1] == 3:
        return images.permute(0, 3, 1, 2)
    return images


def as_input(model: nn.Module, images: Tensor, device: str | torch.device) -> Float[Tensor, "N C H W"]:
    """What the network reads: uint8 through its own preprocessing, floats as they are; maps in channels-last order.

    A channels-last input makes PyTorch's CPU convolutions about twice as fast; results agree up to rounding.
    """
    prepared = prepare_images(model, images.to(device))
    return prepared.contiguous(memory_format=torch.channels_last) if prepared.ndim == 4 else prepared
