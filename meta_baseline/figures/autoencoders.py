"""Sparse dictionaries, drawn: what they explain, how sparse they are, what is shared, what features respond to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from meta_baseline.dictionaries.facts import DictionaryStudy, LayerFacts
from meta_baseline.dictionaries.features import Gallery
from meta_baseline.dictionaries.selectivity import Selectivity
from meta_baseline.figures.style import ACCENT, COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled
from meta_baseline.sparse_autoencoders import AutoencoderResult

NETWORKS = ("meta", "baseline")
_OFFSETS = {"meta": -0.12, "baseline": 0.12}
_GAP = 3
_DOT = "#222222"  # on a coloured ground, so it does not follow the page as INK does


@styled
def draw_explained(result: AutoencoderResult) -> Figure | None:
    """Held-out variance explained: TopK, PCA and the untrained network by layer; all variants where trained."""
    study = result.study
    thorough = [layer for layer in study.layers if layer.find("meta", "frozen")]
    figure = new_figure(7.2, 3.5)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    for control in _control_names(study):
        _draw_topk(left, study, control, UNTRAINED, 0.0)
    for network in NETWORKS:
        _draw_topk(left, study, network, COLOURS[network], _OFFSETS[network])
    left.plot([], [], "o-", color=INK, label="TopK dictionary")
    left.plot([], [], "o", color=INK, markersize=4, markerfacecolor="white", label="TopK on the Gaussian twin")
    left.plot([], [], "_", color=INK, markersize=8, markeredgewidth=1.8, label="PCA, as many components")
    for name in (*NETWORKS, "untrained"):
        left.plot([], [], "s", color=COLOURS[name], label=name)
    _name_layers(left, study.layers)
    left.set_ylabel("held-out variance explained")
    left.set_title("All layers")
    markers = {"topk": ("o", "TopK"), "l1": ("^", "ReLU + L1"), "frozen": ("x", "frozen random atoms")}
    for x, layer in enumerate(thorough):
        for network in NETWORKS:
            for variant, (marker, _) in markers.items():
                facts = layer.find(network, variant)
                if facts is not None:
                    place = x + 1.4 * _OFFSETS[network]
                    right.plot(place, facts.fidelity.fve, marker, color=COLOURS[network], markersize=6)
    for marker, label in list(markers.values())[1:]:
        right.plot([], [], marker, color=INK, markersize=6, label=label)
    right.plot([], [], " ", label=" ")  # fills the column of the legend
    _name_layers(right, thorough)
    right.set_title("Three ways to a dictionary")
    values = [facts.fidelity.fve for layer in study.layers for facts in layer.dictionaries]
    values += [facts.pca_fve for layer in study.layers for facts in layer.dictionaries if facts.variant == "topk"]
    finite = [value for value in values if np.isfinite(value)]
    left.set_ylim(max(-0.05, min([*finite, 0.8]) - 0.05), 1.01)
    handles, more = left.get_legend_handles_labels()[0], right.get_legend_handles_labels()[0]
    figure.legend(handles=[*handles[:3], *more, *handles[3:]], loc="outside lower left", ncols=3)
    return figure


@styled
def draw_sparsity(result: AutoencoderResult) -> Figure | None:
    """Active atoms per position as a share of the atoms, and atoms never active on held-out images."""
    layers = result.study.layers
    figure = new_figure(7.2, 3.1)
    left, right = figure.subplots(1, 2)
    for network in (*_control_names(result.study), *NETWORKS):
        colour, offset = COLOURS.get(network, UNTRAINED), _OFFSETS.get(network, 0.0)
        for variant, marker in (("topk", "o"), ("l1", "^")):
            found = [(x, facts) for x, layer in enumerate(layers) if (facts := layer.find(network, variant))]
            places = [x + offset for x, _ in found]
            left.plot(places, [facts.fidelity.l0 for _, facts in found], marker, color=colour)
            right.plot(places, [facts.fidelity.dead_fraction for _, facts in found], marker, color=colour)
    for axes in (left, right):
        _name_layers(axes, layers)
    left.set_yscale("log")
    left.set_yticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    left.minorticks_off()
    left.set_ylim(1, max(40.0, 1.3 * max(facts.fidelity.l0 for layer in layers for facts in layer.dictionaries)))
    left.set_ylabel("active atoms per position (L0)")
    right.set_ylabel("dead atoms (fraction)")
    right.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    right.text(-0.4, 0.51, "half dead: a warning", fontsize=8, color=INK, va="bottom")
    right.set_ylim(-0.02, 1.02)
    for name in (*NETWORKS, "untrained"):
        left.plot([], [], "s", color=COLOURS[name], label=name)
    left.plot([], [], "o", color=INK, label="TopK")
    left.plot([], [], "^", color=INK, label="ReLU + L1")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=5)
    return figure


@styled
def draw_matching(result: AutoencoderResult) -> Figure | None:
    """Correlation of matched atoms by layer, between the floor and the ceiling."""
    layers = result.study.layers
    figure = new_figure(7.2, 3.3)
    axes = figure.subplots()
    x = np.arange(len(layers))
    mean = {kind: _matching_means(layers, kind) for kind in ("networks", "untrained", "seeds", "shuffled")}
    lines = {
        "seeds": {"marker": "_", "color": UNTRAINED, "linewidth": 1.2},
        "untrained": {"marker": "s", "color": UNTRAINED, "linestyle": "--"},
        "networks": {"marker": "o", "color": ACCENT},
        "shuffled": {"marker": "_", "color": UNTRAINED, "linewidth": 1.2, "linestyle": ":"},
    }
    for run in _runs(layers):
        axes.fill_between(x[run], mean["shuffled"][run], mean["seeds"][run], color=UNTRAINED, alpha=0.15, linewidth=0)
        for kind, look in lines.items():
            axes.plot(x[run], mean[kind][run], **look)
    for kind, label in (
        ("seeds", "ceiling: two dictionaries of one network"),
        ("untrained", "trained and untrained network"),
        ("networks", "meta and baseline"),
        ("shuffled", "floor: different images"),
    ):
        axes.plot([], [], label=label, **lines[kind])
    _name_layers(axes, layers)
    axes.set_ylabel("correlation of matched atoms\n(weighted by variance)")
    axes.set_ylim(min(-0.03, 1.1 * float(np.nanmin(mean["shuffled"], initial=0.0))), 1.0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


@styled
def draw_selectivity(result: AutoencoderResult) -> Figure | None:
    """The closest that any feature follows each target, by layer and network; dots where that is beyond chance."""
    rows = [row for layer in result.study.layers for row in layer.selectivity]
    if not rows:
        return None
    targets = list(dict.fromkeys(row.target for row in rows))
    networks = [*NETWORKS, *_control_names(result.study)]
    figure = new_figure(7.2, 1.5 + 0.2 * len(targets))
    panels = figure.subplots(1, len(networks), sharey=True)
    for axes, network in zip(panels, networks):
        _draw_selectivity_panel(axes, [row for row in rows if row.network == network], targets, network, result.study)
    panels[0].set_yticks(range(len(targets)), targets)
    return figure


@styled
def draw_features(result: AutoencoderResult) -> Figure | None:
    """Patches that the features with the largest share of the variance respond to, meta beside baseline."""
    shown = _choose_galleries(result.study)
    if not shown:
        return None
    rows = max(len(gallery.feature) for pair in shown for gallery in pair)
    figure = new_figure(7.2, len(shown) * (0.4 + 0.375 * (rows + 1)))
    for line, pair in zip(np.atleast_2d(figure.subplots(len(shown), 2)), shown):
        for axes, gallery in zip(line, pair):
            _draw_gallery(axes, gallery)
    return figure


def _draw_topk(axes: Axes, study: DictionaryStudy, network: str, colour: str, offset: float) -> None:
    found = [(x, facts) for x, layer in enumerate(study.layers) if (facts := layer.find(network))]
    for run in _runs(study.layers):
        points = [(x + offset, facts.fidelity.fve) for x, facts in found if x in run]
        if points:
            axes.plot(*zip(*points), "o-", color=colour, linewidth=1.2)
    for x, facts in found:
        axes.plot([x + offset] * 2, [facts.fve_low, facts.fve_high], color=colour, linewidth=3, alpha=0.4)
        axes.plot(x + offset, facts.pca_fve, "_", color=colour, markersize=8, markeredgewidth=1.8)
        if (twin := study.layers[x].find(network, "gaussian")) is not None:
            axes.plot([x + offset] * 2, [twin.fidelity.fve, facts.fidelity.fve], color=colour, linewidth=0.8)
            axes.plot(x + offset, twin.fidelity.fve, "o", color=colour, markersize=4, markerfacecolor="white")


def _draw_selectivity_panel(
    axes: Axes, rows: Sequence[Selectivity], targets: Sequence[str], network: str, study: DictionaryStudy
) -> None:
    layers = [layer.layer for layer in study.layers]
    values = np.full((len(targets), len(layers)), np.nan)
    for row in rows:
        place = targets.index(row.target), layers.index(row.layer)
        values[place] = abs(row.correlation)
        if abs(row.correlation) > row.chance:
            axes.plot(place[1], place[0], ".", color=_DOT, markersize=3)
    colours = LinearSegmentedColormap.from_list(network, ["#ffffff", COLOURS.get(network, UNTRAINED)])
    image = axes.imshow(values, cmap=colours, vmin=0, vmax=0.7, aspect="auto")
    axes.set_xticks(range(len(layers)), layers, rotation=90)
    axes.tick_params(length=0)
    axes.set_title(network.replace(" ", "\n"))
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.06, pad=0.02, aspect=12)
    bar.set_ticks([0, 0.35, 0.7], labels=["0", ".35", ".7"])
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label("|rank correlation|", fontsize=8)


def _draw_gallery(axes: Axes, gallery: Gallery) -> None:
    axes.imshow(_tile(gallery), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    step = gallery.patches.shape[-1] + _GAP
    centres = [step * (row + 0.5) for row in range(len(gallery.feature) + 1)]
    labels = [f"{lost:.1%}" for lost in gallery.variance_lost]
    axes.set_yticks(centres, [*labels, "random"])
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(f"{gallery.layer}, {gallery.network} ({gallery.crop_size} px)", color=COLOURS[gallery.network])


def _tile(gallery: Gallery) -> UInt8[np.ndarray, "h w"]:
    """All patches on a light ground, one feature per row, the random ones last."""
    rows = [*gallery.patches, gallery.random_patches]
    size = gallery.patches.shape[-1]
    tiled = np.full((len(rows) * (size + _GAP), gallery.patches.shape[1] * (size + _GAP)), 200, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, patch in enumerate(row):
            top, left = r * (size + _GAP) + _GAP // 2, c * (size + _GAP) + _GAP // 2
            tiled[top : top + size, left : left + size] = patch
    return tiled


def _choose_galleries(study: DictionaryStudy) -> list[tuple[Gallery, ...]]:
    """A layer in the middle, where patches are still parts of a shape, and the last convolutional one but one."""
    convolutional = [layer for layer in study.layers if len(layer.map_shape) == 3 and layer.galleries]
    if not convolutional:
        return [layer.galleries for layer in study.layers[:1] if layer.galleries]
    middle = (len(convolutional) - 1) // 2
    places = dict.fromkeys([middle, max(len(convolutional) - 2, middle)])
    return [convolutional[place].galleries for place in places]


def _runs(layers: Sequence[LayerFacts]) -> list[list[int]]:
    """Places of convolutional and of fully connected layers: not joined, since a sample is another thing in each."""
    kinds = groupby(range(len(layers)), key=lambda x: len(layers[x].map_shape))
    return [list(run) for _, run in kinds]


def _matching_means(layers: Sequence[LayerFacts], kind: str) -> np.ndarray:
    return np.array([np.mean([matching.mean for matching in layer.matching(kind)]) for layer in layers])


def _control_names(study: DictionaryStudy) -> list[str]:
    return list(dict.fromkeys(study.controls[network] for network in NETWORKS))


def _name_layers(axes: Axes, layers: Sequence[LayerFacts]) -> None:
    names = [layer.layer for layer in layers]
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 6 else 0)
    axes.set_xlim(-0.5, len(names) - 0.5)


FIGURES = (
    FigureSpec(
        slug="explained",
        title="What sparse dictionaries explain",
        how_to_read="Higher is more of the variance on images that no dictionary saw; faint bars are 95 % intervals "
        "over those images. Choosing the best few of many atoms beats the dash (PCA) on any data, so "
        "sparse structure is only the line from the small hollow dot up to the full one: the hollow dot is the same "
        "dictionary of Gaussian numbers with the same covariance. Training changed that structure where this line is "
        "longer or shorter than the grey one. Right: crosses are random atoms, only the reading of them was trained.",
        draw=draw_explained,
    ),
    FigureSpec(
        slug="sparsity",
        title="How sparse the dictionaries are",
        how_to_read="Left: variance explained may be compared only at equal numbers of active atoms, so dots and "
        "triangles should coincide. Right: atoms that are never active on held-out images; the fewer the better.",
        draw=draw_sparsity,
    ),
    FigureSpec(
        slug="matching",
        title="Are the features shared?",
        how_to_read="Atoms of two dictionaries, matched by when they are active. Green above the dashed grey line: the "
        "two trained networks share features that an untrained network does not have. The ceiling is what two "
        "dictionaries of one and the same network reach; the floor is what places in the image alone make.",
        draw=draw_matching,
    ),
    FigureSpec(
        slug="features",
        title="What the features respond to",
        how_to_read="One feature per row, the most important first, with the share of the variance (at positions with "
        "ink) that is lost without it; its eight strongest responses among held-out images, one per image. Look for "
        "what a row has in common that the random patches in the last row do not have.",
        draw=draw_features,
    ),
    FigureSpec(
        slug="selectivity",
        title="What single features follow",
        how_to_read="Each cell: the feature of that layer that follows the target most closely. The best of many "
        "features follows anything a little; a dot marks cells above 95 % of what the best does by chance (images "
        "shuffled).",
        draw=draw_selectivity,
    ),
)
"""The figures of the sparse autoencoders, in the order of the report."""
