"""What the weights of one layer look like, and how the weights of two layers lie to each other.

Every statistic is taken of the layer's scaled weights (``alignment.scale_layer``): filters before batch norm at equal
norm, other layers at equal norm as a whole. It therefore does not change when units are reordered, when a filter
before batch norm is multiplied by a positive number, or when a layer before layer norm is; the norms say themselves of
which weights they are. The positive rescaling that a ReLU allows between a gain and the next layer is not taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meta_baseline.alignment import ScaledLayer, fold_batch_norm, scale_layer
from meta_baseline.layers import Layer
from meta_baseline.weight_space.heavy_tails import TailFit, fit_tail
from meta_baseline.weight_space.redundancy import measure_redundancy
from meta_baseline.weight_space.spectra import (
    effective_rank,
    largest_singular_value,
    participation_ratio,
    random_edge,
    root_mean_square,
    share_beyond,
    shuffled_edge,
    singular_values,
    stable_rank,
)

NEAR_ZERO = 0.05
"""Weights below this share of the layer's root mean square count as near zero; 4.0 % of a normal sample do."""

DEAD = 0.01
"""Units whose weights and gain are below this share of the layer's root mean square count as dead."""

MAGNITUDE_EDGES = np.linspace(0.0, 8.0, 81)
"""Common bins of |w| / rms for all layers and networks; what lies beyond the last edge is in the tail of every bin."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A statistic of one layer: its name in the results, its words, and its unit."""

    name: str
    label: str
    unit: str = ""


STATISTICS = (
    Statistic(name="norm", label="norm of the weights, normalisation folded in"),
    Statistic(name="stored_norm", label="norm of the weights as stored"),
    Statistic(name="gain", label="gain of the normalisation, root mean square"),
    Statistic(name="kurtosis", label="excess kurtosis of the weights"),
    Statistic(name="hoyer", label="Hoyer sparsity of the weights"),
    Statistic(name="near_zero", label="weights near zero", unit="fraction of weights"),
    Statistic(name="dead", label="dead units", unit="fraction of units"),
    Statistic(name="stable_rank", label="stable rank"),
    Statistic(name="effective_rank", label="effective rank"),
    Statistic(name="participation", label="participation ratio of the spectrum"),
    Statistic(name="spikes", label="singular values beyond the random edge"),
    Statistic(name="beyond_shuffle", label="singular values beyond the layer's own shuffle", unit="fraction of values"),
    Statistic(name="redundancy", label="absolute cosine of two units, mean over pairs"),
    Statistic(name="nearest", label="cosine of a unit with its nearest, mean over units"),
    Statistic(name="dimension", label="intrinsic dimension of the units (two nearest neighbours)"),
    Statistic(name="operator_norm", label="operator norm of the dense layer in use"),
)


STORED_FORMS = {
    "norm": "weights in use",
    "stored_norm": "weights as stored",
    "gain": "gain as stored",
    "operator_norm": "weights in use",
}
"""Statistics that are not taken of the scaled weights, and of which they are."""


@dataclass(frozen=True, kw_only=True)
class LayerMeasurement:
    """The statistics of one layer of one network.

    Attributes:
        form: how the weights were scaled; see ``alignment.ScaledLayer``.
        values: by name of ``STATISTICS``; NaN where a statistic does not exist.
        survival: [B] share of weights with |w| / rms above each of ``MAGNITUDE_EDGES``.
        singular_values: [R] of the scaled weights, one row per unit, in falling order.
        tail: the power law of their squares, or why there is none.
    """

    role: str
    form: str
    values: dict[str, float]
    survival: Float[np.ndarray, " B"]
    singular_values: Float[np.ndarray, " R"]
    tail: TailFit


def measure_layer(model: nn.Module, layer: Layer) -> LayerMeasurement:
    """All statistics of one layer's parameters."""
    scaled = scale_layer(model, layer)
    matrix = scaled.weight.reshape(len(scaled.weight), -1)
    magnitudes = np.abs(matrix).reshape(-1) / max(root_mean_square(matrix), np.finfo(np.float32).tiny)
    spectrum = singular_values(matrix)
    gain = _gain(model, layer)
    redundancy = measure_redundancy(matrix)
    values = {
        "norm": _norm_in_use(model, layer, gain),
        "stored_norm": float(np.linalg.norm(_stored_weight(model, layer))),
        "gain": float("nan") if gain is None else root_mean_square(gain),
        "kurtosis": excess_kurtosis(matrix),
        "hoyer": hoyer_sparsity(matrix),
        "near_zero": float(np.mean(magnitudes < NEAR_ZERO)),
        "dead": dead_fraction(matrix, gain),
        "stable_rank": stable_rank(spectrum),
        "effective_rank": effective_rank(spectrum),
        "participation": participation_ratio(spectrum),
        "spikes": float(np.count_nonzero(spectrum > random_edge(matrix))),
        "beyond_shuffle": share_beyond(spectrum, shuffled_edge(matrix)),
        "redundancy": redundancy.mean_cosine,
        "nearest": redundancy.nearest_cosine,
        "dimension": redundancy.dimension,
        "operator_norm": _operator_norm(model, layer, gain),
    }
    counts = np.searchsorted(np.sort(magnitudes), MAGNITUDE_EDGES, side="right")
    return LayerMeasurement(
        role=layer.role,
        form=scaled.form,
        values=values,
        survival=1.0 - counts / len(magnitudes),
        singular_values=spectrum,
        tail=fit_tail(spectrum**2),
    )


