"""Turns what a worker counts into what a person watches: two snapshots some seconds apart give rates."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import polars as pl
from rich.console import Console

from streams.core import tables
from streams.core.findings import SEVERITIES
from streams.live import Rate, View, show
from streams.metrics import Snapshot
from streams.report import port_text

_RATE_SECONDS = 10
_HISTORY_SECONDS = 60
_TOP = 5


class LastError(logging.Handler):
    """Keeps the newest warning or error, for the view: the log itself would tear the screen."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        super().__init__(logging.WARNING)
        self.line = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self.line = " ".join(f"{record.name}: {record.getMessage()}".split())


class Watcher:
    """Looks once a second. `view` is the newest picture."""

    def __init__(self, first: View, last_error: LastError) -> None:
        """first: what is known before anything ran (addresses)."""
        self.view = first
        self._began = time.monotonic()
        self._errors = last_error
        self._seen: deque[tuple[float, Snapshot]] = deque(maxlen=_RATE_SECONDS + 1)
        self._rates: deque[float] = deque(maxlen=_HISTORY_SECONDS)

    async def run(self, snapshot: Callable[[], Awaitable[Snapshot]], ready: Callable[[], tuple[bool, str]]) -> None:
        """Look every second until cancelled."""
        while True:
            self.look(await snapshot(), ready(), time.monotonic(), time.time())
            await asyncio.sleep(1.0)

    def look(self, now: Snapshot, ready: tuple[bool, str], monotonic: float, epoch: float) -> None:
        """Take a snapshot into the picture. monotonic, epoch: the clocks, in seconds."""
        self._seen.append((monotonic, now))
        then, before = self._seen[0]
        seconds = max(monotonic - then, 1.0)
        lines = _lines(now) - _lines(self._seen[-2][1] if len(self._seen) > 1 else now)
        self._rates.append(max(0.0, lines))
        marks = [meta.watermark for meta in now.metas.values() if meta.watermark is not None]
        self.view = replace(
            self.view,
            uptime_seconds=monotonic - self._began,
            ready=ready[0],
            ready_reason=ready[1],
            records_total=_lines(now),
            records_per_second=max(0.0, (_lines(now) - _lines(before)) / seconds),
            records_history=tuple(self._rates),
            lag_messages=sum(now.lag.values()),
            watermark_age_seconds=epoch - max(marks) if marks else None,
            enis=_top(now, before, "eni", ["eni"], seconds),
            ports=_top(now, before, "port", ["port", "protocol"], seconds),
            rejects=_summed(now, "rejects"),
            late_records=sum(meta.totals["late"] for meta in now.metas.values()),
            duplicate_lines=sum(_summed(now, "duplicates").values()),
            findings=sum(sum(one.active.values()) for one in now.watched.values()) if now.watched else None,
            worst_finding=_worst(now),
            last_error=self._errors.line,
        )


async def watch(watcher: Watcher, console: Console, stopped: asyncio.Event) -> None:
    """Show the watcher's picture until `stopped`."""
    await show(console, lambda: watcher.view, stopped)


def _worst(snapshot: Snapshot) -> tuple[str, str]:
    """Severity and sentence of the worst open finding, the newest of several."""
    found = [finding for one in snapshot.watched.values() for finding in one.findings[:1]]
    if not found:
        return "", ""
    worst = max(found, key=lambda finding: (finding.severity, finding.last))
    return SEVERITIES[worst.severity], worst.sentence


def _lines(snapshot: Snapshot) -> int:
    return sum(_summed(snapshot, "lines").values())


def _summed(snapshot: Snapshot, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for meta in snapshot.metas.values():
        for key, count in getattr(meta, name).items():
            found[key] = found.get(key, 0) + count
    return found


def _top(now: Snapshot, before: Snapshot, table: str, keys: Sequence[str], seconds: float) -> tuple[Rate, ...]:
    """Those that moved most bytes since `before`."""
    gained = pl.concat([now.totals[table], tables.negated(before.totals[table])])
    moved = gained.group_by(keys).agg(pl.col("bytes").sum()).filter(pl.col("bytes") > 0)
    return tuple(
        Rate(key[0] if table == "eni" else port_text(*key), count / seconds)
        for *key, count in moved.sort("bytes", descending=True).head(_TOP).iter_rows()
    )
