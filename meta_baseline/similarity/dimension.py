"""How many directions a representation uses."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from meta_baseline.similarity.cka import unbiased_hsic
from meta_baseline.similarity.gram import check_size


def participation_ratio(gram: Float[ndarray, "N N"]) -> float:
    """Effective number of dimensions, (sum of eigenvalues)^2 / sum of squares, of the covariance over all images.

    The plain ratio of a sample stays below N - 1 whatever the truth; here numerator and denominator are unbiased,
    averages over disjoint pairs of images (Chun et al. 2025, arXiv:2509.26560). NaN where it is undefined.
    """
    n = check_size(gram)
    squares = np.diag(gram)
    # Half a squared distance is an unbiased estimate of the trace of the covariance.
    traces = (squares[:, None] + squares[None, :]) / 2 - gram
    rows = traces.sum(axis=1)
    disjoint = float(rows.sum()) ** 2 - 4 * float(rows @ rows) + 2 * float(np.vdot(traces, traces))
    numerator = disjoint / (n * (n - 1) * (n - 2) * (n - 3))
    denominator = unbiased_hsic(gram, gram)
    return numerator / denominator if denominator > 0 else math.nan
