"""One look for every figure: three colours with one meaning each, and ink that follows the page.

``meta`` is blue, ``baseline`` is orange, every control is grey: in every figure, so that a reader learns it once.
Text, ticks and frames are drawn in ``INK`` and the ground is transparent; the report replaces ``INK`` by the colour
of its text, so that a figure is readable on a light and on a dark page. PNG files are saved on white.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib as mpl
from matplotlib.figure import Figure

META = "#2f6fdf"
BASELINE = "#e07b1f"
UNTRAINED = "#8c8c8c"
CONTROL = "#8c8c8c"
ACCENT = "#1f9e77"
COLOURS = {"meta": META, "baseline": BASELINE, "untrained": UNTRAINED, "pixels": "#b0a08c", "control": CONTROL}
"""Colour of each network or control by the word that the results use for it."""

INK = "#1b1c1e"
"""Replaced by the text colour of the page when a figure is put into the report."""

_STYLE: dict[str, Any] = {
    "font.size": 10.0,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "meta_baseline",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """One figure of an analysis: a file name, a title, the sentence that says how to read it, and its drawing.

    ``draw`` takes the result and returns a Figure, or None when the result has nothing to draw in it.
    """

    slug: str
    title: str
    how_to_read: str
    draw: Callable[[Any], Figure | None]


@contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn inside the block has the look of the house; global matplotlib state is restored after it."""
    with mpl.rc_context(cast("Any", _STYLE)):
        yield


_P = ParamSpec("_P")
_R = TypeVar("_R")


def styled(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator of ``draw_*`` functions: everything that they draw has the look of the house."""

    @wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with house_style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float = 7.2, height: float = 3.6) -> Figure:
    """An empty figure in inches, laid out by matplotlib's constrained layout; not known to pyplot."""
    with house_style():
        return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``path``.png (200 dpi, on white) and ``path``.svg (transparent, text as text); same figure, same bytes."""
    with house_style():
        figure.savefig(path.with_suffix(".png"), facecolor="white", metadata={"Software": None})
        # Laid out once: the second time would take as long as drawing and change nothing.
        engine = figure.get_layout_engine()
        figure.set_layout_engine("none")
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.set_layout_engine(engine)
