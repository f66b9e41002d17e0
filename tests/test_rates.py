"""Rates: what two readings say, and when they say nothing."""

from __future__ import annotations

import pytest

from streams.rates import Readings, gained, lines_gained, reading
from tests.console.snapshots import snapshot

NEVER = 0.0


def test_what_was_gained_is_the_difference_by_key_and_keys_that_did_nothing_are_not_there() -> None:
    before = reading(snapshot({"a": (100, 10, 2), "quiet": (5, 1, 0)}, lines=10), 0)
    now = reading(snapshot({"a": (160, 14, 3), "quiet": (5, 1, 0), "new": (7, 1, 1)}, lines=15), 5)

    assert sorted(gained(now, before, "eni").rows()) == [("a", 60, 4, 1), ("new", 7, 1, 1)]
    assert lines_gained(now, before) == 5


def test_a_key_of_two_columns_is_one_key() -> None:
    before = reading(snapshot(ports={(53, 6): (1, 1, 0), (53, 17): (2, 2, 0)}), 0)
    now = reading(snapshot(ports={(53, 6): (1, 1, 0), (53, 17): (9, 3, 1)}), 5)

    assert gained(now, before, "port").rows() == [(53, 17, 7, 1, 1)]


@pytest.mark.parametrize("partitions", [(0, 1), (1,), ()], ids=["given one", "another", "none left"])
def test_what_partitions_bring_with_them_is_no_traffic(partitions: tuple[int, ...]) -> None:
    seen = Readings(10)
    seen.add(reading(snapshot({"a": (10, 1, 0)}, lines=10), 0))
    seen.add(reading(snapshot({"a": (10_000, 999, 0)}, lines=5000, partitions=partitions), 5))

    assert seen.oldest is seen.newest
    assert gained(seen.newest, seen.oldest, "eni").height == 0


def test_a_counter_that_goes_back_gained_nothing() -> None:
    before, now = (reading(snapshot({"a": (size, size, 0)}, lines=size), 0) for size in (9, 3))

    assert (gained(now, before, "eni").height, lines_gained(now, before)) == (0, 0)


def test_readings_are_kept_so_far_apart_and_the_newest_always() -> None:
    # 0    5    10   15   20   25   30   35   40   45     apart 20, three are kept
    # x                   x                   x    newest
    seen = Readings(3, apart=20)
    kept = []
    for at in range(0, 50, 5):
        seen.add(reading(snapshot(), at))
        kept.append((seen.oldest.seconds, seen.newest.seconds))

    assert kept == [(0, at) for at in range(0, 45, 5)] + [(20, 45)]
