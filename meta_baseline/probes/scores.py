"""From out-of-fold predictions to scores: per image first, so that any set of images can be weighed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from meta_baseline.probes.bootstrap import GroupBootstrap
from meta_baseline.probes.layer import LayerReadout, ProbePlan
from meta_baseline.probes.targets import Target


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """What every image adds to every target's scores.

    Attributes:
        gained, possible: a target's score is the sum of ``gained`` over the sum of ``possible``: 1 for a right answer
            out of 1 for binary targets; the squared error saved out of that of the training mean for the others.
        bits: log2 of the probability given to the truth by the probe over that by the training rate; NaN for targets
            that are not binary.
    """

    gained: Float[ndarray, "N T"]
    possible: Float[ndarray, "N T"]
    bits: Float[ndarray, "N T"]


def score_images(readout: LayerReadout, plan: ProbePlan, targets: Sequence[Target]) -> ImageScores:
    """Scores of one layer; targets stand in the plan's columns in their order, binary and others apart."""
    num_images = len(plan.folds)
    gained, possible, bits = np.full((3, num_images, len(targets)), np.nan)
    binary = continuous = 0
    for place, target in enumerate(targets):
        if target.kind == "binary":
            truth, logits = plan.binary[:, binary], readout.logits[:, binary]
            gained[:, place] = (logits > 0) == (truth > 0.5)
            possible[:, place] = 1.0
            bits[:, place] = measure_bits(logits, truth) - measure_bits(readout.base_logits[:, binary], truth)
            binary += 1
        else:
            columns = slice(continuous, continuous + target.columns.shape[1])
            error = ((plan.continuous[:, columns] - readout.predictions[:, columns]) ** 2).sum(axis=1)
            base = ((plan.continuous[:, columns] - readout.base_predictions[:, columns]) ** 2).sum(axis=1)
            gained[:, place], possible[:, place] = base - error, base
            continuous = columns.stop
    return ImageScores(gained=gained, possible=possible, bits=bits)


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores with 95 % intervals over groups; the last axis is the target, axes before it say where.

    Attributes:
        score, low, high: accuracy for binary targets; out-of-fold R^2 against the training mean for the others, for a
            latent on a circle the one of its sine and cosine together.
        bits, bits_low, bits_high: cross-entropy saved per image against the training rate, in bits; at most 1 for
            balanced classes. NaN for targets that are not binary, as are the next two.
        balanced_accuracy: mean of the accuracies on the two classes.
        auc: probability that an image of class 1 gets a higher logit than one of class 0 of the same test fold. Probes
            of different folds have different scales; pooling them would bias the value downwards (Airola et al. 2011,
            doi:10.1016/j.csda.2010.11.018).
    """

    score: Float[ndarray, "*where T"]
    low: Float[ndarray, "*where T"]
    high: Float[ndarray, "*where T"]
    bits: Float[ndarray, "*where T"]
    bits_low: Float[ndarray, "*where T"]
    bits_high: Float[ndarray, "*where T"]
    balanced_accuracy: Float[ndarray, "*where T"]
    auc: Float[ndarray, "*where T"]

    @staticmethod
    def empty(*shape: int) -> ScoreTable:
        """All NaN."""
        return ScoreTable(**{name: np.full(shape, np.nan) for name in ScoreTable.__dataclass_fields__})

    def place(self, where: tuple[int, ...], row: ScoreTable) -> None:
        """Write the scores of one layer into this table."""
        for name in ScoreTable.__dataclass_fields__:
            getattr(self, name)[where] = getattr(row, name)


def score_layer(
    readout: LayerReadout, plan: ProbePlan, targets: Sequence[Target], bootstrap: GroupBootstrap
) -> ScoreTable:
    """All scores of one layer, over the targets."""
    images = score_images(readout, plan, targets)
    ones = np.ones_like(images.bits)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = images.gained.sum(axis=0) / images.possible.sum(axis=0)
    resamples = bootstrap.resample_ratio(images.gained, images.possible)
    low, high = bootstrap.interval(resamples)
    binary = [place for place, target in enumerate(targets) if target.kind == "binary"]
    low[binary], high[binary] = bootstrap.proportion_interval(score[binary], resamples[:, binary])
    bits_low, bits_high = bootstrap.interval(bootstrap.resample_ratio(images.bits, ones))
    balanced, auc = np.full((2, len(targets)), np.nan)
    for column, place in enumerate(binary):
        truth, logits = plan.binary[:, column] > 0.5, readout.logits[:, column]
        balanced[place] = np.mean([images.gained[truth == side, place].mean() for side in (False, True)])
        auc[place] = measure_auc(logits, truth, plan.folds)
    return ScoreTable(
        score=score,
        low=low,
        high=high,
        bits=images.bits.mean(axis=0),
        bits_low=bits_low,
        bits_high=bits_high,
        balanced_accuracy=balanced,
        auc=auc,
    )


def measure_bits(logits: Float[ndarray, " N"], truth: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    """log2 of the probability that the logit gives to the truth; at most 0."""
    return (truth * logits - np.logaddexp(0.0, logits)) / np.log(2)


def measure_auc(logits: Float[ndarray, " N"], truth: ndarray, folds: Int[ndarray, " N"]) -> float:
    """Area under the ROC curve over pairs of images of the same fold; NaN when there is no such pair."""
    wins = pairs = 0.0
    for fold in np.unique(folds):
        here = folds == fold
        num_ones = int(truth[here].sum())
        num_pairs = num_ones * (int(here.sum()) - num_ones)
        ranks = rankdata(logits[here])[truth[here]]
        wins += ranks.sum() - num_ones * (num_ones + 1) / 2
        pairs += num_pairs
    return float(wins / pairs) if pairs else float("nan")
