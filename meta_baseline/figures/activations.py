"""The activation analysis, drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy import ndarray

from meta_baseline.activation_analysis import ActivationResult
from meta_baseline.figures import activation_images, activation_layers
from meta_baseline.figures.similarity import SIMILARITY_FIGURES
from meta_baseline.figures.style import BASELINE, COLOURS, INK, META, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.representations.facts import RepresentationFacts
from meta_baseline.representations.planes import PrincipalPlane

_PIXELS = COLOURS["pixels"]
_DOTS: dict[str, Any] = {"s": 7, "alpha": 0.75, "linewidths": 0, "rasterized": True}
_MAX_DOTS = 500
_CLASS_COLOURS = ("#b5577b", "#2a9d8f")
"""Of class 0 and class 1; the networks' own colours stay theirs."""


@styled
def draw_agreement(result: ActivationResult) -> Figure | None:
    """Debiased CKA of matched layers with its interval, the untrained band, and both with the pixels taken out."""
    facts = result.facts
    if not facts.matched:
        return None
    figure = new_figure(7.2, 3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    roles = [layer.role for layer in facts.matched]
    places = np.arange(len(roles))
    for axes, measure, title in ((left, "cka", "As it is"), (right, "partial_cka", "Pixel similarity taken out")):
        attribute = "cka" if measure == "cka" else "partial"
        values, low, high = (
            np.array([getattr(layer, name) for layer in facts.matched])
            for name in (measure, f"{attribute}_low", f"{attribute}_high")
        )
        bands = np.array([layer.band(measure) for layer in facts.matched])
        controls = np.array([layer.control(measure)[0] for layer in facts.matched])
        for place, (band_low, band_high) in zip(places, bands):
            axes.fill_between(
                [place - 0.32, place + 0.32], band_low, band_high, color=UNTRAINED, alpha=0.3, linewidth=0
            )
        axes.plot(places, controls, color=UNTRAINED, linewidth=1.2, zorder=2)
        axes.plot(places, values, color=INK, linewidth=1.2, zorder=3)
        axes.errorbar(
            places, values, [values - low, high - values], fmt="o", color=INK, markersize=4.5, elinewidth=1.6, zorder=4
        )
        if measure == "cka":
            for name, colour in (("pixels_meta", META), ("pixels_baseline", BASELINE)):
                with_pixels = [getattr(layer, name) for layer in facts.matched]
                axes.plot(places, with_pixels, color=colour, linewidth=1.1, linestyle=(0, (2, 1.5)), zorder=1)
        axes.axhline(0, color=INK, linewidth=0.6, alpha=0.5)
        axes.set_title(title)
        axes.set_xticks(places, roles, rotation=45, ha="right", rotation_mode="anchor")
    lowest = [low for layer in facts.matched for low in (layer.cka_low, layer.partial_low, layer.band("cka")[0])]
    left.set_ylim(max(min([-0.03, *(low - 0.03 for low in lowest if np.isfinite(low))]), -0.4), 1.04)
    left.set_ylabel("debiased CKA (1: same geometry)")
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4.5, linewidth=1.2),
        (Patch(color=UNTRAINED, alpha=0.3, linewidth=0), Line2D([], [], color=UNTRAINED, linewidth=1.2)),
        Line2D([], [], color=META, linewidth=1.1, linestyle=(0, (2, 1.5))),
        Line2D([], [], color=BASELINE, linewidth=1.1, linestyle=(0, (2, 1.5))),
    ]
    labels = [
        "meta with baseline, 95 % interval over images",
        "untrained pairs: mean and 95 % band",
        "meta with the pixels",
        "baseline with the pixels",
    ]
    figure.legend(handles, labels, loc="outside lower left", ncols=2)
    return figure


@styled
def draw_planes_by_class(result: ActivationResult) -> Figure | None:
    """Principal planes of four layers, one row per network, coloured by class."""
    colours = np.array(_CLASS_COLOURS)[result.facts.labels]
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=f"class {value}")
        for value, colour in enumerate(_CLASS_COLOURS)
    ]
    figure = _draw_planes(result.facts, lambda axes, scores, shown: axes.scatter(*scores, c=colours[shown], **_DOTS))
    if figure is not None:
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


