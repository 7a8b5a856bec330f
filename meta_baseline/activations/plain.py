"""Activations as plain arrays, of any modules of any network, for scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from meta_baseline.activations.flattened import MAX_MEMORY, FlattenedMaps, MemoryBudget, flatten_maps
from meta_baseline.activations.recording import Batch, as_input, evaluating, images_of, recording
from meta_baseline.activations.store import GRID
from meta_baseline.errors import InputError, UsageError


def collect_activations(
    model: nn.Module,
    data_loader: Iterable[Batch],
    layer_names: Sequence[str],
    device: str | torch.device = "cpu",
    *,
    reduce: Literal["none", "pooled", "grid"] = "none",
    max_bytes: int = 2 * 1024**3,
) -> dict[str, Shaped[Tensor, "N ..."]]:
    """Outputs of the named modules for every image, in the loader's order, on the CPU.

    The network is moved to ``device``. Images in uint8 go through the network's own preprocessing, floats as they are.
    For large studies use ``collect_store``, which keeps reductions instead of whole maps.

    Args:
        model: any network.
        data_loader: gives ``images``, ``(images, labels)`` or ``(images, labels, index)``.
        layer_names: names as in ``model.named_modules()``, e.g. "conv1" or "relu1".
        device: where the network runs.
        reduce: "none" keeps maps [N, C, H, W]; "pooled" their means [N, C]; "grid" averages on a 4 x 4 grid
            [N, C * 16], channel-major.
        max_bytes: largest size of all returned tensors together.

    Raises:
        UnknownLayerError: when the network has no module of that name.
        UsageError: when the loader shuffles, or the tensors would be larger than ``max_bytes``.
        InputError: when outputs are not finite, or change in shape from image to image.
    """
    if reduce not in ("none", "pooled", "grid"):
        raise UsageError(f"No reduction {reduce!r}. Choose 'none', 'pooled' or 'grid'.")
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    _check_unshuffled(data_loader)
    batches, num_images = _count_images(data_loader)
    shapes: dict[str, tuple[int, ...]] = {}
    collected: dict[str, Tensor] = {}
    row, last = 0, -1
    model.to(device)
    with evaluating(model), recording(model, names) as outputs:
        for batch in batches:
            images = images_of(batch)
            last = _check_index(batch, last)
            model(as_input(model, images, device))
            if row == 0:
                collected = _allocate(_reduce_all(outputs, names, reduce), num_images, max_bytes)
            end = row + len(images)
            for name, output in _reduce_all(outputs, names, reduce).items():
                _check_values(name, output, shapes, row)
                collected[name][row:end] = output.cpu()
            outputs.clear()
            row = end
    return {name: values[:row] for name, values in collected.items()}


def collect_grams(
    model: nn.Module,
    data_loader: Iterable[Batch],
    layer_names: Sequence[str],
    device: str | torch.device = "cpu",
    *,
    max_memory: int = MAX_MEMORY,
    spill_dir: Path | None = None,
) -> dict[str, Float[np.ndarray, "N N"]]:
    """Gram matrices [N, N] of the flattened outputs of any named modules of any network, in float64, centred.

    What ``similarity`` takes; exact, from one pass, however wide the layers are.

    Args:
        model, data_loader, layer_names, device: as of ``collect_activations``.
        max_memory: bytes of matrices and maps that are kept in memory; maps beyond it go to a temporary file.
        spill_dir: folder of that file; None is the system's.

    Raises:
        UnknownLayerError: when the network has no module of that name.
        UsageError: when the loader shuffles, or the matrices alone need more than ``max_memory``.
        InputError: when outputs are not finite, or change in shape from image to image.
        EnvironmentProblem: when the temporary file cannot be written.
    """
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    _check_unshuffled(data_loader)
    batches, num_images = _count_images(data_loader)
    of_matrices = len(names) * num_images**2 * 8
    if of_matrices > max_memory:
        raise UsageError(
            f"Gram matrices of {len(names)} layers over {num_images} images need {of_matrices / 1e9:.1f} GB, more than "
            f"max_memory = {max_memory / 1e9:.1f} GB. Use fewer images, or similarity.MinibatchCKA."
        )
    budget = MemoryBudget(max_memory - of_matrices)
    maps: dict[str, FlattenedMaps] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    row, last = 0, -1
    model.to(device)
    with evaluating(model), recording(model, names) as outputs:
        for batch in batches:
            last = _check_index(batch, last)
            model(as_input(model, images_of(batch), device))
            for name, output in _reduce_all(outputs, names, "none").items():
                if name not in maps:
                    maps[name] = FlattenedMaps(num_images, math.prod(output.shape[1:]), budget, spill_dir)
                _check_values(name, output, shapes, row)
                maps[name].append(flatten_maps(output).float().cpu().numpy())
            row += len(images_of(batch))
            outputs.clear()
    return {name: maps[name].finish() for name in names}


def _check_values(name: str, output: Tensor, shapes: dict[str, tuple[int, ...]], row: int) -> None:
    shape = shapes.setdefault(name, tuple(output.shape[1:]))
    if shape != tuple(output.shape[1:]):
        raise InputError(
            f"Layer {name!r} gives values of shape {tuple(output.shape[1:])} for image {row + 1} and of {shape} "
            "before. Give images of one size."
        )
    # A NaN is the smallest and the largest value; no second tensor is made to find it.
    if not all(bool(torch.isfinite(value)) for value in torch.aminmax(output)):
        raise InputError(
            f"Layer {name!r} gives values that are not finite for images {row + 1} to {row + len(output)}. "
            "The checkpoint is damaged or its input scaling is wrong; check both."
        )


_SHUFFLES = (
    "The loader shuffles, so two networks would see the images in different orders, and labels would not fit. "
    "Build it with shuffle=False."
)


def _check_unshuffled(loader: Iterable[Batch]) -> None:
    if isinstance(getattr(loader, "sampler", None), RandomSampler | SubsetRandomSampler | WeightedRandomSampler):
        raise UsageError(_SHUFFLES)


def _check_index(batch: Batch, last: int) -> int:
    """The largest index so far, where batches carry one: it has to rise from image to image."""
    if isinstance(batch, Tensor) or len(batch) < 3:
        return last
    index = torch.as_tensor(batch[2]).flatten().cpu()
    steps = torch.diff(index, prepend=torch.tensor([last]))
    if not bool((steps > 0).all()):
        raise UsageError(_SHUFFLES)
    return int(index[-1])


def _count_images(loader: Iterable[Batch]) -> tuple[Iterable[Batch], int]:
    """The batches, and an upper bound of the images in them."""
    source = getattr(loader, "sampler", None) or getattr(loader, "dataset", None)
    if source is not None and hasattr(source, "__len__"):
        return loader, len(source)
    batches = list(loader)
    return batches, sum(len(images_of(batch)) for batch in batches)


def _reduce_all(outputs: dict[str, Tensor], names: Sequence[str], reduce: str) -> dict[str, Tensor]:
    if idle := [name for name in names if name not in outputs]:
        raise UsageError(f"Module {idle[0]!r} did not run. Leave the layer out, or use the module in forward().")
    return {name: _reduce(outputs[name], reduce) for name in names}


def _reduce(output: Tensor, reduce: str) -> Tensor:
    if reduce == "none" or output.ndim != 4:
        return output
    if reduce == "pooled":
        return output.mean(dim=(2, 3))
    cells = (min(GRID, output.shape[2]), min(GRID, output.shape[3]))
    return functional.adaptive_avg_pool2d(output, cells).flatten(1)


def _allocate(first: dict[str, Tensor], num_images: int, max_bytes: int) -> dict[str, Tensor]:
    needed = sum(num_images * math.prod(output.shape[1:]) * output.element_size() for output in first.values())
    if needed > max_bytes:
        raise UsageError(
            f"Activations of {len(first)} layers over {num_images} images need {needed / 1e9:.1f} GB, more than "
            f"max_bytes = {max_bytes / 1e9:.1f} GB. Use reduce='pooled' or 'grid', or fewer layers or images."
        )
    with torch.inference_mode(False):  # tensors made in inference mode can never be trained on
        return {name: torch.empty((num_images, *out.shape[1:]), dtype=out.dtype) for name, out in first.items()}
