"""How a network's margin and its accuracy change with each latent of the images, the class being held.

Latents may go with the class, and then every network that knows the class seems to follow them. So all slopes are
taken inside the classes: margin, correctness and latent have their class means taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import t

from meta_baseline.representations.shuffles import bound_largest, shuffle_within

NUM_SHUFFLES = 500
NUM_BINS = 5
MEASURES = ("margin", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Slope:
    """How one measure of one network changes with one latent, per sd of the latent inside the classes.

    Attributes:
        network: "meta", "baseline", "meta - baseline" or an untrained one.
        measure: "margin": the margin towards class 1, in its own sds inside the classes, so that the slope is a
            correlation; "accuracy": share of right answers.
        latent: its name.
        slope, low, high: with a 95 % interval over images or, where they repeat, shape identities (cluster-robust;
            Liang & Zeger 1986, Biometrika 73:13).
        chance: what the absolute slope of any latent exceeds in 5 % of the cases when the latents change places among
            the images of a class, whole identities together: a bound for the best of so many latents.
    """

    network: str
    measure: str
    latent: str
    slope: float
    low: float
    high: float
    chance: float

    @property
    def beyond_chance(self) -> bool:
        """True when it exceeds what any of all latents reaches by chance."""
        return bool(abs(self.slope) > self.chance)


@dataclass(frozen=True, kw_only=True)
class LatentCurve:
    """Accuracy over fifths of the images by one latent.

    Attributes:
        latent: its name.
        centres: median of the latent in each bin.
        num_images: in each bin.
        accuracy: rows are networks, in the order of ``networks``.
        half_widths: half a 95 % interval of each, over images or, where they repeat, shape identities.
    """

    latent: str
    networks: tuple[str, ...]
    centres: Float[ndarray, " Q"]
    num_images: Int[ndarray, " Q"]
    accuracy: Float[ndarray, "S Q"]
    half_widths: Float[ndarray, "S Q"]


def measure_slopes(
    margins: Mapping[str, Float[ndarray, " N"]],
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"],
    latents: Mapping[str, Float[ndarray, " N"]],
    rng: np.random.Generator,
) -> tuple[Slope, ...]:
    """Slopes of every network over every latent, and of the difference of "meta" and "baseline".

    Args:
        margins: by network; class 1 where positive.
        labels: 0 or 1.
        groups: shape identities, taken and shuffled whole.
        latents: by name; those that do not vary inside the classes are left out.
        rng: shuffles.
    """
    held = {name: _centre(values, labels) for name, values in latents.items()}
    names = [name for name, values in held.items() if values.std() > 1e-9 * max(np.abs(latents[name]).max(), 1e-300)]
    if not names:
        return ()
    predictors = np.stack([held[name] / held[name].std() for name in names], axis=1)
    networks, responses = _responses(margins, labels)
    slopes = predictors.T @ responses / len(labels)
    halves = _half_widths(predictors, responses, slopes, groups)
    null = np.empty((NUM_SHUFFLES, *slopes.shape))
    for r in range(NUM_SHUFFLES):
        shuffled = _centre(predictors[shuffle_within(labels, groups, rng)], labels)
        sizes = np.maximum((shuffled**2).sum(axis=0), 1e-12)
        null[r] = shuffled.T @ responses / sizes[:, None]
    spread = np.sqrt((null**2).mean(axis=0))
    chance = np.stack([bound_largest(np.abs(null[..., c]), spread[:, c]) for c in range(spread.shape[1])], axis=1)
    return tuple(
        Slope(
            network=network,
            measure=measure,
            latent=name,
            slope=float(slopes[v, c]),
            low=float(slopes[v, c] - halves[v, c]),
            high=float(slopes[v, c] + halves[v, c]),
            chance=float(chance[v, c]),
        )
        for c, (network, measure) in enumerate(networks)
        for v, name in enumerate(names)
    )


def trace_curves(
    margins: Mapping[str, Float[ndarray, " N"]],
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"],
    latents: Mapping[str, Float[ndarray, " N"]],
    names: Sequence[str],
) -> tuple[LatentCurve, ...]:
    """Accuracy by fifths of the images along each of the latents ``names``; equal values stay together."""
    curves: list[LatentCurve] = []
    for name in names:
        values = latents[name]
        edges = np.unique(np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS))
        place = np.searchsorted(edges, values, side="right")
        filled = np.unique(place)
        right = np.stack([(margin > 0) == (labels == 1) for margin in margins.values()]).astype(np.float64)
        bins = [place == b for b in filled]
        curves.append(
            LatentCurve(
                latent=name,
                networks=tuple(margins),
                centres=np.array([np.median(values[inside]) for inside in bins]),
                num_images=np.array([inside.sum() for inside in bins]),
                accuracy=np.stack([right[:, inside].mean(axis=1) for inside in bins], axis=1),
                half_widths=np.stack([_half_widths_of_means(right[:, inside], groups[inside]) for inside in bins], 1),
            )
        )
    return tuple(curves)


def _half_widths_of_means(values: Float[ndarray, "S N"], groups: Int[ndarray, " N"]) -> Float[ndarray, " S"]:
    """Half a 95 % interval of the mean of each row; infinite from fewer than three groups."""
    constant = np.ones((values.shape[1], 1))
    means = values.mean(axis=1)[None]
    return _half_widths(constant, values.T, means, groups)[0]


def _responses(
    margins: Mapping[str, Float[ndarray, " N"]], labels: Int[ndarray, " N"]
) -> tuple[list[tuple[str, str]], Float[ndarray, "N R"]]:
    """Margins in sds and correctness of every network, class means off; then their differences, meta - baseline."""
    named: list[tuple[str, str]] = []
    columns: list[Float[ndarray, " N"]] = []
    for network, margin in margins.items():
        inside = _centre(margin.astype(np.float64), labels)
        spread = inside.std()
        named += [(network, measure) for measure in MEASURES]
        columns += [inside / spread if spread > 0 else inside, _centre((margin > 0) == (labels == 1), labels)]
    for measure in MEASURES:
        if ("meta", measure) in named and ("baseline", measure) in named:
            pair = [columns[named.index((network, measure))] for network in ("meta", "baseline")]
            named.append(("meta - baseline", measure))
            columns.append(pair[0] - pair[1])
    return named, np.stack(columns, axis=1)


def _half_widths(
    predictors: Float[ndarray, "N V"],
    responses: Float[ndarray, "N R"],
    slopes: Float[ndarray, "V R"],
    groups: Int[ndarray, " N"],
) -> Float[ndarray, "V R"]:
    """Half a 95 % interval of each slope; residuals are independent between groups only."""
    names, member = np.unique(groups, return_inverse=True)
    num = len(names)
    if num < 3:
        return np.full(slopes.shape, np.inf)
    squares = np.empty(slopes.shape)
    for c in range(responses.shape[1]):
        influence = predictors * (responses[:, c, None] - predictors * slopes[:, c]) / len(groups)
        sums = np.zeros((num, influence.shape[1]))
        np.add.at(sums, member, influence)
        squares[:, c] = (sums**2).sum(axis=0)
    return t.ppf(0.975, num - 1) * np.sqrt(num / (num - 1) * squares)


def _centre(values: ndarray, labels: Int[ndarray, " N"]) -> Float[ndarray, "N ..."]:
    """Values without the mean of their class."""
    centred = values.astype(np.float64)
    for label in np.unique(labels):
        centred[labels == label] -= centred[labels == label].mean(axis=0)
    return centred
