"""Images in the layers, drawn: their paths, the layers among each other, extremes of channels, and mean maps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from meta_baseline.activation_analysis import ActivationResult
from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.representations.extremes import LayerExtremes, ShownChannel
from meta_baseline.representations.mean_maps import MeanMap
from meta_baseline.representations.paths import LayerPlace

_OWN = ("meta", "baseline")
_NUM_PATHS = 30
_NUM_BINS = 5
_WHITE = 255
_MARK = np.array([0xD6, 0x28, 0x28])


@styled
def draw_layer_map(result: ActivationResult) -> Figure | None:
    """Every layer of every network as a point; distances are angles between how layers arrange the images."""
    paths = result.facts.paths
    if not paths.places:
        return None
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    start = next((one.place for one in paths.places if one.network == "pixels"), None)
    for network in reversed(dict.fromkeys(one.network for one in paths.places if one.network != "pixels")):
        layers = [one for one in paths.places if one.network == network]
        points = np.array([*([start] if start is not None else []), *(one.place for one in layers)])
        own = network in _OWN
        colour = COLOURS.get(network, UNTRAINED)
        size = {"meta": 3.5, "baseline": 5.5}.get(network, 2.5)
        axes.plot(*points.T, "o-", color=colour, linewidth=1.6 if own else 0.8, markersize=size)
    if start is not None:
        axes.plot(*start, "s", color=INK, markersize=6, zorder=4)
    _name_places(axes, paths.places)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("radians")
    axes.set_ylabel("radians")
    axes.set_title(f"Distances in the plane correlate {paths.distances_seen:.2f} with the angles", fontsize=9.5)
    handles = [
        *(Line2D([], [], color=COLOURS[name], marker="o", markersize=4, label=name) for name in _OWN),
        Line2D([], [], color=UNTRAINED, marker="o", markersize=2.5, linewidth=0.8, label="untrained, each network"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


@styled
def draw_paths(result: ActivationResult) -> Figure | None:
    """Images through the layers on two axes that all layers share, coloured by the latent each axis goes with most."""
    facts = result.facts
    paths = facts.paths
    if not paths.paths or not facts.hidden_roles:
        return None
    figure = new_figure(7.2, 5.4)
    panels = figure.subplots(2, len(facts.followed), squeeze=False, sharey="row", sharex="col")
    colours = colormaps["viridis"](np.linspace(0, 0.95, _NUM_BINS))
    for axis, line in enumerate(panels):
        latent = paths.axis_latents[axis]
        codes = _cut(paths.axis_values[:, axis]) if latent else np.zeros(len(paths.images), dtype=int)
        for axes, network in zip(line, facts.followed):
            steps = paths.of(network)
            points = np.stack([step.scores[:, axis] for step in steps]) * np.sqrt(len(paths.images))
            _draw_lines(axes, points, codes, colours)
            axes.set_xticks(range(len(steps)), [step.role for step in steps], rotation=90)
        name = f"\ncoloured by {latent} (r {paths.axis_correlations[axis]:+.2f})" if latent else ""
        line[0].set_ylabel(f"axis {axis + 1}{name}", fontsize=9)
    for axes, network in zip(panels[0], facts.followed):
        seen = [step.seen for step in paths.of(network)]
        axes.set_title(network, color=COLOURS.get(network, UNTRAINED))
        text = f"both axes: {100 * min(seen):.0f} to {100 * max(seen):.0f} % of a layer"
        axes.text(0.02, 0.99, text, transform=axes.transAxes, va="top", fontsize=7.5)
    handles = [
        Line2D([], [], color=colours[0], linewidth=2.2, label="mean of the lowest fifth"),
        Line2D([], [], color=colours[-1], linewidth=2.2, label="of the highest"),
        Line2D([], [], color=INK, linewidth=0.5, label="single images"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


@styled
def draw_extremes(result: ActivationResult) -> Figure | None:
    """For two channels of a few layers, the stimuli that drive them most and least, meta beside baseline."""
    facts = result.facts
    roles = list(dict.fromkeys(one.role for one in facts.shown))
    if not roles:
        return None
    lines = [(role, why) for role in roles for why in dict.fromkeys(o.why for o in facts.shown if o.role == role)]
    figure = new_figure(7.2, 0.4 + 0.8 * len(lines))
    panels = figure.subplots(len(lines), 2, squeeze=False)
    found = {(one.network, one.role, one.why): one for one in facts.shown}
    layers = {(one.network, one.role): one for one in facts.extremes}
    for line, (role, why) in zip(panels, lines):
        for axes, network in zip(line, _OWN):
            axes.axis("off")
            if (shown := found.get((network, role, why))) is not None:
                _draw_strip(axes, shown, layers[network, role])
    for axes, network in zip(panels[0], _OWN):
        axes.set_title(f"{network}: most, then least", color=COLOURS[network], pad=16)
    return figure


@styled
def draw_mean_maps(result: ActivationResult) -> Figure | None:
    """Mean activation by place in four layers, and the difference of the classes, meta, baseline and untrained."""
    facts = result.facts
    roles = _spread(list(dict.fromkeys(one.role for one in facts.mean_maps if one.network in _OWN)), 4)
    if not roles:
        return None
    maps = {(one.network, one.role): one for one in facts.mean_maps}
    networks = facts.followed
    figure = new_figure(7.2, 0.7 + 1.0 * len(networks))
    panels = figure.subplots(len(networks), 2 * len(roles), squeeze=False)
    largest = max(float(np.quantile((m.zeros + m.ones) / 2, 0.99)) for m in maps.values() if m.role in roles)
    widest = max(float(np.abs(m.difference).max()) for m in maps.values() if m.role in roles)
    widest = max(widest, 1e-6)
    images = []
    for line, network in zip(panels, networks):
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for place, role in enumerate(roles):
            if (one := maps.get((network, role))) is not None:
                images = _draw_mean_map(line[2 * place : 2 * place + 2], one, largest, widest)
        line[0].set_ylabel(network, color=COLOURS.get(network, UNTRAINED), fontweight="bold", fontsize=8.5)
    for place, role in enumerate(roles):
        panels[0, 2 * place].set_title(f"{role}\nmean", fontsize=9)
        panels[0, 2 * place + 1].set_title("\n1 - 0", fontsize=9, fontweight="normal")
    if images:
        for image, label in zip(images, ("activation (1: layer's mean)", "class 1 minus class 0 (sd)")):
            bar = figure.colorbar(image, ax=list(panels.ravel()), location="bottom", shrink=0.45, aspect=40, pad=0.03)
            bar.set_label(label, fontsize=8.5)
            bar.outline.set_visible(False)
    return figure


def _name_places(axes: Axes, places: tuple[LayerPlace, ...]) -> None:
    """Names of layers beside the trained networks' dots; a name that would lie on another is left out."""
    span = np.ptp(np.array([one.place for one in places]), axis=0).max()
    named: list[ndarray] = []
    for one in sorted(places, key=lambda one: one.network not in ("pixels", "meta")):
        if one.network not in ("pixels", *_OWN) or any(np.abs(one.place - p).max() < 0.07 * span for p in named):
            continue
        named.append(one.place)
        x, y = map(float, one.place)
        axes.annotate(one.role, (x, y), (7, 3), textcoords="offset points", fontsize=8.5)