def excess_kurtosis(values: Float[np.ndarray, ...]) -> float:
    """Fourth standardised moment minus 3: 0 for a normal distribution, NaN where nothing varies."""
    squares = np.square(np.asarray(values, dtype=np.float64) - np.mean(values, dtype=np.float64))
    variance = float(np.mean(squares))
    return float(np.mean(np.square(squares))) / variance**2 - 3.0 if variance > 0 else float("nan")


def hoyer_sparsity(values: Float[np.ndarray, ...]) -> float:
    """In [0, 1]: 0 when all magnitudes are equal, 1 when one value alone is not 0 (Hoyer 2004, JMLR 5, section 3.1)."""
    flat = np.abs(np.asarray(values, dtype=np.float64)).reshape(-1)
    norm = float(np.linalg.norm(flat))
    if norm == 0.0 or len(flat) < 2:
        return float("nan")
    root = np.sqrt(len(flat))
    return float((root - flat.sum() / norm) / (root - 1))


def dead_fraction(matrix: Float[np.ndarray, "C D"], gain: Float[np.ndarray, " C"] | None = None) -> float:
    """Share of units whose weights, times the gain of the normalisation after them, are next to nothing."""
    sizes = np.linalg.norm(matrix.astype(np.float64), axis=1) * (1.0 if gain is None else np.abs(gain))
    return float(np.mean(sizes <= DEAD * root_mean_square(sizes)))


def cosine_and_distance(meta: ScaledLayer, baseline: ScaledLayer) -> tuple[float, float]:
    """Cosine of two layers' scaled weights, and their distance relative to the root mean square of the two norms.

    The distance is in [0, 2]: 0 for equal layers, 1.41 for perpendicular ones.
    """
    one, other = (layer.weight.reshape(len(layer.weight), -1) for layer in (meta, baseline))
    norms = _inner(one, one), _inner(other, other)
    if min(norms) == 0.0:
        return float("nan"), float("nan")
    inner = _inner(one, other)
    distance = np.sqrt(max(sum(norms) - 2 * inner, 0.0) / (sum(norms) / 2))
    return inner / float(np.sqrt(norms[0] * norms[1])), float(distance)


def _inner(one: Float[np.ndarray, "C D"], other: Float[np.ndarray, "C D"]) -> float:
    # Row by row in single precision, their sum in double.
    return float(np.sum(np.matmul(one[:, None, :], other[:, :, None]), dtype=np.float64))


def is_calibrated(model: nn.Module, layer: Layer) -> bool:
    """False where the batch norm after the layer keeps no running statistics, or still those of a module never run."""
    norm = None if layer.norm is None else model.get_submodule(layer.norm)
    if not isinstance(norm, _BatchNorm):
        return True
    if norm.running_mean is None or norm.running_var is None:
        return False
    return not (bool((norm.running_mean == 0).all()) and bool((norm.running_var == 1).all()))


def _norm_in_use(model: nn.Module, layer: Layer, gain: Float[np.ndarray, " C"] | None) -> float:
    """Norm of the weights with the normalisation after them: what their own size is where it removes that size.

    Batch norm is folded in. Other normalisations have no statistics to fold: there the scaled weights count times the
    gain, so that a layer before layer norm may have any size here as well.
    """
    if not is_calibrated(model, layer):
        return float("nan")
    with np.errstate(invalid="ignore"):  # a negative running variance has a check of its own
        folded = fold_batch_norm(model, layer)
    if folded is not None:
        return float(np.linalg.norm(folded[0]))
    if layer.norm is None:
        return float(np.linalg.norm(_stored_weight(model, layer)))
    rows = np.linalg.norm(scale_layer(model, layer).weight.reshape(layer.shape[0], -1), axis=1)
    return float(np.linalg.norm(rows if gain is None else rows * gain))


def _operator_norm(model: nn.Module, layer: Layer, gain: Float[np.ndarray, " C"] | None) -> float:
    """Largest gain of a dense layer from input to output; NaN for convolutions.

    Layer norm removes the size of the layer as a whole: there the weights count relative to their root mean square row
    norm, which is what inputs of unit variance are divided by, times the gain.
    """
    if layer.kind != "linear" or not is_calibrated(model, layer):
        return float("nan")
    folded = fold_batch_norm(model, layer)
    matrix = _stored_weight(model, layer) if folded is None else folded[0]
    if folded is None and layer.norm is not None:
        matrix = matrix / max(root_mean_square(matrix) * matrix.shape[1] ** 0.5, np.finfo(np.float64).tiny)
        matrix = matrix if gain is None else matrix * gain[:, None]
    return largest_singular_value(matrix.astype(np.float32))


def _stored_weight(model: nn.Module, layer: Layer) -> Float[np.ndarray, "C ..."]:
    return model.get_parameter(f"{layer.name}.weight").detach().cpu().double().numpy()


def _gain(model: nn.Module, layer: Layer) -> Float[np.ndarray, " C"] | None:
    weight = None if layer.norm is None else getattr(model.get_submodule(layer.norm), "weight", None)
    if weight is None or weight.ndim != 1 or len(weight) != layer.shape[0]:
        return None
    return weight.detach().cpu().double().numpy()
