"""The filters that read the image: matched pairs as pictures, and what each does to one stimulus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_baseline.activations.recording import as_input, evaluating, recording
from meta_baseline.alignment import scale_layer
from meta_baseline.layers import list_layers

NUM_PAIRS = 12
LARGEST_MAP = 64


@dataclass(frozen=True, kw_only=True)
class FirstLayer:
    """Pairs of first-layer filters, from the most to the least alike, evenly chosen over all pairs.

    Attributes:
        units: [K] index of each pair's unit in the meta network.
        meta, baseline: [K, C, h, w] filters at equal norm; the baseline's after matching.
        untrained: [2, K, C, h, w] pairs of two matched untrained networks, chosen the same way.
        cosines, untrained_cosines: [U] of all pairs, in falling order.
        pair_cosines: [K] of the pairs shown.
        stimulus: [H, W] the image, grey, as the network reads it; empty without images.
        meta_maps, baseline_maps: [K, h', w'] the units' answers to it after the non-linearity; empty without images.
    """

    role: str
    units: np.ndarray
    meta: Float[np.ndarray, "K C h w"]
    baseline: Float[np.ndarray, "K C h w"]
    untrained: Float[np.ndarray, "2 K C h w"]
    cosines: Float[np.ndarray, " U"]
    untrained_cosines: Float[np.ndarray, " U"]
    pair_cosines: Float[np.ndarray, " K"]
    stimulus: Float[np.ndarray, "H W"]
    meta_maps: Float[np.ndarray, "K h w"]
    baseline_maps: Float[np.ndarray, "K h w"]


def compare_first_layers(
    meta: nn.Module, matched: nn.Module, untrained: tuple[nn.Module, nn.Module], image: Tensor | None
) -> FirstLayer | None:
    """The first convolution of both networks, matched; None where it is none or its filters differ in shape."""
    layers = [list_layers(model)[0] for model in (meta, matched)]
    if layers[0].kind != "conv" or layers[0].shape != layers[1].shape:
        return None
    filters = [_filters(model) for model in (meta, matched, *untrained)]
    cosines, fresh = _cosines(filters[0], filters[1]), _cosines(filters[2], filters[3])
    order, fresh_order = np.argsort(-cosines, kind="stable"), np.argsort(-fresh, kind="stable")
    places = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(NUM_PAIRS, len(order)))})
    units, fresh_units = order[places], fresh_order[places]
    maps = [np.zeros((0, 0, 0)) for _ in range(2)]
    stimulus = np.zeros((0, 0))
    if image is not None:
        maps = [_answers(model, image)[units] for model in (meta, matched)]
        stimulus = _shrunk(as_input(meta, image, "cpu").mean(dim=1)).numpy()[0]
    return FirstLayer(
        role=layers[0].role,
        units=units,
        meta=filters[0][units],
        baseline=filters[1][units],
        untrained=np.stack([filters[2][fresh_units], filters[3][fresh_units]]),
        cosines=cosines[order],
        untrained_cosines=fresh[fresh_order],
        pair_cosines=cosines[units],
        stimulus=stimulus,
        meta_maps=maps[0],
        baseline_maps=maps[1],
    )


def _filters(model: nn.Module) -> Float[np.ndarray, "U C h w"]:
    return scale_layer(model, list_layers(model)[0]).weight


def _cosines(one: np.ndarray, other: np.ndarray) -> Float[np.ndarray, " U"]:
    first, second = (filters.reshape(len(filters), -1).astype(np.float64) for filters in (one, other))
    sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.sum(first * second, axis=1) / np.where(sizes > 0, sizes, 1.0)


def _answers(model: nn.Module, image: Tensor) -> Float[np.ndarray, "U h w"]:
    name = list_layers(model)[0].activation
    with evaluating(model), recording(model, [name]) as outputs:
        model(as_input(model, image, next(model.parameters()).device))
    return _shrunk(outputs[name][0].float().cpu()).numpy()


def _shrunk(maps: Tensor) -> Tensor:
    side = min(LARGEST_MAP, maps.shape[-1])
    return torch.nn.functional.adaptive_avg_pool2d(maps, side)
