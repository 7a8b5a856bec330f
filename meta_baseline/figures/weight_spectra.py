"""Singular values of every layer of both networks, over those of untrained layers and of the layer's own shuffle."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from meta_baseline.figures.style import COLOURS, UNTRAINED, FigureSpec, styled
from meta_baseline.figures.weight_parts import (
    add_legend,
    add_network_labels,
    add_seed_line_label,
    count_columns,
    list_networks,
    make_panels,
    pick_evenly,
    sort_roles,
)
from meta_baseline.weight_analysis import WeightSpaceResult


@styled
def draw_spectra(result: WeightSpaceResult) -> Figure | None:
    """Singular values by rank, one panel per layer with more than two of them."""
    wide = [layer for layer in result.layers if len(layer.singular_values) > 2]
    chosen = pick_evenly(sort_roles(layer.role for layer in wide), most=12)
    if not chosen:
        return None
    figure, axes = make_panels(len(chosen), height=1.8)
    for ax, role in zip(axes, chosen):
        for layer in (layer for layer in wide if layer.role == role):
            ranks = np.arange(1, len(layer.singular_values) + 1)
            low, high = (extreme(layer.untrained_singular_values, axis=0) for extreme in (np.min, np.max))
            ax.fill_between(ranks, low, high, color=UNTRAINED, alpha=0.35, linewidth=0.8)
            for seed in layer.seed_singular_values:
                ax.plot(ranks, seed, color=COLOURS[layer.network], linewidth=0.7, alpha=0.6, linestyle="--")
            ax.plot(ranks, layer.shuffled_singular_values, color=COLOURS[layer.network], linewidth=1.0, linestyle=":")
            ax.plot(ranks, layer.singular_values, color=COLOURS[layer.network], linewidth=1.4, alpha=0.9)
        ax.set_title(role)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        ax.set_ylim(0, None)
        ax.yaxis.set_major_locator(MaxNLocator(3))
    columns = count_columns(len(chosen))
    for ax in axes[::columns]:
        ax.set_ylabel("singular value")
    for ax in axes[-columns:]:
        ax.set_xlabel("rank")
    add_network_labels(axes[0], list_networks(result), marker="")
    axes[0].plot([], [], color=UNTRAINED, linestyle=":", linewidth=1.2, label="own weights shuffled")
    add_seed_line_label(axes[0], result)
    axes[0].fill_between([], [], [], color=UNTRAINED, alpha=0.35, linewidth=0, label="range of untrained networks")
    add_legend(figure, axes[0], columns=3)
    return figure


FIGURES = (
    FigureSpec(
        slug="spectra",
        title="In how many directions each layer acts",
        how_to_read="Singular values of each layer's scaled weights, largest first. What a solid line has above the "
        "dotted line of its own shuffled weights is structure that the values of the weights alone do not make; a line "
        "that falls early acts in few directions. Grey is the range of untrained layers.",
        draw=draw_spectra,
    ),
)
