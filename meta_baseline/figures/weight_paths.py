"""Whole networks as points on the way from their step 0 to where training ended."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
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
    for name, look, label in _CONTROLS:
        chosen = [i for i, network in enumerate(paths.networks) if network == name]
        if chosen:
            ax.plot(*paths.coordinates[chosen].T, label=label, linestyle="", **look)
    for network in NETWORKS:
        _draw_path(ax, paths, network)
    ax.set_title("Whole networks")
    ax.set_xlabel(f"component 1 ({format_percent(paths.explained[0])} of variance)")
    ax.set_ylabel(f"component 2 ({format_percent(paths.explained[1])})")
    ax.set_aspect("equal", adjustable="datalim")
    known = np.isfinite(paths.walk_explained)
    if known and sum(network in NETWORKS for network in paths.networks) > len(NETWORKS) + 1:
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
    for i, (place, count) in enumerate(zip(places[1:-1], images[1:-1]), start=1):
        if min(np.linalg.norm(place - other) for other in labelled) < 0.07 * span:
            continue
        labelled.append(place)
        words = f"{count / 1000:g}k" if count >= 1000 else str(count)
        side = _beside(places, i, paths.coordinates.mean(axis=0))
        ax.annotate(
            words, place, xytext=tuple(11 * side), textcoords="offset points", ha="center", va="center", fontsize=7.5,
            color=colour,
        )  # fmt: skip


def _beside(places: np.ndarray, i: int, centre: np.ndarray) -> np.ndarray:
    """The direction from a point of a path that leaves the path at a right angle, away from ``centre``."""
    along = places[i + 1] - places[i - 1]
    across = np.array([-along[1], along[0]])
    across = across if across @ (places[i] - centre) >= 0 else -across
    return across / max(float(np.linalg.norm(across)), 1e-30)


_CONTROLS = (
    ("untrained", {"marker": "o", "color": UNTRAINED, "markersize": 5}, "untrained networks"),
    ("shuffled", {"marker": "x", "color": INK, "markersize": 7}, "own weights shuffled"),
    *(
        (f"{name} seed", {"marker": "s", "color": COLOURS[name], "markersize": 5, "fillstyle": "none"}, f"{name} seeds")
        for name in NETWORKS
    ),
)
"""How networks are drawn that did not enter the fit."""


FIGURES = (
    FigureSpec(
        slug="network_paths",
        title="The way training took",
        how_to_read="Each dot is a whole network; lines join the checkpoints of one training run, with the images seen "
        "beside them. The baseline's units are in the order that matches its final network to the meta network, or as "
        "stored where both started from one step 0. Any long walk looks like a smooth curve on two components: compare "
        "the shares on the axes with the share that steps in unrelated directions would give. Untrained networks, both "
        "networks with their weights in random places, and further seeds (matched to the meta network) did not enter "
        "the fit: they lie off this plane, and where they are drawn is only their shadow on it.",
        draw=draw_network_paths,
    ),
)
