"""A short overload, and what judges the long ones: a bound that nothing breaks would be none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from streams.core.raw import Origin, RawMessage
from streams.metrics import Exposition, Instruments, Snapshot
from tests.kafka.oracle import Oracle, Sums
from tests.load.batches import KINDS, LINES, Mould, Truth, between, differences, kinds, moved, times, truth
from tests.load.judge import (
    GROWS,
    Bounds,
    Look,
    Overload,
    Soak,
    lag_grows,
    overload_faults,
    slope,
    slope_error,
    soak_faults,
)
from tests.load.report import overload_rows, page, soak_rows
from tests.load.run import STEP, OverloadPlan, overload, uncounted
from tests.load.watch import given_back, scraped

SHORT = OverloadPlan(seconds=8.0, backlog=120, drain=150.0)
PATIENT = Bounds(scrape_seconds=5.0, sent=0.4)
"""Of a machine that may have other tests to run, and a feeder that gets twice what a worker takes out of it at least:
`make overload` has it for itself.
"""

KEY = ("eni-1", "ACCEPT")


@pytest.mark.timeout(300)
def test_five_times_what_a_worker_takes_is_counted_to_the_unit_with_the_lag_told(apache_kafka: str) -> None:
    """It drains whole: every line is counted once, and the sums of all ENIs and ports are those of DuckDB."""
    run = overload(apache_kafka, SHORT, print)

    assert overload_faults(run, PATIENT) == []
    assert run.counted == run.sent > SHORT.backlog * STEP
    assert max(look.waiting for look in run.overloaded) > 1000


# -- bounds: each is seen when it is broken ----------------------------------------------------------------------------

CALM = Look(0.0, 0.2, 300.0, 310.0, {0: 0}, {0: 0}, series=5000, files=40, threads=12)


def _looks(count: int = 20, **change: Any) -> list[Look]:
    """A look a second. 900 lines a second come and 450 are taken, in messages of 9: the lag grows by 50."""
    looks = [replace(CALM, at=float(at), lines={0: 450 * at}, lag={0: 50 * at}) for at in range(count)]
    return [*looks[:-1], replace(looks[-1], **change)]


def _overload(last: Mapping[str, Any] | None = None, **change: Any) -> Overload:
    """Sent from second 0 to 18, so the last look is the first one after that. last: changes of it."""
    looks = _looks(**(last or {}))
    run = Overload(450.0, 2.0, 900.0, 0.0, 18.0, looks, 900 * 19, 900 * 19, 9, drained=True, differences=[])
    return replace(run, **change)


def _soak(**change: Any) -> Soak:
    looks = [replace(look, lag={0: 0}) for look in _looks()]
    return replace(Soak(900.0, 450.0, 20.0, 5.0, looks, 9000, 9000, []), **change)


def test_a_run_as_it_must_be_breaks_no_bound() -> None:
    assert overload_faults(_overload(), Bounds()) == []
    assert soak_faults(_soak(), Bounds()) == []


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ({"scrape_seconds": 1.0}, "1 of 20 scrapes took 1 s or more, the slowest 1.00 s"),
        ({"peak_mb": 600.6}, "601 MB of memory, 600 are allowed"),
        ({"ready": False}, "not ready at 1 of 20 looks"),
        ({"lost": 3}, "3 messages were gone before they were read"),
    ],
)
def test_one_bad_look_breaks_a_bound_of_both_runs(last: Mapping[str, Any], told: str) -> None:
    looks = [replace(look, lag={0: 0}) for look in _looks(**last)]

    assert overload_faults(_overload(last), Bounds()) == [told]
    assert soak_faults(_soak(looks=looks), Bounds()) == [told]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"counted": 17_099}, "17,100 lines were sent, 17,099 are counted"),
        ({"counted": 17_101}, "17,100 lines were sent, 17,101 are counted"),
        ({"counted": 17_101, "drained": False}, "17,100 lines were sent, 17,101 are counted"),
        ({"differences": ["eni eni-1: off"]}, "eni eni-1: off"),
        ({"rate": 700.0}, "no overload: 700 lines/s were sent, 2 times 450 were meant"),
    ],
)
def test_a_line_too_few_or_too_many_or_too_slow_a_feeder_breaks_a_bound(change: Mapping[str, Any], told: str) -> None:
    assert overload_faults(_overload(**change), Bounds()) == [told]


def test_what_still_waits_is_no_loss_as_long_as_it_is_not_drained() -> None:
    assert overload_faults(_overload(counted=9000, drained=False), Bounds()) == []


def test_a_lag_that_stands_still_for_a_fifth_of_the_time_does_not_grow() -> None:
    looks = _looks()
    stuck = [replace(look, lag={0: min(look.waiting, 550)}) for look in looks[:-1]]

    assert lag_grows(looks)
    assert not lag_grows(stuck)
    assert not lag_grows(looks[:4])
    assert overload_faults(_overload(looks=[*stuck, looks[-1]]), Bounds()) == [
        "vpcflow_consumer_lag_messages does not grow while more comes than is taken"
    ]


def test_a_lag_that_tells_less_than_waited_three_seconds_ago_breaks_a_bound() -> None:
    """At the last look 8,550 of 17,100 lines wait, which are 950 messages; 100 messages come a second."""
    assert overload_faults(_overload({"lag": {0: 950}}), Bounds()) == []
    assert overload_faults(_overload({"lag": {0: 650}}), Bounds()) == []
    assert overload_faults(_overload({"lag": {0: 649}}), Bounds()) == [
        "vpcflow_consumer_lag_messages tells 68% of what waits when all is sent"
    ]


def test_a_run_without_a_look_at_its_end_breaks_a_bound() -> None:
    assert overload_faults(_overload(ends=19.0), Bounds()) == ["no look after all was sent"]


def test_the_slope_is_that_of_the_best_line() -> None:
    assert slope([(0, 1.0), (10, 3.0), (20, 5.0)]) == pytest.approx(0.2)
    assert slope([(0, 1.0), (10, 0.0), (20, 1.0)]) == pytest.approx(0.0)
    assert slope([(5, 7.0)]) == 0


def test_the_error_of_a_slope_is_that_of_the_textbook() -> None:
    """The line 7/6 + x/2 leaves -1/6, 1/3, -1/6: squares of 1/6, over one degree of freedom and a spread of 2."""
    assert slope_error([(0, 1.0), (1, 2.0), (2, 2.0)]) == pytest.approx((1 / 6 / 1 / 2) ** 0.5)
    assert slope_error([(0, 1.0), (1, 2.0), (2, 3.0)]) == pytest.approx(0.0)
    assert slope_error([(0, 1.0), (1, 2.0)]) == 0


def _creeping(mb_an_hour: float, given_back: float = 0.0) -> Soak:
    """given_back: MB an hour of it that the kernel only has not taken yet."""
    return _soak(
        looks=[
            replace(
                look, rss_mb=300 + look.at * mb_an_hour / 3600, held_mb=300 + look.at * (mb_an_hour - given_back) / 3600
            )
            for look in _soak().looks
        ]
    )


def test_memory_that_grows_by_a_megabyte_an_hour_breaks_a_bound() -> None:
    assert _creeping(1.5).slope("rss_mb") == pytest.approx(1.5)
    assert soak_faults(_creeping(0.9), Bounds()) == []
    assert soak_faults(_creeping(1.1), Bounds()) == ["memory grows by 1.10 MB an hour, less than 1 is allowed"]


def test_pages_that_were_given_back_are_no_growth_but_what_grows_beside_them_is() -> None:
    assert soak_faults(_creeping(20.0, given_back=19.5), Bounds()) == []
    assert soak_faults(_creeping(20.0, given_back=18.0), Bounds()) == [
        "memory grows by 2.00 MB an hour, less than 1 is allowed"
    ]


@pytest.mark.parametrize("name", GROWS)
def test_files_threads_or_series_that_stay_more_break_a_bound_but_not_for_one_look(name: str) -> None:
    looks = _soak(looks=_looks(40)).looks
    what, allowed = GROWS[name]
    most, over = (replace(CALM, **{name: getattr(CALM, name) + more}) for more in (allowed, allowed + 1))

    def ending(look: Look, count: int) -> Soak:
        return _soak(looks=[*looks[:-count], *(replace(look, at=at.at, lines=at.lines) for at in looks[-count:])])

    assert soak_faults(ending(over, 10), Bounds()) == [f"{allowed + 1} {what} more than after the warm-up"]
    assert soak_faults(ending(most, 10), Bounds()) == []
    assert soak_faults(ending(over, 1), Bounds()) == []


# -- what is sent, and what must come of it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> list[bytes]:
    return kinds()


def test_a_copy_is_a_message_as_the_sources_make_them(made: list[bytes]) -> None:
    """Read by the client that the worker reads with; another minute and another origin give another message."""
    mould, minute = Mould(made[0]), 30_000_000
    for number, later in ((0, 0), (1, 0), (2, 1)):
        origin = Origin("generator", "load/0", f"{number:012d}")
        records = MemoryRecords(mould.copy(minute + later, origin, 1_800_000_000_000 + number))
        batch = records.next_batch()
        assert batch.validate_crc()
        (record,) = list(batch)
        assert records.next_batch() is None

        found = RawMessage.from_kafka(record.value, record.headers, 0)

        assert found.origin == origin
        assert found.arrival_ms == 1_800_000_000_000 + number
        assert found.value == moved(made[0], minute + later)
        assert found.lines == LINES


def test_moved_lines_end_in_the_minute_that_is_said_or_before_and_count_the_same(made: list[bytes]) -> None:
    minute = 30_000_000
    lines = moved(made[3], minute)
    ends = [int(line.split()[11]) for line in lines.split(b"\n")]

    assert {end // 60 for end in ends} == {minute - 1}
    assert {int(line.split()[11]) // 60 for line in moved(made[-1], minute).split(b"\n")} == {minute - 1, minute}
    assert Oracle(lines.split(b"\n")).enis() == Oracle(made[3].split(b"\n")).enis()


def test_every_kind_has_as_many_lines_and_none_is_another(made: list[bytes]) -> None:
    assert [lines.count(b"\n") + 1 for lines in made] == [LINES] * KINDS
    assert len(set(made)) == KINDS


def test_the_truth_after_some_messages_is_the_sum_of_their_kinds(made: list[bytes]) -> None:
    right = truth(made)
    sent = [made[0], *made, made[0], made[1]]  # offset 0 of one partition, 0 to 17 of the other

    expected = Oracle(line for lines in sent for line in lines.split(b"\n"))

    assert right.after({0: 1, 1: KINDS + 2}, "eni") == expected.enis()
    assert right.after({0: 1, 1: KINDS + 2}, "port") == expected.ports()
    assert right.after({0: 0}, "eni") == {}


def test_a_wrong_or_missing_or_foreign_key_is_a_difference() -> None:
    right = times({KEY: (1, 10, 100)}, 3)

    assert list(differences(right, {KEY: (3, 30, 300)})) == []
    assert len(list(differences(right, {KEY: (3, 30, 299)}))) == 1
    assert len(list(differences(right, {}))) == 1
    assert len(list(differences({}, right))) == 1


def test_a_key_below_or_above_its_bracket_is_a_difference() -> None:
    low: Sums = {KEY: (1, 10, 100)}
    high: Sums = {KEY: (3, 30, 300)}

    assert [list(between(low, high, {KEY: value})) for value in ((1, 10, 100), (3, 30, 300))] == [[], []]
    assert [len(list(between(low, high, {KEY: value}))) for value in ((1, 10, 99), (3, 31, 300))] == [1, 1]
    assert len(list(between(low, high, {}))) == 1
    assert len(list(between({}, {}, {KEY: (1, 1, 1)}))) == 1


def test_what_was_sent_is_counted_or_told_to_wait() -> None:
    look = replace(CALM, lines={0: 7 * LINES, 1: 10 * LINES}, lag={0: 3, 1: 0})

    assert uncounted(look, 10) == []
    assert uncounted(replace(look, lag={0: 35, 1: 0}), 10) == []  # counted while it was asked
    assert uncounted(replace(look, lag={0: 2, 1: 0}), 10) == ["partition 0: 10 messages sent, 7 counted, 2 wait"]
    assert len(uncounted(replace(look, lag={0: 300, 1: 0}), 10)) == 1
    assert Truth({"eni": [{}]}).after({}, "eni") == {}


# -- scrapes and reports -----------------------------------------------------------------------------------------------


def test_a_scrape_is_read_as_the_worker_writes_it() -> None:
    lag = {("x.raw", 0): 5, ("x.raw", 3): 7, ("x.summaries", 0): 100}
    instruments = Instruments()
    instruments.lost("x.raw", 2)
    text = Exposition(instruments, {"eni": 10, "port": 10}, 3600).render(Snapshot(lag=lag, ready=True)).decode()
    lines = "".join(
        f'vpcflow_lines_total{{outcome="{outcome}",partition="3"}} {count}.0\n'
        for outcome, count in (("flow", 9), ("nodata", 1))
    )

    found = scraped(text + lines)

    assert (found.lag, found.lines, found.ready, found.lost) == ({0: 5, 3: 7}, {3: 10}, True, 2)
    assert found.series == len([line for line in (text + lines).splitlines() if line and not line.startswith("#")])
    assert not scraped(text.replace("vpcflow_ready 1.0", "vpcflow_ready 0.0")).ready


def test_what_was_given_back_is_read_as_linux_writes_it_and_is_nothing_elsewhere(tmp_path: Path) -> None:
    rollup = tmp_path / "smaps_rollup"
    rollup.write_text(
        "Rss:              252 kB\nPrivate_Dirty:    181 kB\nLazyFree:          19 kB\nSwap:  0 kB\n", "ascii"
    )

    assert given_back(rollup) == 19 * 1024
    assert given_back(tmp_path / "nothing") == 0


def test_a_section_of_the_page_is_written_anew_and_the_other_one_stays() -> None:
    conditions = {"date": "2026-01-02"}
    soaked = page("", "Soak", soak_rows(_soak(), ["too slow"]), conditions, "make soak")
    both = page(soaked, "Overload", overload_rows(_overload(), []), conditions, "make overload")

    assert soaked.count("\n## ") == 1
    assert "| bounds broken | too slow |" in both
    assert both.index("## Overload") < both.index("## Soak")
    assert page(both, "Overload", overload_rows(_overload(), []), conditions, "make overload") == both
    assert page(both, "Soak", soak_rows(_soak(), ["too slow"]), conditions, "make soak") == both
