"""The behaviour of the networks on the stimuli, drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from meta_baseline.behaviour import BehaviourResult
from meta_baseline.figures import decisions
from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled


@styled
def draw_accuracy(result: BehaviourResult) -> Figure:
    """Accuracy of every network with its interval, the majority rate, and the share of class-1 answers."""
    networks = result.networks
    figure = new_figure(7.2, 0.9 + 0.34 * len(networks))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    rows = range(len(networks))
    for row, network in zip(rows, networks):
        colour = COLOURS.get(network.network, UNTRAINED)
        left.plot([network.low, network.high], [row, row], color=colour, solid_capstyle="butt", linewidth=3, alpha=0.45)
        left.plot(network.accuracy, row, "o", color=colour)
        left.plot(network.other_accuracy, row, "x", color=colour, markersize=6)
        right.plot(network.class_1_share, row, "o", color=colour)
    left.axvline(result.majority_rate, color=INK, linewidth=0.8, linestyle=":")
    left.plot([], [], "o", color=INK, label="own decision rule, 95 % interval")
    if any(network.other_accuracy == network.other_accuracy for network in networks):
        left.plot([], [], "x", color=INK, label="the other rule")
    left.plot([], [], color=INK, linewidth=0.8, linestyle=":", label="majority rate")
    left.set_yticks(list(rows), [network.network for network in networks])
    left.invert_yaxis()
    left.set_xlim(min(0.4, *(network.low for network in networks)) - 0.02, 1.01)
    left.set_xlabel("accuracy")
    right.set_xlim(-0.03, 1.03)
    right.set_xlabel("share of class-1 answers")
    right.axvspan(-0.03, 0.02, color=UNTRAINED, alpha=0.25, linewidth=0)
    right.axvspan(0.98, 1.03, color=UNTRAINED, alpha=0.25, linewidth=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


FIGURES = (
    FigureSpec(
        slug="accuracy",
        title="What the networks answer",
        how_to_read="Dots further right of the dotted line know more than the class frequencies; a dot in a grey band "
        "of the right panel belongs to a network that gives one answer to everything. Bars are 95 % intervals over "
        "images, or over shape identities where these repeat. A cross says what the other decision rule would give.",
        draw=draw_accuracy,
    ),
    *decisions.FIGURES,
)
