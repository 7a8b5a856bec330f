"""Who is trained on and who is tested: folds by group, folds within groups, control labels, permuted labels.

A group is a shape identity; where identities are unknown every image is a group of its own. The folds of the outer
test double as the folds of the inner selection (outer fold k is tested, the others in turn choose the penalty), so one
dealing fixes every split of a study.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from numpy import ndarray


def deal_groups(
    labels: Int[ndarray, " N"], groups: Int[ndarray, " N"], num_folds: int, rng: np.random.Generator
) -> Int[ndarray, " N"]:
    """Fold of every image: whole groups, and as nearly as groups allow the same class rate in every fold.

    Equal class rates matter more than equal sizes: where they vary, a probe without information learns the majority
    of its training part, which is the minority of its test part, and scores below chance. Large and one-sided groups
    are dealt first, each to the fold whose excess of its class is smallest. Groups of one make-up (images per class)
    are dealt in random order, so that exchanging labels inside a fold between groups of one size leaves the
    probability of the dealing unchanged (``permute_labels``).
    """
    names, index = np.unique(groups, return_inverse=True)
    size = np.bincount(index)
    excess = np.bincount(index, weights=labels) - labels.mean() * size
    order = rng.permutation(len(names))
    # Rounding keeps groups of one make-up together whatever the order of summation was.
    key = np.round(excess, 9)[order]
    order = order[np.lexsort((key, -np.abs(key), -size[order]))]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_excess, fold_size = np.zeros(num_folds), np.zeros(num_folds)
    limit = 1.25 * len(labels) / num_folds
    for remaining, group in zip(range(len(order), 0, -1), order):
        full = fold_size + size[group] > limit
        if remaining <= np.count_nonzero(fold_size == 0):
            full |= fold_size > 0
        cost = np.round(fold_excess * excess[group], 9)
        fold = np.lexsort((fold_size, cost, full))[0]
        fold_of_group[group] = fold
        fold_excess[fold] += excess[group]
        fold_size[fold] += size[group]
    return fold_of_group[index]


def deal_within_groups(
    labels: Int[ndarray, " N"], groups: Int[ndarray, " N"], num_folds: int, rng: np.random.Generator
) -> Int[ndarray, " N"]:
    """Fold of every image such that the images of each group are spread over all folds.

    Every tested image then has companions of its identity among those trained on: the split under which a control
    task can be learned at all. Inside a group the classes are dealt one after the other, so that each is spread too.
    """
    order = rng.permutation(len(labels))
    order = order[np.lexsort((labels[order], groups[order]))]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % num_folds
    return folds


def draw_control_labels(groups: Int[ndarray, " N"], strata: Int[ndarray, " N"] | None = None) -> Int[ndarray, " N"]:
    """A label per identity that means nothing: half of the identities 1, by a hash of the identity alone.

    The control task of Hewitt & Liang (2019, arXiv:1909.03368, section 3): it can only be solved by recognising the
    identity again, so it needs a split with known identities on both sides (``deal_within_groups``); under a split by
    identity it is at chance by design. The same identity has the same control label in every layer and network.

    Args:
        groups: identity of every image.
        strata: where given, half of the identities inside each stratum are 1. For identities that never repeat the
            strata are the folds: unequal rates would push a probe of random labels below chance (``deal_groups``).
    """
    labels = np.zeros(len(groups), dtype=np.int64)
    strata = np.zeros_like(groups) if strata is None else strata
    for stratum in np.unique(strata):
        here = strata == stratum
        names, index = np.unique(groups[here], return_inverse=True)
        rank = np.argsort(np.argsort(_hash(names), kind="stable"), kind="stable")
        labels[here] = (rank % 2)[index]
    return labels


def permute_labels(
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"],
    folds: Int[ndarray, " N"],
    num_permutations: int,
    rng: np.random.Generator,
) -> Int[ndarray, "N R"]:
    """Labels as they could as well have been if images knew nothing of them, given groups and folds.

    Inside each fold the label blocks of groups of one size are exchanged, then labels are shuffled inside each group.
    With groups of one image that is a free shuffle inside folds; with one label per group, labels move between groups
    as blocks and never split a group. Folds keep their class counts, so the test is exact.
    """
    blocks = _list_blocks(groups, folds)
    return np.stack([_permute_once(labels, blocks, rng) for _ in range(num_permutations)], axis=1)


def _list_blocks(groups: ndarray, folds: ndarray) -> list[Int[ndarray, "G I"]]:
    """Rows of groups as matrices, one per fold and group size: a row of a matrix is a group."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order][0] - 1))
    members = np.split(order, starts[1:])
    kinds: dict[tuple[int, int], list[ndarray]] = {}
    for rows in members:
        kinds.setdefault((int(folds[rows[0]]), len(rows)), []).append(rows)
    return [np.stack(kinds[kind]) for kind in sorted(kinds)]


def _permute_once(labels: ndarray, blocks: list[ndarray], rng: np.random.Generator) -> Int[ndarray, " N"]:
    permuted = np.empty_like(labels)
    for block in blocks:
        permuted[block] = rng.permuted(labels[block][rng.permutation(len(block))], axis=1)
    return permuted


def _hash(values: Int[ndarray, " G"]) -> ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): neighbouring identities land far apart."""
    x = values.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
