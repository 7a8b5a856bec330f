"""Similarity of layers, drawn: layer by layer as heat maps, and layer for layer by every measure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy import ndarray

from meta_baseline.activation_analysis import ActivationResult
from meta_baseline.figures.style import INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.representations.agreement import MatchedLayer, SimilarityTable
from meta_baseline.representations.measures import Measure

_PANELS = (
    ("whole_maps", "CKA, whole maps"),
    ("channel_means", "CKA, channel means"),
    ("rbf", "CKA, near images"),
    ("procrustes", "Procrustes (cosine)"),
    ("rank", "RSA (Spearman)"),
    ("rank_partial", "RSA, pixels held fixed"),
    ("neighbours", "Neighbours shared"),
    ("canonical", "Canonical corr."),
)


@styled
def draw_similarity_tables(result: ActivationResult) -> Figure | None:
    """Layer-by-layer CKA within and between the networks, one colour scale; darker is more alike."""
    return _draw_tables([table for table in result.facts.tables if not table.without_pixels], "debiased CKA")


@styled
def draw_partial_tables(result: ActivationResult) -> Figure | None:
    """The same with what all layers share with the pixels taken out."""
    tables = [table for table in result.facts.tables if table.without_pixels]
    return _draw_tables(tables, "debiased CKA, pixels taken out") if tables else None


@styled
def draw_measures(result: ActivationResult) -> Figure | None:
    """Meta with baseline by every measure, layer for layer, beside untrained pairs and what unrelated layers give."""
    facts = result.facts
    matched = [layer for layer in facts.matched if layer.measures]
    shown = [panel for panel in _PANELS if any(np.isfinite(_values(matched, panel[0], "value")))]
    if not shown:
        return None
    rows = -(-len(shown) // 4)
    figure = new_figure(7.2, 0.9 + 1.75 * rows)
    panels = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False)
    panels[0, 0].set_ylim(-0.12, 1.04)
    places = np.arange(len(matched))
    for axes, (name, title) in zip(panels.ravel(), shown):
        _draw_measure(axes, matched, name)
        axes.set_title(title, fontsize=8.5)
    for axes in panels.ravel()[len(shown) :]:
        axes.set_visible(False)
    for number, axes in enumerate(panels.ravel()[: len(shown)]):
        axes.tick_params(labelsize=7.5)
        if number + 4 >= len(shown):
            roles = [layer.role for layer in matched]
            axes.set_xticks(places, roles, rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)
            axes.tick_params(labelbottom=True)
    for row in panels:
        row[0].set_ylabel("agreement", fontsize=9)
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, linewidth=1.2),
        (Patch(color=UNTRAINED, alpha=0.3, linewidth=0), Line2D([], [], color=UNTRAINED, linewidth=1.2)),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (1, 2))),
    ]
    labels = ["meta with baseline", "untrained pairs: mean and 95 % band", "unrelated layers"]
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


def _draw_measure(axes: Axes, matched: list[MatchedLayer], name: str) -> None:
    places = np.arange(len(matched))
    values, low, high, band_low, band_high = (
        _values(matched, name, attribute) for attribute in ("value", "low", "high", "band_low", "band_high")
    )
    controls = _values(matched, name, "control")
    for place, bottom, top in zip(places, band_low, band_high):
        axes.fill_between([place - 0.32, place + 0.32], bottom, top, color=UNTRAINED, alpha=0.3, linewidth=0)
    axes.plot(places, controls, color=UNTRAINED, linewidth=1.2, zorder=2)
    axes.plot(places, values, color=INK, linewidth=1.2, zorder=3)
    bars = np.nan_to_num([values - low, high - values])
    axes.errorbar(places, values, bars, fmt="o", color=INK, markersize=3.5, elinewidth=1.2, zorder=4)
    chance = _values(matched, name, "chance")
    axes.plot(places, chance, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)


def _find(layer: MatchedLayer, name: str) -> Measure | None:
    return next((found for found in layer.measures if found.name == name), None)


def _values(matched: list[MatchedLayer], name: str, attribute: str) -> Float[ndarray, " L"]:
    return np.array([getattr(found, attribute) if (found := _find(layer, name)) else np.nan for layer in matched])


def _draw_tables(tables: list[SimilarityTable], label: str) -> Figure:
    largest = max(max(len(table.rows), len(table.columns)) for table in tables)
    figure = new_figure(7.2, 7.0 if largest > 4 else 5.6)
    panels = figure.subplots(2, 2, squeeze=False).ravel()
    image = None
    for axes, table in zip(panels, tables):
        image = axes.imshow(table.values, vmin=0, vmax=1, cmap="YlGnBu", origin="lower")
        axes.set_title(table.title[0].upper() + table.title[1:], fontsize=9.5)
        axes.set_xticks(
            range(len(table.columns)), table.columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=8
        )
        axes.set_yticks(range(len(table.rows)), table.rows, fontsize=8)
        axes.set_xlabel(f"layer of {_kind(table.column_network)}", fontsize=9)
        axes.set_ylabel(f"layer of {_kind(table.row_network)}", fontsize=9)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        _write_values(axes, table.values)
    for axes in panels[len(tables) :]:
        axes.set_visible(False)
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), shrink=0.5, aspect=30, pad=0.02)
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure


def _write_values(axes: Axes, values: Float[ndarray, "L1 L2"]) -> None:
    size = 7.5 if max(values.shape) <= 8 else 6.0
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("0.", ".").replace("1.00", "1")
        axes.text(
            column, row, text, ha="center", va="center", fontsize=size, color="white" if value > 0.6 else "#222222"
        )


def _kind(network: str) -> str:
    return "an untrained network" if network.startswith("untrained") else network


SIMILARITY_FIGURES = (
    FigureSpec(
        slug="measures",
        title="The same question asked in eight ways",
        how_to_read="Each panel compares the same layer of the two networks by one measure; 1 means the same, the "
        "dotted line is what layers give that have nothing to do with each other. A difference is worth believing "
        "where the dots leave the grey band of untrained pairs in more than one panel. Whole maps know where in the "
        "image something is, channel means do not; near images (an RBF kernel) and neighbours look at the most similar "
        "images only; canonical correlations ignore any linear map and are shown where there are ten images for each "
        "dimension. Bars: 95 % intervals over images.",
        draw=draw_measures,
    ),
    FigureSpec(
        slug="layer_by_layer",
        title="Which layers are alike",
        how_to_read="Each square compares one layer with another: the darker, the more alike they arrange the images. "
        "A block along the diagonal is a run of layers that change little. Compare the third panel with the fourth: "
        "what untrained networks share with each other was not learned.",
        draw=draw_similarity_tables,
    ),
    FigureSpec(
        slug="layer_by_layer_without_pixels",
        title="Which layers are alike beyond the pixels",
        how_to_read="The same squares with what both layers share with the pixels projected out: layers that were "
        "alike only because they show the same images turn pale. What stays dark is a likeness that the networks made.",
        draw=draw_partial_tables,
    ),
)
