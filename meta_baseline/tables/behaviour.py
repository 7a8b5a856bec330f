"""The behaviour of the networks on the stimuli as tables."""

from __future__ import annotations

import pandas as pd

from meta_baseline.behaviour import BehaviourResult
from meta_baseline.decisions.attribution import correlate_ranks
from meta_baseline.decisions.stimuli import AttributedStimulus

_SHOWN = ("meta", "baseline", "meta - baseline")


def tabulate_behaviour(result: BehaviourResult) -> dict[str, pd.DataFrame]:
    """Tables by file name: accuracy, answers by class and task, agreement, slopes over latents, shown stimuli, maps."""
    tables = {
        "accuracy": _tabulate_accuracy(result),
        "confusion": _tabulate_confusion(result),
        "agreement": _tabulate_agreement(result),
        "sensitivity": _tabulate_sensitivity(result),
        "disagreements": _tabulate_disagreements(result),
        "occlusion": _tabulate_occlusion(result),
    }
    return {name: frame for name, frame in tables.items() if len(frame)}


def _tabulate_accuracy(result: BehaviourResult) -> pd.DataFrame:
    """One row per network: accuracy under its own and the other decision rule, answers, AUC."""
    return pd.DataFrame(
        [
            {
                "network": network.network,
                "decision rule": network.rule,
                "accuracy": network.accuracy,
                "low": network.low,
                "high": network.high,
                "by other rule": network.other_accuracy,
                "class-1 answers": network.class_1_share,
                "AUC": network.auc,
                "images": network.num_images,
            }
            for network in result.networks
        ]
    )


def _tabulate_confusion(result: BehaviourResult) -> pd.DataFrame:
    """One row per task and network: images by class and answer."""
    return pd.DataFrame(
        [
            {
                "task": one.task,
                "network": one.network,
                "class 1 called 1": one.true_1,
                "class 1 called 0": one.false_0,
                "class 0 called 1": one.false_1,
                "class 0 called 0": one.true_0,
                "accuracy": (one.true_1 + one.true_0) / (one.true_1 + one.true_0 + one.false_1 + one.false_0),
            }
            for one in sorted(result.decisions.confusions, key=lambda one: one.task)
        ]
    )


def _tabulate_agreement(result: BehaviourResult) -> pd.DataFrame:
    """One row per pair of networks."""
    return pd.DataFrame(
        [
            {
                "networks": f"{pair.first}, {pair.second}",
                "same answer": pair.agreement,
                "low": pair.agreement_low,
                "high": pair.agreement_high,
                "by accuracy alone": pair.by_accuracy,
                "kappa": pair.kappa,
                "kappa low": pair.kappa_low,
                "kappa high": pair.kappa_high,
                "error consistency": pair.errors,
                "consistency low": pair.errors_low,
                "consistency high": pair.errors_high,
                "by chance low": pair.errors_null_low,
                "by chance high": pair.errors_null_high,
                "margins (Spearman in a class)": pair.margins,
            }
            for pair in result.decisions.agreements
        ]
    )


def _tabulate_sensitivity(result: BehaviourResult) -> pd.DataFrame:
    """One row per measure, latent and network; the untrained networks are in the figure and in the saved result."""
    return pd.DataFrame(
        [
            {
                "measure": slope.measure,
                "latent": slope.latent,
                "network": slope.network,
                "slope per sd": slope.slope,
                "low": slope.low,
                "high": slope.high,
                "bound by chance": slope.chance,
                "beyond chance": "yes" if slope.beyond_chance else "no",
            }
            for slope in sorted(result.decisions.slopes, key=lambda one: (one.measure, one.latent))
            if slope.network in _SHOWN
        ]
    )


def _tabulate_disagreements(result: BehaviourResult) -> pd.DataFrame:
    """One row per stimulus that is shown; margins in sds of each network's margins."""
    return pd.DataFrame(
        [
            {
                "stimulus": one.name or str(one.image),
                "class": one.label,
                "right": one.why,
                "meta margin": one.meta_margin,
                "baseline margin": one.baseline_margin,
            }
            for one in result.decisions.disagreements
        ]
    )


def _tabulate_occlusion(result: BehaviourResult) -> pd.DataFrame:
    """One row per stimulus and network: the window that matters most, and what the map resembles."""
    return pd.DataFrame([row for stimulus in result.decisions.attributed for row in _occlusion_rows(stimulus)])


def _occlusion_rows(stimulus: AttributedStimulus) -> list[dict[str, object]]:
    inked = stimulus.ink > 0
    maps = {one.network: one.occlusion[inked] for one in stimulus.attributions}
    return [
        {
            "stimulus": stimulus.shown.name or str(stimulus.shown.image),
            "class": stimulus.shown.label,
            "why": stimulus.shown.why,
            "network": one.network,
            "margin": one.margin,
            "largest change": one.largest()[2],
            "window row": one.largest()[0],
            "window column": one.largest()[1],
            "size with ink (Spearman)": one.with_ink,
            **{f"map with {other}": correlate_ranks(maps[one.network], maps[other]) for other in maps},
        }
        for one in stimulus.attributions
    ]
