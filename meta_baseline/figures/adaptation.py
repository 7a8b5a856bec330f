"""Adaptation, drawn: accuracy against steps, the freezing ladder, change layer by layer, paths in weight space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from meta_baseline.adaptation import AdaptationResult
from meta_baseline.adaptation_space.contrasts import average
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.figures.style import ACCENT, COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled

_DASHED = (0, (3, 2))
_SHORT = {"classifier": "head"}


@styled
def draw_accuracy(result: AdaptationResult) -> Figure:
    """Accuracy on new images after every number of steps, one panel per support size."""
    facts = result.facts
    figure = new_figure(7.2, 3.2)
    panels: Sequence[Axes] = figure.subplots(1, len(facts.settings.support_sizes), sharey=True, squeeze=False)[0]
    for z, (panel, size) in enumerate(zip(panels, facts.settings.support_sizes)):
        places = np.arange(len(facts.settings.steps))
        for number, subject in enumerate(facts.subjects):
            shift = 0.08 * (number - (len(facts.subjects) - 1) / 2)
            _draw_means(panel, places + shift, subject.accuracy[:, z], _colour(subject), joined=True, most=1.0)
        panel.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
        panel.set_xticks(places, [str(steps) for steps in facts.settings.steps])
        panel.set_xlabel("inner steps")
        panel.set_title(f"{size} supports")
    panels[0].set_ylabel(f"accuracy, {facts.num_episodes} episodes")
    figure.legend(handles=_name_networks(result), loc="outside lower left", ncols=4)
    return figure


@styled
def draw_freezing(result: AdaptationResult) -> Figure:
    """Above, accuracy gained when the last layers adapt; below, what each layer adds, with the verdict."""
    facts = result.facts
    subjects = facts.subjects
    figure = new_figure(7.2, 5.2)
    panels = figure.subplots(2, len(subjects), sharey="row", squeeze=False)
    for column, subject in enumerate(subjects):
        roles = subject.roles[::-1]
        gained = (subject.ladder - subject.nothing[:, None])[:, ::-1]
        alone = (subject.alone - subject.nothing[:, None])[:, ::-1]
        above, below = panels[0, column], panels[1, column]
        places = np.arange(len(roles))
        _draw_means(above, places, gained, _colour(subject), joined=True)
        above.plot(places, alone.mean(axis=0), "x", color=INK, markersize=5)
        above.set_title(f"{subject.name}\n{facts.verdicts[subject.name]}")
        verdicts = facts.layer_verdicts[subject.name][::-1]
        level = 1 - 0.05 / len(roles)
        for place, (added, verdict) in enumerate(zip(subject.added[:, ::-1].T, verdicts)):
            colour = ACCENT if verdict == "learns" else _colour(subject)
            _draw_means(below, np.array([place]), added[:, None], colour, level=level)
        for panel in (above, below):
            panel.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
            panel.set_xticks(places, [])
        below.set_xticks(
            places, [_SHORT.get(role, role) for role in roles], rotation=60, ha="right", rotation_mode="anchor"
        )
    panels[0, 0].set_ylabel("accuracy gained when this\nlayer and all after it adapt")
    panels[1, 0].set_ylabel("what the layer adds\nto those after it")
    handles: list[Artist] = [
        Line2D([], [], color=INK, marker="o", label="mean, interval over episodes"),
        Line2D([], [], color=INK, marker="x", linestyle="", label="this layer alone"),
        Line2D([], [], color=ACCENT, marker="o", linestyle="", label="surely adds: it learns"),
    ]
    figure.align_ylabels(panels[:, 0].tolist())
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


@styled
def draw_change(result: AdaptationResult) -> Figure:
    """Layer by layer: how far weights move, how far activations move, and answers by the nearest class mean."""
    facts = result.facts
    figure = new_figure(7.2, 5.4)
    panels = figure.subplots(2, 2, squeeze=False)
    measures = (
        (panels[0, 0], "weight_change", "relative change of weights"),
        (panels[0, 1], "cka", "CKA before, after"),
        (panels[1, 0], "procrustes", "Procrustes angle (radians)"),
    )
    for panel, measure, label in measures:
        for number, subject in enumerate(facts.subjects):
            shift = 0.12 * (number - (len(facts.subjects) - 1) / 2)
            places = np.arange(len(subject.roles)) + shift
            most = 1.0 if measure == "cka" else math.inf
            _draw_means(panel, places, getattr(subject, measure), _colour(subject), joined=True, most=most)
        panel.set_ylabel(label)
        _name_layers(panel, result)
    panels[0, 0].set_yscale("log")
    last = panels[1, 1]
    for subject in facts.subjects:
        places = np.arange(len(subject.roles))
        last.plot(
            places, subject.centroid_before.mean(axis=0), color=_colour(subject), linestyle=_DASHED, linewidth=1.3
        )
        last.plot(places, subject.centroid_after.mean(axis=0), color=_colour(subject))
    last.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    last.set_ylabel("accuracy, nearest class mean")
    _name_layers(last, result)
    handles = [
        *_name_networks(result),
        Line2D([], [], color=INK, linestyle=_DASHED, linewidth=1.3, label="before"),
        Line2D([], [], color=INK, label="after"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=6)
    return figure


@styled
def draw_paths(result: AdaptationResult) -> Figure:
    """Paths of every episode on two principal axes, and the mean cosine of different episodes' paths by layer."""
    facts = result.facts
    shuffled = f"shuffled labels, {facts.settings.layer_steps} steps"
    figure = new_figure(7.2, 5.4)
    grid = figure.add_gridspec(2, len(facts.subjects), height_ratios=(1.25, 1))
    for column, subject in enumerate(facts.subjects):
        panel = figure.add_subplot(grid[0, column])
        for path in subject.plane:
            panel.plot(path[:-1, 0], path[:-1, 1], color=_colour(subject), linewidth=0.9, alpha=0.7)
            panel.plot(*path[-2], "o", color=_colour(subject), markersize=3.5)
            panel.plot(*path[-1], "x", color=INK, markersize=4)
        panel.plot(*subject.plane[0, 0], "s", color=INK, markersize=4.5)
        panel.set_title(subject.name)
        panel.set_xlabel(f"axis 1 ({subject.plane_shares[0]:.0%})")
        panel.set_ylabel(f"axis 2 ({subject.plane_shares[1]:.0%})")
        panel.set_aspect("equal", adjustable="datalim")
        panel.locator_params(nbins=4)
    below = figure.add_subplot(grid[1, :])
    for number, subject in enumerate(facts.subjects):
        places = np.arange(len(subject.path_coherence)) + 0.14 * (number - (len(facts.subjects) - 1) / 2)
        for place, own in zip(places, subject.path_coherence):
            below.plot([place, place], [own.low, own.high], color=_colour(subject), linewidth=2.4, alpha=0.45)
            below.plot(place, own.beyond, "o", color=_colour(subject))
    below.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
    below.set_ylabel("cosine of paths\nbeyond shuffled labels")
    _name_layers(below, result, "all")
    handles = [
        *_name_networks(result),
        Line2D([], [], color=INK, marker="s", linestyle="", markersize=4.5, label="before"),
        Line2D([], [], color=INK, marker="x", linestyle="", markersize=4, label=shuffled),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


def _draw_means(
    panel: Axes,
    places: Float[ndarray, " L"],
    values: Float[ndarray, "E L"],
    colour: str,
    *,
    joined: bool = False,
    level: float = 0.95,
    most: float = math.inf,
) -> None:
    """Means over episodes with their intervals."""
    means = [average(own, level=level, most=most) for own in values.T]
    for place, mean in zip(places, means):
        panel.plot([place, place], [mean.low, mean.high], color=colour, linewidth=2.4, alpha=0.45)
    panel.plot(
        places,
        [mean.value for mean in means],
        marker="o",
        markersize=4,
        linewidth=1.2,
        linestyle="-" if joined else "",
        color=colour,
    )


def _colour(subject: SubjectRecord) -> str:
    return COLOURS.get(subject.name, UNTRAINED)


def _name_networks(result: AdaptationResult) -> list[Artist]:
    return [
        Line2D([], [], color=_colour(subject), marker="o", markersize=4, label=subject.name)
        for subject in result.facts.subjects
    ]


def _name_layers(panel: Axes, result: AdaptationResult, *more: str) -> None:
    """Layers by the network with the most of them; those of others stand at the same places."""
    roles = (*max((subject.roles for subject in result.facts.subjects), key=len), *more)
    names = [_SHORT.get(role, role) for role in roles]
    panel.set_xticks(range(len(roles)), names, rotation=60, ha="right", rotation_mode="anchor")


FIGURES = (
    FigureSpec(
        slug="accuracy",
        title="Accuracy against adaptation",
        how_to_read="All networks take the same inner steps on the same labelled images and answer the same new ones. "
        "A line that rises from 0 steps on gains by adaptation; bars are 95 % intervals over episodes.",
        draw=draw_accuracy,
    ),
    FigureSpec(
        slug="freezing",
        title="Which layers have to adapt",
        how_to_read="From left to right more layers adapt: the head alone, the last two, at last everything (Raghu et "
        "al. 2020). Where the line is flat from the head on, features are reused; where it rises, the layer that joins "
        "learns. Bars below are simultaneous over a network's layers.",
        draw=draw_freezing,
    ),
    FigureSpec(
        slug="change",
        title="What adaptation changes in each layer",
        how_to_read="Weights may move where activations hardly do: CKA 1 and angle 0 mean that the new images look to "
        "the layer as before. The last panel answers by the nearest class mean of the supports, without the head.",
        draw=draw_change,
    ),
    FigureSpec(
        slug="paths",
        title="Do episodes agree on the direction?",
        how_to_read="Above, each line is one episode's way through weight space, on the network's own two axes. Below, "
        "points above the dotted line share more direction than shuffled labels on the same images do.",
        draw=draw_paths,
    ),
)
