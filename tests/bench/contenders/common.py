"""What every contender does in the same way: take its arguments, split a line, measure itself, report.

Nothing but the standard library: contenders run in environments of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

WINDOW_SECONDS = 60
LATE_SECONDS = 300
"""Generated records are up to 125 s out of order: a window that waits less would lose some."""

Row = tuple[int, int, int]
"""Flows, packets, bytes."""

_LOG_STATUS = 13
_KIB_A_MIB = 1024


class Flow(NamedTuple):
    """What is counted of a record. port: the lower of its two, as for Polars."""

    eni: str
    port: str
    packets: int
    octets: int
    end: int


def parse(line: bytes) -> Flow | None:
    """A line of version 2, or of 5, which begins in the same way. None: NODATA or SKIPDATA."""
    words = line.decode().split()
    if words[_LOG_STATUS] != "OK":
        return None
    port = min(int(words[5]), int(words[6]))
    return Flow(words[2], str(port), int(words[8]), int(words[9]), int(words[11]))


def arguments() -> tuple[str, str, int]:
    """Bootstrap, topic, how many records it holds."""
    bootstrap, topic, records = sys.argv[1:]
    return bootstrap, topic, int(records)


class Meter:
    """CPU and wall clock of this process, all threads, from the first record to the last."""

    def __init__(self, records: int) -> None:
        """records: how many there will be."""
        self.left = self._records = records
        self._began = self._cpu = self._seconds = self._used = 0.0

    def start(self) -> None:
        """The first record is here."""
        self._began, self._cpu = time.monotonic(), time.process_time()

    def stop(self) -> None:
        """All are counted."""
        self._seconds, self._used = time.monotonic() - self._began, time.process_time() - self._cpu

    def took(self) -> None:
        """One record came in."""
        if self.left == self._records:
            self.start()
        self.left -= 1

    def report(self, enis: Iterable[tuple[str, Row]], ports: Iterable[tuple[str, Row]]) -> None:
        """Print one JSON object. enis, ports: the rows of all windows."""
        found = {
            "records": self._records - self.left,
            "cpu_seconds": self._used,
            "seconds": self._seconds,
            "peak_rss_mb": _peak_rss_mb(),
            "enis": _added_up(enis),
            "ports": _added_up(ports),
        }
        print(json.dumps(found), flush=True)


def _peak_rss_mb() -> int | None:
    """The kernel's own figure; None where it gives none.

    Not getrusage's: that one begins at what the parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    peak = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // _KIB_A_MIB


def _added_up(rows: Iterable[tuple[str, Row]]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for key, (flows, packets, octets) in rows:
        old = found.get(key, (0, 0, 0))
        found[key] = old[0] + flows, old[1] + packets, old[2] + octets
    return found
