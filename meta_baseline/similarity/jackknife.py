"""Intervals of CKA over images, by leaving images out in closed form."""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import special

from meta_baseline.errors import UsageError
from meta_baseline.similarity.cka import debiased_cka, partial_cka, partial_correlation
from meta_baseline.similarity.gram import FEWEST_IMAGES, centre_unbiased, check_size
from meta_baseline.statistics import Interval

LEVEL = 0.95
"""Of every interval, where none is asked for."""


def cka_interval(
    first: Float[ndarray, "N N"],
    second: Float[ndarray, "N N"],
    *,
    confound: Float[ndarray, "N N"] | None = None,
    groups: Int[ndarray, " N"] | None = None,
    level: float = LEVEL,
) -> Interval:
    """Interval of ``debiased_cka`` (of ``partial_cka`` with a confound) over images, by a delete-group jackknife.

    A bootstrap draws images twice, and an image is maximally similar to itself, so it would shift the very estimate
    that was debiased. Leaving out needs no copies, and is exact and quick here because the estimate is a ratio of
    U-statistics (Arvesen 1969, doi:10.1214/aoms/1177697287). Groups (images of one shape identity) are left out
    whole, with the weights for unequal sizes of Busing et al. 1999 (doi:10.1023/A:1008800423698). The interval is
    made on the scale of atanh, with Student's t.

    Args:
        first, second, confound: Gram matrices.
        groups: which images belong together; None leaves out one image at a time.
        level: coverage.

    Raises:
        UsageError: when there are fewer than 4 groups.
    """
    n = check_size(first)
    block = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)[1]
    sizes = np.bincount(block)
    if len(sizes) < FEWEST_IMAGES or n - sizes.max() < FEWEST_IMAGES:
        raise UsageError(f"An interval over {len(sizes)} groups of images cannot be made. Use at least 4 groups.")
    unit = "images"
    if len(sizes) < n:
        unit = "groups of images"
    else:
        block = np.arange(n)
    layers = [centre_unbiased(gram) for gram in (first, second, *(() if confound is None else (confound,)))]
    left_out = cka_leaving_out(layers[0], layers[1], block)
    value = debiased_cka(first, second)
    if confound is not None:
        with_confound = (cka_leaving_out(layers[i], layers[2], block) for i in (0, 1))
        left_out = partial_correlation(left_out, *with_confound)
        value = partial_cka(first, second, confound)
    method = f"jackknife over {len(sizes)} {unit}"
    if not (math.isfinite(value) and bool(np.isfinite(left_out).all())):
        return Interval(low=math.nan, high=math.nan, level=level, method=method)
    spread = float(special.stdtrit(len(sizes) - 1, (1 + level) / 2)) * jackknife_error(value, left_out, sizes)
    centre = float(to_line(np.array([value]))[0])
    return Interval(low=math.tanh(centre - spread), high=math.tanh(centre + spread), level=level, method=method)


def cka_leaving_out(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], block: Int[ndarray, " N"]
) -> Float[ndarray, " G"]:
    """Debiased CKA without each group in turn, from ``centre_unbiased`` matrices; NaN where nothing is left."""
    cross, own_first, own_second = (
        _hsic_leaving_out(*pair, block) for pair in ((first, second), (first, first), (second, second))
    )
    product = own_first * own_second
    return cross / np.sqrt(np.where(product > 0, product, np.nan))


def _hsic_leaving_out(
    first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], block: Int[ndarray, " N"]
) -> Float[ndarray, " G"]:
    """``unbiased_hsic`` without each group in turn, from matrices with zero diagonal whose rows sum to zero.

    Song et al. 2012 have three sums; taking a group out changes each by sums over its rows.
    """
    num_groups = int(block.max()) + 1
    product = first * second
    own = np.zeros((len(block), num_groups))
    own[np.arange(len(block)), block] = 1.0
    singles = num_groups == len(block)
    sums_first = first if singles else first @ own
    sums_second = first if singles and second is first else second if singles else second @ own

    def inside(matrix: Float[ndarray, "N N"]) -> Float[ndarray, " G"]:
        return np.zeros(num_groups) if singles else np.einsum("ig,ig->g", own, matrix @ own)

    trace = product.sum() - 2 * np.bincount(block, product.sum(axis=1), num_groups) + inside(product)
    # Rows sum to zero, so without the group they sum to minus what the group contributed.
    total_first, total_second = inside(first), inside(second)
    crossed = sums_first * sums_second
    cross = crossed.sum(axis=0) - np.bincount(block, crossed[np.arange(len(block)), block], num_groups)
    n = len(block) - np.bincount(block, minlength=num_groups)
    sums = trace + total_first * total_second / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)
    return sums / (n * (n - 3))


def jackknife_error(value: float, left_out: Float[ndarray, " G"], sizes: Int[ndarray, " G"]) -> float:
    """Standard error on the scale of atanh; by the delete-m_j jackknife of Busing et al. 1999."""
    whole, without = float(to_line(np.array([value]))[0]), to_line(left_out)
    share = sizes / sizes.sum()
    inverse = 1 / share
    pseudo = inverse * whole - (inverse - 1) * without
    centre = len(sizes) * whole - float(((1 - share) * without).sum())
    return math.sqrt(float(((pseudo - centre) ** 2 / (inverse - 1)).mean()))


def to_line(value: Float[ndarray, " G"]) -> Float[ndarray, " G"]:
    """The scale of atanh, where the sampling error of a correlation hardly depends on its size."""
    return np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
