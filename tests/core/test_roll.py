"""The newest stamp wins, and what is not a summary changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import polars as pl
import pytest

from streams.core import tables
from streams.core.combine import Policy, RawPartition
from streams.core.roll import SummaryPartition, held, newest
from tests.core.traffic import ARRIVAL, OWN, T0, Flow, Roll, message, run

ENI = min(OWN)


def _flow(at: int, peer: str = "10.0.7.7", octets: int = 100) -> str:
    return Flow(ENI, OWN[ENI][0], peer, (40000, 443), 6, 1, octets, at, at).line(2)


def _enis(state: SummaryPartition) -> dict[str, int]:
    rows = state.totals()["eni"].group_by("eni").agg(pl.col("bytes").sum())
    return dict(rows.iter_rows())


def _state(*partitions: RawPartition) -> SummaryPartition:
    """One summary partition that holds everything."""
    found = SummaryPartition(900)
    for one in (summary for raw in partitions for summary in raw.summaries(1)):
        found.apply(one.key.decode(), one.value)
    return found


def _pane(stamp: int, octets: int, start: int = T0) -> bytes:
    row = {"eni": "e", "direction": 2, "action": 1, "replay": False, "flows": 1, "packets": 1, "bytes": octets}
    frame = pl.DataFrame([{**row, "first": start, "last": start}], schema=tables.ENI.schema)
    head = {"row": f"pane/{start}", "source": 0, "stamp": stamp, "through": 0, "watermark": start, "arrival": None}
    return tables.encode(head, {"eni": frame, "port": tables.PORT.empty()})


def _clock(stamp: int, watermark: int, *, idle: bool) -> bytes:
    return tables.encode({"row": "clock", "source": 0, "stamp": stamp, "watermark": watermark, "idle": idle}, {})


def test_an_older_stamp_changes_nothing() -> None:
    state = SummaryPartition(900)

    for stamp, octets in ((3, 30), (5, 50), (4, 40), (5, 99)):
        state.apply(f"0/pane/{T0}", _pane(stamp, octets))

    assert _enis(state) == {"e": 50}


def test_panes_that_the_history_includes_go_and_do_not_come_back() -> None:
    policy = Policy(retained=2, lateness=60)
    early, late = RawPartition(0, policy), RawPartition(0, policy)
    log = [(n, message([_flow(T0 + n * 60)], 2, "f", n)) for n in range(5)]
    early.fold(log[:1])
    stale = early.summaries(1)
    late.fold(log)
    state = _state(late)

    for one in stale:
        state.apply(one.key.decode(), one.value)

    assert state.pane_starts() == [T0 + 180, T0 + 240]
    assert _enis(state) == {ENI: 500}


def test_rows_and_deletions_are_given_once() -> None:
    state = SummaryPartition(900)
    state.apply(f"0/pane/{T0}", _pane(3, 30))
    assert set(state.checkpoint()[0]) == {f"0/pane/{T0}"}
    assert state.checkpoint() == ({}, {})

    history = {"row": "history", "source": 0, "stamp": 4, "through": T0 + 60, "watermark": T0, "arrival": None}
    state.apply("0/history", tables.encode(history, tables.empty_frames()))

    rows, then = state.checkpoint()
    assert (set(rows), set(then)) == ({"0/history"}, {"stamp"})
    rows, then = state.checkpoint()
    assert rows == {}
    assert then[f"0/pane/{T0}"] is None  # not before a `stamp` that does not name it was safe
    assert state.checkpoint() == ({}, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("0/pane/1", b""),
        ("0/pane/1", b"junk"),
        ("0/pane/1", b'{"v":1,"frames":[]}\n'),
        ("0/pane/1", tables.encode({"source": "0", "stamp": 3}, {})),
        ("0/pane/1", tables.encode({"source": 0}, {})),
        ("0/pane/1", _pane(9, 9)[:-7]),
        ("0/pane/x", _pane(9, 9)),
        ("x/pane/1", _pane(9, 9)),
        ("nothing", _pane(9, 9)),
        ("", _pane(9, 9)),
    ],
)
def test_what_is_no_summary_is_refused_and_changes_nothing(key: str, value: bytes) -> None:
    state = SummaryPartition(900)
    state.apply("0/pane/1", _pane(3, 30, 1))
    state.checkpoint()

    with pytest.raises(ValueError, match=r".+"):
        state.apply(key, value)

    assert _enis(state) == {"e": 30}
    assert state.checkpoint() == ({}, {})
    state.apply("0/pane/1", _pane(4, 40, 1))
    assert _enis(state) == {"e": 40}


def test_a_pane_is_not_closed_before_its_last_summary_came() -> None:
    """The clock is told after the panes of the same moment: half of them must not close the others."""
    raw = RawPartition(0, Policy(lateness=60))
    raw.fold([(0, message([_flow(T0)], 2, "f", 0)), (1, message([_flow(T0 + 600)], 2, "f", 1))])
    state, closed = SummaryPartition(60), []
    for one in raw.summaries(1):
        state.apply(one.key.decode(), one.value)
        closed.append(state.clock.closed_before())

    assert closed == [*[None] * (len(closed) - 1), T0 + 540]


def test_every_summary_partition_is_told_the_clock() -> None:
    """Also the ones that hold none of the raw partition's keys."""
    raw, roll = RawPartition(0, Policy()), Roll()
    raw.fold([(0, message([_flow(T0)], 2, "f"))])

    roll.take(raw.summaries(3))

    assert {at: state.clock.watermark for at, state in roll.states.items()} == {at: {0: T0} for at in range(3)}


