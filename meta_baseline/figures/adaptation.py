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
from matplotlib.patches import Patch
from numpy import ndarray

from meta_baseline.adaptation import AdaptationResult
from meta_baseline.adaptation_space.facts import AdaptationFacts, Measure, average_episodes
from meta_baseline.adaptation_space.subject import SubjectRecord
from meta_baseline.figures.style import ACCENT, COLOURS, INK, UNTRAINED, FigureSpec, new_figure, styled

_DASHED = (0, (3, 2))
_SHORT = {"classifier": "head"}
_MARKERS = "o^Dvs"


@styled
def draw_accuracy(result: AdaptationResult) -> Figure:
    """Accuracy on new images after every number of steps; a row for each kind of images, a column per support size."""
    parts, settings = result.facts.parts, result.facts.settings
    figure = new_figure(7.2, 0.8 + 2.3 * len(parts))
    panels = figure.subplots(len(parts), len(settings.support_sizes), sharex=True, sharey="row", squeeze=False)
    places = np.arange(len(settings.steps))
    for facts, row in zip(parts, panels):
        for z, (panel, size) in enumerate(zip(row, settings.support_sizes)):
            _draw_networks(panel, facts, places, lambda own, z=z: own.accuracy[:, z], most=1.0)
            panel.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
            panel.set_title(f"{size} supports" + _where(result, facts))
        row[0].set_ylabel("accuracy")
    for panel in panels[-1]:
        panel.set_xticks(places, [str(steps) for steps in settings.steps])
        panel.set_xlabel("inner steps")
    figure.legend(handles=_name_networks(result), loc="outside lower left", ncols=4)
    return figure


@styled
def draw_freezing(result: AdaptationResult) -> Figure:
    """Accuracy gained when the last layers adapt, and below it what each layer adds, with the verdict."""
    parts = result.facts.parts
    trained = result.facts.trained
    figure = new_figure(7.2, 0.9 + 4.0 * len(parts))
    panels = figure.subplots(2 * len(parts), len(trained), sharey="row", squeeze=False)
    for number, facts in enumerate(parts):
        for column, subject in enumerate(facts.trained):
            _draw_ladder(panels[2 * number, column], panels[2 * number + 1, column], facts, subject)
            verdict = facts.verdicts[subject.name]
            panels[2 * number, column].set_title(f"{subject.name}{_where(result, facts)}\n{verdict}")
        panels[2 * number, 0].set_ylabel("gained when it and\nall after it adapt")
        panels[2 * number + 1, 0].set_ylabel("what the layer adds\nto those after it")
    handles: list[Artist] = [
        Line2D([], [], color=INK, marker="o", label="mean, interval"),
        Line2D([], [], color=INK, marker="x", linestyle="", label="this layer alone*"),
        Line2D([], [], color=ACCENT, marker="o", linestyle="", label="surely adds"),
        *_name_band(result),
    ]
    figure.align_ylabels(panels[:, 0].tolist())
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _draw_ladder(above: Axes, below: Axes, facts: AdaptationFacts, subject: SubjectRecord) -> None:
    roles = subject.roles[::-1]
    places = np.arange(len(roles))
    _shade(above, places, facts.band(subject, lambda own: own.added[:, ::-1].cumsum(axis=1)))
    _shade(below, places, facts.band(subject, lambda own: own.added[:, ::-1]))
    gained, alone = ((own - subject.nothing[:, None])[:, ::-1] for own in (subject.ladder, subject.alone))
    _draw_means(above, places, gained, subject, joined=True)
    above.plot(places, [subject.average(own).value for own in alone.T], "x", color=INK, markersize=5)
    level = 1 - 0.05 / len(roles)
    for place, (added, verdict) in enumerate(zip(subject.added[:, ::-1].T, facts.layer_verdicts[subject.name][::-1])):
        colour = ACCENT if verdict == "learns" else _colour(subject)
        _draw_means(below, np.array([place]), added[:, None], subject, level=level, colour=colour)
    for panel in (above, below):
        panel.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
        panel.set_xticks(places, [])
    _name_layers(below, roles)


