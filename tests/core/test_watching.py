"""Blocks and watching partitions: the same messages give the same findings, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import conversations, tables
from streams.core.blocks import TALKS
from streams.core.combine import Policy, RawPartition, Summary
from streams.core.findings import Finding, as_object
from streams.core.ledger import HoleError
from streams.core.raw import RawMessage
from streams.core.suppression import Suppression
from streams.core.watching import Setup, WatchingPartition, newest
from streams.detectors.log_health import LOG_HEALTH
from tests.core.traffic import T0, any_lines, cuts, examples, message
from tests.core.watched import ECHO, findings, watcher

POLICY = Policy(watched=True, block_lines=4, watch_lateness=120)


def line(at: int, target: str = "10.0.0.9", eni: str = "eni-0000000000000001") -> str:
    """A record of a minute, from `at` seconds after T0 on."""
    return f"2 123456789012 {eni} 10.0.0.1 {target} 50000 443 6 10 1000 {T0 + at} {T0 + at + 59} ACCEPT OK"


def told(messages: Sequence[RawMessage], partition: int = 0, *, idle: bool = False) -> list[Summary]:
    """All blocks of a raw partition, for one watching partition."""
    state = RawPartition(partition, POLICY)
    state.fold(enumerate(messages))
    return state.whole_blocks(1, idle=idle)


def minutes(count: int, every: int = 60) -> list[RawMessage]:
    """A message a minute, which arrives ten seconds after its only record's end."""
    return [message([line(at)], 2, "f", at, arrival_ms=(T0 + at + 69) * 1000) for at in range(0, count * every, every)]


def take(state: WatchingPartition, blocks: Sequence[Summary], first: int = 0) -> list[Finding]:
    """Blocks at offsets from `first` on."""
    found = [state.apply(one.key.decode(), one.value, offset) for offset, one in enumerate(blocks, first)]
    return [finding for some in found for finding in some]


def test_a_minute_closes_when_the_watermark_has_passed_it_by_the_lateness() -> None:
    state = watcher(lateness=120)

    found = take(state, told(minutes(10)))

    assert [one.first for one in found if not one.closed] == [T0 - T0 % 60 + 60 * n for n in range(6)]
    assert all(one.detected == one.first + 60 for one in found if not one.closed)


def test_records_are_watched_or_counted_as_unwatched() -> None:
    late, undated = line(-600), line(0).replace("10.0.0.1", "-")
    state = RawPartition(0, POLICY)
    state.fold(enumerate([*minutes(5), message([late, undated, line(200)], 2, "g", arrival_ms=(T0 + 400) * 1000)]))
    state.fold([(99, message([line(300)], 2, "h", arrival_ms=(T0 + 900) * 1000))])

    talks = [tables.decode(one.value)[1][TALKS] for one in state.whole_blocks(2)]

    assert sum(map(conversations.records, talks)) == 6
    assert state.meta.totals["unwatched"] == 2
    assert state.meta.totals["flows"] == 9


def test_nothing_closes_before_every_raw_partition_has_said_something() -> None:
    state = watcher(sources=2)
    assert take(state, told(minutes(20))) == []

    [silent] = told([], 1, idle=True)

    assert state.apply(silent.key.decode(), silent.value, 50)


def test_the_slowest_raw_partition_decides() -> None:
    state = watcher(sources=2, lateness=0)

    take(state, told(minutes(4), 1))
    take(state, told(minutes(20)), 50)

    assert state.closed <= T0 + 4 * 60


def test_an_idle_partition_tells_what_it_has_and_tells_it_again_when_it_is_whole() -> None:
    state, watching = RawPartition(0, POLICY), watcher(lateness=0)
    state.fold(enumerate(minutes(2)))
    first = state.whole_blocks(1, idle=True)
    assert state.whole_blocks(1, idle=True) == []
    state.fold([(2, minutes(3)[2]), (3, minutes(4)[3])])
    then = state.whole_blocks(1)

    names = [one.key for one in (*first, *then)]
    found = take(watching, [*first, *then])

    assert watching.counts.late == 0
    assert names == [b"0/talks/0", b"0/talks/1", b"0/talks/1", b"0/talks/2"]
    assert len({one.id for one in found}) == len({one.first for one in found}) == 2
    assert all(one.count == 1 for one in found)


