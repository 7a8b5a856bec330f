"""The passes of networks over images, all in eval mode; a network's own mode is restored afterwards.

collect_activations    a dict of tensors for scripts, as the original tool had it
collect_store          labels, logits, margins and every layer of one network, reduced
collect_stores         both networks of a study, their untrained controls and the pixels
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor, nn
from torch.nn import functional

from meta_baseline.activations.fusing import fusing
from meta_baseline.activations.positions import find_ink
from meta_baseline.activations.recording import (
    Batch,
    as_input,
    channels_first,
    evaluating,
    find_module,
    images_of,
    recording,
)
from meta_baseline.activations.store import GRID, ActivationStore, Stores
from meta_baseline.activations.streams import LayerStream
from meta_baseline.activations.untrained import (
    Untrained,
    is_same_architecture,
    is_same_weights,
    iterate_untrained,
    read_calibration_images,
)
from meta_baseline.datasets import Stimuli, build_loader
from meta_baseline.errors import UsageError
from meta_baseline.layers import Layer, list_layers, pair_layers
from meta_baseline.models import DecisionRule, decision_margin

PIXEL_GRID = 16
"""Side of the grey, area-averaged images that stand for the input itself."""


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
        UsageError: when the tensors would be larger than ``max_bytes``.
    """
    if reduce not in ("none", "pooled", "grid"):
        raise UsageError(f"No reduction {reduce!r}. Choose 'none', 'pooled' or 'grid'.")
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    batches, num_images = _count_images(data_loader)
    collected: dict[str, Tensor] = {}
    row = 0
    model.to(device)
    with evaluating(model), recording(model, names) as outputs:
        for batch in batches:
            images = images_of(batch)
            model(as_input(model, images, device))
            if row == 0:
                collected = _allocate(_reduce_all(outputs, names, reduce), num_images, max_bytes)
            end = row + len(images)
            for name, output in _reduce_all(outputs, names, reduce).items():
                collected[name][row:end] = output.cpu()
            outputs.clear()
            row = end
    return {name: values[:row] for name, values in collected.items()}


def collect_store(
    model: nn.Module,
    loader: Iterable[Batch],
    layers: Sequence[Layer],
    *,
    network: str,
    stimuli: Stimuli,
    device: str | torch.device = "cpu",
    rng: np.random.Generator,
    positions_per_image: int = 24,
    notes: Sequence[str] = (),
) -> ActivationStore:
    """Everything that the analyses need of one network, from one pass over ``stimuli`` in their order.

    The positions sampled in a layer depend on ``rng``'s state, the layer's role, its map size and the images alone:
    two networks given equal generators are sampled at the same places wherever their maps have the same size.

    Args:
        model: moved to ``device``.
        loader: gives the images of ``stimuli`` in their order; see ``datasets.build_loader``.
        layers: from ``layers.list_layers``; each is recorded at ``Layer.pooled``, which the next layer reads.
        network: "meta", "baseline", "untrained 1", ...
        stimuli: labels, groups and latents of the images.
        device: where the network runs.
        rng: chooses positions.
        positions_per_image: at most so many channel vectors per image and convolutional layer; 0 keeps none.
        notes: sentences to put in front of those about this pass.

    Raises:
        UsageError: when the loader does not give the images of ``stimuli`` in their order.
        InputError: when an activation is not finite.
    """
    num_images = len(stimuli.labels)
    entropy = int(rng.integers(2**63))
    streams = [
        LayerStream(
            role=layer.role,
            name=layer.pooled,
            num_images=num_images,
            positions_per_image=positions_per_image,
            rng=np.random.default_rng([entropy, *layer.role.encode()]),
        )
        for layer in layers
    ]
    logits: list[Tensor] = []
    row = 0
    model.to(device)
    with evaluating(model), fusing(model, {layer.pooled for layer in layers}):
        for batch in loader:
            _check_order(batch, row, num_images)
            for images in images_of(batch).split(_piece_size(model, device)):
                row += len(images)
                with _streaming(model, streams, channels_first(images).to(device), row):
                    logits.append(model(as_input(model, images, device)).float().cpu())
    if row != num_images:
        raise UsageError(f"The loader gave {row} of {num_images} images. Build it from the same stimuli.")
    all_logits = torch.cat(logits)
    rule: DecisionRule = getattr(model, "decision_rule", "argmax" if all_logits.shape[1] == 2 else "logit")
    return ActivationStore(
        network=network,
        labels=np.asarray(stimuli.labels, dtype=np.int64),
        groups=np.asarray(stimuli.groups, dtype=np.int64),
        latents=stimuli.latents,
        logits=all_logits.numpy().astype(np.float32),
        margin=decision_margin(all_logits, rule).numpy().astype(np.float32),
        layers={stream.role: stream.finish() for stream in streams},
        notes=(*notes, *_describe_pass(model, rule)),
    )