@styled
def draw_planes_by_latent(result: ActivationResult) -> Figure | None:
    """The same planes, coloured by the latent that lies in them most."""
    facts = result.facts
    if not facts.strongest_latent:
        return None
    low, high = np.percentile(facts.strongest_values, [2, 98])
    style = {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1}
    last = []

    def scatter(axes: Axes, scores: Float[ndarray, "2 n"], shown: Int[ndarray, " n"]) -> None:
        last.append(axes.scatter(*scores, c=facts.strongest_values[shown], **style, **_DOTS))

    figure = _draw_planes(facts, scatter, latent=facts.strongest_latent)
    if figure is not None:
        bar = figure.colorbar(last[-1], ax=figure.axes, shrink=0.5, aspect=30, pad=0.02)
        bar.set_label(f"latent {facts.strongest_latent}")
        bar.outline.set_visible(False)
    return figure


def _draw_planes(
    facts: RepresentationFacts,
    scatter: Callable[[Axes, Float[ndarray, "2 n"], Int[ndarray, " n"]], object],
    *,
    latent: str = "",
) -> Figure | None:
    planes = {(plane.network, plane.role): plane for plane in facts.planes}
    roles = _spread(facts.hidden_roles or facts.roles, 4)
    networks = [name for name in facts.networks if any(plane.network == name for plane in facts.planes)]
    if not roles:
        return None
    # At random, as images may come sorted by class.
    shown = np.sort(np.random.default_rng(0).permutation(len(facts.labels))[:_MAX_DOTS])
    figure = new_figure(7.2, 0.7 + 1.85 * len(networks))
    panels = figure.subplots(len(networks), len(roles), squeeze=False)
    for row, network in zip(panels, networks):
        for axes, role in zip(row, roles):
            plane = planes.get((network, role))
            axes.set_xticks([])
            axes.set_yticks([])
            if plane is None or not plane.explained.any():
                axes.text(0.5, 0.5, "constant" if plane else "no such layer", ha="center", transform=axes.transAxes)
                continue
            scatter(axes, plane.scores[shown].T, shown)
            axes.margins(0.08)
            share = float(plane.latent_shares[facts.latent_names.index(latent)]) if latent else 0.0
            axes.set_xlabel(_explained(plane, latent, share), fontsize=8, labelpad=3)
        row[0].set_ylabel(network, color=COLOURS.get(network, UNTRAINED), fontweight="bold")
    for axes, role in zip(panels[0], roles):
        axes.set_title(role)
    return figure


def _explained(plane: PrincipalPlane, latent: str, share: float) -> str:
    words = "{:.0f} % + {:.0f} % of variance".format(*(100 * plane.explained))
    return words if not latent else f"{words}\n{100 * share:.0f} % of {latent}"


def _spread(roles: tuple[str, ...], num: int) -> tuple[str, ...]:
    """At most ``num`` roles, from first to last in even steps."""
    places = np.unique(np.linspace(0, len(roles) - 1, min(num, len(roles))).round().astype(int)) if roles else []
    return tuple(roles[place] for place in places)


FIGURES = (
    FigureSpec(
        slug="agreement",
        title="How alike the two networks represent the images",
        how_to_read="Each dot says how alike the same layer of the two networks arranges the images: 1 means the same "
        "distances between images, 0 means unrelated ones. Untrained networks are alike too, because all of them look "
        "at the same images: only a dot outside its grey band shows that training made the two more alike (above) or "
        "less alike (below). On the right, what every network gets from the pixels alone is taken out.",
        draw=draw_agreement,
    ),
    *SIMILARITY_FIGURES,
    *activation_layers.FIGURES,
    FigureSpec(
        slug="planes_by_class",
        title="The images as the layers see them, by class",
        how_to_read="Each dot is an image (at most 500 are shown), placed by the two directions in which the layer's "
        "activations vary most. Two clouds, one of each colour, mean that the class is what the layer varies with "
        "most; mixed colours do not mean that the class is absent. Every panel has its own directions: compare shapes, "
        "not places.",
        draw=draw_planes_by_class,
    ),
    FigureSpec(
        slug="planes_by_latent",
        title="The same images, by what they show",
        how_to_read="The same dots, coloured by the property of the images that lies in these planes most. A smooth "
        "change of colour across a panel means that the layer varies with that property; the share below it is how "
        "much of the property the two directions give. Untrained networks show it too where the pixels carry it.",
        draw=draw_planes_by_latent,
    ),
    *activation_images.FIGURES,
)
