"""Layers in numbers, drawn: silence, dimensions, distributions, and what goes with the class and the latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy import ndarray

from meta_baseline.activation_analysis import ActivationResult
from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.representations.explained import EVERYTHING, shares_by
from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.representations.layer_statistics import TAILS, LayerStatistics

_OWN = ("meta", "baseline")
_DOT = "#222222"  # on a coloured ground, so it does not follow the page as INK does
_MAX_TARGETS = 18


@styled
def draw_layer_statistics(result: ActivationResult) -> Figure | None:
    """Silence, dead and always-on channels, sparseness, two dimensions and class separability of every layer."""
    facts = result.facts
    roles = facts.hidden_roles or facts.roles
    figure = new_figure(7.2, 5.6)
    panels = figure.subplots(2, 3, sharex=True)
    for axes, (measure, title, unit) in zip(
        panels.ravel(),
        (
            ("zero_fraction", "Silence", "share of zeros"),
            ("dead_fraction", "Dead, always on", "share of channels"),
            ("lifetime_sparseness", "Sparseness", "of a channel over images"),
            ("participation_ratio", "Dimensions in all", "participation ratio"),
            ("twonn", "Dimensions nearby", "TwoNN"),
            ("separability", "Classes apart", "d' on left-out images (sd)"),
        ),
    ):
        draw_band(axes, facts, roles, measure)
        axes.set_title(title)
        axes.set_ylabel(unit)
    draw_band(panels[0, 1], facts, roles, "always_on_fraction", "^--")
    panels[0, 0].set_ylim(-0.02, 1.02)
    panels[0, 1].set_ylim(-0.02, max(0.2, panels[0, 1].get_ylim()[1]))
    panels[0, 2].set_ylim(-0.02, 1.02)
    for axes in panels[1, :2]:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    panels[1, 2].axhline(0, color=INK, linewidth=0.6, alpha=0.5)
    for axes in panels[1]:
        axes.set_xticks(range(len(roles)), roles, rotation=45, ha="right", rotation_mode="anchor")
    handles = [
        *(Line2D([], [], color=COLOURS[name], marker="o", label=name) for name in _OWN),
        (Patch(color=UNTRAINED, alpha=0.3, linewidth=0), Line2D([], [], color=UNTRAINED, linewidth=0.8)),
        Line2D([], [], color=INK, marker="^", linestyle="--", linewidth=1, markersize=4),
    ]
    labels = [*_OWN, "untrained networks, lowest to highest", "always on"]
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure


@styled
def draw_distributions(result: ActivationResult) -> Figure | None:
    """Share of activations above each value, by layer; meta, baseline and every untrained network on one scale."""
    facts = result.facts
    known = [s for s in facts.statistics if np.isfinite(s.quantiles).all()]
    roles = [role for role in facts.hidden_roles if any(s.role == role for s in known)]
    if not roles:
        return None
    columns = min(len(roles), 4)
    lines = -(-len(roles) // columns)
    figure = new_figure(7.2, 0.75 + 1.85 * lines)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(roles) :]:
        axes.set_visible(False)
    for axes, role in zip(panels.ravel(), roles):
        for network in reversed(facts.networks):
            layer = facts.layer(network, role)
            if layer is None or layer not in known:
                continue
            own = network in _OWN
            values = np.where(layer.quantiles > 0, layer.quantiles, np.nan)
            axes.plot(values, TAILS, color=COLOURS[network] if own else UNTRAINED, linewidth=1.6 if own else 0.8)
        axes.set_title(role)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
    largest = max(float(s.quantiles.max()) for s in known)
    panels[0, 0].set_xlim(max(largest, 1e-6) * 1e-3, max(largest, 1e-6) * 1.3)
    panels[0, 0].set_ylim(TAILS[-1], 1.2)
    for axes in panels[:, 0]:
        axes.set_ylabel("share above")
    for column in range(columns):
        last = max(line for line in range(lines) if line * columns + column < len(roles))
        panels[last, column].set_xlabel("activation")
        panels[last, column].xaxis.set_tick_params(labelbottom=True)
    figure.legend(handles=_network_handles(), loc="outside lower left", ncols=3)
    return figure


@styled
def draw_explained(result: ActivationResult) -> Figure | None:
    """Share of every layer's variance that goes with the class and each latent, on one scale for all networks."""
    facts = result.facts
    roles = facts.hidden_roles or facts.roles
    targets = list(dict.fromkeys(s.target for s in facts.explained))
    if len(targets) < 2:
        return None
    tables = {name: shares_by(facts.explained, name, roles, targets) for name in facts.networks}
    order = _rank_rows({name: table["share"] for name, table in tables.items()}, targets, ("class", EVERYTHING))
    kept = [targets[row] for row in order]

    def values(network: str) -> tuple[Float[ndarray, "V L"], ndarray]:
        share, chance = (tables[network][name][order] for name in ("share", "chance"))
        return share, share > np.where(np.isfinite(chance), chance, np.inf)

    single = [np.nanmax(values(name)[0][[t != EVERYTHING for t in kept]], initial=0.05) for name in _OWN]
    return _draw_tables(facts, roles, kept, values, largest=float(max(single)), label="share of the layer's variance")


