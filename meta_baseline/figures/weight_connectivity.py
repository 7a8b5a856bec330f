"""Loss between two networks: along lines, and on the plane through both and a step 0."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from meta_baseline.figures.style import (
    ACCENT,
    BASELINE,
    COLOURS,
    CONTROL,
    INK,
    META,
    UNTRAINED,
    FigureSpec,
    new_figure,
    styled,
)
from meta_baseline.figures.weight_parts import add_legend
from meta_baseline.weight_analysis import WeightSpaceResult
from meta_baseline.weight_space.connectivity import LossPath, LossSurface

_LOOKS = {
    "as stored": {"color": CONTROL, "linestyle": "-"},
    "matched": {"color": ACCENT, "linestyle": "--"},
    "matched, batch norm reset": {"color": ACCENT, "linestyle": "-"},
}


@styled
def draw_paths(result: WeightSpaceResult) -> Figure | None:
    """Loss and accuracy on the straight line from the meta to the baseline network."""
    connectivity = result.connectivity
    if connectivity is None:
        return None
    figure = new_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2)
    for path in connectivity.seed_paths:
        kind = path.name.split(",")[0]  # "meta seeds" or "baseline seeds"
        look = {"color": COLOURS[kind.split()[0]], "linestyle": ":", "linewidth": 1.4}
        _draw_path((left, right), path, f"two {kind}, matched and reset", look)
    for path in connectivity.paths:
        _draw_path((left, right), path, path.name, {**_LOOKS[path.name], "marker": "o", "markersize": 3})
    left.axhline(np.log(2), color=UNTRAINED, linewidth=1.0, alpha=0.6)
    right.axhline(0.5, color=UNTRAINED, linewidth=1.0, alpha=0.6)
    left.plot([], [], color=UNTRAINED, linewidth=1.0, alpha=0.6, label="guessing, as untrained networks do")
    left.set_title("Loss")
    left.set_ylabel("cross-entropy, nats")
    left.set_ylim(0, None)
    right.set_title("Accuracy")
    right.set_ylabel(f"share right of {connectivity.num_images} images")
    right.set_ylim(min(0.4, right.get_ylim()[0]), 1.02)
    for ax in (left, right):
        ax.set_xticks([0, 0.5, 1], ["meta", "halfway", "baseline"])
        for tick, colour in zip(ax.get_xticklabels(), (META, INK, BASELINE)):
            tick.set_color(colour)
    add_legend(figure, left, columns=2)
    return figure


def _draw_path(axes: tuple[Axes, Axes], path: LossPath, label: str, look: dict) -> None:
    axes[0].plot(path.shares, path.losses, label=label or None, **look)
    axes[1].plot(path.shares, path.accuracies, **look)


@styled
def draw_surface(result: WeightSpaceResult) -> Figure | None:
    """Loss on the plane through the meta network, the matched baseline and a step 0."""
    surface = None if result.connectivity is None else result.connectivity.surface
    if surface is None:
        return None
    figure = new_figure(6.4, 4.2)
    ax = figure.subplots()
    low, high = float(surface.losses.min()), float(surface.losses.max())
    top = max(min(high, max(4 * np.log(2), 2 * low)), low + 1e-3)
    levels = np.linspace(low, top, 13)
    beyond = "max" if high > top else "neither"
    filled = ax.contourf(surface.x, surface.y, surface.losses, levels=levels, cmap="viridis", extend=beyond)
    if low < np.log(2) < high:
        ax.contour(surface.x, surface.y, surface.losses, levels=[np.log(2)], colors="white", linewidths=1.2)
    ax.plot(*np.meshgrid(surface.x, surface.y), ".", color="white", markersize=1.5, alpha=0.6)
    _mark_corners(ax, surface)
    bar = figure.colorbar(filled, ax=ax, shrink=0.9)
    bar.set_label(f"cross-entropy, nats ({surface.num_images} images)")
    bar.set_ticks([tick for tick in MaxNLocator(5).tick_values(low, top) if low <= tick <= top])
    ax.set_aspect("equal")
    ax.set_title("Loss on the plane through both")
    ax.set_xlabel("along meta to baseline, in their distance")
    ax.set_ylabel("across, in their distance")
    ax.plot([], [], color="#bdbdbd", linewidth=1.2, label="white line: guessing, as untrained networks do")
    add_legend(figure, ax)
    return figure


def _mark_corners(ax: Axes, surface: LossSurface) -> None:
    marks = zip(("meta", surface.second, surface.third), (META, BASELINE, UNTRAINED), surface.corners)
    for label, colour, (x, y) in marks:
        ax.plot(x, y, "o", color=colour, markersize=9, markeredgecolor="white", markeredgewidth=1.4)
        ax.annotate(
            label,
            (x, y),
            xytext=(0, -15),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color="white",
            fontweight="bold",
        )


FIGURES = (
    FigureSpec(
        slug="loss_between",
        title="What lies between the two networks",
        how_to_read="Networks whose weights are averages of the two, from meta at the left to baseline at the right. A "
        "hump is a barrier: the two solve the task in ways that do not mix. What matching removes of it was only the "
        "order of units; what resetting batch norm removes was only shrunken activations. Dotted lines join two runs "
        "of one condition: a hump no higher than theirs is what another seed makes as well. The grey line is guessing.",
        draw=draw_paths,
    ),
    FigureSpec(
        slug="loss_surface",
        title="The ground between the networks and step 0",
        how_to_read="Every point of the plane is a network; colour is its loss, with batch-norm statistics of the "
        "images at hand, measured at the small dots and interpolated between them. The three large dots lie on the "
        "plane exactly; everything else is one slice of a space of very many dimensions, so that two valleys that look "
        "apart may be joined outside of it.",
        draw=draw_surface,
    ),
)