@styled
def draw_change(result: AdaptationResult) -> Figure:
    """Layer by layer: how far weights move, how far activations move, and answers by the nearest class mean."""
    parts = result.facts.parts
    figure = new_figure(7.2, 7.6)
    panels = figure.subplots(4, len(parts), sharex="col", sharey="row", squeeze=False)
    measures: tuple[tuple[str, str, float], ...] = (
        ("weight_change", "relative change\nof weights", math.inf),
        ("cka", "CKA before, after", 1.0),
        ("procrustes", "Procrustes angle\n(radians)", math.inf),
    )
    for column, facts in enumerate(parts):
        roles = _longest_roles(facts)
        for panel, (measure, label, most) in zip(panels[:, column], measures):
            _draw_networks(
                panel, facts, np.arange(len(roles)), lambda own, measure=measure: getattr(own, measure), most=most
            )
            if column == 0:
                panel.set_ylabel(label)
        last = panels[3, column]
        for subject in facts.trained:
            places = np.arange(len(subject.roles))
            for values, line in ((subject.centroid_before, _DASHED), (subject.centroid_after, "-")):
                last.plot(places, values.mean(axis=0), color=_colour(subject), linestyle=line, linewidth=1.4)
        _shade(last, np.arange(len(roles)), facts.band(facts.trained[0], lambda own: own.centroid_after))
        last.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
        _name_layers(last, roles)
        panels[0, column].set_title(_where(result, facts).removeprefix(", ") or "images of the study")
    panels[0, 0].set_yscale("log")
    panels[3, 0].set_ylabel("accuracy by\nnearest class mean")
    handles = [
        *_name_networks(result),
        Line2D([], [], color=INK, linestyle=_DASHED, linewidth=1.3, label="before"),
        Line2D([], [], color=INK, label="after"),
    ]
    figure.align_ylabels(panels[:, 0].tolist())
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


