"""Looks at the fleet all the time: who is ready, what waits, and that no figure is ever above what it may be.

While faults happen a figure may lag behind, and two workers may both show a partition that moved. But what one worker
shows of a partition or a key is never above what all the input gives, and no more lines are counted than were sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.chaos.fleet import Fleet
from tests.kafka.oracle import Sums
from tests.kafka.process import Samples, sums, total

PAUSE = 1.0
_BY_PARTITION = ("vpcflow_lines_total", "vpcflow_folded_flows_total", "vpcflow_tabled_flows_total")
_KEYS = {"eni": ("eni", "action"), "port": ("port", "protocol", "action")}

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """The fleet at a moment. at: before it was asked, seconds, monotonic. ready: all say so, and hold all partitions.
    lag: messages that wait, of both topics.
    """

    at: float
    ready: bool
    lag: int


@dataclass
class Highs:
    """The highest that any worker showed. partitions: (metric, labels) -> value. tables: per key, as the oracle's."""

    partitions: dict[tuple[str, Labels], float] = field(default_factory=dict)
    tables: dict[str, Sums] = field(default_factory=lambda: {name: {} for name in _KEYS})

    def note(self, samples: Samples) -> None:
        """Take in one worker's scrape."""
        for name in _BY_PARTITION:
            for labels, value in samples.get(name, {}).items():
                self.partitions[name, labels] = max(value, self.partitions.get((name, labels), 0))
        for table, keys in _KEYS.items():
            highest = self.tables[table]
            for key, values in sums(samples, table, keys).items():
                known = highest.get(key, (0, 0, 0))
                highest[key] = max(values[0], known[0]), max(values[1], known[1]), max(values[2], known[2])


@dataclass
class Watch:
    """begun: gives the lines that were sent so far. raw, summary, watching: partitions of the three topics.

    excess: what was seen of figures above their bound, while it was seen.
    """

    fleet: Fleet
    begun: Callable[[], int]
    raw: int = 4
    summary: int = 4
    watching: int = 1
    readings: list[Reading] = field(default_factory=list)
    highs: Highs = field(default_factory=Highs)
    excess: list[str] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(PAUSE)

    async def until_ready(self, since: float, seconds: float) -> bool:
        """Wait for a reading after `since` that says ready; whether one came in time."""
        try:
            async with asyncio.timeout(seconds):
                while not any(one.ready for one in self.readings if one.at >= since):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def _look(self) -> None:
        at = time.monotonic()
        self.fleet.supervise()
        asked = [member for member in self.fleet.members if member.asked]
        ready = await asyncio.gather(*(asyncio.to_thread(member.ready) for member in asked))
        scrapes = await self.fleet.scrapes()
        found = [samples for samples in scrapes.values() if samples is not None]
        begun = self.begun()
        for samples in found:
            self.highs.note(samples)
        counted = counted_once(found)
        if counted > begun:
            self.excess.append(f"{counted} lines counted when {begun} had been sent")
        whole = _held(found, "vpcflow_folded_flows_total") == self.raw
        whole = whole and _held(found, "vpcflow_tabled_flows_total") == self.summary
        whole = whole and _held(found, "vpcflow_watched_before_timestamp_seconds") == self.watching
        lag = sum(total(samples, "vpcflow_consumer_lag_messages") for samples in found)
        self.readings.append(Reading(at, all(ready) and whole and len(found) == len(scrapes), lag))
        self._moved.set()


def counted_once(scrapes: Iterable[Samples]) -> int:
    """Lines of all outcomes; a partition that two workers show counts as the higher of both."""
    found: dict[str, int] = {}
    for samples in scrapes:
        mine: dict[str, int] = {}
        for labels, value in samples.get("vpcflow_lines_total", {}).items():
            partition = dict(labels)["partition"]
            mine[partition] = mine.get(partition, 0) + int(value)
        for partition, lines in mine.items():
            found[partition] = max(lines, found.get(partition, 0))
    return sum(found.values())


def _held(scrapes: Iterable[Samples], name: str) -> int:
    return len({labels for samples in scrapes for labels in samples.get(name, {})})