def collect_stores(
    meta: nn.Module,
    baseline: nn.Module,
    stimuli: Stimuli,
    *,
    meta_initial: nn.Module | None = None,
    baseline_initial: nn.Module | None = None,
    num_untrained: int = 3,
    batch_size: int = 32,
    num_workers: int = 0,
    device: str | torch.device = "cpu",
    rng: np.random.Generator,
    positions_per_image: int = 24,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> Stores:
    """Both networks and ``num_untrained`` untrained ones per architecture over the same images.

    Known step-0 networks stand first among the untrained, fresh initialisations fill up. Networks are sampled at the
    same positions wherever their maps have the same size. Positions are half of a store's memory, so of the untrained
    networks only step 0, or the first where it is unknown, keeps them.

    Raises:
        InputError: when no layer of one network corresponds to one of the other.
    """
    pairing = pair_layers(meta, baseline)
    loader = build_loader(stimuli, batch_size=batch_size, num_workers=num_workers)
    place_seed = int(rng.integers(2**63))

    def collect(model: nn.Module, network: str, notes: Sequence[str] = (), *, places: bool = True) -> ActivationStore:
        return collect_store(
            model,
            progress(loader, desc=f"activations of {network}"),
            list_layers(model),
            network=network,
            stimuli=stimuli,
            device=device,
            rng=np.random.default_rng(place_seed),
            positions_per_image=positions_per_image if places else 0,
            notes=notes,
        )

    calibration = read_calibration_images(stimuli)

    def collect_untrained(model: nn.Module, own: tuple[tuple[nn.Module, str], ...], name: str) -> list[ActivationStore]:
        twins: Iterator[Untrained] = iterate_untrained(
            model, own, num_networks=max(num_untrained, 1), calibration=calibration, device=device, rng=rng
        )
        with_places = max(len(own), 1)
        return [
            collect(twin.model, f"{name} {i}", twin.notes, places=i <= with_places)
            for i, twin in enumerate(twins, start=1)
        ]

    of_meta = ((meta_initial, "Step 0 of the meta network."),) if meta_initial is not None else ()
    of_baseline = ((baseline_initial, "Step 0 of the baseline network."),) if baseline_initial is not None else ()
    if not is_same_architecture(meta, baseline):
        untrained_meta = collect_untrained(meta, of_meta, "untrained meta")
        untrained_baseline = collect_untrained(baseline, of_baseline, "untrained baseline")
        first_of_baseline = 0
    elif meta_initial is not None and baseline_initial is not None and is_same_weights(meta_initial, baseline_initial):
        shared = ((meta_initial, "Step 0 of both networks: they started from the same weights."),)
        untrained_meta = untrained_baseline = collect_untrained(meta, shared, "untrained")
        first_of_baseline = 0
    else:
        untrained_meta = untrained_baseline = collect_untrained(meta, of_meta + of_baseline, "untrained")
        first_of_baseline = len(of_meta)
    return Stores(
        meta=collect(meta, "meta"),
        baseline=collect(baseline, "baseline"),
        untrained_meta=tuple(untrained_meta),
        untrained_baseline=tuple(untrained_baseline),
        meta_initial=untrained_meta[0] if of_meta else None,
        baseline_initial=untrained_baseline[first_of_baseline] if of_baseline else None,
        pixels=_collect_pixels(loader, len(stimuli.labels)),
        pairing=pairing,
        image_paths=stimuli.image_names,
    )


def _collect_pixels(loader: Iterable[Batch], num_images: int) -> Float32[np.ndarray, "N D"]:
    pixels = np.empty((num_images, PIXEL_GRID**2), dtype=np.float32)
    row = 0
    for batch in loader:
        grey = channels_first(images_of(batch)).float().mean(dim=1, keepdim=True)
        cells = functional.adaptive_avg_pool2d(1 - grey / 255, PIXEL_GRID).flatten(1)
        pixels[row : row + len(cells)] = cells.numpy()
        row += len(cells)
    return pixels


@contextmanager
def _streaming(model: nn.Module, streams: Sequence[LayerStream], images: Tensor, last_row: int) -> Iterator[None]:
    """Feed each stream with its module's output while the block runs."""
    ink = cache(lambda: find_ink(images).float())
    with ExitStack() as hooks:
        for stream in streams:

            def reduce(_module: nn.Module, _inputs: Any, output: Tensor, stream: LayerStream = stream) -> None:
                stream.update(output, ink, last_row)

            handle = find_module(model, stream.name).register_forward_hook(reduce)
            hooks.callback(handle.remove)
        yield


def _piece_size(model: nn.Module, device: str | torch.device) -> int:
    """Images per forward call within a batch.

    On a CPU the maps of 16 images are reused by the allocator where those of 32 are asked from the system anew, which
    costs a quarter of the speed. A network that normalises by the statistics of the batch gets its batches whole.
    """
    return 2**31 if torch.device(device).type != "cpu" or _uses_batch_statistics(model) else 16


def _uses_batch_statistics(model: nn.Module) -> bool:
    return any(_is_batch_norm(module) and not module.track_running_stats for module in model.modules())


def _is_batch_norm(module: nn.Module) -> TypeGuard[nn.modules.batchnorm._BatchNorm]:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _check_order(batch: Batch, row: int, num_images: int) -> None:
    images = images_of(batch)
    in_order = True
    if not isinstance(batch, Tensor) and len(batch) > 2:
        in_order = bool((torch.as_tensor(batch[2]).cpu() == torch.arange(row, row + len(images))).all())
    if not in_order or row + len(images) > num_images:
        raise UsageError(
            f"The loader does not give the {num_images} images of the stimuli once and in their order. "
            "Build it with datasets.build_loader from the same stimuli, without shuffling."
        )


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


def _describe_pass(model: nn.Module, rule: str) -> tuple[str, ...]:
    notes = ["Run in eval mode; the network has no batch norm."]
    if _uses_batch_statistics(model):
        notes = ["Batch norm uses the statistics of each batch, as it has no others: results depend on the batch size."]
    elif any(map(_is_batch_norm, model.modules())):
        notes = ["Run in eval mode: batch norm uses its stored running statistics."]
    preprocessing = getattr(model, "preprocessing", None)
    if preprocessing is not None:
        origin = "assumed" if preprocessing.assumed else "as recorded in the checkpoint"
        notes.append(f"Input scaling {preprocessing.scaling!r} at {preprocessing.image_size} px, {origin}.")
    notes.append(f"Decision rule: {rule}.")
    return tuple(notes)
