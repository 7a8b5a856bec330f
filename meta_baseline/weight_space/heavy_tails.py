"""Whether a layer's eigenvalues end in a power law, and its exponent only where that may be said.

An exponent can be fitted to anything. It is reported where the tail has at least 50 values, the fitted law is closer
than .05 to them, and a log-normal tail does no better; otherwise the reason is reported in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_ndtr

FEWEST_TAIL_VALUES = 50
LARGEST_DISTANCE = 0.05
_AT_A_TIME = 128


@dataclass(frozen=True, kw_only=True)
class TailFit:
    """A power law p(x) ~ x^-exponent above ``threshold``, fitted to the squared singular values of a layer.

    Attributes:
        exponent: the maximum-likelihood estimate; not to be cited where ``reason`` is not empty.
        num_tail: eigenvalues at or above the threshold.
        distance: Kolmogorov-Smirnov, between the law and these values.
        log_ratio: log likelihood of the power law minus that of the best log-normal tail; NaN where not reached.
        reason: why the fit is not admissible; empty where it is.
    """

    exponent: float
    threshold: float
    num_tail: int
    distance: float
    log_ratio: float
    reason: str


def fit_tail(eigenvalues: Float[np.ndarray, " R"]) -> TailFit:
    """The power law of the tail, with the threshold at which it fits best, and whether it is admissible.

    (Clauset, Shalizi & Newman 2009, arXiv:0706.1062, eq. 3.1 and section 3.3.) The log-normal has one parameter more
    and contains the power law as a limit, so it has to win by more than that one parameter (Akaike 1974).
    """
    values = np.sort(eigenvalues[eigenvalues > 0].astype(np.float64))
    if len(values) < FEWEST_TAIL_VALUES or values[0] == values[-1]:
        return _refused(len(values), f"{len(values)} different eigenvalues, fewer than {FEWEST_TAIL_VALUES}")
    exponents, distances = _scan_thresholds(values)
    start = int(np.argmin(distances))
    tail, exponent, distance = values[start:], float(exponents[start]), float(distances[start])
    log_ratio, reason = float("nan"), ""
    if len(tail) < FEWEST_TAIL_VALUES:
        reason = f"the best threshold leaves {len(tail)} values, fewer than {FEWEST_TAIL_VALUES}"
    elif distance >= LARGEST_DISTANCE:
        reason = f"the law is {distance:.3f} away from the values (Kolmogorov-Smirnov), not below {LARGEST_DISTANCE}"
    else:
        log_ratio = power_law_likelihood(tail, exponent) - lognormal_likelihood(tail)
        if log_ratio < -1.0:
            reason = f"a log-normal tail fits better (log likelihood higher by {-log_ratio:.1f})"
    return TailFit(
        exponent=exponent,
        threshold=float(tail[0]),
        num_tail=len(tail),
        distance=distance,
        log_ratio=log_ratio,
        reason=reason,
    )


def power_law_likelihood(tail: Float[np.ndarray, " T"], exponent: float) -> float:
    """Log likelihood of x^-exponent above the smallest value."""
    logs = np.log(tail / tail[0])
    return float(len(tail) * np.log((exponent - 1) / tail[0]) - exponent * logs.sum())


def lognormal_likelihood(tail: Float[np.ndarray, " T"]) -> float:
    """Highest log likelihood of a log-normal that is cut off below the smallest value."""
    logs = np.log(tail)
    start = float(logs[0])

    def loss(parameters: np.ndarray) -> float:
        mean, sd = parameters[0], np.exp(parameters[1])
        inside = -0.5 * ((logs - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi) - logs
        return -float(inside.sum() - len(logs) * log_ndtr((mean - start) / sd))

    guesses = ([float(logs.mean()), np.log(logs.std())], [start - 4 * float(logs.std()), np.log(3 * logs.std())])
    options = {"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-8}
    fits = [minimize(loss, guess, method="Nelder-Mead", options=options) for guess in guesses]
    return -min(float(fit.fun) for fit in fits)


def _scan_thresholds(values: Float[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Exponent and distance with every value but the last as the threshold."""
    logs = np.log(values)
    num = len(values)
    counts = np.arange(num, 0, -1)
    sums = np.cumsum(logs[::-1])[::-1] - counts * logs
    with np.errstate(divide="ignore"):
        exponents = 1 + counts / sums
    exponents = np.where(sums > 0, exponents, np.inf)
    distances = np.full(num - 1, np.inf)
    places = np.arange(num)
    for start in range(0, num - 1, _AT_A_TIME):
        block = places[start : min(start + _AT_A_TIME, num - 1), None]
        law = -np.expm1((1 - exponents[block]) * np.maximum(logs - logs[block], 0.0))
        gaps = np.abs(law - (places - block) / counts[block])
        gaps[places < block] = 0.0
        distances[block[:, 0]] = np.where(np.isfinite(exponents[block[:, 0]]), gaps.max(axis=1), np.inf)
    return exponents[:-1], distances


def _refused(num: int, reason: str) -> TailFit:
    nan = float("nan")
    return TailFit(exponent=nan, threshold=nan, num_tail=num, distance=nan, log_ratio=nan, reason=reason)
