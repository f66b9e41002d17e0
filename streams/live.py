"""What `vpcflow up` shows while it runs. `render` and `plain` are functions of a View; only `show` waits and prints.

Made for 80 columns and 24 lines: nothing in a View, however long, makes it wider or higher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.report import (
    UNICODE,
    Glyphs,
    bar,
    bytes_text,
    count_text,
    duration_text,
    eni_text,
    glyphs,
    printable,
    service_name,
    sparkline,
)


class Rate(NamedTuple):
    """An ENI's id, or a port as `report.port_text` writes it, and what it moves."""

    name: str
    bytes_per_second: float


@dataclass(frozen=True)
class View:
    """One moment of a running pipeline. None = not known yet, which is not zero.

    urls: (what it is, address) pairs; the first four are shown. ready_reason: why it is not ready, in plain words.
    records_history: records/s of the last 60 seconds, newest last. watermark_age_seconds: now minus the watermark.
    enis, ports: highest first; the first five are shown. rejects: reason -> lines. findings: open ones, None: nobody
    looks; worst_finding: its severity and sentence. last_error: newest, one line.
    """

    uptime_seconds: float
    broker: str
    urls: tuple[tuple[str, str], ...] = ()
    ready: bool = False
    ready_reason: str = "starting"
    records_total: int = 0
    records_per_second: float | None = None
    records_history: tuple[float, ...] = ()
    lag_messages: int | None = None
    watermark_age_seconds: float | None = None
    enis: tuple[Rate, ...] = ()
    ports: tuple[Rate, ...] = ()
    rejects: Mapping[str, int] = field(default_factory=dict)
    late_records: int = 0
    duplicate_lines: int = 0
    findings: int | None = None
    worst_finding: tuple[str, str] = ("", "")
    last_error: str = ""


_HISTORY = 60
_TOP = 5
_URLS = 4
_LABEL = 11
_DIM, _STRONG = "dim", "bold"


def render(view: View, marks: Glyphs = UNICODE) -> RenderableType:
    """The view as at most 22 lines, cut to the terminal's width. marks: what the terminal can draw with."""
    return Group(
        _title(view),
        Text(),
        *(_line(name, (url, "cyan")) for name, url in view.urls[:_URLS]),
        _line("broker", (view.broker, "")),
        Text(),
        _records(view, marks),
        _progress(view),
        Text(),
        _tops(view, marks),
        Text(),
        _trouble(view),
        _left_out(view),
        _found(view),
        _line("last error", (view.last_error, "red") if view.last_error else ("none", _DIM)),
    )


def _text(*parts: tuple[str, str]) -> Text:
    """One line, cut where the terminal ends."""
    safe = [(printable(text), style) for text, style in parts]
    return Text.assemble(*safe, no_wrap=True, overflow="ellipsis")


def _line(label: str, *parts: tuple[str, str]) -> Text:
    return _text((f"{label[: _LABEL - 1]:<{_LABEL}}", _DIM), *parts)


def _title(view: View) -> Text:
    state = ("ready", "bold green") if view.ready else (f"not ready: {view.ready_reason}", "bold yellow")
    return _text(("vpcflow up", _STRONG), (f"  {duration_text(view.uptime_seconds)}  ", _DIM), state)


def _records(view: View, marks: Glyphs) -> Text:
    known = view.records_history[-_HISTORY:]
    history = sparkline([*[None] * (_HISTORY - len(known)), *known], marks)
    return _line("records/s", (f"{_rate_text(view.records_per_second):<9}", _STRONG), (history, "green"))


def _rate_text(rate: float | None) -> str:
    return "-" if rate is None else count_text(rate)


def _progress(view: View) -> Text:
    lag = "-" if view.lag_messages is None else f"{count_text(view.lag_messages)} messages"
    return _line(
        "lag",
        (f"{lag:<18}", _STRONG),
        ("watermark  ", _DIM),
        (f"{_age_text(view.watermark_age_seconds):<18}", _STRONG),
        ("total  ", _DIM),
        (f"{count_text(view.records_total)} records", _STRONG),
    )


def _age_text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{duration_text(seconds)} ago" if seconds >= 0 else f"{duration_text(-seconds)} ahead"


