"""A raw partition, case by case: what once went wrong, or would without a rule. The laws are in test_laws.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from streams.core import combine, tables
from streams.core.combine import DELAY_BUCKETS, Meta, Policy, RawPartition, newest
from streams.core.parse import REASONS
from streams.core.raw import Origin, RawMessage
from streams.generate import bulk
from tests.core.traffic import ARRIVAL, FORMATS, OWN, T0, Flow, Roll, contents, count, counted, message

ENI, SECOND, THIRD = sorted(OWN)[:3]
NEVER = 99


def _line(at: int, eni: str = ENI, port: int = 443, peer: str = "10.0.7.7", octets: int = 100) -> str:
    return Flow(eni, OWN.get(eni, ("10.0.0.99",))[0], peer, (40000, port), 6, 1, octets, at, at).line(2)


def _log(*bundles: Sequence[str], first: int = 0, **fields: object) -> list[tuple[int, RawMessage]]:
    """A message a bundle of lines, at offsets from `first` on."""
    return [(first + n, message(lines, 2, "f", first + n, **fields)) for n, lines in enumerate(bundles)]


def _saved(state: RawPartition, store: dict[str, bytes], *, phases: int = 2) -> dict[str, bytes]:
    rows = dict(store)
    for some in state.checkpoint()[:phases]:
        rows |= {name: value for name, value in some.items() if value is not None}
        for name in [name for name, value in some.items() if value is None]:
            rows.pop(name, None)
    return rows


def _totals(*states: RawPartition) -> dict[str, int]:
    """ENI -> bytes in the tables, from these states' summaries."""
    roll = Roll()
    for state in states:
        roll.take(state.summaries(2))
    found: dict[str, int] = {}
    for (eni, *_), (_, _, octets) in roll.totals()["eni"].items():
        found[str(eni)] = found.get(str(eni), 0) + octets
    return found


# -- the same messages again -------------------------------------------------------------------------------------------


def test_an_offset_that_comes_twice_in_one_batch_counts_once() -> None:
    """Kafka's consumer gave it before and after a rebalance."""
    log = _log([_line(T0)], [_line(T0)])
    state = RawPartition(0, Policy())

    state.fold([log[0], log[0], log[1], log[0], log[1]])

    assert state.meta.lines["flow"] == 2
    assert not +state.meta.duplicates


def test_foreign_messages_without_an_origin_are_no_repeats() -> None:
    value = f"{_line(T0)}\n".encode()
    state = RawPartition(0, Policy())

    state.fold([(n, RawMessage.from_kafka(value, [], ARRIVAL)) for n in range(3)])

    assert state.meta.lines["flow"] == 3


def test_a_row_ahead_of_meta_is_not_counted_again_with_its_neighbour() -> None:
    """Small messages are folded together, but not the last that a surviving pane includes and the first it lacks."""
    log = _log(*([_line(T0)] for _ in range(4)))
    state = RawPartition(0, Policy())
    store = _saved(state, {})
    state.fold(log[:2])
    store = _saved(state, store, phases=1)

    again = RawPartition(0, Policy(), store)
    again.fold(log)

    assert counted(again)["eni"] == [4, 4, 400]
    assert again.meta.lines["flow"] == 4


def test_what_was_saved_but_not_sent_is_sent_after_a_restart() -> None:
    """Folded after the last summaries, checkpointed, acknowledged: nobody else will ever send it."""
    state = RawPartition(0, Policy(retained=3))
    roll = Roll()
    state.fold(_log([_line(T0)]))
    roll.take(state.summaries(2))
    state.fold(_log([_line(T0 + 30, SECOND)], [_line(T0 + 600)], first=1))

    again = RawPartition(0, Policy(retained=3), _saved(state, {}))
    roll.take(again.summaries(2))

    assert sum(counts[2] for counts in roll.totals()["eni"].values()) == 300
    assert {key[0] for key in roll.totals()["eni"]} == {ENI, SECOND}


