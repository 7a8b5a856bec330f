"""Every number of the probes that may go into a paper, with its control, interval, unit and n."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.probes.result import ProbeResult
from meta_baseline.results import Estimate

TRAINED = ("meta", "baseline", "model")
"""Networks that are asked about; the others are their controls."""

NETWORK_WORDS = {"meta": "the meta network", "baseline": "the baseline network", "model": "the network"}


def list_estimates(result: ProbeResult) -> tuple[Estimate, ...]:
    """Scores of all targets in all layers, then differences, selectivity, non-linear gain, best of layers, pixels."""
    cells = [
        (network, place, layer, role)
        for place, network in enumerate(result.networks)
        if network in TRAINED
        for layer, role in enumerate(result.layers)
    ]
    estimates = [
        estimate
        for network, place, layer, role in cells
        for make in (_scores, _bits, _selectivity, _mlp_gain)
        for estimate in make(result, network, place, layer, role)
    ]
    estimates += [estimate for layer in range(len(result.layers)) for estimate in _differences(result, layer)]
    estimates += list(_best_of_layers(result))
    estimates += list(_pixels(result))
    return tuple(estimates)


def describe_twins(result: ProbeResult, network: str) -> str:
    """Which untrained networks a number is judged against."""
    num = len(result.twins.get(network, ()))
    return f"untrained network, mean of {num} seeds" if num > 1 else "untrained network, 1 seed"


def score_name(kind: str) -> str:
    """What the score of a target is called in names of estimates and tables."""
    return "accuracy" if kind == "binary" else "r_squared"


def describe_n(result: ProbeResult) -> str:
    """What ``n`` counts."""
    return "images" if result.num_groups == result.num_images else "shape identities"


def _interval(result: ProbeResult) -> str:
    return f"bootstrap over {describe_n(result)}, predictions held fixed"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _scores(result: ProbeResult, network: str, place: int, layer: int, role: str) -> Iterator[Estimate]:
    twin = result.untrained_mean(network)
    for target, (name, kind) in enumerate(zip(result.targets, result.kinds)):
        where = (place, layer, target)
        if np.isnan(result.scores.score[where]):
            continue
        reference = _known(twin[layer, target])
        yield Estimate(
            name=f"{role}.{name}.{score_name(kind)}.{network}",
            label=f"{name} read linearly out of {role} of {NETWORK_WORDS[network]}",
            value=float(result.scores.score[where]),
            unit="accuracy" if kind == "binary" else "out-of-fold R^2",
            low=_known(result.scores.low[where]),
            high=_known(result.scores.high[where]),
            interval=_interval(result),
            reference=float(result.chance[target]) if reference is None else reference,
            reference_label="constant predictor" if reference is None else describe_twins(result, network),
            n=result.num_groups,
            n_unit=describe_n(result),
        )


def _bits(result: ProbeResult, network: str, place: int, layer: int, role: str) -> Iterator[Estimate]:
    where = (place, layer, 0)
    if np.isnan(result.scores.bits[where]):
        return
    twins = list(result.twins.get(network, ()))
    yield Estimate(
        name=f"{role}.label.bits.{network}",
        label=f"cross-entropy that {role} of {NETWORK_WORDS[network]} saves on the label",
        value=float(result.scores.bits[where]),
        unit="bits per image",
        low=_known(result.scores.bits_low[where]),
        high=_known(result.scores.bits_high[where]),
        interval=_interval(result),
        reference=float(result.scores.bits[twins, layer, 0].mean()) if twins else 0.0,
        reference_label=describe_twins(result, network) if twins else "constant predictor",
        n=result.num_groups,
        n_unit=describe_n(result),
    )


def _selectivity(result: ProbeResult, network: str, place: int, layer: int, role: str) -> Iterator[Estimate]:
    control, where = result.control, (place, layer)
    if control.split == "random labels" or np.isnan(control.selectivity[where]):
        return
    yield Estimate(
        name=f"{role}.label.selectivity.{network}",
        label=f"label minus control task in {role} of {NETWORK_WORDS[network]}, both split within identities",
        value=float(control.selectivity[where]),
        unit="accuracy",
        low=_known(control.low[where]),
        high=_known(control.high[where]),
        interval=_interval(result),
        reference=0.0,
        reference_label="no better than remembering identities",
        n=result.num_groups,
        n_unit=describe_n(result),
    )


def _mlp_gain(result: ProbeResult, network: str, place: int, layer: int, role: str) -> Iterator[Estimate]:
    mlp, where = result.mlp, (place, layer)
    if np.isnan(mlp.gain[where]):
        return
    twins = [twin for twin in result.twins.get(network, ()) if not np.isnan(mlp.gain[twin, layer])]
    yield Estimate(
        name=f"{role}.label.mlp_gain_bits.{network}",
        label=f"what a perceptron adds to the linear probe of the label in {role} of {NETWORK_WORDS[network]}",
        value=float(mlp.gain[where]),
        unit="bits per image",
        low=_known(mlp.low[where]),
        high=_known(mlp.high[where]),
        interval=_interval(result),
        reference=float(mlp.gain[twins, layer].mean()) if twins else None,
        reference_label="untrained network, 1 seed" if twins else "",
        n=result.num_groups,
        n_unit=describe_n(result),
    )


def _differences(result: ProbeResult, layer: int) -> Iterator[Estimate]:
    role, differences = result.layers[layer], result.differences
    for target, (name, kind) in enumerate(zip(result.targets, result.kinds)):
        where = (layer, target)
        if np.isnan(differences.value[where]):
            continue
        yield Estimate(
            name=f"{role}.{name}.{score_name(kind)}.difference",
            label=f"{name} in {role}, meta minus baseline",
            value=float(differences.value[where]),
            unit="accuracy" if kind == "binary" else "out-of-fold R^2",
            low=_known(differences.low[where]),
            high=_known(differences.high[where]),
            interval=f"paired {_interval(result)}",
            reference=_known(differences.untrained_spread[where]),
            reference_label="largest difference between untrained networks"
            if _known(differences.untrained_spread[where]) is not None
            else "",
            n=result.num_groups,
            n_unit=describe_n(result),
        )


def _best_of_layers(result: ProbeResult) -> Iterator[Estimate]:
    for place, network in enumerate(result.networks):
        if network in TRAINED and not np.isnan(result.null.p_value[place]):
            yield Estimate(
                name=f"best.label.least_squares_accuracy.{network}",
                label=f"label read by least squares out of the best layer of {NETWORK_WORDS[network]}",
                value=float(np.nanmax(result.null.accuracy[place])),
                unit="accuracy",
                reference=float(result.null.threshold[place]),
                reference_label=f"95 % point of the best layer under {result.null.best_null.shape[1]} permuted labels",
                n=result.num_images,
                n_unit="images",
            )


def _pixels(result: ProbeResult) -> Iterator[Estimate]:
    for target, (name, kind) in enumerate(zip(result.targets, result.kinds)):
        if not np.isnan(result.pixels.score[target]):
            yield Estimate(
                name=f"pixels.{name}.{score_name(kind)}",
                label=f"{name} read linearly out of the image in grey, 16 x 16",
                value=float(result.pixels.score[target]),
                unit="accuracy" if kind == "binary" else "out-of-fold R^2",
                low=_known(result.pixels.low[target]),
                high=_known(result.pixels.high[target]),
                interval=_interval(result),
                reference=float(result.chance[target]),
                reference_label="constant predictor",
                n=result.num_groups,
                n_unit=describe_n(result),
            )
