"""What the networks do on the stimuli before anyone looks inside: accuracy, and how the two decide on the same images.

A difference inside two networks means little when one of them answers "same" to everything; so every report starts
here, with the share of class-1 answers and the majority rate beside each accuracy, under both decision rules. What is
measured of the decisions themselves lives in ``decisions``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata, t

from meta_baseline.activations import ActivationStore, Stores
from meta_baseline.decisions import findings as decision_findings
from meta_baseline.decisions.comparison import Deciders, compare_decisions
from meta_baseline.decisions.facts import DecisionFacts
from meta_baseline.models import DecisionRule, decide
from meta_baseline.results import Check, Estimate, Finding
from meta_baseline.statistics import wilson_interval

CONSTANT_SHARE = 0.02
"""A network whose share of class-1 answers lies outside [.02, .98] answers without looking."""


@dataclass(frozen=True, kw_only=True)
class NetworkBehaviour:
    """One network on the stimuli; every rate in [0, 1], over ``num_images`` images.

    Attributes:
        accuracy, low, high: under the network's own decision rule, with a 95 % interval over images (Wilson), or over
            shape identities where these repeat.
        other_rule, other_accuracy: what the other rule would give; NaN where the network has a single logit.
        class_1_share: share of images that it calls class 1.
        auc: area under the ROC curve of its decision margin: what is there whatever the threshold.
    """

    network: str
    rule: str
    accuracy: float
    low: float
    high: float
    other_rule: str
    other_accuracy: float
    class_1_share: float
    auc: float
    num_images: int


@dataclass(frozen=True, kw_only=True)
class BehaviourResult:
    """Accuracy of every network on the stimuli, the paired difference meta - baseline, and how the two decide."""

    networks: tuple[NetworkBehaviour, ...]
    majority_rate: float
    difference: float
    difference_low: float
    difference_high: float
    decisions: DecisionFacts
    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def measure_behaviour(
    stores: Stores,
    *,
    meta_rule: DecisionRule,
    baseline_rule: DecisionRule,
    rng: np.random.Generator,
    deciders: Deciders | None = None,
) -> BehaviourResult:
    """Accuracy, share of class-1 answers and AUC of every network; agreement, sensitivity and maps of the two.

    Intervals speak of these two checkpoints on more images, not of more training runs. Where shape identities repeat,
    images of one identity are no independent draws: intervals are then over identities (cluster-robust, Student's t).

    Args:
        stores: what one pass per network left behind.
        meta_rule, baseline_rule: how logits become answers.
        rng: shuffles, deals parts, and draws an untrained network where step 0 is unknown.
        deciders: the networks and images; without them no stimulus is shown.
    """
    labels = stores.meta.labels.astype(bool)
    of_meta = {id(store) for store in stores.untrained_meta}
    untrained = [
        _measure(store, meta_rule if id(store) in of_meta else baseline_rule, labels) for store in stores.untrained
    ]
    meta = _measure(stores.meta, meta_rule, labels)
    baseline = _measure(stores.baseline, baseline_rule, labels)
    right_meta, right_baseline = ((store.margin > 0) == labels for store in (stores.meta, stores.baseline))
    paired = right_meta.astype(float) - right_baseline.astype(float)
    difference = float(paired.mean())
    groups = stores.meta.groups
    half = _half_width(paired, groups)
    over = _describe_units(groups)
    majority = float(max(labels.mean(), 1 - labels.mean()))
    networks = (meta, baseline, *untrained)
    decisions = compare_decisions(stores, {"meta": meta_rule, "baseline": baseline_rule}, deciders, rng)
    return BehaviourResult(
        networks=networks,
        majority_rate=majority,
        difference=difference,
        difference_low=difference - half,
        difference_high=difference + half,
        decisions=decisions,
        estimates=(
            *(_estimate(network, majority, over) for network in networks),
            Estimate(
                name="accuracy.difference",
                label="accuracy, meta minus baseline",
                value=difference,
                unit="accuracy",
                low=difference - half,
                high=difference + half,
                interval=f"paired interval over {over}",
                reference=0.0,
                reference_label="no difference",
                n=len(labels),
                n_unit="images",
            ),
            *decision_findings.list_estimates(decisions),
        ),
        checks=(*_checks((meta, baseline), majority), *decision_findings.list_checks(decisions)),
        findings=(
            _finding(meta, baseline, difference, half, over),
            *decision_findings.list_findings(decisions),
        ),
    )


def _measure(store: ActivationStore, rule: DecisionRule, labels: ndarray) -> NetworkBehaviour:
    answers = store.margin > 0
    right = answers == labels
    accuracy = float(right.mean())
    low, high = _bound_accuracy(right, store.groups)
    other: DecisionRule = "argmax" if rule == "logit" else "logit"
    two_logits = store.logits.shape[1] > 1
    return NetworkBehaviour(
        network=store.network,
        rule=rule,
        accuracy=accuracy,
        low=low,
        high=high,
        other_rule=other,
        other_accuracy=_accuracy_by(other, store, labels) if two_logits else float("nan"),
        class_1_share=float(answers.mean()),
        auc=_auc(store.margin, labels),
        num_images=len(labels),
    )


def _bound_accuracy(right: ndarray, groups: ndarray) -> tuple[float, float]:
    """95 % interval of an accuracy: Wilson's over images, or over identities where these repeat."""
    if len(np.unique(groups)) == len(groups):
        interval = wilson_interval(int(right.sum()), len(right))
        return interval.low, interval.high
    accuracy, half = float(right.mean()), _half_width(right.astype(float), groups)
    return max(0.0, accuracy - half), min(1.0, accuracy + half)


def _half_width(values: Float[ndarray, " N"], groups: ndarray) -> float:
    """Half a 95 % interval of a mean whose values are independent between groups only (Liang & Zeger 1986).

    With every value in a group of its own this is Student's interval.
    """
    _, place = np.unique(groups, return_inverse=True)
    sums = np.bincount(place, weights=values - values.mean())
    num_groups = len(sums)
    if num_groups < 2:
        return float("inf")
    error = np.sqrt(num_groups / (num_groups - 1) * (sums**2).sum()) / len(values)
    return float(t.ppf(0.975, num_groups - 1) * error)


def _describe_units(groups: ndarray) -> str:
    num_groups = len(np.unique(groups))
    return "images" if num_groups == len(groups) else f"{num_groups} shape identities"


def _accuracy_by(rule: DecisionRule, store: ActivationStore, labels: ndarray) -> float:
    return float((decide(torch.from_numpy(store.logits), rule).numpy() == labels).mean())


def _auc(margin: Float[ndarray, " N"], labels: ndarray) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U), ties counted half."""
    ranks = rankdata(margin)
    positive = int(labels.sum())
    negative = len(labels) - positive
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _estimate(network: NetworkBehaviour, majority: float, over: str) -> Estimate:
    return Estimate(
        name=f"accuracy.{network.network.replace(' ', '_')}",
        label=f"accuracy, {network.network} ({network.rule})",
        value=network.accuracy,
        unit="accuracy",
        low=network.low,
        high=network.high,
        interval=f"95 % interval over {over}",
        reference=majority,
        reference_label="always answering the more frequent class",
        n=network.num_images,
        n_unit="images",
    )


def _checks(networks: tuple[NetworkBehaviour, NetworkBehaviour], majority: float) -> tuple[Check, ...]:
    checks: list[Check] = []
    for network in networks:
        if not CONSTANT_SHARE <= network.class_1_share <= 1 - CONSTANT_SHARE:
            checks.append(
                Check(
                    code="behaviour.constant_predictor",
                    verdict="fail",
                    sentence=f"The {network.network} network calls {network.class_1_share:.1%} of the images class 1: "
                    "it answers without looking, so a difference inside says nothing about the relation.",
                )
            )
        elif network.low <= majority:
            checks.append(
                Check(
                    code="behaviour.at_chance",
                    verdict="warn",
                    sentence=f"The {network.network} network is not above the majority rate on these stimuli "
                    f"({network.accuracy:.1%}, interval {network.low:.1%} to {network.high:.1%}; "
                    f"majority {majority:.1%}).",
                )
            )
        if abs(network.other_accuracy - network.accuracy) > 0.02:
            checks.append(
                Check(
                    code="behaviour.decision_rule",
                    verdict="warn",
                    sentence=f"The decision rule matters for the {network.network} network: {network.accuracy:.1%} by "
                    f"{network.rule}, {network.other_accuracy:.1%} by {network.other_rule}.",
                )
            )
    if not checks:
        checks.append(
            Check(
                code="behaviour.both_look",
                verdict="pass",
                sentence=f"Both networks use both answers and are above the majority rate of {majority:.1%}.",
            )
        )
    return tuple(checks)


def _finding(meta: NetworkBehaviour, baseline: NetworkBehaviour, difference: float, half: float, over: str) -> Finding:
    counted = f"{meta.num_images} images" if over == "images" else f"{over} in {meta.num_images} images"
    numbers = (
        f"meta {meta.accuracy:.1%}, baseline {baseline.accuracy:.1%}; difference {100 * difference:+.1f} points, "
        f"95 % interval over {counted} "
        f"{100 * (difference - half):+.1f} to {100 * (difference + half):+.1f}"
    )
    estimates = ("accuracy.meta", "accuracy.baseline", "accuracy.difference")
    if abs(difference) <= half:
        return Finding(
            sentence=f"On these stimuli the two networks cannot be told apart in accuracy ({numbers}).",
            importance=0.75,
            beyond_control=False,
            estimates=estimates,
        )
    better = "meta" if difference > 0 else "baseline"
    return Finding(
        sentence=f"On these stimuli the {better} network is more accurate ({numbers}); "
        "one pair of checkpoints, so no population claim.",
        importance=0.75,
        beyond_control=True,
        estimates=estimates,
    )
