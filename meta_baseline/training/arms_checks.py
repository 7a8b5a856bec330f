"""What may forbid a comparison of arms, or limit it: not learned, constant answers, few seeds, inner rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from meta_baseline.results import Check
from meta_baseline.training.arm_accuracy import ArmsTest
from meta_baseline.training.contrasts import MIN_SEEDS
from meta_baseline.training.verdicts import CONSTANT_SHARE, LEARNED

_RATE_COST = 0.03
"""An arm that loses more than this on its trained tasks by adapting at the common rate is not served by that rate."""


def check_arms(
    names: Sequence[str],
    tasks: Sequence[str],
    seeds: Sequence[int],
    learned: Mapping[str, Float[ndarray, " S"]],
    same_share: Float[ndarray, "S M T"],
    majority: Float[ndarray, " T"],
) -> tuple[Check, ...]:
    """Whether all arms have learned their tasks and look at the images; all before adaptation.

    Args:
        names, tasks, seeds: of the arrays.
        learned: accuracy on the trained tasks, by arm and seed.
        same_share: share of "same" answers.
        majority: accuracy of always giving the more frequent answer.
    """
    checks: list[Check] = []
    for m, name in enumerate(names):
        for s, seed in enumerate(seeds):
            if name == "untrained":
                continue
            constant = [
                task for t, task in enumerate(tasks) if not CONSTANT_SHARE <= same_share[s, m, t] <= 1 - CONSTANT_SHARE
            ]
            if constant:
                sentence = (
                    f"The {name} network of seed {seed} gives one answer to nearly every image of "
                    f"{', '.join(constant)}: a constant predictor, whose accuracy says nothing about looking."
                )
                everywhere = len(constant) == len(tasks)
                verdict = "fail" if everywhere else "warn"
                checks.append(Check(code="training.constant_predictor", verdict=verdict, sentence=sentence))
            if learned[name][s] < LEARNED:
                sentence = (
                    f"The {name} network of seed {seed} reaches {learned[name][s]:.1%} on its trained tasks, less than "
                    f"{LEARNED:.0%}: it has not learned them, and arms are not comparable. Train on more images."
                )
                checks.append(Check(code="training.learned", verdict="fail", sentence=sentence))
    if not any(check.code == "training.learned" for check in checks):
        lowest = min(float(values.min()) for name, values in learned.items() if name != "untrained")
        sentence = f"All arms have learned their trained tasks (at least {lowest:.1%}), so comparing them makes sense."
        checks.append(Check(code="training.learned", verdict="pass", sentence=sentence))
    if len(seeds) < MIN_SEEDS:
        sentence = (
            f"{len(seeds)} paired seed{'s' * (len(seeds) > 1)}, fewer than {MIN_SEEDS}: no exact test over seeds can "
            "reach p < .05, so differences are described and not claimed."
        )
        checks.append(Check(code="training.seeds", verdict="note", sentence=sentence))
    sentence = f"Always giving the more frequent answer is right on at most {majority.max():.1%} of any task's queries."
    checks.append(
        Check(code="training.majority_rate", verdict="pass" if majority.max() < 0.52 else "warn", sentence=sentence)
    )
    return tuple(checks)


def check_rates(
    names: Sequence[str],
    test: ArmsTest,
    trained_on: Bool[ndarray, " T"],
    at_common: Float[ndarray, "S M T L"],
    own_rates: Float[ndarray, "S M T"],
) -> Iterator[Check]:
    """Whether the rate of the meta-learned arm's training serves the others, and whether own rates were bracketed.

    Args:
        names: of the arms.
        test: rates that were tried, numbers of steps.
        trained_on: which tasks all arms were trained on.
        at_common: accuracy by the own decision rule, with the fewest supports, at the common rate.
        own_rates: NaN where an arm learned rates, which it was then tested at in either case.
    """
    tuned = [m for m, name in enumerate(names) if name != "untrained" and np.isfinite(own_rates[:, m]).all()]
    adapted = [k for k, steps in enumerate(test.steps) if steps > 0]
    harmed: list[str] = []
    if 0 in test.steps and adapted:
        means = at_common[:, :, trained_on].mean(axis=(0, 2))
        for m in tuned:
            lost = means[m, test.steps.index(0)] - means[m, adapted]
            if lost.max() > _RATE_COST:
                steps = test.steps[adapted[int(lost.argmax())]]
                rates = ", ".join(f"{rate:g}" for rate in np.unique(own_rates[:, m, trained_on]))
                harmed.append(
                    f"{names[m]} {100 * lost.max():.1f} points at {steps} step{'s' * (steps > 1)} (own rates {rates})"
                )
    if harmed:
        yield Check(
            code="training.common_rate",
            verdict="warn",
            sentence=f"Adapting at the common inner rate of {test.learning_rate:g} costs accuracy on trained tasks: "
            f"{', '.join(harmed)}. After it, arms differ in how they stand that rate; findings use own rates.",
        )
    ends = {
        "smallest": test.learning_rate * min(test.rate_factors),
        "largest": test.learning_rate * max(test.rate_factors),
    }
    at_end = [
        f"{names[m]} on {group} tasks, the {end} in {count} of {len(own_rates)} seeds"
        for group, members in (("trained", trained_on), ("held-out", ~trained_on))
        for m in tuned
        for end, rate in ends.items()
        if members.any() and (count := int(np.isclose(own_rates[:, m, members][:, 0], rate).sum()))
    ]
    if at_end:
        yield Check(
            code="training.own_rate_at_the_end",
            verdict="note",
            sentence=f"Of the inner rates that were tried ({ends['smallest']:g} to {ends['largest']:g}) the best was "
            f"at an end: {'; '.join(at_end)}. The smallest is next to no adaptation.",
        )
