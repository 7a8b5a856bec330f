"""What limits a reading of the probes: one check per way in which a probe can mislead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from meta_baseline.probes.estimates import TRAINED
from meta_baseline.probes.result import TIED_TO_LABEL, ProbeResult
from meta_baseline.results import Check

FEW_IMAGES = 200
FEW_GROUPS = 20
UNBALANCED = 0.55


def list_checks(result: ProbeResult) -> tuple[Check, ...]:
    """Size, split, control task, null, baselines, convergence, and what decoding cannot show."""
    trained = [place for place, network in enumerate(result.networks) if network in TRAINED]
    return (
        _check_size(result),
        _check_split(result),
        *_check_balance(result),
        *_check_control(result, trained),
        *_check_null(result, trained),
        *_check_baselines(result, trained),
        _check_convergence(result),
        *_check_left_out(result),
        Check(
            code="probe.decodable_not_used",
            verdict="note",
            sentence="Decodable is not used: a probe shows what a layer holds, not what the network does with it; only "
            "an intervention on the layer can show that.",
        ),
        *_check_pair(result),
    )


def _check_size(result: ProbeResult) -> Check:
    used = f"{result.num_images} images"
    if result.num_images < result.num_available:
        used += f" (of {result.num_available}; whole identities left out at random to bound the time)"
    few = result.num_images < FEW_IMAGES
    sentence = f"Probes were trained and tested on {used} in {result.num_folds} folds."
    if few:
        sentence += f" With fewer than {FEW_IMAGES} a wide layer is read poorly: low scores may only mean few images."
    return Check(code="probe.num_images", verdict="warn" if few else "pass", sentence=sentence)


def _check_split(result: ProbeResult) -> Check:
    if result.num_groups == result.num_images:
        sentence = "Every image counts as a shape identity of its own: nothing says that two images share a shape."
        return Check(code="probe.identities", verdict="note", sentence=sentence)
    few = result.num_groups < FEW_GROUPS
    sentence = f"Every probe was tested on shape identities that it never saw ({result.num_groups} in all)."
    if few:
        sentence += f" Fewer than {FEW_GROUPS} are few: intervals are rough and one odd shape can move every number."
    return Check(code="probe.identities", verdict="warn" if few else "pass", sentence=sentence)


def _check_balance(result: ProbeResult) -> Iterator[Check]:
    if result.chance[0] > UNBALANCED:
        sentence = (
            f"The classes are unequal: always giving one answer is right on {result.chance[0]:.2f} of the images. "
            "Compare accuracies with that, or read the balanced accuracy and the AUC in the table."
        )
        yield Check(code="probe.balance", verdict="note", sentence=sentence)


def _check_control(result: ProbeResult, trained: list[int]) -> Iterator[Check]:
    code, control = "probe.control_task", result.control
    if control.split == "random labels":
        yield Check(
            code=code,
            verdict="note",
            sentence="No shape identity repeats, so the control task is random labels: it shows the noise level, not "
            "whether a probe could have memorised identities.",
        )
        return
    for place in trained:
        scores, name = result.scores.score[place, :, 0], result.networks[place]
        # Where neither task is above the null there is nothing to compare.
        floor = result.chance[0] + 0.05 if np.isnan(result.null.p_value[place]) else result.null.threshold[place]
        readable = np.maximum(control.task_accuracy[place], control.control_accuracy[place]) > floor
        weak = [role for role, low, known in zip(result.layers, control.low[place], readable) if low <= 0 and known]
        best_is_weak = result.layers[int(np.nanargmax(scores))] in weak
        if weak:
            sentence = (
                f"In {', '.join(weak)} of {name} the label is not read better than meaningless labels fixed per "
                "identity, when both are tested on identities trained on: there a probe could score by remembering. "
                "Every other accuracy here is on new identities, where remembering does not help."
            )
        else:
            sentence = (
                f"Wherever {name} gives the label away, it is read better than meaningless labels fixed per identity."
            )
        yield Check(code=code, verdict="warn" if best_is_weak else "note" if weak else "pass", sentence=sentence)


def _check_null(result: ProbeResult, trained: list[int]) -> Iterator[Check]:
    num = result.null.best_null.shape[1]
    for place in trained:
        p_value, name = result.null.p_value[place], result.networks[place]
        if np.isnan(p_value):
            sentence = (
                f"No permutation null for {name}: groups of unequal size leave no labels to exchange, or none was "
            )
            yield Check(code="probe.null", verdict="note", sentence=sentence + "asked for.")
            continue
        best = float(np.nanmax(result.null.accuracy[place]))
        passed = p_value <= 0.05
        sentence = (
            f"The best layer of {name} reads the label at {best:.3f} by least squares; the best layer stays below "
            f"{result.null.threshold[place]:.3f} for 95 % of {num} permuted labels (p = {p_value:.3g}, "
            f"resolution {1 / (num + 1):.3g}, over images of this network)."
        )
        if not passed:
            sentence += " No layer says more about the label than the luckiest of so many layers would by chance."
        yield Check(code="probe.null", verdict="pass" if passed else "warn", sentence=sentence)


def _check_baselines(result: ProbeResult, trained: list[int]) -> Iterator[Check]:
    for place in trained:
        name = result.networks[place]
        best = int(np.nanargmax(result.scores.score[place, :, 0]))
        score, low = result.scores.score[place, best, 0], result.scores.low[place, best, 0]
        role = result.layers[best]
        if not np.isnan(result.pixels.score[0]):
            pixels = float(result.pixels.score[0])
            sentence = f"The best layer of {name} ({role}) reads the label at {score:.3f}, raw pixels at {pixels:.3f}."
            if low <= pixels:
                sentence += " Nothing here needs the network."
            yield Check(code="probe.pixels", verdict="warn" if low <= pixels else "pass", sentence=sentence)
        untrained = result.scores.score[list(result.twins.get(name, ())), :, 0]
        if not untrained.size:
            sentence = f"No untrained network stands beside {name}: a random one may read the label as well."
            yield Check(code="probe.untrained", verdict="warn", sentence=sentence)
            continue
        highest = float(np.nanmax(untrained))
        sentence = (
            f"The best layer of {name} ({role}) reads the label at {score:.3f}, the best of any untrained network "
        )
        sentence += f"at {highest:.3f} ({len(untrained)} seeds)."
        if low <= highest:
            sentence += " Training added nothing that a linear probe can see."
        yield Check(code="probe.untrained", verdict="warn" if low <= highest else "pass", sentence=sentence)


def _check_convergence(result: ProbeResult) -> Check:
    num = result.num_unconverged
    sentence = "Every logistic probe was solved to its optimum."
    if num:
        sentence = f"{num} logistic fits stopped before their optimum; their scores are lower bounds."
    return Check(code="probe.convergence", verdict="warn" if num else "pass", sentence=sentence)


def _check_left_out(result: ProbeResult) -> Iterator[Check]:
    if len(result.targets) == 1:
        sentence = "Nothing but the label was read out: the stimuli come without latents that vary."
        yield Check(code="probe.latents", verdict="note", sentence=sentence)
    tied = [
        f"{name} ({share:.2f})"
        for name, share in zip(result.targets[1:], result.explained_by_label[1:])
        if share > TIED_TO_LABEL
    ]
    if tied:
        sentence = (
            f"Latents that go with the label, with the share of their variance that it explains: {', '.join(tied)}. "
            "Reading them may be no more than reading the label."
        )
        yield Check(code="probe.tied_latents", verdict="note", sentence=sentence)
    if result.left_out:
        sentence = f"Latents that were not probed: {'; '.join(result.left_out)}."
        yield Check(code="probe.latents", verdict="note", sentence=sentence)


def _check_pair(result: ProbeResult) -> Iterator[Check]:
    if len(result.networks) > 1:
        yield Check(
            code="probe.one_pair",
            verdict="note",
            sentence="Intervals are over shape identities of one pair of networks: no population claim about "
            "meta-learning follows from one pair. Other seeds of the same recipes may differ as much.",
        )