def test_what_was_sent_is_not_sent_again_after_a_restart() -> None:
    state = RawPartition(0, Policy())
    state.fold(_log([_line(T0)], [_line(T0 + 60)]))
    state.summaries(2)

    again = RawPartition(0, Policy(), _saved(state, {}))

    assert {one.key for one in again.summaries(2)} == {b"0/clock"}


def test_a_place_that_became_free_later_is_not_given_to_messages_read_again() -> None:
    """# 0: ENI and SECOND fill the budget; 1: THIRD is `other`; 2: SECOND is forgotten; 3: THIRD has a place now.

    A crash in the checkpoint after 3 leaves the rows of 3 and `meta` of 0. Read again, THIRD must be `other` in 1.
    """
    policy = Policy(eni_keys=2, key_ttl=600, retained=2, lateness=60)
    log = _log(
        [_line(T0), _line(T0, SECOND)],
        [_line(T0 + 590), _line(T0 + 590, THIRD)],
        [_line(T0 + 900)],
        [_line(T0 + 900, THIRD)],
    )
    steady = RawPartition(0, policy)
    steady.fold(log)
    dying = RawPartition(0, policy)
    dying.fold(log[:1])
    store = _saved(dying, {})
    dying.fold(log[1:])
    first, _ = dying.checkpoint()

    for survivor in first:
        again = RawPartition(0, policy, {**store, survivor: first[survivor]})
        again.fold(log)
        assert contents(again) == contents(steady), survivor

    assert steady.meta.over_budget["eni"] == 1
    assert steady.meta.expired["eni"] == 1


def test_a_pane_that_is_gone_is_deleted_only_when_the_history_that_has_it_is_settled() -> None:
    policy = Policy(retained=1)
    state = RawPartition(0, policy)
    state.fold(_log([_line(T0)]))
    store = _saved(state, {})
    state.fold(_log([_line(T0 + 60)], first=1))

    rows, then = state.checkpoint()
    assert None not in then.values()
    crashed = RawPartition(0, policy, {**store, **rows, **{k: v for k, v in then.items() if v and k != "meta"}})
    crashed.fold(_log([_line(T0 + 60)], first=1))
    assert counted(crashed)["eni"] == [2, 2, 200]

    assert state.checkpoint()[1][f"pane/{T0}"] is None


def test_panes_that_a_crash_left_behind_are_deleted() -> None:
    policy = Policy(retained=1)
    state = RawPartition(0, policy)
    state.fold(_log([_line(T0)]))
    store = _saved(state, {})
    state.fold(_log([_line(T0 + 60)], first=1))
    store = _saved(state, store)
    assert f"pane/{T0}" in store

    again = RawPartition(0, policy, store)

    assert f"pane/{T0}" not in _saved(again, store)


def test_no_checkpoint_writes_what_has_not_changed() -> None:
    state = RawPartition(0, Policy())
    state.fold(_log([_line(T0)], [_line(T0 + 300)]))
    state.checkpoint()
    state.fold(_log([_line(T0 + 1)], first=2))

    rows, then = state.checkpoint()

    assert set(rows) == {f"pane/{T0}", "origins/0"}
    assert set(then) == {"meta"}


# -- folded together ---------------------------------------------------------------------------------------------------


def _together(state: RawPartition, log: list[tuple[int, RawMessage]]) -> bool:
    """Whether messages were folded together: then all panes that they touch have the stamp of the last."""
    state.fold(log)
    return {pane.stamp for pane in state.panes.values()} == {log[-1][0]}


def test_small_messages_are_folded_together() -> None:
    state = RawPartition(0, Policy())
    state.fold(_log([_line(T0)]))

    assert _together(state, _log(*([_line(T0 + 60 * n)] for n in range(5)), first=1))


def test_messages_are_folded_together_again_after_an_odd_one() -> None:
    state = RawPartition(0, Policy())
    state.fold(_log(["junk"], [_line(T0)]))
    for n in range(20):
        state.fold(_log([_line(T0)], [_line(T0)], first=10 + 2 * n))

    assert _together(state, _log(*([_line(T0 + 60 * n)] for n in range(5)), first=100))


