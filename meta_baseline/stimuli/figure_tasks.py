"""The task that draws two figures: many at once, and in minimal pairs."""

from __future__ import annotations

from functools import partial
from typing import Any

from meta_baseline.stimuli.figures import Figures, draw_batch
from meta_baseline.stimuli.minimal_pairs import describe_variations
from meta_baseline.stimuli.task import Task


def describe_figures(figures: Figures, **about: Any) -> Task:
    """A task with these figures; ``about`` are its other attributes."""
    return Task(
        **about,
        colour=figures.coloured,
        draw_batch=partial(draw_batch, figures),
        vary=describe_variations(figures, figures.changes()),
    )
