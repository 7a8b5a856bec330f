"""The sentences that the probes contribute to the first half page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.probes.estimates import TRAINED, describe_n, score_name
from meta_baseline.probes.result import TIED_TO_LABEL, ProbeResult
from meta_baseline.results import Finding


def list_findings(result: ProbeResult) -> tuple[Finding, ...]:
    """At most three: how far the label can be read, where the networks differ on it, and on which latent they do."""
    findings = [_find_label(result)]
    # A latent that goes with the label would only say the label's difference again.
    free = [target for target, share in enumerate(result.explained_by_label) if target > 0 and share <= TIED_TO_LABEL]
    for targets in ([0], free):
        if not np.isnan(result.differences.value[:, targets]).all():
            findings.append(_find_difference(result, targets))
    return tuple(findings)


def _find_label(result: ProbeResult) -> Finding:
    parts, names, beaten = [], [], []
    for place, network in enumerate(result.networks):
        if network in TRAINED:
            scores = result.scores.score[place, :, 0]
            best = int(np.nanargmax(scores))
            role = result.layers[best]
            parts.append(f"{scores[best]:.2f} from {network} ({role})")
            names.append(f"{role}.label.accuracy.{network}")
            untrained = result.scores.score[list(result.twins.get(network, ())), :, 0]
            beaten.append(
                result.scores.low[place, best, 0] > max(_highest(untrained), _highest(result.pixels.score[:1]))
            )
    controls = ", ".join(_list_controls(result))
    if all(beaten):
        opening, importance = "The label can be read linearly out of the best layer with accuracy", 0.3
    else:
        opening, importance = (
            "Not every network gives the label away beyond its controls: its best layer reads it with accuracy",
            0.6,
        )
    sentence = f"{opening} {' and '.join(parts)}, on {describe_n(result)} that the probe never saw; {controls}."
    return Finding(sentence=sentence, importance=importance, estimates=tuple(names), beyond_control=bool(all(beaten)))


def _list_controls(result: ProbeResult) -> Iterator[str]:
    twins = sorted({twin for places in result.twins.values() for twin in places})
    if twins:
        best = np.nanmax(result.scores.score[twins, :, 0])
        yield f"the best untrained layer {best:.2f} ({len(twins)} networks)"
    if not np.isnan(result.pixels.score[0]):
        yield f"raw pixels {result.pixels.score[0]:.2f}"
    yield f"a constant answer {result.chance[0]:.2f}"


def _find_difference(result: ProbeResult, targets: list[int]) -> Finding:
    """The largest difference among the given targets, judged by the interval that allows for having picked it."""
    values = result.differences.value[:, targets]
    layer, column = np.unravel_index(np.nanargmax(np.abs(values)), values.shape)
    target = targets[int(column)]
    where = (int(layer), target)
    role, name, kind = result.layers[where[0]], result.targets[target], result.kinds[target]
    meta, baseline = result.scores.score[0][where], result.scores.score[1][where]
    low, high = result.differences.joint_low[where], result.differences.joint_high[where]
    spread = result.differences.untrained_spread[where]
    size = abs(result.differences.value[where])
    beyond = (low > 0 or high < 0) and not size <= spread
    if target == 0 and not np.isnan(result.null.p_value[:2]).all():
        # Intervals are too short at chance: where neither network is above it, there is nothing to differ on.
        beyond &= bool(np.nanmin(result.null.p_value[:2]) <= 0.05)
    measure = "accuracy" if kind == "binary" else "R^2"
    cells = "layers" if target == 0 else "layers and latents"
    untrained = f"; untrained networks reach {_mean_untrained(result, where)}" if result.twins else ""
    if not np.isnan(spread):
        untrained += f" and differ among themselves by up to {spread:.2f}"
    opening = f"On {'the label' if target == 0 else f'the latent {name}'} the two networks"
    numbers = (
        f"{measure} {meta:.2f} from meta, {baseline:.2f} from baseline, difference {meta - baseline:+.2f} "
        f"(95 % {low:+.2f} to {high:+.2f} over {result.num_groups} {describe_n(result)}, "
        f"all {cells} at once){untrained}"
    )
    if beyond:
        sentence = f"{opening} differ most in {role}: {numbers}."
    else:
        sentence = f"{opening} do not differ beyond their controls; the largest difference is in {role}: {numbers}."
    importance = (0.7 if target == 0 else 0.5) if beyond else (0.4 if target == 0 else 0.25)
    names = tuple(f"{role}.{name}.{score_name(kind)}.{which}" for which in ("meta", "baseline", "difference"))
    return Finding(sentence=sentence, importance=importance, estimates=names, beyond_control=bool(beyond))


def _mean_untrained(result: ProbeResult, where: tuple[int, int]) -> str:
    means = {name: float(result.untrained_mean(name)[where]) for name in result.twins}
    if result.twins["meta"] == result.twins["baseline"]:
        return f"{means['meta']:.2f}"
    return f"{means['meta']:.2f} and {means['baseline']:.2f}"


def _highest(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else -np.inf
