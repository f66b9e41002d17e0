"""What brokers hold: logs, compacted changelogs, committed offsets; and what Faust makes of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.core import ledger

RAW, SUMMARIES, LETTERS = "raw", "summaries", "letters"
CONVERSATIONS, FINDINGS = "conversations", "findings"
LOG_OF = {RAW: "raw-changelog", SUMMARIES: "summaries-changelog", CONVERSATIONS: "conversations-changelog"}
"""Topic -> changelog of the loop that reads it."""
RAW_PARTITIONS = SUMMARY_PARTITIONS = 2
TPS = [(RAW, p) for p in range(RAW_PARTITIONS)] + [(SUMMARIES, p) for p in range(SUMMARY_PARTITIONS)]
"""What every kit has; one that detects has CONVERSATIONS too."""

Tp = tuple[str, int]


@dataclass
class Record:
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass
class Log:
    """A partition of a topic that is not compacted."""

    records: dict[int, Record] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def append(self, record: Record, gap: int = 0) -> None:
        """gap: so many offsets before it hold nothing."""
        self.records[self.end + gap] = record
        self.end += gap + 1

    def next(self, position: int, end: int) -> int | None:
        """The first offset from `position` on, before `end`, that holds a record."""
        position = max(position, self.start)
        while position < end and position not in self.records:
            position += 1
        return position if position < end else None

    def retain(self, start: int) -> None:
        self.start = max(self.start, start)
        for offset in [offset for offset in self.records if offset < self.start]:
            del self.records[offset]


@dataclass
class Send:
    """A record on its way. landed: the broker has it, whether its sender knows or not."""

    key: bytes
    value: bytes | None
    confirmed: asyncio.Future[int]
    landed: bool = False


Sends = deque[Send]


class Kafka:
    """What is stored."""

    def __init__(self, tps: Sequence[Tp] = TPS) -> None:
        self.logs = {tp: Log() for tp in tps}
        self.letters: list[bytes] = []
        self.findings: list[bytes] = []
        self.changelogs: dict[Tp, dict[bytes, bytes]] = {(LOG_OF[topic], number): {} for topic, number in tps}
        self.committed: dict[Tp, int] = {}
        self.ghosts: list[tuple[Tp, Sends]] = []
        self._writers: dict[str, str] = {}

    def land(self, tp: Tp, send: Send) -> None:
        send.landed = True
        if tp[0] in (LETTERS, FINDINGS):
            (self.letters if tp[0] == LETTERS else self.findings).append(send.value or b"")
        elif tp in self.changelogs:
            self._keep(self.changelogs[tp], self._named(send.key), send.value)
        else:
            self.logs[tp].append(Record(send.key, send.value))

    def _keep(self, rows: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
        rows.pop(key, None)
        if value is not None:
            rows[key] = value

    def _named(self, key: bytes) -> bytes:
        """The same key, with a number for the writer's random name: a schedule that runs again does the same."""
        number, writer, name = key.decode().split("/", 2)
        known = writer if writer.startswith("w") else self._writers.setdefault(writer, f"w{len(self._writers):04}")
        return f"{number}/{known}/{name}".encode()

    def land_late(self, argument: int, *, last: bool = False) -> None:
        """The next record of somebody dead lands; last: and no more of that."""
        tp, sends = self.ghosts[argument % len(self.ghosts)]
        self.land(tp, sends.popleft())
        if last:
            sends.clear()
        self.ghosts = [ghost for ghost in self.ghosts if ghost[1]]

    def written(self, topic: str, number: int) -> dict[str, dict[str, bytes]]:
        """What the changelog of a partition holds, by writer."""
        return ledger.read(number, self.changelogs[LOG_OF[topic], number])


class Message:
    def __init__(self, offset: int, number: int, record: Record) -> None:
        self.offset, self.partition = offset, number
        self.key, self.value, self.headers = record.key, record.value, record.headers
        self.timestamp = 1.0


class Event:
    def __init__(self, message: Message, acknowledge: Callable[[int], None]) -> None:
        self.message, self.value = message, message.value
        self._acknowledge = acknowledge

    def ack(self) -> None:
        self._acknowledge(self.message.offset)


@dataclass
class Topic:
    """A Faust topic, as far as a worker sends to it."""

    name: str
    send: Callable[[Tp, bytes, bytes | None], asyncio.Future[int]]

    @property
    def topics(self) -> list[str]:
        return [self.name]

    def send_soon(self, *, key: bytes, value: bytes | None, partition: int | None, **_: Any) -> asyncio.Future[int]:
        return self.send((self.name, partition or 0), key, value)
