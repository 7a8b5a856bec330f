"""How much of a layer's variance goes with each latent, beyond what any latent takes by chance.

A latent is cut into at most five bins, so that what it does to the layer need not be a straight line, and the variance
between the bins' mean images is taken as its share. Latents that go together share what they explain: shares do not
add up, and the share of all latents together is given beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from scipy.stats import t

from meta_baseline.representations.shuffles import bound_largest, jackknife_error

NUM_BINS = 5
EVERYTHING = "all latents"


@dataclass(frozen=True, kw_only=True)
class ExplainedShare:
    """The share of one layer's variance over images that goes with one target.

    Attributes:
        network, role: of the layer.
        target: "class", a latent, or "all latents" (without the class, additively).
        share: eta squared, (between - expected) / (total - expected): 0 on average for a target that has nothing to do
            with the layer, whatever its number of bins (adjusted as R squared is; Wherry 1931, Annals of Mathematical
            Statistics 2:440). May be below 0.
        low, high: 95 % interval over images or shape identities (jackknife over parts); NaN where not made.
        chance: what the share of any of the layer's targets exceeds in 5 % of the cases when the targets change places
            among the images, whole identities together; NaN where not made, and for all latents together.
    """

    network: str
    role: str
    target: str
    share: float
    low: float
    high: float
    chance: float

    @property
    def beyond_chance(self) -> bool:
        """True when it exceeds what the best of the layer's targets takes by chance."""
        return bool(self.share > self.chance)


@dataclass(frozen=True, kw_only=True)
class BinnedTargets:
    """The class and the latents of the images, cut into bins: one indicator column for each bin.

    Attributes:
        names: of the targets, the class first.
        indicators: 1 where the image is in the bin.
        owner: the target that each column belongs to.
    """

    names: tuple[str, ...]
    indicators: Float32[ndarray, "N B"]
    owner: Int[ndarray, " B"]


def bin_targets(
    labels: Int[ndarray, " N"], latents: Float[ndarray, "N V"], latent_names: Sequence[str]
) -> BinnedTargets:
    """Class and latents in bins of about equally many images; equal values stay together."""
    named: dict[str, ndarray] = {"class": labels, **{name: latents[:, v] for v, name in enumerate(latent_names)}}
    columns: list[ndarray] = []
    owner: list[int] = []
    for place, values in enumerate(named.values()):
        codes = _cut(values)
        for code in range(int(codes.max()) + 1):
            columns.append(codes == code)
            owner.append(place)
    return BinnedTargets(
        names=tuple(named), indicators=np.stack(columns, axis=1).astype(np.float32), owner=np.array(owner)
    )


def explain_layer(
    gram: Float[ndarray, "N N"],
    targets: BinnedTargets,
    *,
    network: str,
    role: str,
    parts: Int[ndarray, " N"] | None = None,
    shuffles: Int[ndarray, "R N"] | None = None,
    features: Float[ndarray, "N U"] | None = None,
) -> tuple[ExplainedShare, ...]:
    """The share of every target in one layer, given by the centred Gram matrix of its images.

    Args:
        gram: of the images.
        targets: see ``bin_targets``.
        network, role: of the layer.
        parts: for intervals; left out in turn.
        shuffles: which image's targets each image gets, for the null.
        features: what the Gram matrix is of; a layer of few units is quicker from them.
    """
    total = float(np.trace(gram))
    if total <= 0:
        return ()
    num = len(targets.names)
    shares = _shares(gram, targets, np.ones(1), np.zeros(len(gram), dtype=np.int64))[0]
    half = np.full(num, math.nan)
    if parts is not None and parts.max() > 1:
        left_out = _shares(gram, targets, np.arange(parts.max() + 1), parts)
        half = t.ppf(0.975, len(left_out) - 1) * jackknife_error(left_out)
    chance = np.full(num, math.nan)
    if shuffles is not None:
        # In single precision: shares are known to 1e-5 and compared with a quantile.
        if features is not None and features.shape[1] < len(gram):
            null = _null_shares(_scale_features(features, total), targets, shuffles, is_gram=False)
        else:
            null = _null_shares(gram.astype(np.float32) / np.float32(total), targets, shuffles, is_gram=True)
        chance = bound_largest(null, null.std(axis=0))
    rows = [
        ExplainedShare(
            network=network,
            role=role,
            target=name,
            share=float(shares[v]),
            low=float(shares[v] - half[v]),
            high=float(shares[v] + half[v]),
            chance=float(chance[v]),
        )
        for v, name in enumerate(targets.names)
    ]
    together = explain_together(gram, targets.indicators[:, targets.owner > 0])
    nothing = math.nan
    rows.append(
        ExplainedShare(
            network=network, role=role, target=EVERYTHING, share=together, low=nothing, high=nothing, chance=nothing
        )
    )
    return tuple(rows)