@pytest.mark.parametrize(
    "odd",
    [
        {"arrival_ms": T0 * 1000 - 10**6},  # from the future, seen from its own arrival
        {"format": "interface-id srcaddr dstaddr"},
        {"replay": True},
        {"error": "bad_gzip"},
        {"value": b""},
        {"value": b"junk\n"},
        {"value": b"\n\n"},
        {"value": FORMATS[2].encode()},
        {"value": FORMATS[2].replace("packets bytes", "bytes packets").encode()},
        {"value": _line(T0 - 5000).encode()},  # late
        {"value": _line(T0).replace(str(T0), "-").encode()},  # has no time but its arrival
    ],
)
def test_an_odd_message_is_what_it_is_also_between_others(odd: dict[str, object]) -> None:
    log = _log(*([_line(T0 + n)] for n in range(5)))
    log[2] = (2, replace(log[2][1], **odd))  # type: ignore[arg-type]
    alone, together = RawPartition(0, Policy()), RawPartition(0, Policy())
    for one in log:
        alone.fold([one])

    together.fold(log[:1])  # the first message of all is always folded by itself
    together.fold(log[1:])

    assert contents(together) == contents(alone)


def test_the_late_and_those_of_a_broken_clock_do_not_keep_messages_apart() -> None:
    """One sender with a wrong clock must not make all others cost several times as much."""
    start, late, early = (_line(at) for at in (T0, T0 - 5000, T0 + 10**6))
    log = _log([start], [start, late], [_line(T0 + 60), early], [_line(T0 + 120), late], [_line(T0 - 800)])
    alone, together = (RawPartition(0, Policy(lateness=800)) for _ in range(2))
    for one in log:
        alone.fold([one])
    together.fold(log[:1])

    assert _together(together, log[1:])
    assert contents(together) == contents(alone)
    assert (together.meta.totals["late"], together.meta.totals["future"]) == (3, 1)


def test_neither_headers_on_top_nor_bad_lines_keep_messages_apart() -> None:
    """Each object on S3 begins with a header; one bad line must not make all others cost several times as much."""
    start, header = _line(T0), FORMATS[2]
    bundles = [start], [header, start, "junk"], ["", start, "junk", start], [header + "\r", start], ["more junk", start]
    log = _log(*bundles, format=header)
    alone, together = (RawPartition(0, Policy()) for _ in range(2))
    letters = [letter for one in log for letter in alone.fold([one]).dead_letters]
    together.fold(log[:1])
    folded = together.fold(log[1:])

    assert {pane.stamp for pane in together.panes.values()} == {log[-1][0]}
    assert folded.dead_letters == letters
    assert [orjson.loads(letter.value)["line"] for letter in letters] == [2, 2, 0]
    assert contents(together) == contents(alone)
    assert +together.meta.lines == {"flow": 6, "header": 2, "blank": 1, "reject": 3}


def test_the_format_of_lines_without_one_is_guessed_message_by_message() -> None:
    """Together, most lines would be of the default format, and the others bad."""
    shorter = [_line(T0 + n, peer=f"10.0.7.{n}").partition(" ")[2] for n in range(20)]  # without the version
    log = _log([_line(T0)], shorter, [_line(T0)] * 40, format=None)
    state = RawPartition(0, Policy())
    state.fold(log[:1])

    assert not state.fold(log[1:]).dead_letters
    assert +state.meta.lines == {"flow": 61}


def test_a_record_that_is_late_by_a_message_of_its_own_batch_is_late() -> None:
    log = _log([_line(T0)], [_line(T0 + 200)], [_line(T0)])
    state = RawPartition(0, Policy(lateness=100))
    state.fold(log[:1])

    state.fold(log[1:])

    assert state.meta.totals["late"] == 1