def _draw_lines(
    axes: Axes, points: Float[ndarray, "L n"], codes: Int[ndarray, " n"], colours: Float[ndarray, "Q 4"]
) -> None:
    """Single images thin, the means of each code thick, from the pixels to the last layer."""
    shown = np.sort(np.random.default_rng(0).permutation(len(codes))[:_NUM_PATHS])
    steps = np.append(np.arange(len(points), dtype=np.float64), np.nan)
    for code in np.unique(codes[shown]):
        own = shown[codes[shown] == code]
        joined = np.concatenate([points[:, own], np.full((1, len(own)), np.nan)]).T.ravel()  # one line with gaps
        axes.plot(np.tile(steps, len(own)), joined, color=colours[code], linewidth=0.5, alpha=0.5)
    for code in np.unique(codes):
        axes.plot(points[:, codes == code].mean(axis=1), color=colours[code], linewidth=2.2, zorder=3)
    axes.axhline(0, color=INK, linewidth=0.6, alpha=0.5)
    axes.tick_params(labelsize=8)


def _draw_strip(axes: Axes, shown: ShownChannel, layer: LayerExtremes) -> None:
    """Pictures side by side with their values: the most driving ones, a gap, the least driving ones."""
    half = len(shown.pictures) // 2
    side, gap = shown.pictures.shape[1], 3
    width = len(shown.pictures) * (side + gap) + 2 * gap
    strip = np.full((side, width, 3), _WHITE, dtype=np.uint8)
    values = np.concatenate([layer.top_values[shown.channel], layer.least_values[shown.channel]])
    for place, picture in enumerate(shown.pictures):
        left = place * (side + gap) + (3 * gap if place >= half else 0)
        coloured = np.repeat(picture[..., None], 3, axis=2)
        if place < half:
            _mark_cell(coloured, layer, layer.top_cells[shown.channel, place])
        coloured[[0, -1]], coloured[:, [0, -1]] = 170, 170
        strip[:, left : left + side] = coloured[:, : width - left]
        if np.isfinite(values[place]):
            axes.text(left + side / 2, side + 2, f"{values[place]:.3g}", ha="center", va="top", fontsize=7)
    axes.imshow(strip, interpolation="none")
    axes.set_xlim(0, width)
    kind = "channel" if len(layer.map_shape) == 3 else "unit"
    many = layer.num_lowest[shown.channel]
    ties = f", {many} equally low" if many > half else ""
    axes.text(0, -4, f"{shown.role}, {kind} {shown.channel} ({shown.why}{ties})", fontsize=7.5, va="bottom")