def test_idle_is_told_once_and_survives_stale_summaries_and_a_restart() -> None:
    state = SummaryPartition(0)
    state.apply("0/clock", _clock(5, T0, idle=False))
    state.apply("0/clock", _clock(5, T0, idle=True))

    state.apply("0/clock", _clock(5, T0, idle=False))
    state.apply("0/pane/60", _pane(4, 1, 60))
    assert state.clock.idle == {0}

    rows = {name: value for name, value in state.checkpoint()[0].items() if value is not None}
    assert SummaryPartition(0, rows).clock == state.clock
    state.apply("0/clock", _clock(6, T0, idle=False))
    assert state.clock.idle == set()


def test_a_raw_partition_says_when_it_turns_idle_and_when_it_no_longer_is() -> None:
    raw = RawPartition(0, Policy())
    raw.fold([(0, message([_flow(T0)], 2, "f", 0))])
    state = _state(raw)

    def told(*, idle: bool) -> tuple[int, set[int]]:
        found = raw.summaries(1, idle=idle)
        for one in found:
            state.apply(one.key.decode(), one.value)
        return len(found), state.clock.idle

    assert told(idle=False) == (0, set())
    assert told(idle=True) == (1, {0})
    assert told(idle=True) == (0, {0})
    raw.fold([(1, message([_flow(T0)], 2, "f", 1))])
    assert told(idle=False)[1] == set()


def test_a_summary_tells_since_when_its_oldest_record_waits() -> None:
    raw, state = RawPartition(0, Policy()), SummaryPartition(900)
    raw.fold([(0, message([_flow(T0)], 2, "f", 0)), (1, message([_flow(T0)], 2, "f", 1, arrival_ms=ARRIVAL - 5))])

    arrivals = {one.key.decode(): state.apply(one.key.decode(), one.value) for one in raw.summaries(1)}

    assert arrivals[f"0/pane/{T0}"] == ARRIVAL - 5
    raw.fold([(2, message([_flow(T0)], 2, "f", 2, replay=True))])
    assert {state.apply(one.key.decode(), one.value) for one in raw.summaries(1)} == {None}


