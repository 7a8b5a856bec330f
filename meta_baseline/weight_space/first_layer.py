"""The filters that read the image: matched pairs as pictures, and what each does to one stimulus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta_baseline.activations.recording import as_input, evaluating, recording
from meta_baseline.alignment import scale_layer
from meta_baseline.layers import list_layers

NUM_PAIRS, NUM_CONTROL_PAIRS = 12, 3
LARGEST_MAP = 64


@dataclass(frozen=True, kw_only=True)
class FilterPairs:
    """Pairs of first-layer filters of two networks, from the most to the least alike, evenly chosen over all pairs.

    Attributes:
        units: [K] index of each pair's unit in the first network.
        first, second: [K, C, h, w] filters at equal norm; those of the second network after matching.
        pair_cosines: [K] of the pairs shown; ``cosines``: [U] of all pairs, in falling order.
    """

    units: np.ndarray
    first: Float[np.ndarray, "K C h w"]
    second: Float[np.ndarray, "K C h w"]
    pair_cosines: Float[np.ndarray, " K"]
    cosines: Float[np.ndarray, " U"]


@dataclass(frozen=True, kw_only=True)
class FirstLayer:
    """Pairs of filters of meta and baseline network, those of control pairs, and what filters do to an image.

    Attributes:
        controls: by name of the pair ("untrained", "shuffled", "meta seeds", "baseline seeds").
        stimulus: [H, W] the image, grey, as the network reads it; empty without images.
        meta_maps, baseline_maps: [K, h', w'] the units' answers to it after the non-linearity; empty without images.
    """

    role: str
    pairs: FilterPairs
    controls: dict[str, FilterPairs]
    stimulus: Float[np.ndarray, "H W"]
    meta_maps: Float[np.ndarray, "K h w"]
    baseline_maps: Float[np.ndarray, "K h w"]


def compare_first_layers(
    networks: tuple[nn.Module, nn.Module], controls: Mapping[str, tuple[nn.Module, nn.Module]], image: Tensor | None
) -> FirstLayer | None:
    """The first convolution of matched networks; None where it is none or its filters differ in shape."""
    layers = [list_layers(model)[0] for model in networks]
    if layers[0].kind != "conv" or layers[0].shape != layers[1].shape:
        return None
    pairs = _pair_filters(*networks, NUM_PAIRS)
    maps = [np.zeros((0, 0, 0)) for _ in range(2)]
    stimulus = np.zeros((0, 0))
    if image is not None:
        maps = [_answers(model, image)[pairs.units] for model in networks]
        stimulus = _shrunk(as_input(networks[0], image, "cpu").mean(dim=1)).numpy()[0]
    return FirstLayer(
        role=layers[0].role,
        pairs=pairs,
        controls={name: _pair_filters(*pair, NUM_CONTROL_PAIRS) for name, pair in controls.items()},
        stimulus=stimulus,
        meta_maps=maps[0],
        baseline_maps=maps[1],
    )


def _pair_filters(one: nn.Module, other: nn.Module, most: int) -> FilterPairs:
    first, second = _filters(one), _filters(other)
    cosines = _cosines(first, second)
    order = np.argsort(-cosines, kind="stable")
    places = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(most, len(order)))})
    units = order[places]
    return FilterPairs(
        units=units,
        first=first[units],
        second=second[units],
        pair_cosines=cosines[units],
        cosines=cosines[order],
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
