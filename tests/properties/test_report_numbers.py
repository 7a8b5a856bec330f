"""Numbers in the tables of the report: comparable down a column, and never shown as something that they are not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meta_baseline.report.table_view import MAX_ROWS, view_table
from meta_baseline.report.text import choose_decimals, format_number, slugify


def shown(values: object) -> list[str]:
    return [row[0].text for row in view_table(pd.DataFrame({"x": values})).rows]


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12), st.integers(0, 4))
@example(0.5, 0)
def test_a_shown_number_reads_back_as_itself_to_the_digits_shown(value: float, decimals: int) -> None:
    text = format_number(value, decimals)
    read = float(text.replace("−", "-").replace("\u202f", ""))
    assert abs(read - value) <= max(0.5 * 10**-decimals * 1.0001, 0.051 * abs(value)) * 1.0001
    assert (read == 0) == (value == 0)


@given(st.lists(st.floats(1e-3, 1e5), min_size=1))
def test_the_largest_of_a_column_has_three_digits_at_least(values: list[float]) -> None:
    decimals = choose_decimals(values)
    assert 0 <= decimals <= 4
    assert decimals == 4 or max(values) * 10**decimals >= 100 * (1 - 1e-9)


def test_one_column_has_one_number_of_decimals() -> None:
    assert shown([0.5, 0.25, -0.125]) == ["0.500", "0.250", "−0.125"]
    assert shown([12.5, 7.25]) == ["12.5", "7.2"]


def test_a_small_number_beside_large_ones_is_not_shown_as_zero() -> None:
    assert shown([0.9, 0.8, 0.7, 0.85, 0.00002]) == ["0.900", "0.800", "0.700", "0.850", "2.0e−5"]


def test_what_is_undefined_is_a_dash_and_what_is_infinite_says_so() -> None:
    assert shown([math.nan, 0.25, math.inf, -math.inf]) == ["–", "0.250", "∞", "−∞"]
    assert shown([None, "text", pd.NA]) == ["–", "text", "–"]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, object, "Int64"])
def test_counts_have_no_decimals(kind: object) -> None:
    assert shown(pd.Series([1, 20, 200], dtype=kind)) == ["1", "20", "200"]


def test_counts_stay_counts_where_one_is_missing() -> None:
    assert shown([1.0, math.nan, 131072.0]) == ["1", "–", "131\u202f072"]


def test_an_accuracy_of_one_is_no_count() -> None:
    assert shown([1.0, 0.0]) == ["1.00", "0.00"]


def test_large_counts_are_saved_exactly() -> None:
    (row,) = view_table(pd.DataFrame({"n": [12345678]})).rows
    assert (row[0].text, row[0].value) == ("12\u202f345\u202f678", "12345678")


def test_truth_is_told_in_words() -> None:
    assert shown(np.array([True, False])) == ["yes", "no"]
    assert shown(pd.Series([np.True_, False], dtype=object)) == ["yes", "no"]


def test_a_named_index_is_a_column_and_levels_are_joined() -> None:
    frame = pd.DataFrame(
        {("meta", "num_units"): [1], ("baseline", "cka"): [0.5]}, index=pd.Index(["conv1"], name="layer")
    )
    view = view_table(frame)
    assert [column.label for column in view.columns] == ["layer", "meta num units", "baseline cka"]
    assert view.rows[0][0].text == "conv1"


def test_a_very_long_table_says_how_long_it_is() -> None:
    view = view_table(pd.DataFrame({"x": np.arange(MAX_ROWS + 7)}))
    assert (len(view.rows), view.num_rows) == (MAX_ROWS, MAX_ROWS + 7)


def test_an_empty_table_has_headings() -> None:
    view = view_table(pd.DataFrame({"layer": [], "cka": []}))
    assert [column.name for column in view.columns] == ["layer", "cka"] and view.rows == ()


@given(st.text())
def test_a_slug_is_fit_for_an_id_and_a_file_name(text: str) -> None:
    slug = slugify(text)
    assert slug and set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and slug == slugify(slug)
