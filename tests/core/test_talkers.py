"""Talkers: who moved most in the last minute, counted once however many interfaces saw it."""

from __future__ import annotations

import polars as pl

from streams.core import conversations
from streams.core.raw import RawMessage
from streams.core.talkers import MOST, Talker, Talkers, of_last_minute
from tests.core.test_watching import line, minutes, take, told
from tests.core.traffic import T0, message
from tests.core.watched import watcher

NONE = dict.fromkeys(conversations.SUMS, 0)


def _talks(*rows: dict[str, object]) -> pl.DataFrame:
    rest = {"eni": "eni-1", "direction": 1, "server": "10.0.0.9", "port": 443, "protocol": 6, "pane": 60, **NONE}
    last = {"first": 60, "last": 70, "smallest": 1, "largest": 1, "seconds": 0, "sockets": 0}
    return pl.DataFrame([{**rest, **last, **row} for row in rows], schema=conversations.SCHEMA)


def test_both_ways_are_added_and_the_largest_is_first() -> None:
    talks = _talks(
        {"client": "a", "flows": 1, "bytes": 10},
        {"client": "b", "flows": 2, "rejected": 1, "bytes": 5, "replies": 3, "reply_rejected": 1, "reply_bytes": 50},
    )

    assert of_last_minute(talks) == Talkers(
        60, (Talker("b", "10.0.0.9", 443, 6, 55, 5, 2), Talker("a", "10.0.0.9", 443, 6, 10, 1, 0))
    )


def test_what_two_interfaces_saw_counts_as_the_one_that_saw_more() -> None:
    talks = _talks(
        {"client": "a", "flows": 1, "bytes": 10}, {"client": "a", "flows": 2, "bytes": 12, "eni": "eni-2"},
        {"client": "a", "flows": 1, "bytes": 1, "eni": "eni-2", "direction": 2},
    )  # fmt: skip

    assert of_last_minute(talks).rows == (Talker("a", "10.0.0.9", 443, 6, 13, 3, 0),)


def test_only_the_last_minute_counts() -> None:
    found = of_last_minute(_talks({"client": "a", "bytes": 999}, {"client": "b", "bytes": 1, "pane": 120}))

    assert (found.minute, [row.client for row in found.rows]) == (120, ["b"])


def test_there_are_at_most_twenty_and_the_order_is_always_the_same() -> None:
    rows = [{"client": f"{place:03}", "bytes": 7} for place in range(100)]

    found = of_last_minute(_talks(*rows))

    assert [row.client for row in found.rows] == [f"{place:03}" for place in range(MOST)]
    assert of_last_minute(_talks(*rows[::-1])) == found


def test_a_minute_that_closes_shows_its_talkers_and_they_stay_until_the_next_one_with_any() -> None:
    state = watcher(lateness=0)
    assert state.figures.talkers == Talkers()

    take(state, told([*minutes(3), *map(_nobody, range(180, 600, 60))]))

    assert state.closed > T0 + 400
    assert state.figures.talkers.minute == T0 + 120
    assert [(row.client, row.bytes, row.flows) for row in state.figures.talkers.rows] == [("10.0.0.1", 1000, 1)]


def _nobody(at: int) -> RawMessage:
    """A minute whose record has no source: it moves the watermark, and no conversation is in it."""
    return message([line(at).replace("10.0.0.1", "-")], 2, "f", at, arrival_ms=(T0 + at + 69) * 1000)
