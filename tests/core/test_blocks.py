"""Blocks fit into a Kafka message, whatever is in their records, and end where the messages say."""

from __future__ import annotations

from dataclasses import replace

from streams.core import tables
from streams.core.blocks import MOST_LINES, TALKS, Cut
from streams.core.combine import Policy, RawPartition
from streams.kafka import LARGEST_MESSAGE
from tests.core.traffic import message, noise

POLICY = Policy(watched=True)
_STEP = 8192


def test_the_largest_block_fits_into_a_message() -> None:
    """Also as a row of the changelog; `LARGEST_MESSAGE` is what the topics take."""
    state = RawPartition(0, POLICY)
    state.fold(enumerate(noise(MOST_LINES, _STEP)))
    rows, _ = state.checkpoint()

    [told] = state.whole_blocks(1, idle=True)

    assert tables.decode(told.value)[1][TALKS].height == MOST_LINES
    assert len(told.value) < LARGEST_MESSAGE
    assert max(map(len, rows.values())) < LARGEST_MESSAGE


def test_a_block_ends_before_it_is_too_large() -> None:
    cut, one = Cut(), message(["x"] * 3, 2, "f", 0)
    longer = replace(one, value=b"x\n" * 9)

    assert [cut.begins(each, 6) for each in (one, one, one, longer, one, one)] == [True, False, True, True, True, False]


def test_a_message_of_more_lines_than_a_block_is_counted_and_not_watched() -> None:
    state = RawPartition(0, POLICY)
    state.fold(enumerate(noise(MOST_LINES + 1, MOST_LINES + 1)))
    state.fold([(1, noise(1, 1, "g")[0])])

    talks = [tables.decode(one.value)[1][TALKS].height for one in state.whole_blocks(1, idle=True)]

    assert talks == [0, 1]
    assert state.meta.totals["unwatched"] == MOST_LINES + 1
    assert state.meta.lines["flow"] == MOST_LINES + 2