def _mark_cell(picture: UInt8[ndarray, "S S 3"], layer: LayerExtremes, cell: Int[ndarray, " 2"]) -> None:
    """Draw the outline of the cell that answered most."""
    if cell[0] < 0 or len(layer.map_shape) != 3:
        return
    edges = []
    for place, size in zip(cell, layer.map_shape[1:]):
        middle = (place + 0.5) * len(picture) / size
        half = max(len(picture) / size / 2, 3.0)
        edges.append((int(max(middle - half, 1)), int(min(middle + half, len(picture) - 2))))
    (top, bottom), (left, right) = edges
    picture[[top, bottom], left : right + 1] = _MARK
    picture[top : bottom + 1, [left, right]] = _MARK


def _draw_mean_map(panels: ndarray, one: MeanMap, largest: float, widest: float) -> list:
    mean, difference = panels
    shown = mean.imshow((one.zeros + one.ones) / 2, cmap="Greys", vmin=0, vmax=largest, interpolation="none")
    gap = difference.imshow(one.difference, cmap="PiYG", vmin=-widest, vmax=widest, interpolation="none")
    number = int((np.abs(one.difference) > one.chance).sum())
    difference.set_xlabel(f"{number} of {one.difference.size}", fontsize=7.5, labelpad=2)
    return [shown, gap]


def _cut(values: Float[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Fifths of the images, 0 to 4."""
    return np.searchsorted(np.quantile(values, np.arange(1, _NUM_BINS) / _NUM_BINS), values, side="right")


def _spread(roles: list[str], num: int) -> list[str]:
    """At most ``num`` roles, from first to last in even steps."""
    places = np.unique(np.linspace(0, len(roles) - 1, min(num, len(roles))).round().astype(int)) if roles else []
    return [roles[place] for place in places]


FIGURES = (
    FigureSpec(
        slug="layer_map",
        title="The way of two networks through the space of arrangements",
        how_to_read="Each dot is a layer, each line a network from the pixels to its last layer. Near dots arrange the "
        "images alike; a quarter turn (1.57) apart means unrelated. Where blue and orange part, the networks do; where "
        "both leave grey, training did. Distances in a plane are only as good as the number above says.",
        draw=draw_layer_map,
    ),
    FigureSpec(
        slug="paths",
        title="Images on their way through the layers",
        how_to_read="Layers have no axes in common. So all layers of these networks are laid over each other by how "
        "they arrange the same images; the two main directions of the mean arrangement are the axes, and a layer is "
        "projected onto them (nothing is rotated to fit). Follow an image, or the mean of a fifth of the images by a "
        "property, from the pixels on: lines that keep their colours in order keep the property. The layer's sd is 1; "
        "only the stated share of it lies on these axes, so what stays together here may part elsewhere.",
        draw=draw_paths,
    ),
    FigureSpec(
        slug="extremes",
        title="What drives channels most and least",
        how_to_read="For each layer two channels, the one that follows the class most closely and the one that varies "
        "most. Four stimuli that drive it most (red: where it answers most) and four that drive it least, with the "
        "largest value at the inked places looked at. A channel's number means nothing across networks.",
        draw=draw_extremes,
    ),
    FigureSpec(
        slug="mean_maps",
        title="Where the layers are active",
        how_to_read="Left of each pair: activation by place, a mean over channels and images. Right: where it is "
        "higher for class 1 (green) or class 0 (pink), in standard deviations over images; below, the number of places "
        "beyond what any place reaches by chance. Objects lie anywhere, so a flat map is to be expected.",
        draw=draw_mean_maps,
    ),
)