@styled
def draw_units(result: ActivationResult) -> Figure | None:
    """Share of units that follow the class or a latent beyond chance; dots where the best unit holds up elsewhere."""
    facts = result.facts
    roles = facts.hidden_roles
    targets = list(dict.fromkeys(u.target for u in facts.units))
    if not targets or not roles:
        return None
    shares = {n: np.full((len(targets), len(roles)), np.nan) for n in facts.networks}
    strong = {n: np.zeros((len(targets), len(roles)), dtype=bool) for n in facts.networks}
    for unit in facts.units:
        if unit.role in roles:
            place = targets.index(unit.target), roles.index(unit.role)
            shares[unit.network][place] = unit.num_selective / unit.num_units
            strong[unit.network][place] = unit.held_out > 0.5
    order = _rank_rows(shares, targets, ("class",))
    kept = [targets[row] for row in order]
    return _draw_tables(
        facts, roles, kept, lambda n: (shares[n][order], strong[n][order]), largest=1.0, label="share of units"
    )


def draw_band(axes: Axes, facts: RepresentationFacts, roles: tuple[str, ...], measure: str, style: str = "o-") -> None:
    """One measure over layers: meta and baseline as lines, the range of the untrained networks as a band."""
    untrained = [facts.untrained(role, measure) for role in roles]
    shown = [place for place, values in enumerate(untrained) if len(values) and np.isfinite(values).all()]
    if shown:
        low, high = ([getattr(untrained[place], end)() for place in shown] for end in ("min", "max"))
        axes.fill_between(shown, low, high, color=UNTRAINED, alpha=0.3, linewidth=0)
        axes.plot(shown, [untrained[place].mean() for place in shown], color=UNTRAINED, linewidth=0.8)
    for network in reversed(_OWN):
        layers = [(place, layer) for place, role in enumerate(roles) if (layer := facts.layer(network, role))]
        places = np.array([place for place, _ in layers])
        values = np.array([float(getattr(layer, measure)) for _, layer in layers])
        # Meta is drawn last and its dots are smaller, so that equal values show both colours.
        size = {"meta": 3.0, "baseline": 5.0}[network]
        thin = style != "o-"
        axes.plot(places, values, style, color=COLOURS[network], markersize=size, linewidth=1.0 if thin else 1.6)
        if (bounds := _bounds(layers, measure)) is not None:
            low, high = bounds
            axes.fill_between(places, low, high, color=COLOURS[network], alpha=0.2, linewidth=0)


def _bounds(layers: list[tuple[int, LayerStatistics]], measure: str) -> tuple[list[float], list[float]] | None:
    if measure == "separability":
        return [s.separability_low for _, s in layers], [s.separability_high for _, s in layers]
    if measure == "twonn":
        return [s.local_dimension.low for _, s in layers], [s.local_dimension.high for _, s in layers]
    return None


def _rank_rows(tables: dict[str, Float[ndarray, "V L"]], targets: list[str], fixed: tuple[str, ...]) -> list[int]:
    """Rows to draw: the fixed ones first, then those with the largest values in meta or baseline, at most 18."""
    largest = np.nanmax(np.stack([np.nan_to_num(tables[name]) for name in _OWN]), axis=(0, 2))
    first = [targets.index(name) for name in fixed if name in targets]
    rest = [int(row) for row in np.argsort(-largest, kind="stable") if targets[row] not in fixed]
    return [*first, *rest][:_MAX_TARGETS]