@styled
def draw_resemblance(result: AdaptationResult) -> Figure | None:
    """How much alike meta and baseline see the same queries, before and after adaptation, layer by layer."""
    parts = [facts for facts in result.facts.parts if facts.resemblance is not None]
    if not parts:
        return None
    figure = new_figure(7.2, 3.3)
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for facts, panel in zip(parts, panels):
        pair, meta = facts.resemblance, facts.trained[0]
        assert pair is not None
        places = np.arange(len(pair.roles))
        others = [average_episodes(own.after) for own in facts.untrained_resemblances]
        _shade(panel, places, (np.min(others, axis=0), np.max(others, axis=0)) if others else None)
        _draw_means(panel, places - 0.06, pair.before, meta, colour=INK, joined=True, most=1.0, line=_DASHED)
        _draw_means(panel, places + 0.06, pair.after, meta, colour=ACCENT, joined=True, most=1.0)
        panel.set_title(_where(result, facts).removeprefix(", ") or "images of the study")
        _name_layers(panel, pair.roles)
    panels[0].set_ylabel("CKA of meta and baseline")
    handles: list[Artist] = [
        Line2D([], [], color=INK, marker="o", markersize=4, linestyle=_DASHED, label="before"),
        Line2D([], [], color=ACCENT, marker="o", markersize=4, label="after adaptation"),
    ]
    if result.facts.untrained_resemblances:
        handles.append(Patch(color=UNTRAINED, alpha=0.3, linewidth=0, label="pairs of untrained, range"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


@styled
def draw_head_free(result: AdaptationResult) -> Figure:
    """Every network before and after adaptation: accuracy, accuracy without a head, sharpness."""
    parts = result.facts.parts
    figure = new_figure(7.2, 0.9 + 2.2 * len(parts))
    panels = figure.subplots(len(parts), 3, sharex=True, squeeze=False)
    steps = result.facts.settings.steps.index(result.facts.settings.layer_steps)
    measures: tuple[tuple[str, Measure, Measure], ...] = (
        ("accuracy", lambda own: own.nothing, lambda own: own.accuracy[:, -1, steps]),
        ("accuracy without head", lambda own: own.without_head_before, lambda own: own.without_head_after),
        ("sharpness (nats)", lambda own: own.sharpness_before, lambda own: own.sharpness_after),
    )
    for facts, row in zip(parts, panels):
        names = [subject.name for subject in facts.trained]
        controls = [subject for subject in facts.subjects if subject.is_control]
        for panel, (label, before, after) in zip(row, measures):
            for place, subject in enumerate(facts.trained):
                _draw_step(panel, place, subject, before, after)
            for number, subject in enumerate(controls):
                _draw_step(panel, len(names) + 0.16 * (number - (len(controls) - 1) / 2), subject, before, after)
            if not label.startswith("sharpness"):
                panel.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
            panel.set_ylabel(label)
            panel.set_xlim(-0.6, len(names) + 0.6)
            panel.set_xticks(range(len(names) + 1), [*names, "untrained"], rotation=30, ha="right")
        row[0].set_title(_where(result, facts).removeprefix(", ") or "images of the study")
    handles = [
        Line2D([], [], color=INK, marker="o", markerfacecolor="none", linestyle="", label="before"),
        Line2D([], [], color=INK, marker="o", linestyle="", label="after, interval over episodes"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _draw_step(panel: Axes, place: float, subject: SubjectRecord, before: Measure, after: Measure) -> None:
    old, new = subject.average(before(subject)), subject.average(after(subject))
    panel.plot([place - 0.05] * 2, [old.value, new.value], color=_colour(subject), linewidth=1.0)
    if not subject.is_control:
        panel.plot([place + 0.05] * 2, [new.low, new.high], color=_colour(subject), linewidth=2.4, alpha=0.45)
    panel.plot(place - 0.05, old.value, "o", color=_colour(subject), markerfacecolor="none", markersize=4.5)
    panel.plot(place + 0.05, new.value, "o", color=_colour(subject), markersize=4.5)


@styled
def draw_paths(result: AdaptationResult) -> Figure:
    """Paths of every episode on two principal axes, and the mean cosine of different episodes' paths by layer."""
    facts = result.facts
    shown = [*facts.trained, *[subject for subject in facts.subjects if subject.is_control][:1]]
    figure = new_figure(7.2, 5.8)
    grid = figure.add_gridspec(2, len(shown), height_ratios=(1.25, 1))
    for column, subject in enumerate(shown):
        panel = figure.add_subplot(grid[0, column])
        for path, task in zip(subject.plane, subject.tasks):
            panel.plot(path[:-1, 0], path[:-1, 1], color=_colour(subject), linewidth=0.9, alpha=0.7)
            panel.plot(*path[-2], _MARKERS[task % len(_MARKERS)], color=_colour(subject), markersize=4)
            panel.plot(*path[-1], "x", color=INK, markersize=4, alpha=0.6)
        panel.plot(*subject.plane[0, 0], "+", color=INK, markersize=9, markeredgewidth=1.8)
        panel.set_title(subject.name)
        panel.set_xlabel(f"axis 1 ({subject.plane_shares[0]:.0%})")
        panel.set_ylabel(f"axis 2 ({subject.plane_shares[1]:.0%})")
        panel.set_aspect("equal", adjustable="datalim")
        panel.locator_params(nbins=4)
    below = figure.add_subplot(grid[1, :])
    _draw_coherence(below, facts)
    handles: list[Artist] = [
        *_name_networks(result),
        Line2D([], [], color=INK, marker="+", linestyle="", markersize=8, label="before"),
        Line2D([], [], color=INK, marker="x", linestyle="", markersize=4, label="shuffled labels"),
        *(
            Line2D([], [], color=INK, marker=_MARKERS[task % len(_MARKERS)], linestyle="", markersize=4, label=name)
            for task, name in enumerate(facts.tasks)
            if len(facts.tasks) > 1
        ),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


def _draw_coherence(panel: Axes, facts: AdaptationFacts) -> None:
    """By layer, then of the whole network."""
    roles = _longest_roles(facts)
    controls = [subject for subject in facts.subjects if subject.is_control and subject.roles == roles]
    if controls:
        theirs = np.array([[own.beyond for own in control.path_coherence] for control in controls])
        _shade(panel, np.arange(len(roles) + 1), (theirs.min(axis=0), theirs.max(axis=0)))
    for number, subject in enumerate(facts.trained):
        places = np.arange(len(subject.path_coherence)) + 0.14 * (number - (len(facts.trained) - 1) / 2)
        for place, own in zip(places, subject.path_coherence):
            panel.plot([place, place], [own.low, own.high], color=_colour(subject), linewidth=2.4, alpha=0.45)
            panel.plot(place, own.beyond, "o", color=_colour(subject))
    panel.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
    panel.set_ylabel("cosine of paths\nbeyond shuffled labels")
    _name_layers(panel, (*roles, "all"))


def _draw_networks(
    panel: Axes, facts: AdaptationFacts, places: Float[ndarray, " L"], measure: Measure, *, most: float = math.inf
) -> None:
    """Means of the trained networks side by side, and the range of the untrained ones."""
    drawn: list[tuple[str, ...]] = []
    for number, subject in enumerate(facts.trained):
        values = measure(subject)
        if subject.roles not in drawn:
            _shade(panel, places[: values.shape[1]], facts.band(subject, measure))
            drawn.append(subject.roles)
        shift = 0.1 * (number - (len(facts.trained) - 1) / 2)
        _draw_means(panel, places[: values.shape[1]] + shift, values, subject, joined=True, most=most)


def _shade(panel: Axes, places: Float[ndarray, " L"], band: tuple[ndarray, ndarray] | None) -> None:
    if band is not None:
        panel.fill_between(places, *band, color=UNTRAINED, alpha=0.3, linewidth=0)
        panel.plot(places, (band[0] + band[1]) / 2, color=UNTRAINED, linewidth=1.2)


def _draw_means(
    panel: Axes,
    places: Float[ndarray, " L"],
    values: Float[ndarray, "E L"],
    subject: SubjectRecord,
    *,
    colour: str | None = None,
    joined: bool = False,
    level: float = 0.95,
    most: float = math.inf,
    line: str | tuple[int, tuple[int, ...]] = "-",
) -> None:
    """Means over episodes with their intervals."""
    colour = colour or _colour(subject)
    means = [subject.average(own, level=level, most=most) for own in values.T]
    for place, mean in zip(places, means):
        panel.plot([place, place], [mean.low, mean.high], color=colour, linewidth=2.4, alpha=0.45)
    panel.plot(
        places,
        [mean.value for mean in means],
        marker="o",
        markersize=4,
        linewidth=1.2,
        linestyle=line if joined else "",
        color=colour,
    )


def _colour(subject: SubjectRecord) -> str:
    return COLOURS.get(subject.name, UNTRAINED)


def _where(result: AdaptationResult, facts: AdaptationFacts) -> str:
    """Which images a panel is about, where there are two kinds."""
    if len(result.facts.parts) == 1:
        return ""
    return ", tasks held out" if facts.is_held_out else ", images of the study"


def _name_networks(result: AdaptationResult) -> list[Artist]:
    lines = [
        Line2D([], [], color=_colour(subject), marker="o", markersize=4, label=subject.name)
        for subject in result.facts.trained
    ]
    return [*lines, *_name_band(result)]


def _name_band(result: AdaptationResult) -> list[Artist]:
    number = len(result.facts.controls_of(result.facts.trained[0]))
    return [Patch(color=UNTRAINED, alpha=0.3, linewidth=0, label=f"range of {number} untrained")] if number else []


def _longest_roles(facts: AdaptationFacts) -> tuple[str, ...]:
    """Layers by the network with the most of them; those of others stand at the same places."""
    return max((subject.roles for subject in facts.trained), key=len)


def _name_layers(panel: Axes, roles: Sequence[str]) -> None:
    names = [_SHORT.get(role, role) for role in roles]
    panel.set_xticks(range(len(roles)), names, rotation=60, ha="right", rotation_mode="anchor")


FIGURES = (
    FigureSpec(
        slug="accuracy",
        title="Accuracy against adaptation",
        how_to_read="All networks take the same inner steps on the same labelled images and answer the same new ones. "
        "A line that rises from 0 steps on gains by adaptation; bars are 95 % intervals over episodes, the grey band "
        "is what untrained networks do.",
        draw=draw_accuracy,
    ),
    FigureSpec(
        slug="freezing",
        title="Which layers have to adapt",
        how_to_read="From left to right more layers adapt: the head alone, the last two, at last everything (Raghu et "
        "al. 2020). Where the line is flat from the head on, features are reused; where it rises, the layer that joins "
        "learns. "
        "Crosses: one layer alone (*in every second episode). Lower panels: bars are simultaneous over the layers.",
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
        slug="resemblance",
        title="Are the two networks' differences there before adaptation?",
        how_to_read="Debiased CKA of what meta and baseline make of the same queries, each before and after its own "
        "adaptation. Where the two lines fall together, what differs is there at the start; where they part, it comes "
        "with adaptation.",
        draw=draw_resemblance,
    ),
    FigureSpec(
        slug="head_free",
        title="Before and after: with the head, without it, and how sharp",
        how_to_read="Without a head, a query gets the label of the supports that look most like it to the last layer "
        "but one (NIL): where that is as good as the network's own answer, its features do the work. Sharpness is the "
        "steepest rise of the loss within a small distance.",
        draw=draw_head_free,
    ),
    FigureSpec(
        slug="paths",
        title="Do episodes agree on the direction?",
        how_to_read="Above, each line is one episode's way through weight space, on the network's own two axes. Below, "
        "points above the dotted line share more direction than shuffled labels on the same images do.",
        draw=draw_paths,
    ),
)
