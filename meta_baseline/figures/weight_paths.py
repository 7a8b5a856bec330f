"""Whole networks as points on the way from their step 0 to where training ended."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meta_baseline.figures.style import COLOURS, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.figures.weight_parts import NETWORKS, add_legend, format_percent
from meta_baseline.weight_analysis import WeightSpaceResult
from meta_baseline.weight_space.trajectories import NetworkProjection


@styled
def draw_network_paths(result: WeightSpaceResult) -> Figure | None:
    """Both networks, their step 0 and what lies between, on the two leading components of all of them."""
    paths = result.network_projection
    if paths is None:
        return None
    figure = new_figure(7.2, 4.0)
    ax = figure.subplots()
    untrained = [i for i, network in enumerate(paths.networks) if network == "untrained"]
    ax.plot(*paths.coordinates[untrained].T, "o", color=UNTRAINED, markersize=5, label="untrained networks")
    for network in NETWORKS:
        _draw_path(ax, paths, network)
    ax.set_title("Whole networks")
    ax.set_xlabel(f"component 1 ({format_percent(paths.explained[0])} of variance)")
    ax.set_ylabel(f"component 2 ({format_percent(paths.explained[1])})")
    ax.set_aspect("equal", adjustable="datalim")
    known = np.isfinite(paths.walk_explained)
    if known and len(paths.networks) - len(untrained) > len(NETWORKS) + 1:
        text = f"steps in unrelated directions would put {format_percent(paths.walk_explained)} on both components"
        ax.text(1.0, 1.02, text, transform=ax.transAxes, ha="right", fontsize=8.5)
    add_legend(figure, ax, columns=3)
    return figure


def _draw_path(ax: Axes, paths: NetworkProjection, network: str) -> None:
    chosen = [i for i, name in enumerate(paths.networks) if name == network]
    if not chosen:
        return
    places, images = paths.coordinates[chosen], [paths.num_images[i] for i in chosen]
    colour = COLOURS[network]
    ax.plot(*places.T, "-o", color=colour, markersize=3.5, linewidth=1.3)
    ax.plot(*places[-1], "o", color=colour, markersize=8, label=f"{network}, trained")
    if images[0] == 0:
        ax.plot(*places[0], "o", color=colour, markersize=8, markerfacecolor="none", label=f"{network}, step 0")
    span = float(np.ptp(paths.coordinates, axis=0).max())
    labelled = [places[0], places[-1]]
    for place, count in zip(places[1:-1], images[1:-1]):
        if min(np.linalg.norm(place - other) for other in labelled) < 0.06 * span:
            continue
        labelled.append(place)
        below = network == NETWORKS[0]
        words = f"{count / 1000:g}k" if count >= 1000 else str(count)
        ax.annotate(
            words,
            place,
            xytext=(0, -11 if below else 5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=colour,
        )


FIGURES = (
    FigureSpec(
        slug="network_paths",
        title="The way training took",
        how_to_read="Each dot is a whole network; lines join the checkpoints of one training run, with the images seen "
        "beside them. The baseline's units are in the order that matches its final network to the meta network, or as "
        "stored where both started from one step 0. Any long walk looks like a smooth curve on two components: compare "
        "the shares on the axes with the share that steps in unrelated directions would give. Untrained networks lie "
        "off this plane, and so near its centre.",
        draw=draw_network_paths,
    ),
)
