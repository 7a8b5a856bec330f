"""Two networks' weights, drawn: joint projections, distributions, statistics by layer, matching, displacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from meta_baseline.figures import weight_connectivity, weight_filters, weight_paths, weight_spectra
from meta_baseline.figures.style import ACCENT, COLOURS, CONTROL, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.figures.weight_parts import (
    NETWORKS,
    add_control_label,
    add_legend,
    add_network_labels,
    add_seed_line_label,
    count_columns,
    draw_controls,
    draw_dots,
    draw_seeds,
    draw_shuffled,
    format_percent,
    list_networks,
    make_panels,
    mark_roles,
    pick_evenly,
    sort_roles,
)
from meta_baseline.weight_analysis import WeightSpaceResult
from meta_baseline.weight_space.facts import LayerWeights
from meta_baseline.weight_space.relations import LayerDisplacement, LayerProjection

MANY_POINTS = 200

StatisticOf = Callable[[LayerWeights, dict[str, float]], float]
"""A statistic to draw, from a layer (for its shape and controls) and its values or those of an untrained twin."""


@styled
def draw_joint_projection(result: WeightSpaceResult) -> Figure | None:
    """The units of both networks, matched, on the first two principal components of both together."""
    chosen = pick_evenly(result.projections, most=6)
    if not chosen:
        return None
    figure, axes = make_panels(len(chosen), height=2.45)
    for ax, layer in zip(axes, chosen):
        _draw_projection(ax, layer)
    for name, label in (("meta", "meta"), ("baseline", "baseline, matched"), ("untrained", "untrained")):
        axes[0].plot([], [], "o", color=COLOURS[name], markersize=5, label=label)
    add_legend(figure, axes[0])
    return figure


@styled
def draw_distributions(result: WeightSpaceResult) -> Figure | None:
    """Share of weights above each magnitude, by layer, with the range of untrained networks as a band."""
    roles = pick_evenly(sort_roles(layer.role for layer in result.layers), most=12)
    if not roles:
        return None
    figure, axes = make_panels(len(roles), height=1.8)
    edges = result.magnitude_edges
    for ax, role in zip(axes, roles):
        layers = [layer for layer in result.layers if layer.role == role]
        for layer in layers:
            bounds = [np.maximum(extreme(layer.untrained_survival, axis=0), 1e-12) for extreme in (np.min, np.max)]
            ax.fill_between(edges, bounds[0], bounds[1], color=UNTRAINED, alpha=0.35, linewidth=0.8)
            for seed in layer.seed_survival:
                look = {"color": COLOURS[layer.network], "linewidth": 0.7, "alpha": 0.6, "linestyle": "--"}
                ax.plot(edges, np.maximum(seed, 1e-12), **look)
            ax.plot(edges, np.maximum(layer.survival, 1e-12), color=COLOURS[layer.network], linewidth=1.4, alpha=0.9)
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_ylim(0.5 / max(layer.num_weights for layer in layers), 1.6)
        present = np.max(
            [np.vstack([layer.survival, layer.untrained_survival]).max(axis=0) for layer in layers], axis=0
        )
        ax.set_xlim(0, min(edges[-1], max(3.0, edges[np.flatnonzero(present > 0)[-1]] + 0.3)))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_title(role)
    columns = count_columns(len(roles))
    for ax in axes[::columns]:
        ax.set_ylabel("share above")
    for ax in axes[-columns:]:
        ax.set_xlabel("|w| / rms")
    add_network_labels(axes[0], list_networks(result), marker="")
    add_seed_line_label(axes[0], result)
    axes[0].fill_between([], [], [], color=UNTRAINED, alpha=0.35, linewidth=0, label="range of untrained networks")
    add_legend(figure, axes[0])
    return figure


@styled
def draw_layer_statistics(result: WeightSpaceResult) -> Figure | None:
    """One panel per statistic, layers from left to right, both networks over the range of untrained ones."""
    roles = sort_roles(layer.role for layer in result.layers)
    if not roles:
        return None
    figure, axes = make_panels(len(_STATISTIC_PANELS), height=1.75, columns=3)
    for ax, (title, statistic) in zip(axes, _STATISTIC_PANELS):
        controls: dict[str, list[float]] = {role: [] for role in roles}
        for layer in result.layers:
            controls[layer.role] += _untrained_values(layer, statistic)
        draw_controls(ax, list(controls.values()))
        for network in NETWORKS:
            own = {x.role: statistic(x, x.values) for x in result.layers if x.network == network}
            draw_dots(ax, roles, own, network)
            seeds = {x.role: _seed_values(x, statistic) for x in result.layers if x.network == network}
            draw_seeds(ax, roles, seeds, network)
            if title in _OF_PLACES:
                moved = {x.role: statistic(x, x.shuffled) for x in result.layers if x.network == network}
                draw_shuffled(ax, roles, moved, network)
        ax.set_title(title, fontsize=9.5)
        if title in _FROM_ZERO:
            top = max(_FROM_ZERO[title], ax.get_ylim()[1])
            ax.set_ylim(-0.06 * top, top)
        ax.yaxis.set_major_locator(MaxNLocator(4))
        mark_roles(ax, roles, labelled=ax in axes[-3:])
    add_network_labels(axes[0], list_networks(result))
    add_control_label(axes[0], "range of untrained networks")
    axes[0].plot([], [], "x", color=INK, markersize=3.5, markeredgewidth=0.9, label="own weights shuffled")
    if any(layer.seeds for layer in result.layers):
        axes[0].plot([], [], "o", color=INK, markerfacecolor="none", markersize=3, label="further seeds")
    add_legend(figure, axes[0], columns=3)
    return figure


@styled
def draw_matching(result: WeightSpaceResult) -> Figure | None:
    """Cosine and subspace overlap of the two networks by layer, before and after matching, over untrained pairs."""
    if result.relation is None:
        return None
    roles = [layer.role for layer in result.relation.layers]
    figure = new_figure(7.2, 3.3)
    left, right = figure.subplots(1, 2)
    layers = result.relation.layers
    twins = {role: [control.by_role(role) for control in result.controls] for role in roles}
    draw_controls(left, [[twin.cosine_aligned for twin in twins[role]] for role in roles])
    draw_controls(right, [[twin.overlap for twin in twins[role]] for role in roles])
    before = [layer.cosine_unaligned for layer in layers]
    left.plot(range(len(roles)), before, "o", color=ACCENT, markerfacecolor="none", markersize=6)
    draw_dots(left, roles, {layer.role: layer.cosine_aligned for layer in layers}, "")
    draw_dots(right, roles, {layer.role: layer.overlap for layer in layers}, "")
    left.set_ylim(min(0.0, *before) - 0.05, 1.05)
    right.set_ylim(-0.05, 1.05)
    left.set_title("Weights")
    left.set_ylabel("cosine, meta with baseline")
    right.set_title("Leading subspaces, after matching")
    right.set_ylabel("mean squared cosine")
    left.plot([], [], "o", color=ACCENT, label="meta and baseline, matched")
    left.plot([], [], "o", color=ACCENT, markerfacecolor="none", label="before matching")
    for seeds, network in zip(result.seed_relations, result.seed_networks):
        look = {"color": COLOURS[network], "markerfacecolor": "none", "markersize": 4}
        for ax, value in ((left, "cosine_aligned"), (right, "overlap")):
            places = [getattr(seeds.by_role(role), value) for role in roles]
            ax.plot(np.arange(len(roles)) + 0.25, places, "s", **look)
    for network in dict.fromkeys(result.seed_networks):
        look = {"color": COLOURS[network], "markerfacecolor": "none", "markersize": 4}
        left.plot([], [], "s", **look, label=f"two {network} seeds, matched")
    if result.shuffled is not None:
        for ax, value in ((left, "cosine_aligned"), (right, "overlap")):
            places = [getattr(result.shuffled.by_role(role), value) for role in roles]
            ax.plot(np.arange(len(roles)) - 0.25, places, "x", color=CONTROL, markersize=5)
        left.plot([], [], "x", color=CONTROL, markersize=5, label="shuffled weights, matched")
    add_control_label(left, "untrained pairs, matched")
    for ax in (left, right):
        mark_roles(ax, roles)
    add_legend(figure, left, columns=3)
    return figure


@styled
def draw_displacement(result: WeightSpaceResult) -> Figure | None:
    """How far, and in how many directions, training moved each layer from step 0."""
    if not result.displacements:
        return None
    roles = sort_roles(layer.role for layer in result.displacements)
    shared = result.displacement_cosines
    figure = new_figure(7.2, 4.6 if shared else 2.7)
    axes = list(figure.subplots(*(2, 2) if shared else (1, 3)).flat)
    for ax, (title, label, value, control) in zip(axes, _DISPLACEMENT_PANELS):
        draw_controls(ax, [[control(x) for x in result.displacements if x.role == role] for role in roles])
        for network in NETWORKS:
            own = [x for x in result.displacements if x.network == network]
            draw_dots(ax, roles, {x.role: value(x) for x in own}, network)
            draw_seeds(ax, roles, {x.role: [value(seed) for seed in x.seeds] for x in own}, network)
        ax.set_title(title)
        ax.set_ylabel(label)
        ax.set_ylim(min(-0.05 * ax.get_ylim()[1], ax.get_ylim()[0]), None)
    if shared:
        draw_dots(axes[3], roles, shared, "")
        draw_controls(axes[3], [[0.0] if role in shared else [] for role in roles])
        axes[3].set_title("Same direction in both?")
        axes[3].set_ylabel("cosine of displacements")
        axes[3].set_ylim(min(-0.25, np.nanmin(list(shared.values())) - 0.05), 1.05)
    for ax in axes:
        mark_roles(ax, roles)
    add_network_labels(axes[0], [name for name in NETWORKS if any(x.network == name for x in result.displacements)])
    axes[0].plot([], [], color=UNTRAINED, linewidth=2, label="unrelated initialisation")
    if any(x.seeds for x in result.displacements):
        axes[0].plot(
            [], [], "o", color=INK, markerfacecolor="none", markersize=3, label="further seeds, from their own"
        )
    add_legend(figure, axes[0])
    return figure


def _draw_projection(ax: Axes, layer: LayerProjection) -> None:
    points = layer.projection
    many = 3 * len(points.meta) > MANY_POINTS
    crowded = len(points.meta) > MANY_POINTS
    for name, alpha in (("untrained", 0.5), ("baseline", 0.75), ("meta", 0.75)):
        values = getattr(points, name)
        ax.scatter(
            values[:, 0],
            values[:, 1],
            s=5 if crowded else 13,
            color=COLOURS[name],
            alpha=alpha * (0.6 if crowded else 1.0),
            linewidths=0,
            rasterized=many,
        )
    ax.set_title(layer.role)
    ax.set_xlabel(f"component 1 ({format_percent(points.explained[0])})")
    ax.set_ylabel(f"component 2 ({format_percent(points.explained[1])})")
    _write_shares(ax, layer)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3))


def _write_shares(ax: Axes, layer: LayerProjection) -> None:
    """What two axes reach in the control pairs, and how much of the plane stays, in the lowest part of the panel."""
    shares = {name: format_percent(share) for name, share in layer.control_explained.items() if np.isfinite(share)}
    lines = [", ".join(f"{name} {shares[name]}" for name in ("untrained", "shuffled") if name in shares)]
    if seeds := [shares[f"{name} seeds"] for name in NETWORKS if f"{name} seeds" in shares]:
        lines.append("seeds " + " / ".join(seeds))
    lines.append(f"stays {layer.stability.mean():.2f} (untrained {layer.control_stability.mean():.2f})")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.13 * len(lines) * (high - low), high)
    text = ax.text(0.98, 0.02, "\n".join(lines), transform=ax.transAxes, ha="right", fontsize=7.5)
    text.set_in_layout(False)


def _untrained_values(layer: LayerWeights, statistic: StatisticOf) -> list[float]:
    return [statistic(layer, twin) for twin in _one_by_one(layer.untrained)]


def _seed_values(layer: LayerWeights, statistic: StatisticOf) -> list[float]:
    return [statistic(layer, twin) for twin in _one_by_one(layer.seeds)]


def _one_by_one(networks: dict[str, np.ndarray]) -> list[dict[str, float]]:
    count = len(next(iter(networks.values()), ()))
    return [{name: float(values[i]) for name, values in networks.items()} for i in range(count)]


def _named(name: str) -> StatisticOf:
    return lambda layer, values: values[name]


def _of_possible(name: str) -> StatisticOf:
    return lambda layer, values: values[name] / len(layer.singular_values)


_STATISTIC_PANELS: tuple[tuple[str, StatisticOf], ...] = (
    ("Norm as stored / untrained", lambda layer, x: x["stored_norm"] / float(layer.untrained["stored_norm"].mean())),
    ("Gain after the layer, rms", _named("gain")),
    ("Dead units, fraction", _named("dead")),
    ("Excess kurtosis", _named("kurtosis")),
    ("Hoyer sparsity", _named("hoyer")),
    ("Near zero, fraction", _named("near_zero")),
    ("Stable rank / possible", _of_possible("stable_rank")),
    ("Effective rank / possible", _of_possible("effective_rank")),
    ("Participation / possible", _of_possible("participation")),
    ("Values beyond own shuffle", _named("beyond_shuffle")),
    ("Cosine with nearest unit", _named("nearest")),
    ("Operator norm, dense", _named("operator_norm")),
)

_OF_PLACES = {
    "Stable rank / possible",
    "Effective rank / possible",
    "Participation / possible",
    "Values beyond own shuffle",
    "Cosine with nearest unit",
    "Operator norm, dense",
}
"""Panels of statistics that change when the weights change places."""

_FROM_ZERO = {"Norm as stored / untrained": 1.2, "Dead units, fraction": 0.1, "Values beyond own shuffle": 0.02}
"""Panels whose axis starts at zero, and the least height of its upper end."""

_DISPLACEMENT_PANELS: tuple[
    tuple[str, str, Callable[[LayerDisplacement], float], Callable[[LayerDisplacement], float]], ...
] = (
    ("Distance from step 0", "|W - W0| / |W0|", lambda x: x.displacement, lambda x: 2**0.5),
    ("Likeness to step 0", "cosine with W0", lambda x: x.cosine, lambda x: float(x.untrained_cosine.mean())),
    ("Directions it took", "stable rank of W - W0", lambda x: x.stable_rank, lambda x: x.random_stable_rank),
)


FIGURES = (
    *weight_paths.FIGURES,
    *weight_connectivity.FIGURES,
    *weight_filters.FIGURES,
    *weight_spectra.FIGURES,
    FigureSpec(
        slug="joint_projection",
        title="Filters of both networks in one basis",
        how_to_read="Each dot is a unit, placed by its incoming weights on the two directions in which the units of "
        "both networks, matched, vary most. Percentages are shares of that variance; below, what two directions "
        "reach together when they are fitted to two untrained networks, to both networks with their weights in random "
        "places, and to two seeds of one condition where these were given (meta / baseline), all matched first; then "
        "how much of the plane stays when units are drawn again. Only what exceeds these shares is structure. The grey "
        "dots did not enter the fit: on a plane that was fitted to others, any network lies near the centre.",
        draw=draw_joint_projection,
    ),
    FigureSpec(
        slug="distributions",
        title="How large the weights are",
        how_to_read="Height is the share of a layer's weights that exceed the magnitude below. A curve above the grey "
        "band at the right has heavier tails than an untrained layer; one that drops faster at the left has more "
        "weights near zero.",
        draw=draw_distributions,
    ),
    FigureSpec(
        slug="layer_statistics",
        title="Every layer's weights in numbers",
        how_to_read="Dots are the two networks, grey the range of untrained networks. What matters is a dot's distance "
        "from its grey band, and whether the two dots part further than seeds of one condition do. Crosses show the "
        "same weights in random places, where places matter to the statistic: what is left there is the work of the "
        "weights' distribution alone. Filters before batch norm are measured at equal norm.",
        draw=draw_layer_statistics,
    ),
    FigureSpec(
        slug="matching",
        title="How alike the two networks are, unit by unit",
        how_to_read="Filled dots are the two networks after their units were matched, open dots before. Matching makes "
        "even untrained networks look alike to the height of the grey bands: only what lies above them is a likeness.",
        draw=draw_matching,
    ),
    FigureSpec(
        slug="displacement",
        title="How far training went",
        how_to_read="Distance of each layer from the weights its own training started with; grey is where an unrelated "
        "initialisation would lie. A low stable rank means that training changed the layer in few directions. The last "
        "panel says whether both networks moved the same way from a common start.",
        draw=draw_displacement,
    ),
)
