"""All arms of a comparison, seed by seed: their accuracy by every test, and their learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meta_baseline.figures.style import ACCENT, COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.training.arm_accuracy import RATES
from meta_baseline.training.arms_outcome import ArmsOutcome
from meta_baseline.training.contrasts import iterate_tests
from meta_baseline.training.curves import LearningCurve

_COLOURS = {**COLOURS, "matched": ACCENT}
_WIDTH = 3


@styled
def draw_arm_accuracy(result: ArmsOutcome) -> Figure:
    """Mean accuracy over tasks by number of steps and support size: a dot for each seed, a line at their mean.

    Filled: adapted at the network's own rate; hollow: at the common one, where that is another.
    """
    groups = [("trained tasks", result.trained_on), ("held-out tasks", ~result.trained_on)]
    groups = [(title, members) for title, members in groups if members.any()]
    tests = list(dict.fromkeys((d, k) for d, k, _, _ in iterate_tests(result.test, 1)))
    common, own = RATES.index("common"), RATES.index("own")
    elsewhere = result.own_rates != result.test.learning_rate
    elsewhere &= ~np.isnan(result.own_rates)
    figure = new_figure(7.2, 3.5)
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    offsets = np.linspace(-0.3, 0.3, len(result.arms)) if len(result.arms) > 1 else np.zeros(1)
    for axes, (title, members) in zip(panels, groups):
        for m, arm in enumerate(result.arms):
            colour = _COLOURS.get(arm, UNTRAINED)
            for x, (d, k) in enumerate(tests):
                by_seed = result.accuracy[:, m][:, members][:, :, d, k, :, 0].mean(axis=1)
                place = x + offsets[m]
                style = {"color": colour, "linestyle": "", "marker": "o", "markersize": 3.4}
                apart = (
                    by_seed[elsewhere[:, m, members].any(axis=1), common]
                    if result.test.steps[k]
                    else by_seed[:0, common]
                )
                axes.plot(np.full(len(apart), place), apart, **style, markerfacecolor="none", markeredgewidth=0.7)
                axes.plot(np.full(len(by_seed), place), by_seed[:, own], **style, markeredgewidth=0)
                axes.hlines(by_seed[:, own].mean(), place - 0.1, place + 0.1, color=colour, linewidth=1.6)
        axes.axhline(0.5, color=UNTRAINED, linewidth=0.9, linestyle=":", zorder=0)
        axes.set_title(title)
        axes.set_xticks(range(len(tests)), [_name_test(result, d, k) for d, k in tests])
        axes.set_xlabel("steps, and labelled images to adapt to")
    panels[0].set_ylabel("accuracy, mean over tasks")
    handles = [
        Line2D([], [], color=_COLOURS.get(arm, UNTRAINED), linestyle="", marker="o", markersize=4, label=arm)
        for arm in result.arms
    ]
    if elsewhere.any():
        rate = f"common inner rate ({result.test.learning_rate:g})"
        hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "none"}
        handles.append(Line2D([], [], color=INK, linestyle="", label=rate, **hollow))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _name_test(result: ArmsOutcome, d: int, k: int) -> str:
    steps = result.test.steps[k]
    return f"{steps}\non {result.test.supports[d]}" if steps else "0"


@styled
def draw_arm_curves(curves: Sequence[LearningCurve]) -> Figure:
    """Accuracy on training images, each seen once, against images seen: a thin line for each seed, one colour an arm.

    Args:
        curves: ``network`` names the arm; several of one name are its seeds.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    named: set[str] = set()
    for curve in curves:
        kernel = np.ones(_WIDTH)
        smooth = np.convolve(curve.accuracy, kernel, mode="same") / np.convolve(
            np.ones(len(curve.accuracy)), kernel, mode="same"
        )
        label = None if curve.network in named else curve.network
        named.add(curve.network)
        colour = _COLOURS.get(curve.network, UNTRAINED)
        axes.plot(curve.images / 1000, smooth[: len(curve.images)], color=colour, linewidth=1.2, alpha=0.8, label=label)
    axes.axhline(0.5, color=UNTRAINED, linewidth=0.9, linestyle=":")
    axes.set_xlim(0, None)
    axes.set_xlabel("thousand training images seen, each once")
    axes.set_ylabel("accuracy before adaptation")
    axes.legend(loc="lower right")
    return figure


FIGURES = (
    FigureSpec(
        slug="accuracy",
        title="Accuracy of every arm of every seed",
        how_to_read="A dot is one trained network, a line the mean over seeds. Each is adapted at the inner rate "
        "that suits it after 5 steps on 10 images; hollow dots use the rate that the meta-learned network was trained "
        "with, which networks that were not may not stand. The matched control saw the same "
        "episodes as the meta-learned network and never adapted; the baseline saw the same images in mixed batches. "
        "Where the dots of two arms mix, the seed decides more than the learning rule.",
        draw=draw_arm_accuracy,
    ),
)
