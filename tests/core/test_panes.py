"""Event time: records go to panes with nothing lost, and the slowest raw partition that is not idle holds the clock."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.panes import Assign, Clock, assign, window
from tests.core.traffic import examples

Record = tuple[int, int, int, int]
"""first, last, packets, bytes."""


def _assigned(records: list[Record], seconds: int, how: Assign, max_span: int = 3600) -> pl.DataFrame:
    schema = dict.fromkeys(("first", "last", "packets", "bytes"), pl.Int64)
    facts = pl.DataFrame(records, schema=schema, orient="row").with_row_index("record")
    found = assign(facts, seconds, how, max_span)
    return found if "flows" in found.columns else found.with_columns(pl.lit(1, dtype=pl.Int64).alias("flows"))


HUGE = 2**63 - 1
NUMBER = st.one_of(st.integers(0, 5000), st.sampled_from((0, 1, 59, 60, HUGE, HUGE - 1, 2**53 + 1)))
TIME = st.integers(0, 4000)


@examples(60)
@given(
    st.lists(st.tuples(TIME, TIME, NUMBER, NUMBER), max_size=12),
    st.sampled_from((1, 7, 60, 300)),
    st.sampled_from(("start", "end", "spread")),
    st.sampled_from((0, 60, 3600)),
)
def test_every_record_is_conserved_to_the_unit(records: list[Record], seconds: int, how: Assign, max_span: int) -> None:
    """Law 1, also for values of 63 bits: a record's parts sum to it, one counts the flow, none is negative."""
    found = _assigned(records, seconds, how, max_span)

    assert (found.get_column("pane") % seconds == 0).all()
    assert not found.height or found.select(pl.min_horizontal("packets", "bytes", "flows").min()).item() >= 0
    for number, (first, last, packets, octets) in enumerate(records):
        mine = found.filter(pl.col("record") == number)
        panes = mine.get_column("pane").to_list()
        assert sum(mine.get_column("packets").to_list()) == packets
        assert sum(mine.get_column("bytes").to_list()) == octets
        assert sum(mine.get_column("flows").to_list()) == 1
        assert len(set(panes)) == len(panes)
        assert all(min(first, last) - seconds < pane <= last for pane in panes)


@pytest.mark.parametrize(
    ("how", "record", "panes"),
    [
        # 0        60       120
        # [--------)[--------)
        #      ----------           30..89
        ("start", (30, 89, 6, 600), {0: (1, 6, 600)}),
        ("end", (30, 89, 6, 600), {60: (1, 6, 600)}),
        ("spread", (30, 89, 6, 600), {0: (0, 3, 300), 60: (1, 3, 300)}),
        ("spread", (59, 60, 1, 3), {0: (0, 0, 1), 60: (1, 1, 2)}),  # rounded down, and the rest is not lost
        ("spread", (60, 60, 1, 3), {60: (1, 1, 3)}),
        ("spread", (0, 179, 3, 3), {0: (0, 1, 1), 60: (0, 1, 1), 120: (1, 1, 1)}),
        ("spread", (0, 181, 3, 3), {180: (1, 3, 3)}),  # longer than max_span
        ("spread", (500, 10, 3, 3), {0: (1, 3, 3)}),  # starts after its end
        ("start", (500, 10, 3, 3), {0: (1, 3, 3)}),
        ("end", (500, 10, 3, 3), {0: (1, 3, 3)}),
        ("end", (0, 59, 1, 1), {0: (1, 1, 1)}),
        ("end", (0, 60, 1, 1), {60: (1, 1, 1)}),
    ],
)  # fmt: skip
def test_panes_of(how: Assign, record: Record, panes: dict[int, tuple[int, int, int]]) -> None:
    found = _assigned([record], 60, how, max_span=180)

    assert {row["pane"]: (row["flows"], row["packets"], row["bytes"]) for row in found.to_dicts()} == panes


def test_the_slowest_partition_decides_what_is_closed() -> None:
    clock = Clock(lateness=100)
    assert clock.closed_before() is None

    clock.advance(0, 1000)
    clock.advance(1, 600)

    assert clock.closed_before() == 500


def test_an_idle_partition_holds_nobody_back() -> None:
    clock = Clock(lateness=0)
    clock.advance(0, 1000)
    clock.advance(1, 600, idle=True)
    assert clock.closed_before() == 1000

    clock.advance(0, 1000, idle=True)
    assert clock.closed_before() == 1000, "all idle: the fastest"

    clock.advance(1, 700)
    assert clock.closed_before() == 700


@examples(30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000)), min_size=1, max_size=10))
def test_a_watermark_never_goes_back_and_order_does_not_show(steps: list[tuple[int, int]]) -> None:
    clock, turned = Clock(lateness=0), Clock(lateness=0)
    for partition, at in steps:
        clock.advance(partition, at)
    for partition, at in reversed(steps):
        turned.advance(partition, at)

    assert clock == turned
    assert clock.watermark == {p: max(at for q, at in steps if q == p) for p, _ in steps}


def test_a_window_is_the_panes_that_start_in_it() -> None:
    panes = {start: pl.DataFrame({"n": [start]}) for start in range(0, 600, 60)}

    assert [frame.item() for frame in window(panes, end=360, seconds=300)] == [60, 120, 180, 240, 300]
    assert window(panes, end=0, seconds=300) == []