def _tops(view: View, marks: Glyphs) -> Table:
    """Five ENIs and five ports beside each other, always with five rows, so that nothing below them jumps."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style=_DIM, show_edge=False)
    for title, width in (("interfaces", 21), ("ports", 17)):
        table.add_column(title, no_wrap=True, overflow="ellipsis", width=width)
        table.add_column("bytes/s", justify="right", no_wrap=True, width=9)
        table.add_column("", no_wrap=True, style="cyan", width=8)
    enis = [Rate(eni_text(rate.name), rate.bytes_per_second) for rate in view.enis[:_TOP]]
    ports = [Rate(_port_text(rate.name), rate.bytes_per_second) for rate in view.ports[:_TOP]]
    for place in range(_TOP):
        table.add_row(*_rate_cells(enis, place, marks), *_rate_cells(ports, place, marks))
    return table


def _port_text(name: str) -> str:
    return f"{printable(name)} {service_name(name)}".rstrip()


def _rate_cells(rates: list[Rate], place: int, marks: Glyphs) -> list[Text]:
    if place >= len(rates):
        return [Text("-", style=_DIM) if not place else Text(), Text(), Text()]
    rate = rates[place]
    most = rates[0].bytes_per_second
    return [
        Text(rate.name),
        Text(bytes_text(rate.bytes_per_second)),
        Text(bar(rate.bytes_per_second, most, 8, marks)),
    ]


def _trouble(view: View) -> Text:
    total = sum(view.rejects.values())
    if not total:
        return _line("rejected", ("none", _DIM))
    ordered = sorted(view.rejects.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{count_text(count)} {reason.replace('_', ' ')}" for reason, count in ordered if count)
    return _line("rejected", (f"{count_text(total)} lines", "yellow"), (f": {reasons}", ""))


def _left_out(view: View) -> Text:
    late = f"{count_text(view.late_records)} records"
    twice = f"{count_text(view.duplicate_lines)} lines dropped"
    return _line("late", (f"{late:<18}", ""), ("duplicates ", _DIM), (twice, ""))


_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow"}


def _found(view: View) -> Text:
    """How many findings are open, and the worst of them."""
    if not view.findings:
        return _line("findings", ("nobody looks" if view.findings is None else "none", _DIM))
    severity, sentence = view.worst_finding
    return _line(
        "findings", (f"{count_text(view.findings)} open  ", _STRONG), (f"{severity}: ", _COLOURS.get(severity, "")),
        (sentence, ""),
    )  # fmt: skip


def plain(view: View) -> str:
    """The view as one line of printable ASCII, for a log file."""
    parts = [
        f"up {duration_text(view.uptime_seconds)}",
        "ready" if view.ready else f"not ready: {view.ready_reason}",
        f"{_rate_text(view.records_per_second)} records/s",
        f"{view.records_total} records",
        f"lag {'-' if view.lag_messages is None else view.lag_messages}",
        f"watermark {_age_text(view.watermark_age_seconds)}",
        f"rejected {sum(view.rejects.values())}",
        f"late {view.late_records}",
        f"duplicates {view.duplicate_lines}",
        *(
            f"top {kind} {rates[0].name} {bytes_text(rates[0].bytes_per_second)}/s"
            for kind, rates in _kinds(view)
            if rates
        ),
        *([] if view.findings is None else [f"findings {view.findings}"]),
        *([f"last error: {view.last_error}"] if view.last_error else []),
    ]
    return printable(" | ".join(parts)).encode("ascii", "replace").decode("ascii")


def _kinds(view: View) -> tuple[tuple[str, tuple[Rate, ...]], ...]:
    return (("interface", view.enis), ("port", view.ports))


async def show(
    console: Console, look: Callable[[], View], stopped: asyncio.Event, *, every: float = 1.0, plain_every: float = 10.0
) -> None:
    """Show what `look` sees until `stopped` is set, and once more at the end.

    On a terminal a summary is redrawn every `every` seconds; elsewhere the addresses are printed once and then a plain
    line every `plain_every` seconds.
    """
    if console.is_terminal:
        await _show_live(console, look, stopped, every)
    else:
        await _show_plain(console, look, stopped, plain_every)


async def _show_live(console: Console, look: Callable[[], View], stopped: asyncio.Event, every: float) -> None:
    marks = glyphs(console)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render(look(), marks), refresh=True)
            if await _was_set(stopped, every):
                break
        live.update(render(look(), marks), refresh=True)


async def _show_plain(console: Console, look: Callable[[], View], stopped: asyncio.Event, every: float) -> None:
    view = look()
    for name, address in (*view.urls, ("broker", view.broker)):
        _say(console, printable(f"{name}: {address}"))
    _say(console, plain(view))
    while not await _was_set(stopped, every):
        _say(console, plain(look()))
    _say(console, plain(look()))


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


async def _was_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most that long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
