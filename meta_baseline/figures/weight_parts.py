"""What the drawings of the weight analysis share: panels, layers in order, grey controls, dots, one legend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meta_baseline.figures.style import ACCENT, COLOURS, INK, UNTRAINED, new_figure
from meta_baseline.weight_analysis import WeightSpaceResult

T = TypeVar("T")

NETWORKS = ("meta", "baseline")


def draw_controls(ax: Axes, controls: Sequence[Sequence[float]]) -> None:
    """For each layer the range of its control as a grey bar, and its middle as a line that is never too thin to see."""
    known = [(at, [x for x in values if np.isfinite(x)]) for at, values in enumerate(controls)]
    bars = [(at, min(values), max(values)) for at, values in known if values]
    if bars:
        at, low, high = np.array(bars).T
        ax.use_sticky_edges = False
        ax.bar(at, high - low, 0.72, low, color=UNTRAINED, alpha=0.35, linewidth=0)
        ax.hlines((low + high) / 2, at - 0.36, at + 0.36, color=UNTRAINED, linewidth=1.4, zorder=1)


def draw_dots(ax: Axes, roles: Sequence[str], values: dict[str, float], network: str) -> None:
    """The dots of one network; no network means both together."""
    shift = {"meta": -0.13, "baseline": 0.13}.get(network, 0.0)
    where = [roles.index(role) + shift for role in values]
    ax.plot(where, list(values.values()), "o", color=COLOURS.get(network, ACCENT), markersize=4.5 if network else 5.0)


def draw_seeds(ax: Axes, roles: Sequence[str], values: dict[str, list[float]], network: str) -> None:
    """Small open dots: further networks of one condition, beside its own."""
    shift = {"meta": -0.27, "baseline": 0.27}[network]
    for role, others in values.items():
        where = [roles.index(role) + shift] * len(others)
        ax.plot(where, others, "o", color=COLOURS[network], markerfacecolor="none", markersize=3, markeredgewidth=0.8)


def draw_shuffled(ax: Axes, roles: Sequence[str], values: dict[str, float], network: str) -> None:
    """Small crosses: the network's own weights in random places."""
    shift = {"meta": -0.37, "baseline": 0.37}[network]
    where = [roles.index(role) + shift for role in values]
    ax.plot(where, list(values.values()), "x", color=COLOURS[network], markersize=3.5, markeredgewidth=0.9)


def make_panels(count: int, *, height: float, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """An empty figure of ``count`` panels, in rows."""
    columns = columns or count_columns(count)
    rows = -(-count // columns)
    figure = new_figure(7.2, 0.4 + height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def count_columns(count: int) -> int:
    """Panels in a row."""
    return min(count, 3 if count <= 9 else 4)


def sort_roles(roles: Iterable[str]) -> list[str]:
    """Roles in the order of the network: convolutions, dense layers, classifier."""

    def place(role: str) -> tuple[int, int]:
        kind, number = re.fullmatch(r"([a-z]+)(\d*)", role).groups()  # pyright: ignore[reportOptionalMemberAccess]
        return {"conv": 0, "fc": 1}.get(kind, 2), int(number or 0)

    return sorted(set(roles), key=place)


def pick_evenly(items: Sequence[T], *, most: int) -> list[T]:
    """At most ``most`` of the items, first and last among them, evenly spread."""
    return [items[i] for i in sorted({round(i) for i in np.linspace(0, len(items) - 1, min(most, len(items)))})]


def list_networks(result: WeightSpaceResult) -> list[str]:
    """Those of meta and baseline that the result has layers of."""
    return [name for name in NETWORKS if any(layer.network == name for layer in result.layers)]


def format_percent(fraction: float) -> str:
    """Whole percent, tenths where small."""
    return f"{fraction:.0%}" if fraction >= 0.02 else f"{fraction:.1%}"


def mark_roles(ax: Axes, roles: Sequence[str], *, labelled: bool = True) -> None:
    """Layers under the axis, in order."""
    short = [role.replace("classifier", "class.") for role in roles]
    ax.set_xticks(range(len(roles)), short if labelled else [""] * len(roles), rotation=45, ha="right")
    ax.tick_params(axis="x", length=2, pad=1)
    ax.set_xlim(-0.6, len(roles) - 0.4)


def add_network_labels(ax: Axes, networks: Sequence[str], *, marker: str = "o") -> None:
    """Legend entries of the networks."""
    for name in networks:
        ax.plot([], [], marker=marker, linestyle="" if marker else "-", color=COLOURS[name], label=name)


def add_seed_line_label(ax: Axes, result: WeightSpaceResult) -> None:
    """Legend entry of the thin lines of further seeds, where there are any."""
    if any(layer.seeds for layer in result.layers):
        ax.plot([], [], color=INK, linewidth=0.8, linestyle="--", label="further seeds")


def add_control_label(ax: Axes, label: str) -> None:
    """Legend entry of a grey band."""
    ax.fill_between([], [], [], color=UNTRAINED, alpha=0.6, linewidth=0, label=label)


def add_legend(figure: Figure, ax: Axes, columns: int | None = None) -> None:
    """One legend for the whole figure, above it."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns or len(labels))
