"""Learning curves of all arms of a comparison, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from meta_baseline.figures.style import ACCENT, COLOURS, UNTRAINED, new_figure, styled
from meta_baseline.training.curves import LearningCurve

_COLOURS = {**COLOURS, "matched": ACCENT}
_WIDTH = 3


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