def test_a_key_that_is_forgotten_between_two_messages_is_forgotten_when_they_come_together() -> None:
    """# SECOND was silent for the TTL when the message before its next one moved time on: that one finds it gone."""
    policy = Policy(key_ttl=600, retained=2, lateness=900)
    log = _log([_line(T0, SECOND)], [_line(T0 + 640)], [_line(T0 + 780)], [_line(T0 + 780, SECOND)])
    alone, together = RawPartition(0, policy), RawPartition(0, policy)
    for one in log:
        alone.fold([one])

    together.fold(log[:2])
    together.fold(log[2:])

    assert alone.meta.expired["eni"] == 1
    assert contents(together) == contents(alone)


def test_a_blank_line_at_the_end_of_a_message_is_a_line_wherever_the_message_stands() -> None:
    log = _log([_line(T0)], [_line(T0), ""], [_line(T0)])
    log[1] = (1, replace(log[1][1], value=log[1][1].value + b"\r"))
    together = RawPartition(0, Policy())

    together.fold(log)

    assert +together.meta.lines == {"flow": 3, "blank": 2}
    assert sum(one.lines for _, one in log) == 5


# -- keys come and go --------------------------------------------------------------------------------------------------


def test_an_eni_that_comes_back_within_a_day_keeps_its_history() -> None:
    """A nightly job: its history is a day old when it starts again, but it was never silent for longer."""
    policy = Policy(key_ttl=86_400, retained=120)
    state = RawPartition(0, policy)
    state.fold(_log([_line(T0, SECOND)], [_line(T0 + 43_200)], [_line(T0 + 84_000, SECOND)], [_line(T0 + 86_700)]))

    assert not +state.meta.expired
    assert _totals(state) == {ENI: 200, SECOND: 200}


def test_a_key_that_is_silent_for_longer_is_folded_away_with_all_its_rows() -> None:
    state = RawPartition(0, Policy(key_ttl=86_400))
    bundles = [_line(T0, SECOND), _line(T0 + 1, SECOND, 80)], [_line(T0 + 43_200)], [_line(T0 + 97_200)]
    state.fold(_log(*bundles, arrival_ms=2 * ARRIVAL))

    assert +state.meta.expired == {"eni": 1, "port": 1}
    assert _totals(state) == {ENI: 200, "expired": 200}
    assert counted(state)["eni"] == counted(state)["port"] == [4, 4, 400]


def test_what_is_still_in_a_pane_is_never_forgotten() -> None:
    """A TTL shorter than what is retained: an own address that is forgotten would turn open records around."""
    state = RawPartition(0, Policy(key_ttl=60, retained=30, lateness=60))
    state.fold(_log([_line(T0, SECOND)], [_line(T0 + 1200)], [_line(T0 + 1500)]))

    assert not +state.meta.expired
    assert set(state.known.owners.get_column("eni")) == {ENI, SECOND}


def test_a_record_from_the_future_ages_nobody() -> None:
    """One broken clock: it is in the totals, its times end where the future begins, and the watermark stays."""
    state = RawPartition(0, Policy(future=600))
    state.fold(_log([_line(T0)], [_line(2_000_000_000, SECOND)], [_line(T0 + 1)], arrival_ms=T0 * 1000))

    frame = state.history.value()["eni"]
    assert state.meta.totals["future"] == 1
    assert state.meta.watermark == T0 + 1
    assert frame.select("eni", "flows", "first", "last").rows() == [(SECOND, 1, T0 + 600, T0 + 600)]
    assert state.known.info.get_column("seen").max() == T0 + 600


def test_a_start_in_the_future_opens_no_pane() -> None:
    state = RawPartition(0, Policy(assign="start", retained=5))
    lines = [_line(T0).replace(f"{T0} {T0}", f"{T0 + n * 10**6} {T0}") for n in range(1, 50)]

    state.fold(_log(lines))

    assert list(state.panes) == [T0]


