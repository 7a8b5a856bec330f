"""A DataFrame as rows of cells: the text that is shown, and the value that sorting and the CSV file use."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import pandas as pd

from meta_baseline.report.text import MISSING, choose_decimals, format_number

MAX_ROWS = 100
"""Rows that go into the page; the CSV file in the results folder has them all."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading in words, the exact name for the CSV file, and whether the column holds numbers."""

    label: str
    name: str
    numeric: bool


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is shown; ``value`` is what sorts and is saved, None when that is the text itself.

    ``network`` is "meta", "baseline" or "untrained" when the cell is that word: it then carries the colour.
    """

    text: str
    value: str | None = None
    network: str = ""


@dataclass(frozen=True, kw_only=True)
class TableView:
    """Columns and rows as the template writes them; ``num_rows`` counts those that were left out too."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    num_rows: int


def view_table(frame: pd.DataFrame) -> TableView:
    """Lay out a table for reading: numbers with the same decimals down a column, undefined ones as a dash."""
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    shown = frame.iloc[:MAX_ROWS]
    columns: list[Column] = []
    cells: list[list[Cell]] = []
    for position, name in enumerate(frame.columns):
        values = list(shown.iloc[:, position])
        text = " ".join(str(part) for part in name).strip() if isinstance(name, tuple) else str(name)
        numeric = _is_numeric(values)
        columns.append(Column(label=_label(text), name=text, numeric=numeric))
        cells.append(_number_cells(values) if numeric else [_text_cell(value) for value in values])
    return TableView(columns=tuple(columns), rows=tuple(zip(*cells, strict=True)), num_rows=len(frame))


def _label(name: str) -> str:
    return name.removeprefix("num_").replace("_", " ")


def _is_numeric(values: list[Any]) -> bool:
    present = [value for value in values if not _is_missing(value)]
    return bool(present) and all(isinstance(v, numbers.Real) and not isinstance(v, bool) for v in present)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _number_cells(values: list[Any]) -> list[Cell]:
    numbers_ = [math.nan if _is_missing(value) else float(value) for value in values]
    # Counts turn into floats where one is missing; they are still shown as counts.
    holds_counts = all(isinstance(value, numbers.Integral) or _is_missing(value) for value in values)
    if holds_counts or _are_counts_with_gaps(numbers_):
        return [_number_cell(value, 0, ".0f") for value in numbers_]
    decimals = choose_decimals(numbers_)
    return [_number_cell(value, decimals, ".6g") for value in numbers_]


def _are_counts_with_gaps(values: list[float]) -> bool:
    present = [value for value in values if math.isfinite(value)]
    return len(present) < len(values) and all(value == int(value) for value in present)


def _number_cell(value: float, decimals: int, exact_format: str) -> Cell:
    text = format_number(value, decimals)
    if math.isnan(value):
        return Cell(text=text, value="NaN")
    exact = ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else format(value, exact_format)
    return Cell(text=text, value=None if exact == text else exact)


def _text_cell(value: Any) -> Cell:
    if _is_missing(value):
        return Cell(text=MISSING, value="")
    if isinstance(value, bool) or type(value).__name__ == "bool":  # the second is numpy.bool
        return Cell(text="yes" if value else "no")
    text = str(value)
    return Cell(text=text, network=text if text in ("meta", "baseline", "untrained") else "")