def test_what_two_raw_partitions_learnt_tells_the_direction_of_both() -> None:
    """Neither has seen two peers of the ENI; together they have."""
    one = [message([_flow(T0, peer="10.0.7.7")], 2, "f", 0)]
    other = [message([_flow(T0, peer="10.0.8.8")], 2, "f", 1)]

    assert set(run([one], Policy()).roll.totals()["eni"]) == {(ENI, "unknown", "ACCEPT")}
    assert set(run([one, other], Policy()).roll.totals()["eni"]) == {(ENI, "egress", "ACCEPT")}


def test_the_newest_word_on_an_eni_is_the_one() -> None:
    def line(at: int, vpc: str) -> str:
        return f"{_flow(at)} 0 {vpc} i-{at} -".replace("2 ", "5 ", 1)

    states = [RawPartition(n, Policy()) for n in range(2)]
    states[0].fold([(0, message([line(T0 + 60, "vpc-new")], 5, "f", 0))])
    states[1].fold([(0, message([line(T0, "vpc-old")], 5, "f", 1))])

    info = _state(*reversed(states)).standing().info()

    assert info.select("eni", "vpc-id", "instance-id", "seen").rows() == [(ENI, "vpc-new", f"i-{T0 + 60}", T0 + 60)]
    assert SummaryPartition(900).standing().info().height == 0


def test_replayed_history_is_left_out_unless_asked_for() -> None:
    raw = RawPartition(0, Policy())
    live, past = message([_flow(T0, octets=1)], 2, "f", 0), message([_flow(T0, octets=2)], 2, "f", 1, replay=True)
    raw.fold([(0, live), (1, past)])
    state = _state(raw)

    totals: Mapping[bool, int] = {
        replay: int(state.standing().totals(replay=replay)["eni"].get_column("bytes").sum()) for replay in (False, True)
    }

    assert totals == {False: 1, True: 3}


def test_a_late_row_of_another_writer_is_an_old_one() -> None:
    """Whoever opens the partition takes what has come furthest of each name; idle is further than not."""
    ahead = {"0/pane/60": _pane(9, 5, 60), "0/clock": _clock(9, T0, idle=True), "stamp": _stamp(40, {"0/clock": 19})}
    behind = {
        "0/pane/60": _pane(7, 3, 60),
        "0/clock": _clock(9, T0, idle=False),
        "stamp": _stamp(8, {}),
        "1/pane/60": _pane(1, 1, 60),
    }

    for written in ({"a": ahead, "b": behind}, {"b": behind, "a": ahead}):
        assert newest(written) == {**behind, **ahead}


def test_summaries_that_change_nothing_move_the_stamp_all_the_same() -> None:
    """They are acknowledged: who opens the partition next must not look for them."""
    state = SummaryPartition(900)
    state.apply("0/pane/60", _pane(9, 5, 60))
    state.stamp = 7
    state.checkpoint()
    state.apply("0/pane/60", _pane(9, 5, 60))
    state.stamp = 8

    rows, then = state.checkpoint()

    assert rows == {}
    assert held(then["stamp"] or b"")[0] == 8
    assert state.checkpoint() == ({}, {})


def test_a_stamp_whose_rows_are_not_all_there_does_not_count() -> None:
    """What was read back had a hole: an older state is a state, a state with a hole is none."""
    rows = {"0/pane/60": _pane(9, 5, 60), "stamp": _stamp(40, {"0/pane/60": 18, "0/pane/120": 20})}
    older = {"0/pane/60": _pane(7, 3, 60), "stamp": _stamp(8, {"0/pane/60": 14})}

    assert newest({"a": rows, "b": older})["stamp"] == older["stamp"]
    with pytest.raises(ValueError, match="not all rows that `stamp` speaks of are there"):
        newest({"a": rows})


def _stamp(offset: int, rows: dict[str, int]) -> bytes:
    return orjson.dumps({"v": 1, "stamp": offset, "rows": rows})
