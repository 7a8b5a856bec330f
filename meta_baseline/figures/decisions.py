"""How two networks decide on the same images, drawn: agreement, disagreements, latents, and maps of stimuli."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy import ndarray

from meta_baseline.behaviour import BehaviourResult
from meta_baseline.decisions.attribution import WINDOWS_PER_SIDE, Attribution
from meta_baseline.decisions.sensitivity import MEASURES, LatentCurve
from meta_baseline.decisions.stimuli import AttributedStimulus, ShownStimulus
from meta_baseline.figures.style import COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled

_OWN = ("meta", "baseline")
_MAX_LATENTS = 20
_WHITE = 255


@styled
def draw_agreement(result: BehaviourResult) -> Figure | None:
    """Answers of the two networks against each other, and the kappas with their nulls, untrained pairs in grey."""
    pairs = result.decisions.agreements
    figure = new_figure(7.2, 3.1)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.9))
    outcomes = pairs[0].outcomes
    left.imshow(outcomes / outcomes.sum(), cmap="Greys", vmin=0, vmax=1.4)
    for (row, column), count in np.ndenumerate(outcomes):
        share = count / outcomes.sum()
        text = f"{count}\n{100 * share:.1f} %"
        left.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if share > 0.6 else "#222222")
    for axis, name in ((left.xaxis, pairs[0].second), (left.yaxis, pairs[0].first)):
        axis.set_ticks([0, 1], ["wrong", "right"])
        axis.set_label_text(name, color=COLOURS.get(name, INK), fontweight="bold")
    left.spines[:].set_visible(False)
    left.tick_params(length=0)
    left.set_title("Images")
    names = [f"{pair.first}, {pair.second}" if i else "meta, baseline" for i, pair in enumerate(pairs)]
    for row, pair in enumerate(pairs):
        colour = INK if row == 0 else UNTRAINED
        right.fill_betweenx(
            [row - 0.3, row + 0.3], pair.errors_null_low, pair.errors_null_high, color=UNTRAINED, alpha=0.3, linewidth=0
        )
        for value, low, high, marker, shift in (
            (pair.kappa, pair.kappa_low, pair.kappa_high, "D", -0.14),
            (pair.errors, pair.errors_low, pair.errors_high, "o", 0.14),
        ):
            right.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.6)
            right.plot(value, row + shift, marker, color=colour, markersize=5)
    right.axvline(0, color=INK, linewidth=0.6, alpha=0.5)
    right.set_yticks(range(len(pairs)), names)
    right.set_ylim(len(pairs) - 0.5, -0.5)
    right.set_xlabel("kappa (0: chance, 1: always the same)")
    right.set_title("Beyond chance")
    handles = [
        Line2D([], [], color=INK, marker="D", markersize=5, label="same answer, 95 % interval"),
        Line2D([], [], color=INK, marker="o", markersize=5, label="same images wrong, 95 % interval"),
        Patch(color=UNTRAINED, alpha=0.3, linewidth=0, label="same images wrong: 95 % by chance"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


@styled
def draw_disagreements(result: BehaviourResult) -> Figure | None:
    """The stimuli on which one network alone is right, the most decided first, with both margins."""
    shown = result.decisions.disagreements
    if not shown:
        return None
    rows = [[one for one in shown if one.why == f"only {only} right"] for only in _OWN]
    totals = dict(zip(_OWN, (result.decisions.num_only_meta, result.decisions.num_only_baseline)))
    columns = max(map(len, rows))
    figure = new_figure(7.2, 3.2)
    panels = figure.subplots(2, max(columns, 6), squeeze=False)
    for line, only, found in zip(panels, _OWN, rows):
        for axes in line:
            axes.axis("off")
        for axes, one in zip(line, found):
            _draw_stimulus(axes, one)
        line[0].set_title(" ")
        text = f"Only {only} is right: {len(found)} of {totals[only]}"
        style = {"fontsize": 10.5, "fontweight": "bold", "transform": line[0].transAxes, "va": "bottom"}
        line[0].text(0, 1.06, text, color=COLOURS[only], **style).set_in_layout(False)
        if not found:
            line[0].text(0, 0.5, "none", transform=line[0].transAxes)
    return figure


@styled
def draw_sensitivity(result: BehaviourResult) -> Figure | None:
    """Slopes of margin and accuracy over every latent, with what the best latent reaches by chance."""
    facts = result.decisions
    latents = _order_latents(result)[:_MAX_LATENTS]
    if not latents:
        return None
    figure = new_figure(7.2, 1.5 + 0.22 * len(latents))
    panels = figure.subplots(1, 2, sharey=True)
    untrained = [n.network for n in result.networks if n.network not in _OWN]
    for axes, measure, scale in zip(panels, MEASURES, (1, 100)):
        bounds = scale * np.array([max(facts.slope(n, measure, latent).chance for n in _OWN) for latent in latents])
        places = np.arange(len(latents))
        axes.barh(places, 2 * bounds, left=-bounds, height=0.86, color=UNTRAINED, alpha=0.25, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.6, alpha=0.5)
        for row, latent in enumerate(latents):
            for network in untrained:
                axes.plot(scale * facts.slope(network, measure, latent).slope, row, "|", color=UNTRAINED, markersize=6)
            for network, shift in zip(_OWN, (-0.16, 0.16)):
                slope = facts.slope(network, measure, latent)
                style = {"color": COLOURS[network], "linewidth": 1.6}
                if np.isfinite(slope.high):
                    axes.plot([scale * slope.low, scale * slope.high], [row + shift] * 2, **style)
                axes.plot(scale * slope.slope, row + shift, "o", color=COLOURS[network], markersize=4)
    panels[0].set_yticks(range(len(latents)), latents)
    panels[0].set_ylim(len(latents) - 0.5, -0.5)
    panels[0].set_xlabel("sds of margin per sd of latent\n(right: more often class 1)")
    panels[1].set_xlabel("points of accuracy per sd of latent\n(right: more often correct)")
    panels[0].set_title("Margin")
    panels[1].set_title("Accuracy")
    handles = [
        *(Line2D([], [], color=COLOURS[n], marker="o", markersize=4, label=f"{n}, 95 % interval") for n in _OWN),
        Line2D([], [], color=UNTRAINED, marker="|", linestyle="", label="untrained"),
        Patch(color=UNTRAINED, alpha=0.25, linewidth=0, label="bound by chance"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


@styled
def draw_curves(result: BehaviourResult) -> Figure | None:
    """Accuracy in fifths of the images along the latents with the steepest slopes."""
    curves = result.decisions.curves
    if not curves:
        return None
    columns = min(len(curves), 3)
    lines = -(-len(curves) // columns)
    figure = new_figure(7.2, 0.6 + 1.75 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(curves) :]:
        axes.set_visible(False)
    for axes, curve in zip(panels.ravel(), curves):
        _draw_curve(axes, curve, result.majority_rate)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    handles = [
        *(Line2D([], [], color=COLOURS[name], marker="o", markersize=4, label=name) for name in _OWN),
        Line2D([], [], color=UNTRAINED, linewidth=0.8, label="untrained"),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=":", label="majority rate"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


@styled
def draw_attributions(result: BehaviourResult) -> Figure | None:
    """Occlusion and gradient maps of a few stimuli in meta, baseline and an untrained network, each on a scale."""
    stimuli = result.decisions.attributed
    if not stimuli:
        return None
    networks = [one.network for one in stimuli[0].attributions]
    kinds = ("occlusion", "gradient")
    figure = new_figure(7.2, 0.7 + 1.15 * len(stimuli))
    panels = figure.subplots(len(stimuli), 1 + len(kinds) * len(networks), squeeze=False)
    scales = {(n, kind): _largest(stimuli, n, kind) for n in networks for kind in kinds}
    for line, stimulus in zip(panels, stimuli):
        line[0].imshow(stimulus.shown.picture, cmap="gray", vmin=0, vmax=_WHITE, interpolation="none")
        line[0].set_ylabel(f"class {stimulus.shown.label}\n{stimulus.shown.why}", fontsize=8)
        cells = iter(line[1:])
        for kind in kinds:
            for one in stimulus.attributions:
                _draw_map(next(cells), stimulus.shown.picture, one, kind, scales[one.network, kind])
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.patch.set(edgecolor=UNTRAINED, linewidth=1)
    panels[0, 0].set_title("stimulus", fontsize=8.5, fontweight="normal")
    for place, (kind, network) in enumerate(((k, n) for k in kinds for n in networks), start=1):
        word = "covered" if kind == "occlusion" else "gradient"
        title = f"{network}\n{word}\n±{scales[network, kind]:.2g}"
        panels[0, place].set_title(title, fontsize=8.5, color=COLOURS.get(network, INK), fontweight="normal")
    return figure


def _draw_stimulus(axes: Axes, one: ShownStimulus) -> None:
    axes.imshow(one.picture, cmap="gray", vmin=0, vmax=_WHITE, interpolation="none")
    height, width = one.picture.shape
    axes.plot([0, width, width, 0, 0], [0, 0, height, height, 0], color=UNTRAINED, linewidth=0.6, clip_on=False)
    style = {"ha": "center", "va": "top", "fontsize": 8, "transform": axes.transAxes}
    axes.text(0.5, -0.04, f"class {one.label}", **style)
    axes.text(0.5, -0.22, f"{one.meta_margin:+.1f}", color=COLOURS["meta"], **style)
    axes.text(0.5, -0.40, f"{one.baseline_margin:+.1f}", color=COLOURS["baseline"], **style)


def _draw_curve(axes: Axes, curve: LatentCurve, majority: float) -> None:
    for network, accuracy, half in zip(reversed(curve.networks), curve.accuracy[::-1], curve.half_widths[::-1]):
        if network not in _OWN:
            axes.plot(curve.centres, accuracy, color=UNTRAINED, linewidth=0.8)
            continue
        low, high = np.clip([accuracy - half, accuracy + half], 0, 1)
        axes.fill_between(curve.centres, low, high, color=COLOURS[network], alpha=0.18, linewidth=0)
        axes.plot(curve.centres, accuracy, "o-", color=COLOURS[network], markersize=4, linewidth=1.4)
    axes.axhline(majority, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel(curve.latent)


def _draw_map(axes: Axes, picture: UInt8[ndarray, "S S"], one: Attribution, kind: str, largest: float) -> None:
    values: Float[ndarray, "h w"] = one.occlusion if kind == "occlusion" else one.gradient
    axes.imshow(_lay_over(picture, values / largest, kind), interpolation="none")
    axes.set_xlabel(f"{one.margin:+.2g}", fontsize=8, labelpad=2)


def _lay_over(picture: UInt8[ndarray, "S S"], values: Float[ndarray, "h w"], kind: str) -> UInt8[ndarray, "S S 3"]:
    """The map, in [-1, 1], in colours over the picture: one small image, which an SVG holds as it is."""
    side = len(picture)
    place = (np.arange(side) + 0.5) / side
    if kind == "occlusion":  # the windows' centres span the picture but for half a window at each edge
        place = (place - 1 / (2 * WINDOWS_PER_SIDE)) * (len(values) - 1) / (1 - 1 / WINDOWS_PER_SIDE) / len(values)
        place += 0.5 / len(values)
    rows, columns = (np.floor(place * size).astype(int) for size in values.shape)
    inside = (rows >= 0) & (rows < values.shape[0]), (columns >= 0) & (columns < values.shape[1])
    spread = np.zeros(picture.shape)
    spread[np.ix_(*inside)] = values[np.ix_(rows[inside[0]], columns[inside[1]])]
    colours = colormaps["PiYG"](0.5 + 0.5 * np.clip(spread, -1, 1))[..., :3]
    ground = 1 - 0.35 * (1 - picture[..., None] / _WHITE)
    return np.rint(_WHITE * ground * colours / colormaps["PiYG"](0.5)[:3]).clip(0, _WHITE).astype(np.uint8)


def _largest(stimuli: tuple[AttributedStimulus, ...], network: str, kind: str) -> float:
    """The 98th percentile of the sizes of all values that are not 0."""
    maps = [getattr(one, kind).ravel() for s in stimuli for one in s.attributions if one.network == network]
    sizes = np.abs(np.concatenate(maps))
    return float(np.quantile(sizes[sizes > 1e-12], 0.98)) if (sizes > 1e-12).any() else 1.0


def _order_latents(result: BehaviourResult) -> list[str]:
    """Latents, those with the largest slope of accuracy or margin beside its chance first."""
    sizes: dict[str, float] = {}
    for slope in result.decisions.slopes:
        if slope.network in _OWN and slope.chance > 0:
            sizes[slope.latent] = max(sizes.get(slope.latent, 0.0), abs(slope.slope) / slope.chance)
    return sorted(sizes, key=lambda name: -sizes[name])


FIGURES = (
    FigureSpec(
        slug="agreement",
        title="Do the two networks err on the same images?",
        how_to_read="Left: the images by who is right. Right: how much more often than by chance two networks give the "
        "same answer (diamonds) and are wrong on the same images (dots). Two good networks give the same answers "
        "because both are right; only a dot outside its grey band (their answers swapped among images of a class, so "
        "that both keep their accuracy) shows that the same images are hard for both.",
        draw=draw_agreement,
    ),
    FigureSpec(
        slug="disagreements",
        title="Stimuli on which they disagree",
        how_to_read="Stimuli on which one network alone is right, those first on which both are most decided. Under "
        "each: its class and both margins, blue meta, orange baseline, in standard deviations of that network's "
        "margins over all stimuli; positive is class 1. They are the extremes of many: look for what they share, then "
        "test it on the latents below.",
        draw=draw_disagreements,
    ),
    FigureSpec(
        slug="sensitivity",
        title="What margin and accuracy follow",
        how_to_read="How each network's margin (left) and accuracy (right) change with each property of the images, "
        "class held constant. If nothing went with any property, a dot would leave its grey bar anywhere in a panel in "
        "5 % of the cases. Latents that go together (say, size and ink) share their slopes: this is no proof of use.",
        draw=draw_sensitivity,
    ),
    FigureSpec(
        slug="accuracy_by_latent",
        title="Where the networks fail",
        how_to_read="Accuracy in fifths of the images along the properties with the steepest slopes; shading is a 95 % "
        "interval over images or shape identities. Curves that come apart show where one network fails and the other "
        "does not. Where the grey lines of untrained networks bend, the property goes with the class.",
        draw=draw_curves,
    ),
    FigureSpec(
        slug="occlusion",
        title="What single decisions rest on",
        how_to_read="Green parts of a stimulus speak for class 1, pink ones against it. Covered: what the margin loses "
        "when a window of an eighth of the width is painted over with paper. Gradient: gradient times input. Each "
        "network has its own scale (98 % of its values, in units of its margin; the margin stands below). Every map "
        "follows the ink, also the untrained network's: only what differs between the columns is learned.",
        draw=draw_attributions,
    ),
)