def test_the_first_keys_stay_and_the_rest_is_other() -> None:
    policy = Policy(eni_keys=2, port_keys=2)
    state = RawPartition(0, policy)

    state.fold(_log([_line(T0, f"eni-{n}", 100 + n) for n in (5, 3, 4, 1)], [_line(T0, "eni-3"), _line(T0, "eni-1")]))

    assert _totals(state) == {"eni-5": 100, "eni-3": 200, "other": 300}
    assert +state.meta.over_budget == {"eni": 3, "port": 4}
    assert set(state.known.owners.get_column("eni")) == {"eni-3", "eni-5"}


def test_what_is_known_is_sent_only_when_it_says_something_new() -> None:
    """That a key was seen again is for the state alone; with a full budget, strangers say nothing at all."""
    state = RawPartition(0, Policy(eni_keys=1, pane_seconds=60, key_ttl=24 * 60))
    state.fold(_log([_line(T0)]))
    state.summaries(2)

    state.fold(_log([_line(T0 + 120)], [_line(T0 + 180, SECOND)], first=1))

    assert state.known.admitted["eni"].get_column("seen").to_list() == [T0 + 120]
    assert b"0/known" not in {one.key for one in state.summaries(2)}


def test_source_partitions_of_bridges_are_remembered_within_a_bound() -> None:
    """The one that was silent for longest goes."""
    state = RawPartition(0, Policy())
    most = combine.MOST_BRIDGED
    names = [*(f"t/{n}" for n in range(most)), "t/0", "t/more"]

    state.fold((n, RawMessage(b"", Origin("bridge", name, f"{n}-{n}"), 0)) for n, name in enumerate(names))

    assert len(state.meta.bridged) == most
    assert "t/1" not in state.meta.bridged
    assert state.meta.bridged["t/0"] == most
    assert state.meta.expired["bridge"] == 1


# -- what can't be read ------------------------------------------------------------------------------------------------


def _letters(state: RawPartition, log: list[tuple[int, RawMessage]]) -> list[dict[str, object]]:
    return [orjson.loads(row) for one in state.fold(log).dead_letters for row in one.value.split(b"\n")]


def test_a_message_whose_format_is_none_is_one_dead_letter() -> None:
    """`line` is the parser's own name; a header that says so must not stop the worker, now and after each restart."""
    state = RawPartition(3, Policy())

    letters = _letters(state, _log([_line(T0)] * 2, [_line(T0)], format="version line line"))

    assert [(one["id"], one["reason"], one["line"]) for one in letters] == [
        ("3/0", "unknown_format", None),
        ("3/1", "unknown_format", None),
    ]
    assert +state.meta.lines == {"reject": 2}


@pytest.mark.parametrize(
    ("error", "reason"), [*((name, name) for name in REASONS), ("made-up", "undecodable"), ("", "undecodable")]
)
def test_reasons_are_a_closed_set(error: str, reason: str) -> None:
    """They are label values, and headers come from outside."""
    state = RawPartition(0, Policy())

    (letter,) = _letters(state, [(0, RawMessage(b"\xff\n\x00", Origin("file", "f"), 0, error=error))])

    assert letter["reason"] == reason
    assert letter["payload"] == "/woA"
    assert +state.meta.rejects == {reason: 1}


def test_sources_of_duplicates_are_a_closed_set() -> None:
    state = RawPartition(0, Policy())
    one = message([_line(T0)], 2, "f")

    for n, source in enumerate(("file", "made-up", "made-up-too")):
        repeated = replace(one, origin=replace(one.origin, source=source))
        state.fold([(2 * n, repeated), (2 * n + 1, repeated)])

    assert +state.meta.duplicates == {"file": 1, "unknown": 2}