def _draw_tables(
    facts: RepresentationFacts,
    roles: tuple[str, ...],
    targets: list[str],
    values: Callable[[str], tuple[Float[ndarray, "V L"], ndarray]],
    *,
    largest: float,
    label: str,
) -> Figure:
    """Targets by layers for meta, baseline and the mean of the untrained networks, one colour scale."""
    untrained = [name for name in facts.networks if name not in _OWN]
    figure = new_figure(7.2, 1.6 + 0.2 * len(targets))
    panels = figure.subplots(1, 3, sharey=True)
    image = None
    for axes, network in zip(panels, (*_OWN, "untrained")):
        if network == "untrained":
            table = np.mean([values(name)[0] for name in untrained], axis=0) if untrained else None
            marked = None
        else:
            table, marked = values(network)
        if table is None:
            axes.set_visible(False)
            continue
        colours = LinearSegmentedColormap.from_list("house", ["#f7f7f7", "#1d5c4f"])
        image = axes.imshow(np.clip(table, 0, None), cmap=colours, vmin=0, vmax=largest, aspect="auto")
        if marked is not None:
            rows, columns = np.nonzero(marked & (np.array(targets) != EVERYTHING)[:, None])
            colour = [_DOT if table[row, column] < 0.5 * largest else "white" for row, column in zip(rows, columns)]
            axes.scatter(columns, rows, s=5, c=colour, linewidths=0)
        for row in np.flatnonzero([target == EVERYTHING for target in targets]):
            # A sum would take the scale away from all others; so it is written.
            axes.fill_between([-0.5, len(roles) - 0.5], row - 0.5, row + 0.5, color="#f7f7f7", linewidth=0)
            for column, value in enumerate(table[row]):
                text = f"{100 * value:.0f}" if np.isfinite(value) else ""
                axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=_DOT)
        axes.set_xticks(range(len(roles)), roles, rotation=90)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        title = network if network in _OWN else f"untrained, mean of {len(untrained)}"
        axes.set_title(title, color=COLOURS[network])
    named = [f"{target} (%)" if target == EVERYTHING else target for target in targets]
    panels[0].set_yticks(range(len(targets)), named)
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), shrink=0.6, aspect=30, pad=0.02)
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure


def _network_handles() -> list[Line2D]:
    own = [Line2D([], [], color=COLOURS[name], label=name) for name in _OWN]
    return [*own, Line2D([], [], color=UNTRAINED, linewidth=0.8, label="untrained, each network")]


FIGURES = (
    FigureSpec(
        slug="layer_statistics",
        title="What the layers do, in six numbers",
        how_to_read="Follow blue (meta) and orange (baseline) from the image (left) to the answer (right) and look "
        "where they leave the grey band of untrained networks. Silence is the share of exact zeros; a dead channel is "
        "silent for every image, one that is always on never is; sparseness is 1 for a channel that answers to one "
        "image only. Two counts of dimensions: of the whole cloud of images, and of neighbourhoods in it. d' says how "
        "far apart the classes lie on images that were not used to find the direction (0: not at all, 2: 84 % right; "
        "shading: 95 % interval).",
        draw=draw_layer_statistics,
    ),
    FigureSpec(
        slug="distributions",
        title="How large activations are",
        how_to_read="Where a line crosses a height, that share of all single activations (units at every place, blank "
        "paper included) is larger. A line that starts lower on the left belongs to a sparser layer; one that reaches "
        "further right to a layer with larger values; a straight end is a heavy tail. One scale for all panels.",
        draw=draw_distributions,
    ),
    FigureSpec(
        slug="explained",
        title="What the variance of each layer goes with",
        how_to_read="The darker, the more of a layer's variance over images lies between images that differ in this "
        "property (in five bins; 0 is what an unrelated one takes on average). Dots exceed what any of the properties "
        "reaches by chance in a layer (5 %). Properties that go together share what they explain. Compare with the "
        "untrained networks: what they show too comes with the pixels.",
        draw=draw_explained,
    ),
    FigureSpec(
        slug="units",
        title="Which units follow what",
        how_to_read="The share of a layer's units (of a convolution: channels, averaged over places) that follow the "
        "property more closely than any unit would follow any property by chance. A dot marks a layer whose best unit, "
        "chosen on half of the images, follows it with a rank correlation over .5 on the other half.",
        draw=draw_units,
    ),
)
