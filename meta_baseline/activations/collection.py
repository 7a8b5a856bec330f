"""The passes of networks over images, all in eval mode; a network's own mode is restored afterwards.

collect_store          labels, logits, margins and every layer of one network, reduced
collect_stores         both networks of a study, their untrained controls and the pixels
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from meta_baseline.activations.archive import hash_pass, read_store, write_store
from meta_baseline.activations.flattened import MAX_MEMORY, MemoryBudget
from meta_baseline.activations.fusing import fusing
from meta_baseline.activations.objects import read_boxes
from meta_baseline.activations.positions import find_ink
from meta_baseline.activations.recording import (
    Batch,
    as_input,
    channels_first,
    evaluating,
    find_module,
    images_of,
)
from meta_baseline.activations.store import ActivationStore, Stores
from meta_baseline.activations.streams import LayerStream
from meta_baseline.activations.untrained import (
    Untrained,
    is_same_architecture,
    is_same_weights,
    iterate_untrained,
    read_calibration_images,
)
from meta_baseline.commits import committing, is_committed
from meta_baseline.datasets import Stimuli, build_loader, hash_stimuli
from meta_baseline.errors import UsageError
from meta_baseline.layers import Layer, list_layers, pair_layers
from meta_baseline.models import DecisionRule, decision_margin

GRAM_IMAGES = 500
"""Images over which Gram matrices of whole maps are made for the analyses."""

PIXEL_GRID = 16
"""Side of the grey, area-averaged images that stand for the input itself."""


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
    gram_images: int = 0,
    max_memory: int = MAX_MEMORY,
    folder: Path | None = None,
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
        gram_images: over so many images, spread evenly, Gram matrices of whole maps are made; 0 makes none.
        max_memory: bytes of whole maps that are kept for it; what does not fit goes to a temporary file.
        folder: an empty folder for the arrays, which then cost no memory; see ``archive.read_store``.
        notes: sentences to put in front of those about this pass.

    Raises:
        EnvironmentProblem: when ``folder`` cannot be written.
        UsageError: when the loader does not give the images of ``stimuli`` in their order.
        InputError: when an activation is not finite.
    """
    num_images = len(stimuli.labels)
    entropy = int(rng.integers(2**63))
    gram_rows = spread_evenly(num_images, gram_images)
    budget = MemoryBudget(max_memory)
    boxes = read_boxes(stimuli.latents, stimuli.image_shape)
    streams = [
        LayerStream(
            role=layer.role,
            name=layer.pooled,
            num_images=num_images,
            positions_per_image=positions_per_image,
            rng=np.random.default_rng([entropy, *layer.role.encode()]),
            boxes=boxes,
            gram_rows=gram_rows,
            budget=budget,
            folder=folder,
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
    store = ActivationStore(
        network=network,
        labels=np.asarray(stimuli.labels, dtype=np.int64),
        groups=np.asarray(stimuli.groups, dtype=np.int64),
        latents=stimuli.latents,
        logits=all_logits.numpy().astype(np.float32),
        margin=decision_margin(all_logits, rule).numpy().astype(np.float32),
        layers={stream.role: stream.finish() for stream in streams},
        gram_rows=gram_rows,
        notes=(*notes, *_describe_pass(model, rule)),
    )
    if folder is not None:
        write_store(store, folder)
    return store


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
    gram_images: int = GRAM_IMAGES,
    max_memory: int = MAX_MEMORY,
    store_dir: Path | None = None,
    progress: Callable[..., Iterable[Any]] = lambda iterable, **_: iterable,
) -> Stores:
    """Both networks and ``num_untrained`` untrained ones per architecture over the same images.

    Known step-0 networks stand first among the untrained, fresh initialisations fill up. Networks are sampled at the
    same positions wherever their maps have the same size. Positions are half of a store's memory, so of the untrained
    networks only step 0, or the first where it is unknown, keeps them.

    With ``store_dir`` the arrays live in files there, mapped into memory, and a pass that is already there (the same
    weights, images, options and code) is not made again.

    Raises:
        InputError: when no layer of one network corresponds to one of the other.
    """
    pairing = pair_layers(meta, baseline)
    loader = build_loader(stimuli, batch_size=batch_size, num_workers=num_workers)
    place_seed = int(rng.integers(2**63))

    stimuli_hash = hash_stimuli(stimuli) if store_dir is not None else ""

    def collect(model: nn.Module, network: str, notes: Sequence[str] = (), *, places: bool = True) -> ActivationStore:
        layers, num_positions = list_layers(model), positions_per_image if places else 0

        def run(folder: Path | None) -> ActivationStore:
            return collect_store(
                model,
                progress(loader, desc=f"activations of {network}"),
                layers,
                network=network,
                stimuli=stimuli,
                device=device,
                rng=np.random.default_rng(place_seed),
                positions_per_image=num_positions,
                gram_images=gram_images,
                max_memory=max_memory,
                folder=folder,
                notes=notes,
            )

        if store_dir is None:
            return run(None)
        options = (network, repr(layers), place_seed, num_positions, gram_images, batch_size, str(device), notes)
        key, target = hash_pass(model, stimuli_hash, *options), store_dir / network.replace(" ", "_")
        if not is_committed(target, key):
            with committing(target, key) as folder:
                run(folder)
        return read_store(target, stimuli)

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


def spread_evenly(num_images: int, most: int) -> Int[np.ndarray, " n"]:
    """At most ``most`` of the images, from the first to the last in even steps."""
    if most <= 0:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(0, num_images - 1, min(most, num_images)).round().astype(np.int64))


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