def test_a_dead_letter_names_the_line_of_the_message_on_the_topic() -> None:
    """Also when a bridge's first lines were dropped as repeats: whoever looks for it counts from the start."""
    state = RawPartition(0, Policy())
    lines = [_line(T0), "junk 0", _line(T0), "junk 1"]
    first = replace(message(lines[:2], 2, "f"), origin=Origin("bridge", "t/0", "0-1"))
    overlapping = replace(message(lines, 2, "f"), origin=Origin("bridge", "t/0", "0-3"))

    letters = _letters(state, [(0, first), (1, overlapping)])

    found = [(one["id"], one["line"], one["text"]) for one in letters]
    assert found == [("0/0/1", 1, "junk 0"), ("0/1/3", 3, "junk 1")]
    assert +state.meta.duplicates == {"bridge": 2}


def test_a_line_that_is_not_utf8_is_kept_as_it_came() -> None:
    value = b"\xff\xfe junk\n" + _line(T0).encode()

    (letter,) = _letters(RawPartition(0, Policy()), [(0, RawMessage(value, Origin("file", "f"), 0, FORMATS[2]))])

    assert (letter["reason"], letter["text"], letter["text_base64"]) == ("not_utf8", None, "//4ganVuaw==")


def test_many_dead_letters_are_several_messages_with_keys_of_their_own() -> None:
    letters = RawPartition(0, Policy()).fold([(0, message(["junk"] * 4500, 2, "f"))]).dead_letters

    assert [one.key for one in letters] == [b"0/0/0", b"0/0/1", b"0/0/2"]
    assert sum(one.value.count(b"\n") + 1 for one in letters) == 4500


def test_an_undecodable_message_again_is_one_duplicate() -> None:
    state = RawPartition(0, Policy())
    bad = RawMessage(b"\x1f\n\n\n", Origin("firehose", "id"), 0, error="bad_gzip")

    state.fold([(0, bad), (1, bad)])

    assert +state.meta.lines == {"reject": 1}
    assert +state.meta.duplicates == {"firehose": 1}


def test_numbers_that_overflow_do_not_stop_the_worker() -> None:
    """Sums wrap at 63 bits, in the tables and in the totals alike; a checkpoint that raises would raise for ever."""
    state = RawPartition(0, Policy())
    state.fold(_log(*([_line(T0, octets=2**63 - 1)] for _ in range(7))))

    again = RawPartition(0, Policy(), _saved(state, {}))

    assert counted(again)["eni"] == [7, 7, again.meta.totals["bytes"]]


# -- rows and counters -------------------------------------------------------------------------------------------------


def test_a_closed_pane_rests_encoded_and_an_open_one_does_not() -> None:
    """Memory: hundreds of panes of which a handful change."""
    state = RawPartition(0, Policy(lateness=60, retained=30))
    state.fold(_log([_line(T0)]))
    state.summaries(2)
    state.checkpoint()
    assert state.panes[T0].frames is not None

    state.fold(_log([_line(T0 + 600)], first=1))
    state.checkpoint()
    assert state.panes[T0].frames is None
    assert state.panes[T0 + 600].frames is not None

    state.fold(_log([_line(T0)], first=2))  # late
    assert counted(state)["eni"] == [3, 3, 300]
    assert state.meta.totals["late"] == 1


def test_a_record_is_late_by_the_messages_before_its_own() -> None:
    # T0       +60      +120     +180
    # [--------)[--------)
    #  lateness 60: closed when a message before has brought the watermark to +120
    state = RawPartition(0, Policy(lateness=60))

    state.fold(_log([_line(T0 + 119)], [_line(T0)], [_line(T0 + 120), _line(T0)], [_line(T0)], [_line(T0 + 60)]))

    assert state.meta.totals["late"] == 1


def test_what_is_older_than_the_retained_panes_is_in_the_history() -> None:
    state = RawPartition(0, Policy(retained=2, lateness=600))

    state.fold(_log([_line(T0)], [_line(T0 + 60)], [_line(T0 + 120)], [_line(T0)]))

    assert sorted(state.panes) == [T0 + 60, T0 + 120]
    assert state.history.value()["eni"].get_column("flows").to_list() == [2]
    assert state.meta.totals["late"] == 0


