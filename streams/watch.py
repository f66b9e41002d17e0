"""Turns what a worker counts into what a person watches: two snapshots some seconds apart give rates."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

import polars as pl
from rich.console import Console

from streams.core.findings import SEVERITIES
from streams.live import Rate, View, show
from streams.metrics import Snapshot
from streams.rates import Readings, gained, lines_gained, reading, summed
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
        self._seen = Readings(_RATE_SECONDS + 1)
        self._rates: deque[float] = deque(maxlen=_HISTORY_SECONDS)

    async def run(self, snapshot: Callable[[], Awaitable[Snapshot]], ready: Callable[[], tuple[bool, str]]) -> None:
        """Look every second until cancelled."""
        while True:
            self.look(await snapshot(), ready(), time.monotonic(), time.time())
            await asyncio.sleep(1.0)

    def look(self, now: Snapshot, ready: tuple[bool, str], monotonic: float, epoch: float) -> None:
        """Take a snapshot into the picture. monotonic, epoch: the clocks, in seconds."""
        seen = self._seen
        seen.add(reading(now, monotonic))
        self._rates.append(lines_gained(seen.newest, seen.before))
        seconds = max(monotonic - seen.oldest.seconds, 1.0)
        marks = [meta.watermark for meta in now.metas.values() if meta.watermark is not None]
        self.view = replace(
            self.view,
            uptime_seconds=monotonic - self._began,
            ready=ready[0],
            ready_reason=ready[1],
            records_total=seen.newest.lines,
            records_per_second=lines_gained(seen.newest, seen.oldest) / seconds,
            records_history=tuple(self._rates),
            lag_messages=sum(now.lag.values()),
            watermark_age_seconds=epoch - max(marks) if marks else None,
            enis=_top(seen, "eni", seconds),
            ports=_top(seen, "port", seconds),
            rejects=summed(now, "rejects"),
            late_records=sum(meta.totals["late"] for meta in now.metas.values()),
            duplicate_lines=sum(summed(now, "duplicates").values()),
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


def _top(seen: Readings, table: str, seconds: float) -> tuple[Rate, ...]:
    """Those that moved most bytes since the oldest reading."""
    moved = gained(seen.newest, seen.oldest, table).filter(pl.col("bytes") > 0).drop("flows", "rejected")
    return tuple(
        Rate(key[0] if table == "eni" else port_text(*key), count / seconds)
        for *key, count in moved.sort("bytes", descending=True).head(_TOP).iter_rows()
    )
