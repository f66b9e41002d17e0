"""Small real things that stand where Kafka and Prometheus stand."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from streams.core.raw import RawMessage
from streams.sources.publish import BrokerUnavailable


@dataclass
class Broker:
    """Keeps what it is given. down: it refuses; slow: it confirms when `go_on` is set. `asked`: somebody came."""

    down: bool = False
    slow: bool = False
    stored: list[RawMessage] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def publish(self, messages: Sequence[RawMessage]) -> None:
        self.asked.set()
        if self.down:
            raise BrokerUnavailable("Kafka at broker:9092 did not confirm")
        if self.slow:
            await self.go_on.wait()
        self.stored += messages
        async with self._more:
            self._more.notify_all()

    async def until(self, lines: int) -> None:
        """Wait until so many lines were stored, repeats included."""
        async with self._more:
            await asyncio.wait_for(self._more.wait_for(lambda: len(self.lines) >= lines), 30)

    @property
    def lines(self) -> list[str]:
        good = (message for message in self.stored if message.error is None)
        return [line for message in good for line in message.value.decode().split("\n")]

    @property
    def errors(self) -> list[tuple[bytes, str]]:
        return [(message.value, message.error) for message in self.stored if message.error]


@dataclass
class Counted:
    """Counts."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[tuple[str, str]] = field(default_factory=Counter)

    def requests(self, source: str, outcome: str) -> None:
        self.outcomes[source, outcome] += 1

    def bytes(self, source: str, count: int) -> None:
        self.sizes[source] += count

    def skipped(self, source: str, reason: str, count: int) -> None:
        self.passed_over[source, reason] += count


class Heard(logging.Handler):
    """What a logger says, and an event for the first time that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.something = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self.something.set()


@contextmanager
def heard(name: str) -> Iterator[Heard]:
    """Listen to the logger of a module for the length of the block."""
    handler = Heard()
    logging.getLogger(name).addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger(name).removeHandler(handler)