def test_meta_survives_its_row() -> None:
    meta = Meta(stamp=7, watermark=None)
    meta.lines.update(flow=3)
    meta.bridged["t/0"] = 5
    meta.slots["history"] = 1
    meta.unsent.append("known")

    found = Meta.decode(meta.encode())

    assert found == meta
    assert found.lines["nothing"] == 0


def test_a_meta_row_of_a_newer_release_is_refused() -> None:
    with pytest.raises(ValueError, match="newer release"):
        Meta.decode(orjson.dumps({"v": 2}))


def test_delays_are_measured_from_each_messages_own_arrival() -> None:
    """Also of messages that are folded together; a replay's delay says nothing."""
    waits = enumerate((0, 7, 100_000))
    log = [(n, message([_line(T0)], 2, "f", n, arrival_ms=(T0 + wait) * 1000)) for n, wait in waits]
    log.append((3, message([_line(T0)], 2, "f", 3, replay=True)))

    folded = RawPartition(0, Policy()).fold(log)

    buckets = {bound: n for bound, n in zip((*DELAY_BUCKETS, None), folded.delays, strict=True) if n}
    assert buckets == {1: 1, 10: 1, None: 1}
    assert folded.delay_sum == 100_007
    assert folded.messages == 4


def test_realistic_traffic_is_counted_as_the_count_with_dicts_counts_it() -> None:
    """NAT, load balancers, half-flows and incidents of the generator, a few thousand lines of v2."""
    value = b"\n".join(bulk(3000, enis=30, version=2, seed=3))
    lines = value.decode().splitlines()
    state = RawPartition(0, Policy(retained=2000))
    arrival = 1000 * max(int(line.split()[11]) for line in lines if line.split()[11].isdecimal())
    state.fold([(0, RawMessage(value, Origin("generator", "bulk"), arrival, FORMATS[2]))])
    roll = Roll()

    roll.take(state.summaries(3))

    oracle = count(lines, 2)
    assert +state.meta.lines == oracle.lines
    assert [counts for _, counts in sorted(roll.totals()["eni"].items())] != []
    assert {key[0]: 0 for key in roll.totals()["eni"]} == {key[0]: 0 for key in oracle.enis}
    assert counted(state)["eni"] == oracle.totals
    assert not +state.meta.over_budget
    assert tables.OTHER not in {key[0] for key in roll.totals()["eni"]}


def test_the_meta_row_that_came_furthest_counts_with_the_rows_that_it_refers_to() -> None:
    """A worker that was thought dead is ahead, but its other row is gone: then the next best."""
    log = _log([_line(T0)], [_line(T0)], [_line(T0)])
    stores: dict[str, dict[str, bytes]] = {}
    for writer, end in (("ahead", 3), ("behind", 2)):
        state = RawPartition(0, Policy())
        state.fold(log[:end])
        stores[writer] = _saved(state, {})

    assert RawPartition(0, Policy(), newest(stores)).meta.stamp == 2
    del stores["ahead"]["known/0"]
    assert RawPartition(0, Policy(), newest(stores)).meta.stamp == 1
    del stores["behind"]["known/0"]
    with pytest.raises(ValueError, match="not all rows that `meta` speaks of are there"):
        newest(stores)


@pytest.mark.parametrize("hole", ["pane", "origins", "known"])
def test_a_state_with_a_hole_is_none(hole: str) -> None:
    """Faust can step over records of a changelog around a rebalance: what was read back is compared with `meta`."""
    state = RawPartition(0, Policy())
    state.fold(_log([_line(T0)]))
    before = _saved(state, {})
    state.fold(_log([_line(T0, ENI, 443), _line(T0, SECOND)], first=1))
    after = _saved(state, before)
    [name] = [name for name in after if name.startswith(hole) and after[name] != before.get(name)]

    gone, stale = ({k: v for k, v in {**after, name: v or b""}.items() if v} for v in (None, before.get(name)))

    for rows in (gone, stale):
        with pytest.raises(ValueError, match="not all rows"):
            newest({"a": rows})
    assert newest({"a": gone, "b": before})["meta"] == before["meta"]