def test_records_that_come_after_their_minute_was_closed_are_counted_once() -> None:
    """An idle partition holds nobody back; what it tells then is late, and not late again when it is told again."""
    state, watching = RawPartition(0, POLICY), watcher(sources=2, lateness=0)
    take(watching, state.whole_blocks(1, idle=True))
    take(watching, told(minutes(20), 1), 1)
    state.fold([(0, minutes(3)[2])])
    first = state.whole_blocks(1, idle=True)
    state.fold([(1, minutes(4)[3]), (2, minutes(30)[29])])
    then = state.whole_blocks(1)

    take(watching, [*first, *first, *then, *first], 30)

    assert watching.counts.late == 2


def test_all_minutes_close_when_no_raw_partition_has_more_to_come() -> None:
    """A file that was replayed: nobody will ever say that its last minutes are over."""
    states, watching = [RawPartition(0, POLICY), RawPartition(1, POLICY)], watcher(sources=2, lateness=300)
    states[0].fold(enumerate(minutes(4)))
    idle = [one for state in states for one in state.whole_blocks(1, idle=True)]
    over = [one for state in states for one in state.whole_blocks(1, idle=True, over=True)]
    assert states[0].whole_blocks(1, idle=True, over=True) == []

    assert take(watching, idle) == []
    assert take(watching, over[:1], 20) == []
    found = take(watching, over[1:], 30)

    store = dict[str, bytes]()
    _written(watching, store)
    heir = watcher(sources=2, lateness=300, rows=newest({"": store}))
    states[0].fold([(9, minutes(9)[8])])
    found += take(heir, states[0].whole_blocks(1), 40)
    assert heir.closed == T0 - T0 % 60 + 4 * 60
    found += take(heir, states[0].whole_blocks(1, idle=True, over=True), 50)

    assert [one.first - T0 + T0 % 60 for one in found if not one.closed] == [0, 60, 120, 180, 480]
    assert heir.counts.late == 0


def test_a_partition_that_nobody_reads_does_not_hold_back_the_others_for_ever() -> None:
    state = WatchingPartition(Setup([ECHO], [], 2, 0, most_waiting=3))

    found = take(state, told(minutes(8)))

    assert len({one.first for one in found}) == 4
    assert state.closed == T0 - T0 % 60 + 4 * 60


def test_a_suppressed_finding_is_counted_and_not_told() -> None:
    hidden = Suppression("me", "known", target=ip_network("10.0.0.9/32"))
    state = WatchingPartition(Setup([ECHO], [hidden], 1, 120))

    assert take(state, told(minutes(10))) == []
    assert state.counts.suppressed == {"echo": 6}
    assert state.counts.opened == {("echo", "low"): 6}


def test_a_finding_says_where_its_first_records_are() -> None:
    """The block in which they came: partition and first offset; it keeps them when it goes on."""
    echo = replace(ECHO, cool_down=3600)
    found = take(WatchingPartition(Setup([echo], [], 1, 120)), told(minutes(10)))

    assert [one.origins for one in found if one.updates == 1] == ["0@0"]
    assert {one.origins for one in found} == {"0@0"}
    assert as_object(found[0])["origins"] == [{"partition": 0, "offset": 0}]


def test_records_that_hold_no_flow_reach_the_detectors() -> None:
    skipped = f"2 123456789012 eni-0000000000000001 - - - - - - - {T0 + 60} {T0 + 119} - SKIPDATA"
    given = minutes(10)
    given[1] = message([line(60), *[skipped] * 3], 2, "f", 1, arrival_ms=given[1].arrival_ms)

    found = take(WatchingPartition(Setup([LOG_HEALTH], [], 1, 120)), told(given))

    assert [(one.detector, one.eni, one.first) for one in found if one.updates == 1] == [
        ("log-health", "eni-0000000000000001", T0 - T0 % 60 + 60)
    ]


def test_a_checkpoint_clears_what_the_one_before_the_last_has_left() -> None:
    """Also what another worker has left: nothing stays in the changelog for good."""
    echo, blocks, store = replace(ECHO, cool_down=3600), told(minutes(30)), dict[str, bytes]()
    state = WatchingPartition(Setup([echo], [], 1, 120))
    for n in range(2):
        take(state, blocks[8 * n : 8 * n + 8], 8 * n)
        _written(state, store)
    heir = WatchingPartition(Setup([], [], 1, 120), newest({"": store}))
    for n in range(2, 4):
        take(heir, blocks[8 * n - 4 : 8 * n + 4], 8 * n - 4)
        _written(heir, store)

    assert {name for name in store if "/memory/" in name or name.endswith("/open/0")} == set()
    assert {name[0] for name in store if name[0].isdecimal()} == {"0", "1"}


