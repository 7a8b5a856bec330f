"""How alike two representations of the same images are, from their Gram matrices.

A Gram matrix K = X X' [N, N] holds the inner products of all pairs of images; it does not see the order of units, nor
a rotation of them, so every measure here ignores both. Layers of different widths can be compared.

    debiased_cka           agreement of the two geometries; 0 for independent ones at any N and width; the default
    biased_cka             the usual estimate, which is large for any two wide layers when N is small
    partial_cka            debiased CKA after what both share with a third geometry (the pixels) is taken out
    procrustes_distance    angle left after the best rotation of one onto the other
    rank_agreement         Spearman correlation of the distances between images (RSA)
    participation_ratio    how many directions the representation uses, without the bias of few images

The unbiased estimates rest on one matrix per layer: its U-centred Gram matrix (``centre_unbiased``), of which debiased
CKA is the cosine.
"""

# scipy ships no types; everything it returns is given one here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import special, stats

from meta_baseline.errors import UsageError
from meta_baseline.statistics import Interval

LEVEL = 0.95
"""Of every interval, where none is asked for."""

FEWEST_IMAGES = 4
"""Unbiased estimates divide by N (N - 3)."""


def gram_matrix(features: Float[ndarray, "N U"]) -> Float[ndarray, "N N"]:
    """Inner products of all pairs of images, in float64, after the mean image is taken off."""
    values = np.asarray(features, dtype=np.float64)
    values = values - values.mean(axis=0)
    return values @ values.T


def centre_unbiased(gram: Float[ndarray, "N N"]) -> Float[ndarray, "N N"]:
    """The U-centred matrix: zero diagonal, and every row and column sums to zero.

    What is added to all entries of a row and of the column of the same number is removed, hence also the choice of
    origin. Székely & Rizzo 2014, Annals of Statistics 42:2382, doi:10.1214/14-AOS1255, section 2.
    """
    n = _check_size(gram)
    off = np.array(gram, dtype=np.float64)
    np.fill_diagonal(off, 0.0)
    rows = off.sum(axis=1)
    off -= (rows / (n - 2))[:, None]
    off -= rows / (n - 2)
    off += rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(off, 0.0)
    return off


