"""The probes, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy import ndarray

from meta_baseline.figures.style import COLOURS, INK, META, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.probing import ProbeResult

_DASHED = (0, (3, 2))
_SCORE = LinearSegmentedColormap.from_list("score", ["#f4f2ee", "#8fb9a8", "#12664f"])
_CHANGE = LinearSegmentedColormap.from_list("change", ["#9c3d5e", "#f4f2ee", "#12664f"])


@styled
def draw_label(result: ProbeResult) -> Figure:
    """Accuracy on the label by layer, with every control, and below it meta minus baseline."""
    both = len(result.networks) > 1
    figure = new_figure(7.2, 5.0 if both else 3.6)
    rows = figure.subplots(2 if both else 1, 1, sharex=True, height_ratios=(2.2, 1) if both else None, squeeze=False)
    top: Axes = rows[0, 0]
    for network in _trained(result):
        place = result.networks.index(network)
        colour = COLOURS.get(network, META)
        scores = result.scores
        _draw_interval(top, scores.score[place, :, 0], scores.low[place, :, 0], scores.high[place, :, 0], colour)
    _draw_untrained(top, result, result.scores.score[:, :, 0])
    if not np.isnan(result.pixels.score[0]):
        top.axhline(result.pixels.score[0], color=COLOURS["pixels"], linewidth=1.4, linestyle=_DASHED)
    top.axhline(result.chance[0], color=INK, linewidth=0.8, linestyle=":")
    top.set_ylabel(f"accuracy on new {'images' if result.num_groups == result.num_images else 'identities'}")
    top.set_title("Label, read linearly")
    _keep_noise_small(top)
    bottom = rows[-1, 0]
    if both:
        _draw_difference(bottom, result)
        figure.align_ylabels(rows[:, 0].tolist())
    _name_layers(bottom, result)
    handles: list[Artist] = [_line(COLOURS.get(name, META), name, marker="o") for name in _trained(result)]
    if result.twins:
        handles.append(Patch(color=UNTRAINED, alpha=0.4, label="untrained: mean, range"))
    if not np.isnan(result.pixels.score[0]):
        handles.append(_line(COLOURS["pixels"], "raw pixels", linestyle=_DASHED))
    handles.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=":", label="constant answer"))
    figure.legend(handles=handles, loc="outside lower left", ncols=5, columnspacing=1.4, handlelength=1.8)
    return figure


@styled
def draw_control(result: ProbeResult) -> Figure | None:
    """The label and the control task under the same split, for each trained network."""
    control = result.control
    networks = [
        name for name in _trained(result) if not np.isnan(control.selectivity[result.networks.index(name)]).all()
    ]
    if not networks:
        return None
    figure = new_figure(7.2, 3.3)
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks):
        place, colour = result.networks.index(network), COLOURS.get(network, META)
        task, meaningless = control.task_accuracy[place], control.control_accuracy[place]
        places = np.arange(len(result.layers))
        above = (task > meaningless).tolist()
        axes.fill_between(
            places, meaningless, task, color=colour, alpha=0.16, linewidth=0, where=above, interpolate=True
        )
        axes.plot(places, task, "o-", color=colour)
        axes.plot(places, meaningless, "o", color=UNTRAINED, linestyle=_DASHED, markersize=4)
        axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(network)
        _name_layers(axes, result)
    _keep_noise_small(panels[0])
    panels[0].set_ylabel("accuracy on new images\nof known identities" if _within(result) else "accuracy")
    handles = [
        *(_line(COLOURS.get(name, META), f"label, {name}", marker="o") for name in networks),
        _line(UNTRAINED, "control task" if _within(result) else "random labels", linestyle=_DASHED, marker="o"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


@styled
def draw_latents(result: ProbeResult) -> Figure | None:
    """R^2 of every continuous latent in every layer, and what training changed; numbers are hundredths."""
    chosen = [place for place, kind in enumerate(result.kinds) if kind != "binary"]
    if not chosen:
        return None
    networks = _trained(result)
    with_twins = [name for name in networks if result.twins.get(name)]
    num_rows = 1 + bool(with_twins)
    figure = new_figure(7.2, 0.9 + num_rows * (0.55 + 0.235 * len(chosen)))
    panels = figure.subplots(num_rows, len(networks), sharex=True, sharey=True, squeeze=False)
    names = [result.targets[place] for place in chosen]
    images: dict[int, Any] = {}
    for column, network in enumerate(networks):
        scores = result.scores.score[result.networks.index(network)][:, chosen].T
        images[0] = _draw_cells(panels[0, column], scores, _SCORE, (0.0, 1.0))
        panels[0, column].set_title(network, color=COLOURS.get(network, META))
        if network in with_twins:
            change = scores - result.untrained_mean(network)[:, chosen].T
            images[1] = _draw_cells(panels[1, column], change, _CHANGE, (-1.0, 1.0))
            panels[1, column].set_title(f"{network} minus untrained")
        _name_layers(panels[-1, column], result)
    for row in range(num_rows):
        panels[row, 0].set_yticks(range(len(names)), names)
        label = "R\u00b2" if row == 0 else "change of R\u00b2"
        figure.colorbar(images[row], ax=panels[row, :].tolist(), label=label, fraction=0.04, pad=0.015, aspect=14)
    return figure


@styled
def draw_nonlinear(result: ProbeResult) -> Figure | None:
    """Bits that a perceptron adds to the linear probe of the label, by layer."""
    mlp = result.mlp
    if np.isnan(mlp.gain).all():
        return None
    figure = new_figure(7.2, 3.3)
    axes = figure.subplots()
    for network in _trained(result):
        place = result.networks.index(network)
        _draw_interval(axes, mlp.gain[place], mlp.low[place], mlp.high[place], COLOURS.get(network, META))
    twins = [place for place in _twins(result) if not np.isnan(mlp.gain[place]).all()]
    for place in twins:
        axes.plot(np.arange(len(result.layers)), mlp.gain[place], "o-", color=UNTRAINED, linewidth=1.4, markersize=3.5)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_ylabel("bits per image gained\nover the linear probe")
    low, high = axes.get_ylim()
    # A range of thousandths of a bit would make noise look like an effect.
    axes.set_ylim(min(low, -0.05), max(high, 0.1))
    _name_layers(axes, result)
    handles = [_line(COLOURS.get(name, META), name, marker="o") for name in _trained(result)]
    if twins:
        handles.append(_line(UNTRAINED, "untrained", marker="o"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _draw_difference(axes: Axes, result: ProbeResult) -> None:
    differences, places = result.differences, np.arange(len(result.layers))
    spread = differences.untrained_spread[:, 0]
    for place in places[~np.isnan(spread)]:
        ends = (-spread[place], spread[place])
        axes.fill_between([place - 0.32, place + 0.32], *ends, color=UNTRAINED, alpha=0.3, linewidth=0)
    low, high = differences.joint_low[:, 0], differences.joint_high[:, 0]
    _draw_interval(axes, differences.value[:, 0], low, high, INK)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_ylabel("meta \u2212 baseline")
    axes.set_title("Difference, interval for all layers at once; grey: between untrained networks")


def _draw_interval(axes: Axes, values: ndarray, low: ndarray, high: ndarray, colour: str) -> None:
    places = np.arange(len(values))
    axes.plot(places, values, color=colour, zorder=3)
    # Percentile intervals of a skewed score can end short of the score itself by a rounding error.
    reach = np.maximum([values - low, high - values], 0.0)
    axes.errorbar(places, values, reach, fmt="o", color=colour, markersize=4.5, elinewidth=1.6, zorder=4)


def _draw_untrained(axes: Axes, result: ProbeResult, values: Float[ndarray, "S L"]) -> None:
    for twins in dict.fromkeys(result.twins.values()):
        rows, places = values[list(twins)], np.arange(values.shape[1])
        axes.fill_between(places, rows.min(axis=0), rows.max(axis=0), color=UNTRAINED, alpha=0.3, linewidth=0)
        axes.plot(places, rows.mean(axis=0), color=UNTRAINED, linewidth=1.4)


def _draw_cells(axes: Axes, values: Float[ndarray, "T L"], colours: Any, limits: tuple[float, float]) -> Any:
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = abs(np.clip(value, *limits)) > 0.65
            text = f"{round(100 * value)}".replace("-", "\u2212") if value > -0.995 else "<\u221299"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "#1b1c1f")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def _keep_noise_small(axes: Axes) -> None:
    """Show accuracies of .4 to .6 at least: a range of hundredths would make noise look like an effect."""
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.4), max(high, 0.6))


def _name_layers(axes: Axes, result: ProbeResult) -> None:
    axes.set_xticks(np.arange(len(result.layers)), result.layers, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(result.layers) - 0.5)


def _line(colour: str, label: str, *, marker: str = "", linestyle: Any = "-") -> Line2D:
    return Line2D([], [], color=colour, label=label, marker=marker, linestyle=linestyle, linewidth=1.6, markersize=4.5)


def _trained(result: ProbeResult) -> list[str]:
    return [name for name in result.networks if name in ("meta", "baseline", "model")]


def _twins(result: ProbeResult) -> list[int]:
    return sorted({place for places in result.twins.values() for place in places})


def _within(result: ProbeResult) -> bool:
    return result.control.split == "within identities"


FIGURES = (
    FigureSpec(
        slug="label",
        title="Where the label can be read",
        how_to_read="Each dot is the accuracy of a linear classifier that was trained on one layer's activations and "
        "tested on shapes it never saw; bars are 95 % intervals. Only what rises above the grey band (the same "
        "classifier on untrained networks) and above the pixels was put there by training. Below: a bar that clears "
        "the dotted line and the grey box is a difference between the two networks. Readable is not the same as used.",
        draw=draw_label,
    ),
    FigureSpec(
        slug="control",
        title="Reading or remembering",
        how_to_read="The grey dashed line is the same classifier on meaningless labels, one per shape, drawn by a "
        "hash: it can only succeed by recognising shapes again. The coloured gap is what it reads of the real label "
        "beyond that; where there is no gap, recognising shapes would explain as much. Where no shape repeats, the "
        "meaningless labels are noise.",
        draw=draw_control,
    ),
    FigureSpec(
        slug="latents",
        title="What else can be read",
        how_to_read="One cell is one property of the drawing (row) read linearly out of one layer (column): 100 means "
        "exactly, 0 no better than guessing the mean. Below: green was added by training, red was thrown away by it, "
        "pale is as in an untrained network.",
        draw=draw_latents,
    ),
    FigureSpec(
        slug="nonlinear",
        title="What a linear probe misses",
        how_to_read="Bits per image that a small non-linear network finds about the label beyond the linear probe on "
        "the same layer; at 0 everything that it could find was already linear. It is a lower bound: more images might "
        "show more. The grey line is an untrained network.",
        draw=draw_nonlinear,
    ),
)
