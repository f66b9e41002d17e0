"""The live summary fits a small terminal whatever it is told, and a log file gets plain lines instead."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from streams import live
from streams.live import Rate, View
from streams.report import ASCII

BUSY = View(
    uptime_seconds=83,
    broker="kafka://127.0.0.1:9092",
    urls=(("metrics", "http://127.0.0.1:8080/metrics"), ("firehose", "http://127.0.0.1:8080/firehose")),
    ready=True,
    records_total=1_834_233,
    records_per_second=2012.4,
    records_history=tuple(1500.0 + n % 7 * 90 for n in range(47)),
    lag_messages=3,
    watermark_age_seconds=64,
    enis=tuple(Rate(f"eni-0123456789abcdef{n}", 5.2e7 / (n + 1)) for n in range(7)),
    ports=(Rate("443/tcp", 4.8e7), Rate("5432/tcp", 3e6)),
    rejects={"bad_address": 3, "too_few_fields": 4},
    late_records=12,
    duplicate_lines=500,
)
NEW = View(uptime_seconds=0, broker="127.0.0.1:9092", ready_reason="waiting for the broker")


def screen(view: View, width: int = 80) -> list[str]:
    console = Console(width=width, height=24, file=io.StringIO(), record=True)
    console.print(live.render(view))
    return console.export_text().rstrip("\n").split("\n")


def line(view: View, label: str) -> str:
    return next(row for row in screen(view) if row.startswith(label)).removeprefix(label).strip()


def test_it_shows_state_addresses_rates_lag_and_trouble() -> None:
    assert screen(BUSY)[0] == "vpcflow up  1 min 23 s  ready"
    assert line(BUSY, "metrics") == "http://127.0.0.1:8080/metrics"
    assert line(BUSY, "broker") == "kafka://127.0.0.1:9092"
    assert line(BUSY, "records/s").startswith("2,012 ")
    assert line(BUSY, "lag").split("  ")[0] == "3 messages"
    assert "1 min 4 s ago" in line(BUSY, "lag")
    assert "1.83 M records" in line(BUSY, "lag")
    assert line(BUSY, "rejected") == "7 lines: 4 too few fields, 3 bad address"
    assert "12 records" in line(BUSY, "late")
    assert "500 lines dropped" in line(BUSY, "late")
    assert line(BUSY, "last error") == "none"


def test_five_enis_and_ports_stand_beside_each_other() -> None:
    rows = [row for row in screen(BUSY) if "eni-" in row]

    assert [row.split()[0] for row in rows] == [f"eni-0123456789abcdef{n}" for n in range(5)]
    assert "52.0 MB ████████ 443/tcp https" in rows[0]
    assert "5432/tcp postgres" in rows[1]


def test_what_is_not_known_is_a_dash_and_not_zero() -> None:
    assert screen(NEW)[0].endswith("not ready: waiting for the broker")
    assert line(NEW, "records/s") == "-"
    assert line(NEW, "lag").startswith("-  ")
    assert line(replace(NEW, lag_messages=0, records_per_second=0.0), "lag").startswith("0 messages")


def test_the_newest_second_stands_at_the_right_and_only_sixty_are_shown() -> None:
    many = line(replace(BUSY, records_history=(*[9.0] * 100, *[0.0] * 59, 9.0)), "records/s")

    assert many.split()[1] == "▁" * 59 + "█"


def test_nothing_jumps_when_rows_come_and_go() -> None:
    places = [[row.split()[0] for row in screen(view) if row.strip()][-4:] for view in (NEW, BUSY)]

    assert places == [["rejected", "late", "findings", "last"]] * 2
    assert len(screen(BUSY)) - len(BUSY.urls) == len(screen(NEW))


def test_long_texts_are_cut_and_take_no_more_lines() -> None:
    long = "many words " * 30
    view = replace(
        BUSY, ready=False, ready_reason=long, broker=long, last_error=long, rejects={long: 1}, enis=(Rate(long, 1.0),)
    )

    assert len(screen(view)) == len(screen(BUSY))


def test_a_watermark_ahead_of_the_clock_is_told_as_such() -> None:
    assert "5 s ahead" in line(replace(BUSY, watermark_age_seconds=-5), "lag")


def test_it_shows_how_many_findings_are_open_and_the_worst() -> None:
    told = replace(BUSY, findings=3, worst_finding=("high", "198.51.100.7 tried 12 ports of 10.0.0.5"))

    assert line(told, "findings") == "3 open  high: 198.51.100.7 tried 12 ports of 10.0.0.5"
    assert line(replace(told, findings=0), "findings") == "none"
    assert line(BUSY, "findings") == "nobody looks"
    assert " | findings 3" in live.plain(told)
    assert "findings" not in live.plain(BUSY)


words = st.text(max_size=300)
rates = st.lists(st.builds(Rate, words, st.floats(0, 1e18)), max_size=9).map(tuple)
views = st.builds(
    View,
    uptime_seconds=st.floats(0, 1e9),
    broker=words,
    urls=st.lists(st.tuples(words, words), max_size=9).map(tuple),
    ready=st.booleans(),
    ready_reason=words,
    records_total=st.integers(0, 10**16),
    records_per_second=st.none() | st.floats(0, 1e12),
    records_history=st.lists(st.floats(0, 1e12), max_size=99).map(tuple),
    lag_messages=st.none() | st.integers(0, 10**15),
    watermark_age_seconds=st.none() | st.floats(-1e9, 1e9),
    enis=rates,
    ports=rates,
    rejects=st.dictionaries(words, st.integers(0, 10**15), max_size=9),
    late_records=st.integers(0, 10**15),
    duplicate_lines=st.integers(0, 10**15),
    findings=st.none() | st.integers(0, 10**9),
    worst_finding=st.tuples(words, words),
    last_error=words,
)


@settings(max_examples=40, deadline=None)
@given(views)
def test_any_view_fits_80_columns_and_24_lines(view: View) -> None:
    rows = screen(view)

    assert len(rows) < 24
    assert max(cell_len(row) for row in rows) <= 80
    assert all(row.isprintable() for row in rows)


@settings(max_examples=40, deadline=None)
@given(views)
def test_any_view_is_one_plain_line(view: View) -> None:
    text = live.plain(view)

    assert text.isascii()
    assert text.isprintable()


def test_the_plain_line_says_the_same() -> None:
    assert live.plain(replace(BUSY, last_error="disk full")) == (
        "up 1 min 23 s | ready | 2,012 records/s | 1834233 records | lag 3 | watermark 1 min 4 s ago | rejected 7 | "
        "late 12 | duplicates 500 | top interface eni-0123456789abcdef0 52.0 MB/s | top port 443/tcp 48.0 MB/s | "
        "last error: disk full"
    )
    assert live.plain(NEW).startswith("up 0 s | not ready: waiting for the broker | - records/s | 0 records | lag - |")


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(live.render(BUSY, ASCII))

    assert console.export_text().isascii()


def looker(stopped: asyncio.Event, looks: int) -> Callable[[], View]:
    """Sees a second more each time, and asks to stop at the last look."""
    seen = iter(range(1, looks + 3))

    def look() -> View:
        second = next(seen)
        if second == looks:
            stopped.set()
        return replace(BUSY, uptime_seconds=second)

    return look


async def shown(console: Console, looks: int) -> None:
    stopped = asyncio.Event()
    await live.show(console, looker(stopped, looks), stopped, every=0, plain_every=0)


def test_a_log_file_gets_the_addresses_once_then_a_line_each_time_and_one_at_the_end() -> None:
    out = io.StringIO()
    asyncio.run(shown(Console(file=out, width=40), looks=3))
    rows = out.getvalue().splitlines()

    assert rows[:3] == [
        "metrics: http://127.0.0.1:8080/metrics",
        "firehose: http://127.0.0.1:8080/firehose",
        "broker: kafka://127.0.0.1:9092",
    ]
    assert [row.split(" | ")[0] for row in rows[3:]] == ["up 1 s", "up 2 s", "up 3 s", "up 4 s"]


def test_a_terminal_is_redrawn_and_keeps_the_last_state() -> None:
    out = io.StringIO()
    asyncio.run(shown(Console(file=out, width=80, height=24, force_terminal=True), looks=2))

    drawn = [out.getvalue().find(f"  {second} s  ") for second in (1, 2, 3)]
    assert -1 not in drawn
    assert drawn == sorted(drawn)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_stopped_already_shows_itself_and_ends(terminal: bool) -> None:
    async def run() -> None:
        stopped = asyncio.Event()
        stopped.set()
        await live.show(Console(file=io.StringIO(), force_terminal=terminal), lambda: BUSY, stopped)

    asyncio.run(asyncio.wait_for(run(), 5))
