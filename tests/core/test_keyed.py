"""Joins by a hash of the key give what joins by the key do."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streams.core import keyed

KEY = ["eni", "port"]
_ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "ab", ""]), st.integers(0, 2), st.integers(0, 9)), max_size=12)


def _frame(rows: list[tuple[str, int, int]], value: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"eni": pl.String, "port": pl.Int32, value: pl.Int64}, orient="row")


@given(_ROWS, _ROWS)
def test_rows_meet_as_by_their_key(left: list[tuple[str, int, int]], right: list[tuple[str, int, int]]) -> None:
    one, other = _frame(left, "n"), _frame(right, "m").unique(KEY, keep="first", maintain_order=True)
    expected = one.join(other, on=KEY, how="left", maintain_order="left")
    assert_frame_equal(keyed.joined(one, other, KEY), expected)
    assert_frame_equal(keyed.semi(one, other, KEY), one.join(other, on=KEY, how="semi", maintain_order="left"))
    assert_frame_equal(keyed.anti(one, other, KEY), one.join(other, on=KEY, how="anti", maintain_order="left"))


@given(_ROWS)
def test_groups_are_those_of_the_key(rows: list[tuple[str, int, int]]) -> None:
    frame, total = _frame(rows, "n"), pl.col("n").sum()
    expected = frame.group_by(KEY).agg(total)
    assert_frame_equal(keyed.grouped(frame, KEY, total), expected, check_row_order=False)


def test_columns_that_change_places_are_another_key() -> None:
    rows = pl.DataFrame({"source": ["a", "b"], "target": ["b", "a"]})
    assert rows.select(keyed.hashed(["source", "target"])).to_series().n_unique() == 2


def test_a_memory_that_loses_rows_again_and_again_stays_in_one_piece() -> None:
    known = _frame([("a", port, 0) for port in range(50)], "n")
    for port in range(5):
        known = pl.concat([keyed.anti(known, _frame([("a", port, 0)], "n"), KEY), _frame([("b", port, 0)], "n")])
    assert known.n_chunks() == 2
