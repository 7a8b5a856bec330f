"""First-layer filters as pictures, matched pairs side by side, and what each pair does to a stimulus."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meta_baseline.figures.style import BASELINE, COLOURS, META, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.weight_analysis import WeightSpaceResult
from meta_baseline.weight_space.first_layer import FilterPairs

PER_ROW = 3


@styled
def draw_first_layer(result: WeightSpaceResult) -> Figure | None:
    """Pairs of filters from the most to the least alike, then pairs of control networks, matched the same way."""
    first = result.first_layer
    if first is None:
        return None
    with_maps = first.meta_maps.size > 0
    own_rows = -(-len(first.pairs.units) // PER_ROW)
    rows = own_rows + len(first.controls)
    width = 5 if with_maps else 3  # filters, maps, and a gap
    figure = new_figure(7.2, 0.75 + 0.78 * rows)
    ratios = ([1, 1, 1, 1, 0.35] if with_maps else [1, 1, 1.4]) * PER_ROW
    grid = figure.subplots(rows, width * PER_ROW, squeeze=False, gridspec_kw={"width_ratios": ratios})
    for ax in grid.flat:
        ax.axis("off")
    for k in range(len(first.pairs.units)):
        row, start = k // PER_ROW, width * (k % PER_ROW)
        panels = grid[row, start : start + width - 1]
        _show_pair(panels, first.pairs, k, (META, BASELINE))
        if with_maps:
            top = max(float(first.meta_maps[k].max()), float(first.baseline_maps[k].max()), 1e-9)
            _show_map(panels[2], first.meta_maps[k], top, META)
            _show_map(panels[3], first.baseline_maps[k], top, BASELINE)
    for row, (name, pairs) in enumerate(first.controls.items(), start=own_rows):
        for k in range(min(len(pairs.units), PER_ROW)):
            colour = COLOURS[name.split()[0]] if name.endswith("seeds") else UNTRAINED
            _show_pair(grid[row, width * k :], pairs, k, (colour, colour), kind=_KINDS[name] if k == 0 else "")
    if with_maps:
        last = grid[-1, -2]
        last.imshow(first.stimulus, cmap="gray_r")
        last.set_title("stimulus", fontsize=8.5, fontweight="normal", pad=3)
    words = "filters of matched pairs" + (", and what both answer to the stimulus" if with_maps else "")
    for label, colour in (("meta", META), ("baseline, matched", BASELINE), ("untrained, shuffled", UNTRAINED)):
        grid[0, 0].plot([], [], "s", color=colour, markerfacecolor="none", markersize=9, label=label)
    for ax in grid.flat:
        if not ax.images:
            ax.remove()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, title=f"{first.role}: {words}")
    return figure


_KINDS = {
    "untrained": "two untrained networks",
    "shuffled": "both, weights shuffled",
    "meta seeds": "two meta seeds",
    "baseline seeds": "two baseline seeds",
}


def _show_pair(panels: np.ndarray, pairs: FilterPairs, k: int, colours: tuple[str, str], kind: str = "") -> None:
    _show_filter(panels[0], pairs.first[k], colours[0])
    _show_filter(panels[1], pairs.second[k], colours[1])
    words = f"{kind}: cosine {pairs.pair_cosines[k]:.2f}" if kind else f"cosine {pairs.pair_cosines[k]:.2f}"
    panels[0].set_title(" ", fontsize=8.5, pad=3)  # keeps the room; the words may be wider than the panel
    label = panels[0].text(0.0, 1.07, words, transform=panels[0].transAxes, fontsize=8.5)
    label.set_in_layout(False)


def _show_filter(ax: Axes, weights: np.ndarray, colour: str) -> None:
    """Grey filters with red above and blue below zero; colour filters as colours around a middle grey."""
    top = max(float(np.abs(weights).max()), 1e-9)
    if len(weights) == 3:
        ax.imshow(0.5 + 0.5 * weights.transpose(1, 2, 0) / top, vmin=0, vmax=1)
    else:
        ax.imshow(weights.mean(axis=0), cmap="RdBu_r", vmin=-top, vmax=top)
    _frame(ax, colour)


def _show_map(ax: Axes, answers: np.ndarray, top: float, colour: str) -> None:
    ax.imshow(answers, cmap="gray_r", vmin=0, vmax=top)
    _frame(ax, colour)


def _frame(ax: Axes, colour: str) -> None:
    ax.axis("on")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(colour)
        spine.set_linewidth(1.4)


FIGURES = (
    FigureSpec(
        slug="first_layer",
        title="The filters that see the image",
        how_to_read="Matched pairs of first filters, from the most to the least alike, evenly chosen: red weights "
        "are positive, blue ones negative; filters on colours are shown as colours around grey. Beside each pair is "
        "what both do to the stimulus at the bottom right, dark where they answer, on one scale per pair. The rows "
        "below have pairs of control networks that were matched in the same way, the most alike, a middling and the "
        "least alike: what looks no better than these is no likeness.",
        draw=draw_first_layer,
    ),
)
