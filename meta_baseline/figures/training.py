"""How well the networks learned, drawn: accuracy by task before and after adaptation, and the learning curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.training.evaluation import TrainingOutcome
from meta_baseline.training.verdicts import CONSTANT_SHARE

_MARKERS = {"meta": "o", "baseline": "s"}


@styled
def draw_accuracy_by_task(result: TrainingOutcome) -> Figure:
    """Accuracy of every network on every task, one panel for each number of adaptation steps, and the answers given."""
    num_panels = len(result.test.steps)
    figure = new_figure(7.2, 1.5 + 0.31 * (len(result.tasks) + 1))
    *panels, answers = figure.subplots(1, num_panels + 1, sharey=True, width_ratios=(*[2] * num_panels, 1.3))
    rows = np.arange(len(result.tasks)) + np.where(result.trained_on, 0.0, 0.7)
    for k, (steps, axes) in enumerate(zip(result.test.steps, panels)):
        _draw_networks(axes, rows, result, result.accuracy[:, :, k], (result.low[:, :, k], result.high[:, :, k]))
        axes.plot(result.majority_rate, rows, "|", color=INK, markersize=11, markeredgewidth=0.8)
        axes.set_xlim(min(0.45, float(result.low.min()) - 0.02), 1.02)
        axes.set_title("as trained" if steps == 0 else f"after {steps} step" + "s" * (steps > 1))
        axes.set_xlabel("accuracy")
    offsets = _offsets(result)
    for s, name in enumerate(result.networks):
        marker = {"marker": _MARKERS.get(name, "D"), "markerfacecolor": "none", "markersize": 5.0}
        panels[0].plot(result.refitted_accuracy[s], rows + offsets[s], color=_colour(name), linestyle="", **marker)
    _draw_networks(answers, rows, result, result.same_share[:, :, 0], None)
    for left in (-0.03, 1 - CONSTANT_SHARE):
        answers.axvspan(left, left + 0.03 + CONSTANT_SHARE, color=UNTRAINED, alpha=0.25, linewidth=0)
    answers.set_xlim(-0.03, 1.03)
    answers.set_title("answers")
    answers.set_xlabel("share of “same”")
    answers.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    panels[0].set_yticks(rows, [_label(task, held) for task, held in zip(result.tasks, ~result.trained_on)])
    panels[0].invert_yaxis()
    handles = [
        Line2D([], [], color=_colour(name), marker=_MARKERS.get(name, "D"), linestyle="", label=name)
        for name in result.networks
    ]
    chance = Line2D(
        [], [], color=INK, marker="|", markersize=11, markeredgewidth=0.8, linestyle="", label="majority rate"
    )
    refitted = Line2D([], [], color=INK, marker="o", markerfacecolor="none", linestyle="", label="batch norm refitted")
    figure.legend(handles=[*handles, refitted, chance], loc="outside lower center", ncols=len(handles) + 2)
    return figure


@styled
def draw_learning_curves(result: TrainingOutcome) -> Figure | None:
    """Accuracy on unseen images along training; None where no run left its curve."""
    if not result.curves:
        return None
    figure = new_figure(7.2, 3.1)
    axes = figure.subplots()
    for curve in result.curves:
        thousands = curve.images / 1000
        axes.plot(thousands, _smooth(curve.accuracy), color=_colour(curve.network), label=curve.network)
        if not np.isnan(curve.adapted_accuracy).all():
            label = f"{curve.network}, after its inner loop"
            adapted = _smooth(curve.adapted_accuracy)
            axes.plot(thousands, adapted, color=_colour(curve.network), linewidth=0.9, linestyle="--", label=label)
    axes.axhline(0.5, color=UNTRAINED, linewidth=0.9, linestyle=":")
    axes.annotate("chance", (1, 0.5), xycoords=("axes fraction", "data"), xytext=(0, 4), textcoords="offset points",
                  ha="right", fontsize=9)  # fmt: skip
    axes.set_xlim(0, None)
    axes.set_xlabel("thousand training images seen, each once")
    axes.set_ylabel("accuracy on images not seen before")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
    return figure


def _draw_networks(
    axes: Axes,
    rows: np.ndarray,
    result: TrainingOutcome,
    values: np.ndarray,
    interval: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    offsets = _offsets(result)
    for s, name in enumerate(result.networks):
        y, colour = rows + offsets[s], _colour(name)
        if interval is not None:
            axes.hlines(y, interval[0][s], interval[1][s], color=colour, linewidth=3, alpha=0.4)
        axes.plot(values[s], y, _MARKERS.get(name, "D"), color=colour, markersize=4.2, clip_on=False)


def _offsets(result: TrainingOutcome) -> np.ndarray:
    """How far each network is drawn from the middle of a task's row."""
    count = len(result.networks)
    return np.linspace(-0.24, 0.24, count) if count > 1 else np.zeros(1)


def _smooth(values: np.ndarray, width: int = 3) -> np.ndarray:
    """Running mean over ``width`` points; at the ends over those that there are."""
    window = np.ones(width)
    return np.convolve(values, window, mode="same") / np.convolve(np.ones(len(values)), window, mode="same")


def _label(task: str, held_out: bool) -> str:
    return f"{task} (held out)" if held_out else task


def _colour(network: str) -> str:
    return COLOURS.get(network, UNTRAINED)


FIGURES = (
    FigureSpec(
        slug="accuracy_by_task",
        title="Accuracy on every task, before and after adaptation",
        how_to_read="Each row is a task; bars are 95 % intervals over query images, the same for all networks. "
        "Where the bars of blue and orange overlap widely, the two cannot be told apart. "
        "A network at the tick mark knows no more than the class frequencies, "
        "and one in a grey band on the right gives one answer to everything. "
        "Hollow: the same weights with batch norm refitted on the support images. "
        "Each trained network is adapted at the inner rate that suits it, on trained and on held-out tasks.",
        draw=draw_accuracy_by_task,
    ),
    FigureSpec(
        slug="learning_curves",
        title="Learning curves",
        how_to_read="Every training image is used once, so this is accuracy on unseen images of the trained tasks, in "
        "means over about 3000 images. The long stay at chance before the rise is usual for same-different tasks. "
        "Compare heights at the same number of images. A dip in the last third is where batch norm begins to use its "
        "running statistics, as in evaluation.",
        draw=draw_learning_curves,
    ),
)