def explain_together(gram: Float[ndarray, "N N"], indicators: Float[ndarray, "N B"]) -> float:
    """Adjusted share of the variance in the additive model of all bins; NaN with under two images per parameter."""
    n = len(gram)
    if not indicators.shape[1]:
        return math.nan
    centred = indicators.astype(np.float64) - indicators.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    basis = left[:, values > 1e-8 * values[0]]
    if 2 * basis.shape[1] > n:
        return math.nan
    raw = float(np.einsum("nk,nk->", basis, gram @ basis)) / float(np.trace(gram))
    return float(_adjust(np.array(raw), basis.shape[1], n))


def _shares(
    gram: Float[ndarray, "N N"], targets: BinnedTargets, names: ndarray, parts: Int[ndarray, " N"]
) -> Float[ndarray, "J V"]:
    """Adjusted shares with each of the parts ``names`` left out; with one part alone, of all images.

    Sums over a bin are sums over blocks of the Gram matrix, so leaving images out takes rows and columns off them.
    """
    everything = np.concatenate([targets.indicators.astype(np.float64), np.ones((len(gram), 1))], axis=1)
    product = gram @ everything
    whole = np.einsum("nb,nb->b", everything, product)
    counts, diagonal = everything.sum(axis=0), np.diagonal(gram)
    found = np.empty((len(names), len(targets.names)))
    for j, name in enumerate(names):
        out = np.flatnonzero(parts == name) if len(names) > 1 else np.zeros(0, dtype=np.int64)
        inside = everything[out]
        block = np.einsum("nb,nb->b", inside, gram[np.ix_(out, out)] @ inside)
        sums = whole - 2 * np.einsum("nb,nb->b", inside, product[out]) + block
        left = counts - inside.sum(axis=0)
        means = np.divide(sums, left, out=np.zeros_like(sums), where=left > 0)
        total = diagonal.sum() - diagonal[out].sum() - means[-1]
        n = int(left[-1])
        for v in range(len(targets.names)):
            own = targets.owner == v
            filled = int((left[:-1][own] > 0).sum())
            raw = (means[:-1][own].sum() - means[-1]) / total if total > 0 else np.array(math.nan)
            found[j, v] = _adjust(raw, filled - 1, n)
    return found


def _scale_features(features: Float[ndarray, "N U"], total: float) -> Float32[ndarray, "N U"]:
    """Centred, with squares that sum to 1."""
    centred = features - features.mean(axis=0, dtype=np.float64)
    return (centred / math.sqrt(total)).astype(np.float32)


def _null_shares(
    source: Float32[ndarray, "N K"], targets: BinnedTargets, shuffles: Int[ndarray, "R N"], *, is_gram: bool
) -> Float[ndarray, "R V"]:
    """Adjusted shares of the shuffled targets; ``source`` is a centred Gram matrix of trace 1, or features of it."""
    n = len(source)
    moved = targets.indicators[shuffles]  # [R, N, B]
    stacked = np.ascontiguousarray(moved.transpose(1, 0, 2)).reshape(n, -1)
    if is_gram:
        sums = np.einsum("nc,nc->c", stacked, source @ stacked).reshape(len(shuffles), -1)
    else:
        sums = np.square(source.T @ stacked).sum(axis=0).reshape(len(shuffles), -1)
    # A shuffle of identities of unequal size changes how many images a bin has.
    between = sums / np.maximum(moved.sum(axis=1), 1)
    return np.stack(
        [
            _adjust(between[:, targets.owner == v].sum(axis=1), int((targets.owner == v).sum()) - 1, n)
            for v in range(len(targets.names))
        ],
        axis=1,
    )


def _adjust(raw: Float[ndarray, "*B"], parameters: int, n: int) -> Float[ndarray, "*B"]:
    if parameters >= n - 1:
        return np.full(np.shape(raw), math.nan)
    expected = parameters / (n - 1)
    return (raw - expected) / (1 - expected)


def _cut(values: ndarray) -> Int[ndarray, " N"]:
    """Bin of each image, numbered without gaps."""
    distinct = np.unique(values)
    if len(distinct) <= NUM_BINS:
        return np.searchsorted(distinct, values)
    edges = np.unique(np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS))
    return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]


def shares_by(
    shares: Sequence[ExplainedShare], network: str, roles: Sequence[str], targets: Sequence[str]
) -> Mapping[str, Float[ndarray, "V L"]]:
    """``share`` and ``chance`` of one network as tables, targets by layers; NaN where there is none."""
    known = {(s.role, s.target): s for s in shares if s.network == network}
    shape = (len(targets), len(roles))
    tables = {name: np.full(shape, math.nan) for name in ("share", "chance")}
    for (row, target), (column, role) in ((a, b) for a in enumerate(targets) for b in enumerate(roles)):
        if (found := known.get((role, target))) is not None:
            tables["share"][row, column], tables["chance"][row, column] = found.share, found.chance
    return tables
