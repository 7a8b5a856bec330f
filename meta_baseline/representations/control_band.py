"""Where one more pair of untrained networks would lie: the band that a trained pair is judged against."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import special


def predict_band(
    values: Sequence[float], pairs: Sequence[tuple[str, str]], *, level: float = 0.95
) -> tuple[float, float]:
    """Prediction interval, on the scale of atanh, for the CKA of one more pair; NaN from fewer than three networks.

    The range of three pairs is no control: a fourth would fall outside it half of the time. Pairs that share a network
    go together, so what counts are the networks: a pair's value is taken as mean + effect of one + effect of the other
    + rest. Within one set of networks all variation is taken for that of the effects, which errs on the wide side.

    Args:
        values: CKA of each pair, in [-1, 1].
        pairs: all pairs within one set of networks, or all of one set with another.
        level: probability that the band holds one more pair of unseen networks.
    """
    if len(values) < 3 or not np.isfinite(values).all():
        return math.nan, math.nan
    line = np.arctanh(np.clip(np.asarray(values, dtype=np.float64), -1 + 1e-9, 1 - 1e-9))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    if set(first) & set(second):
        count = len(set(first) | set(second))
        # Between all pairs of S networks with effects of variance v the sample variance is 2 v (S - 1) / (S + 1).
        effect = float(line.var(ddof=1)) * (count + 1) / (2 * (count - 1))
        variance, freedom = effect * (2 + 4 / count), count - 1
    else:
        table = _arrange(line, first, second)
        sides = [table.mean(axis=1), table.mean(axis=0)]
        variance = sum(float(means.var(ddof=1)) * (1 + 1 / len(means)) for means in sides if len(means) > 1)
        left = table - sides[0][:, None] - sides[1] + table.mean()
        variance += float((left**2).sum()) / max((table.shape[0] - 1) * (table.shape[1] - 1), 1)
        freedom = sum(len(means) - 1 for means in sides)
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    return math.tanh(line.mean() - half), math.tanh(line.mean() + half)


def _arrange(values: Float[ndarray, " R"], first: Sequence[str], second: Sequence[str]) -> Float[ndarray, "S1 S2"]:
    rows, columns = (list(dict.fromkeys(names)) for names in (first, second))
    table = np.zeros((len(rows), len(columns)))
    for value, row, column in zip(values, first, second, strict=True):
        table[rows.index(row), columns.index(column)] = value
    return table
