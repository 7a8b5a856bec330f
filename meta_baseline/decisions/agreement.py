"""Do two networks answer alike, and err on the same images, beyond what their accuracies alone bring about?

Two networks that are right on 90 % of the images agree on 82 % of them even if their errors have nothing to do with
each other. So agreement is given in kappas: the share of the agreement that chance leaves open which is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata, t

from meta_baseline.representations.shuffles import deal_parts, jackknife_error, shuffle_within

NUM_SHUFFLES = 500
NUM_PARTS = 50
"""Parts of whole identities that the jackknife leaves out in turn."""


@dataclass(frozen=True, kw_only=True)
class AnswerAgreement:
    """The answers of two networks to the same images; rates in [0, 1], kappas at most 1 and 0 by chance.

    Attributes:
        first, second: names of the networks.
        answers: images by answer, rows the first's, columns the second's.
        outcomes: images by outcome (wrong, right), rows the first's, columns the second's.
        agreement, agreement_low, agreement_high: share of images with the same answer, with a 95 % interval over
            images or, where they repeat, shape identities (jackknife over parts of them).
        by_answers: what two networks agree on by chance that give class 1 as often as these.
        by_accuracy: what two networks agree on by chance that are right as often as these.
        kappa, kappa_low, kappa_high: Cohen's (1960, Educational and Psychological Measurement 20:37), of the answers.
        errors, errors_low, errors_high: error consistency, the same of right and wrong (Geirhos, Meding & Wichmann
            2020, arXiv:2006.16736, equations 1 to 3). NaN where a network is never, or always, right.
        errors_null_low, errors_null_high: 95 % of error consistency when the second's answers change places among the
            images of a class, whole identities together: both keep their accuracy in each class.
        margins: Spearman correlation of the margins inside the classes, the mean over classes.
    """

    first: str
    second: str
    answers: Int[ndarray, "2 2"]
    outcomes: Int[ndarray, "2 2"]
    agreement: float
    agreement_low: float
    agreement_high: float
    by_answers: float
    by_accuracy: float
    kappa: float
    kappa_low: float
    kappa_high: float
    errors: float
    errors_low: float
    errors_high: float
    errors_null_low: float
    errors_null_high: float
    margins: float


def compare_answers(
    first: tuple[str, Float[ndarray, " N"]],
    second: tuple[str, Float[ndarray, " N"]],
    labels: Int[ndarray, " N"],
    groups: Int[ndarray, " N"],
    rng: np.random.Generator,
) -> AnswerAgreement:
    """Agreement of two networks, each given by its name and its margins (class 1 where positive).

    Args:
        first, second: the two networks.
        labels: 0 or 1.
        groups: shape identities, left out and shuffled whole.
        rng: deals the parts of the jackknife and shuffles.
    """
    chosen = [margins > 0 for _, margins in (first, second)]
    right = [answer == (labels == 1) for answer in chosen]
    answers, outcomes = cross_tabulate(*chosen), cross_tabulate(*right)
    parts = deal_parts(groups, NUM_PARTS, rng)
    without = [_leave_out(table, pair, parts) for table, pair in ((answers, chosen), (outcomes, right))]
    null = [
        float(measure_kappa(cross_tabulate(right[0], right[1][shuffle_within(labels, groups, rng)])))
        for _ in range(NUM_SHUFFLES)
    ]
    agreement, by_answers = _agree(answers)
    kappa, errors = measure_kappa(answers), measure_kappa(outcomes)
    agreement_low, agreement_high = _interval(agreement, _agree(without[0])[0])
    kappa_low, kappa_high = _interval(kappa, measure_kappa(without[0]))
    errors_low, errors_high = _interval(errors, measure_kappa(without[1]))
    null_low, null_high = np.quantile(null, [0.025, 0.975])
    return AnswerAgreement(
        first=first[0],
        second=second[0],
        answers=answers,
        outcomes=outcomes,
        agreement=float(agreement),
        agreement_low=float(np.maximum(0.0, agreement_low)),
        agreement_high=float(np.minimum(1.0, agreement_high)),
        by_answers=float(by_answers),
        by_accuracy=float(_agree(outcomes)[1]),
        kappa=float(kappa),
        kappa_low=kappa_low,
        kappa_high=float(np.minimum(1.0, kappa_high)),
        errors=float(errors),
        errors_low=errors_low,
        errors_high=float(np.minimum(1.0, errors_high)),
        errors_null_low=float(null_low),
        errors_null_high=float(null_high),
        margins=_correlate_within(first[1], second[1], labels),
    )


def cross_tabulate(first: Bool[ndarray, " N"], second: Bool[ndarray, " N"]) -> Int[ndarray, "2 2"]:
    """Images by the value of ``first`` (rows: False, True) and of ``second`` (columns)."""
    return np.bincount(2 * first.astype(int) + second, minlength=4).reshape(2, 2)


def measure_kappa(tables: Int[ndarray, "*B 2 2"]) -> Float[ndarray, "*B"]:
    """Cohen's kappa of one or many tables; NaN where chance leaves no disagreement open."""
    observed, expected = _agree(tables)
    left = 1 - expected
    return np.divide(observed - expected, left, out=np.full(np.shape(observed), np.nan), where=left > 1e-12)


def _agree(tables: Int[ndarray, "*B 2 2"]) -> tuple[Float[ndarray, "*B"], Float[ndarray, "*B"]]:
    """Share of images on the diagonal, and the share expected from rows and columns alone."""
    shares = tables / np.maximum(tables.sum(axis=(-2, -1), keepdims=True), 1)
    observed = shares[..., 0, 0] + shares[..., 1, 1]
    return observed, (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)


def _leave_out(
    table: Int[ndarray, "2 2"], pair: list[Bool[ndarray, " N"]], parts: Int[ndarray, " N"]
) -> Int[ndarray, "J 2 2"]:
    cell = 4 * parts + 2 * pair[0].astype(int) + pair[1]
    return table - np.bincount(cell, minlength=4 * (int(parts.max()) + 1)).reshape(-1, 2, 2)


def _interval(value: float | ndarray, left_out: Float[ndarray, " J"]) -> tuple[float, float]:
    if len(left_out) < 3 or not np.isfinite(left_out).all():
        return math.nan, math.nan
    half = float(t.ppf(0.975, len(left_out) - 1) * jackknife_error(left_out))
    return float(value) - half, float(value) + half


def _correlate_within(first: Float[ndarray, " N"], second: Float[ndarray, " N"], labels: Int[ndarray, " N"]) -> float:
    found: list[float] = []
    for label in (0, 1):
        inside = labels == label
        if inside.sum() > 2 and np.ptp(first[inside]) > 0 and np.ptp(second[inside]) > 0:
            found.append(float(np.corrcoef(rankdata(first[inside]), rankdata(second[inside]))[0, 1]))
    return float(np.mean(found)) if found else math.nan