def unbiased_hsic(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Unbiased estimate of the squared Frobenius norm of the cross-covariance of the two layers.

    The estimator of Song et al. 2012 (JMLR 13:1393), in the form of an inner product of U-centred matrices (Székely &
    Rizzo 2014). It is negative as often as positive where the layers are independent.
    """
    n = _check_size(first)
    return float(np.vdot(centre_unbiased(first), centre_unbiased(second))) / (n * (n - 3))


def debiased_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Debiased linear centred kernel alignment: 1 for the same geometry, about 0 for independent ones.

    Invariant to rotation, to the order of units and to isotropic scaling of either layer (Kornblith et al. 2019,
    arXiv:1905.00414). Being the cosine of two U-centred matrices it lies in [-1, 1]; the population value lies in
    [0, 1], so a negative one is 0 with sampling error. NaN where a layer is constant.
    """
    return float(cka_matrix([first], [second])[0, 0])


def cka_matrix(
    first: Sequence[Float[ndarray, "N N"]], second: Sequence[Float[ndarray, "N N"]]
) -> Float[ndarray, "L1 L2"]:
    """Debiased CKA of every layer of ``first`` with every one of ``second``."""
    return align(*(np.stack([unit_geometry(gram) for gram in grams]) for grams in (first, second)))


def unit_geometry(gram: Float[ndarray, "N N"], dtype: type[np.floating] = np.float64) -> Float[ndarray, " NN"]:
    """The U-centred Gram matrix as one vector of length 1 (NaN for a constant layer): its dot products are CKAs.

    The strict upper triangle holds it all; ``dtype`` float32 halves the memory again and costs 1e-6.
    """
    vector = centre_unbiased(gram).ravel()[_upper_triangle(len(gram))]
    length = float(np.linalg.norm(vector))
    scale = float(np.abs(gram).max())
    if not length > 1e-12 * scale * len(gram):
        return np.full(len(vector), np.nan, dtype=dtype)
    return (vector / length).astype(dtype)


def align(first: Float[ndarray, "L1 NN"], second: Float[ndarray, "L2 NN"]) -> Float[ndarray, "L1 L2"]:
    """Debiased CKA of layers given by their ``unit_geometry``."""
    return np.clip((first @ second.T).astype(np.float64), -1.0, 1.0)


def biased_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Linear CKA as first published, in [0, 1]; near 1 for any two layers that are wide beside N.

    Kornblith et al. 2019; its bias: Murphy et al. 2024, arXiv:2405.01012. NaN where a layer is constant.
    """
    a, b = _centre(first), _centre(second)
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size > 0 else math.nan


def partial_cka(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"], confound: Float[ndarray, "N N"]) -> float:
    """Debiased CKA of what is left of both geometries when the part along ``confound``'s is projected out.

    Early layers look alike because the images look alike. Regressing both similarity matrices on that of the inputs
    takes this out (Cui et al. 2022, arXiv:2202.00095); done on U-centred matrices, where it is an orthogonal
    projection, it is the partial distance correlation of Székely & Rizzo 2014 (section 4.2) with linear kernels.
    Only what is proportional to the input geometry goes; a layer that weighs the pixels differently keeps the rest.
    """
    pairs = ((first, second), (first, confound), (second, confound))
    return partial_out(*(debiased_cka(*pair) for pair in pairs))


def partial_out(cross: float, with_first: float, with_second: float) -> float:
    """``partial_cka`` from the three debiased CKAs: of the two layers, and of each with the confound."""
    return float(_partial(*(np.array([value]) for value in (cross, with_first, with_second)))[0])


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
    n = _check_size(first)
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
    norms = [_hsic_leaving_out(layer, layer, block) for layer in layers]
    left_out = _ratio(_hsic_leaving_out(layers[0], layers[1], block), norms[0], norms[1])
    value = debiased_cka(first, second)
    if confound is not None:
        with_first, with_second = (
            _ratio(_hsic_leaving_out(layers[i], layers[2], block), norms[i], norms[2]) for i in (0, 1)
        )
        left_out = _partial(left_out, with_first, with_second)
        value = partial_cka(first, second, confound)
    method = f"jackknife over {len(sizes)} {unit}"
    if not (math.isfinite(value) and bool(np.isfinite(left_out).all())):
        return Interval(low=math.nan, high=math.nan, level=level, method=method)
    spread = float(special.stdtrit(len(sizes) - 1, (1 + level) / 2)) * _jackknife_error(value, left_out, sizes)
    centre = float(_to_line(np.array([value]))[0])
    return Interval(low=math.tanh(centre - spread), high=math.tanh(centre + spread), level=level, method=method)


def procrustes_distance(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Angle in radians, 0 to pi/2, between the two layers after the best rotation of one onto the other.

    arccos(|X'Y|_* / (|X|_F |Y|_F)), a metric (Williams et al. 2021, arXiv:2110.14739). The nuclear norm is
    the sum of the square roots of the eigenvalues of K^(1/2) L K^(1/2), so Gram matrices suffice. Not debiased: the
    angle shrinks when layers are wide beside N, so judge it against a control of the same N and widths.
    """
    a, b = _centre(first), _centre(second)
    size = math.sqrt(float(np.trace(a)) * float(np.trace(b)))
    if not size > 0:
        return math.nan
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    squares = np.linalg.eigvalsh(root.T @ b @ root)
    return float(np.arccos(np.clip(np.sqrt(np.clip(squares, 0, None)).sum() / size, -1.0, 1.0)))


def rank_distances(gram: Float[ndarray, "N N"]) -> Float[ndarray, " D"]:
    """Ranks of the Euclidean distances of all pairs of images, centred and of length 1: dot products are Spearman's."""
    squares = np.diag(gram)
    # Rounding would order distances that are equal; ten digits leave ties as ties.
    distances = (squares[:, None] + squares - 2 * gram).ravel()[_upper_triangle(len(gram))]
    rounded = np.round(distances / (float(np.abs(distances).max()) or 1.0), 10)
    ranks: Float[ndarray, " D"] = stats.rankdata(rounded)
    ranks = ranks - ranks.mean()
    length = float(np.linalg.norm(ranks))
    return ranks / length if length > 0 else np.full(len(ranks), np.nan)


def rank_agreement(first: Float[ndarray, "N N"], second: Float[ndarray, "N N"]) -> float:
    """Spearman correlation, in [-1, 1], of the distances between images in the two layers.

    Representational similarity analysis (Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008) with Euclidean
    distances; ranks make it deaf to a few extreme images. NaN where a layer is constant.
    """
    return float(rank_distances(first) @ rank_distances(second))


def participation_ratio(gram: Float[ndarray, "N N"]) -> float:
    """Effective number of dimensions, (sum of eigenvalues)^2 / sum of squares, of the covariance over all images.

    The plain ratio of a sample stays below N - 1 whatever the truth; here numerator and denominator are unbiased,
    averages over disjoint pairs of images (Chun et al. 2025, arXiv:2509.26560). NaN where it is undefined.
    """
    n = _check_size(gram)
    squares = np.diag(gram)
    # Half a squared distance is an unbiased estimate of the trace of the covariance.
    traces = (squares[:, None] + squares[None, :]) / 2 - gram
    rows = traces.sum(axis=1)
    disjoint = float(rows.sum()) ** 2 - 4 * float(rows @ rows) + 2 * float(np.vdot(traces, traces))
    numerator = disjoint / (n * (n - 1) * (n - 2) * (n - 3))
    denominator = unbiased_hsic(gram, gram)
    return numerator / denominator if denominator > 0 else math.nan


def _check_size(gram: Float[ndarray, "N N"]) -> int:
    n = len(gram)
    if gram.shape != (n, n) or n < FEWEST_IMAGES:
        raise UsageError(
            f"Similarity needs square Gram matrices of at least {FEWEST_IMAGES} images; found shape {gram.shape}. "
            "Use more images."
        )
    return n


@lru_cache(maxsize=2)
def _upper_triangle(n: int) -> Int[ndarray, " NN"]:
    return np.flatnonzero(np.triu(np.ones((n, n), dtype=bool), k=1))


def _centre(gram: Float[ndarray, "N N"]) -> Float[ndarray, "N N"]:
    rows = gram.mean(axis=1)
    if float(np.abs(rows).max()) <= 1e-13 * float(np.abs(np.diag(gram)).max()):
        return gram
    return gram - rows[:, None] - rows + rows.mean()


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


def _ratio(
    cross: Float[ndarray, " G"], first: Float[ndarray, " G"], second: Float[ndarray, " G"]
) -> Float[ndarray, " G"]:
    product = first * second
    return cross / np.sqrt(np.where(product > 0, product, np.nan))


def _partial(
    cross: Float[ndarray, " G"], with_first: Float[ndarray, " G"], with_second: Float[ndarray, " G"]
) -> Float[ndarray, " G"]:
    left = (1 - with_first**2) * (1 - with_second**2)
    # A layer whose geometry is the confound's has nothing left to compare.
    return (cross - with_first * with_second) / np.sqrt(np.where(left > 1e-12, left, np.nan))


def _jackknife_error(value: float, left_out: Float[ndarray, " G"], sizes: Int[ndarray, " G"]) -> float:
    """Standard error on the scale of atanh; by the delete-m_j jackknife of Busing et al. 1999."""
    whole, without = float(_to_line(np.array([value]))[0]), _to_line(left_out)
    share = sizes / sizes.sum()
    inverse = 1 / share
    pseudo = inverse * whole - (inverse - 1) * without
    centre = len(sizes) * whole - float(((1 - share) * without).sum())
    return math.sqrt(float(((pseudo - centre) ** 2 / (inverse - 1)).mean()))


def _to_line(value: Float[ndarray, " G"]) -> Float[ndarray, " G"]:
    return np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