def test_other_rules_hold_from_the_next_minute_on_and_close_what_nobody_looks_for_any_more() -> None:
    """What the detectors remember that stay, stays."""
    echo, blocks = replace(ECHO, cool_down=3600), told(minutes(20))
    other, state = replace(echo, name="other"), WatchingPartition(Setup([echo], [], 1, 120))
    take(state, blocks[:10])

    assert state.renew(Setup([echo, other], [], 1, 120)) == []
    both = take(state, blocks[10:14], 10)
    gone = state.renew(Setup([other], [], 1, 120))
    one = take(state, blocks[14:], 14)

    assert {finding.detector for finding in both} == {"echo", "other"}
    assert min(json.loads(x.evidence)["before"] for x in both if x.detector == "echo") > 1
    assert gone
    assert all(finding.closed and finding.detector == "echo" for finding in gone)
    assert {finding.detector for finding in one} == {"other"}


def test_what_is_not_ours_is_refused_and_changes_nothing() -> None:
    state = watcher()
    [block] = told(minutes(1), idle=True)
    head, frames = tables.decode(block.value)

    for value in (b"", b"{}\n", tables.encode({}, frames), tables.encode(head, {TALKS: frames[TALKS].drop("first")})):
        with pytest.raises(ValueError, match="not a"):
            state.apply("x", value, 0)

    assert state.checkpoint() == ({}, {})


# -- laws --------------------------------------------------------------------------------------------------------------


@st.composite
def _blocks(draw: st.DrawFn) -> list[Summary]:
    lines = draw(st.lists(any_lines(2, 3000), min_size=8, max_size=30))
    sizes = draw(cuts(len(lines), most=12))
    state, found, at = RawPartition(0, POLICY), list[Summary](), 0
    for n, size in enumerate(sizes):
        state.fold([(n, message(lines[at : at + size], 2, "f", n))])
        at += size
        found += state.whole_blocks(1, idle=draw(st.booleans()))
    return found


def _written(state: WatchingPartition, store: dict[str, bytes]) -> None:
    rows, then = state.checkpoint()
    for name, value in [*rows.items(), *then.items()]:
        store[name] = value or b""
        if value is None:
            del store[name]


@examples(25)
@given(st.data(), _blocks())
def test_a_crash_at_any_moment_changes_no_finding(data: st.DataObject, blocks: list[Summary]) -> None:
    """Laws 3 and 4: read again from what is stamped, the same findings with the same words come again, no others."""
    steady = findings(blocks)
    state, store, found, at = watcher(), dict[str, bytes](), set[Finding](), 0
    while at < len(blocks):
        found |= set(state.apply(blocks[at].key.decode(), blocks[at].value, at))
        at += 1
        event = data.draw(st.sampled_from(("", "", "save", "crash")))
        if event == "save":
            _written(state, store)
        elif event:
            state = watcher(rows=newest({"": store} if store else {}))
            at = data.draw(st.integers(max(0, state.stamp - 1), state.stamp + 1)) if data.draw(st.booleans()) else at
            at = min(at, state.stamp + 1)

    assert found == steady
    whole = watcher()
    take(whole, blocks)
    assert (state.closed, state.counts, state.figures) == (whole.closed, whole.counts, whole.figures)


@examples(10)
@given(st.data(), _blocks())
def test_blocks_that_come_twice_change_nothing(data: st.DataObject, blocks: list[Summary]) -> None:
    twice = [
        again for n, one in enumerate(blocks) for again in (one, *blocks[max(0, n - data.draw(st.integers(0, 3))) : n])
    ]

    assert findings(twice) == findings(blocks)


def test_rows_that_were_not_read_back_whole_are_a_hole_and_the_furthest_of_two_writers_counts() -> None:
    state, stores = watcher(), list[Mapping[str, bytes]]()
    blocks = told(minutes(20))
    for half in (blocks[:12], blocks[12:]):
        take(state, half, 12 * len(stores))
        store: dict[str, bytes] = {}
        _written(state, store)
        stores.append(store)
    early, late = stores

    assert newest({"a": early, "b": late}) == late
    cut = {name: value for name, value in late.items() if not name.endswith("known/0")}
    assert newest({"a": early, "b": cut}) == early
    with pytest.raises(HoleError):
        newest({"b": cut})
