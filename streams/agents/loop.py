"""The Faust shell around a pure state: events in, state kept in a changelog, acknowledged in order.

Decision 6 of the design: every few seconds what changed is written to the changelog and *awaited*; only then are the
events acknowledged. Faust moves messages and owns partitions; what a row means is the state's business. Work on the
state runs in one thread of its own, so nothing blocks the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from faust.types import TP, EventT

from streams.agents.changelog import Stored
from streams.agents.inbox import Inbox
from streams.core import ledger
from streams.core.ledger import Keyed, Ledger, Rows, Written
from streams.metrics import Instruments

S = TypeVar("S")
Event = EventT[Any]
Taken = tuple[int, Event]
"""An event and the number of the assignment in which it came."""
log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
"""How often a loop with nothing to apply looks whether a flush or a checkpoint is due, or whether it shall stop."""

_CONFIRM_SECONDS = 60.0
"""How long a write to the broker may take before the worker gives up and is started again from its checkpoint."""

_REST = 12
"""With events waiting, so many times the length of a flush or a checkpoint go to them before the next."""
_MOST_REST_SECONDS = 15.0
"""Not more: one that waited for a broker was long and no work, and what is not saved is read again after a crash."""

_TRIES = 3
"""So often a missing message is asked for; an offset that holds none (a transaction's mark) is passed over then."""


@dataclass
class _Missing:
    """A message that did not come. instead: the first offset that did, so often after it was asked for."""

    expected: int
    instead: int
    tried: int = 0


class State(Protocol[S]):
    """What the loop asks of a pure state; each call runs in the core's thread."""

    def open(self, partition: int, written: Written) -> S:
        """The state of a partition from its rows, whoever wrote them."""

    def apply(self, state: S, events: Sequence[Event]) -> list[Outgoing]:
        """Take events in order; what must be on the broker before they are acknowledged."""

    def flush(self, state: S) -> list[Outgoing]:
        """What is due to be sent on (the summaries)."""

    def checkpoint(self, state: S) -> tuple[Rows, Rows]:
        """(rows to write first, rows to write once those are safe)."""

    def stamp(self, state: S) -> int:
        """The last offset that the state includes, -1: none."""

    def settled(self, state: S) -> int:
        """The last offset that nobody needs to read again once the checkpoint is safe; not above `stamp`."""


class Source(Protocol):
    """The topic that a loop reads, as far as it must ask for a message again."""

    async def earliest(self, topic: str, partition: int) -> int:
        """The first offset that the broker still holds."""

    async def stored(self, changelog: str, topic: str, partitions: Iterable[int]) -> dict[int, Stored]:
        """What a changelog holds by now of partitions of `topic`."""

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read on from `offset`."""


@dataclass(frozen=True)
class Outgoing:
    """A message to send: topic is a Faust topic, a value None deletes."""

    topic: Any
    partition: int | None
    key: bytes
    value: bytes | None


@dataclass(eq=False)
class Loop(Generic[S]):
    """One for each agent. `take` is the agent's body, `run` the work beside it.

    Between `drop` and `open` it has no states and takes nothing.

    changelog: a Faust topic. flush_seconds, checkpoint_seconds: how often. inbox: what is in it is taken at once.
    patient: events wait for the flush that shows them, unless it is full before: to apply many costs little more than
    to apply one. part_bytes: see core.ledger.
    """

    name: str
    topic: str
    changelog: Any
    source: Source
    state: State[S]
    thread: ThreadPoolExecutor
    instruments: Instruments
    flush_seconds: float
    checkpoint_seconds: float
    inbox: Inbox[Taken]
    patient: bool = False
    part_bytes: int = ledger.PART_BYTES
    states: dict[int, S] = field(default_factory=dict)
    ledgers: dict[int, Ledger] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    progressed: float = field(default_factory=time.monotonic)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _assignment: int = 0
    _missing: dict[int, _Missing] = field(default_factory=dict)
    _waiting: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    _sent: list[Awaitable[Any]] = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, event: Event) -> None:
        """Into the inbox; waits while the core is behind, so that Kafka holds what memory should not.

        An event that waits while partitions move belongs to an assignment that is over: it is not applied.
        """
        assignment = self._assignment
        await self._opened.wait()
        await self.inbox.put((assignment, event), len(event.message.value or b""))

    async def run(self, *, stopping: Callable[[], bool]) -> None:
        """Apply what was taken, flush and checkpoint in time, until `stopping`."""
        flush_at = save_at = 0.0
        while not stopping():
            await self._wait(flush_at)
            async with self._lock:
                began = time.monotonic()
                if self._ripe(flush_at):
                    await self._apply(self.inbox.take(), show=self._shows(flush_at))
                if time.monotonic() >= flush_at:
                    flush_at = await self._next(began + self.flush_seconds, self._flush())
                if time.monotonic() >= save_at:
                    save_at = await self._next(time.monotonic() + self.checkpoint_seconds, self._checkpoint())

    async def settle(self) -> None:
        """Apply what was taken, flush and checkpoint now: before partitions go, before the worker stops."""
        async with self._lock:
            while self.inbox:
                await self._apply(self.inbox.take())
            await self._flush()
            await self._checkpoint()

    async def drop(self) -> None:
        """Forget all partitions, and every event that was on its way: they may belong to somebody else now.

        Whatever comes back to this worker comes again from the offset that was acknowledged last.
        """
        async with self._lock:
            self._opened.clear()
            self._assignment += 1
            for each in (self.states, self.ledgers, self.positions, self._missing, self._waiting):
                each.clear()

    async def open(self, partitions: Iterable[int]) -> None:
        """Read the states of partitions that were just assigned; from then on events are taken.

        Raises StateError, HoleError, ValueError. May be cancelled: nothing has changed then.
        """
        stored = await self.source.stored(self.changelog.topics[0], self.topic, partitions)
        states, ledgers = dict[int, S](), dict[int, Ledger]()
        for partition, found in stored.items():
            written = ledger.read(partition, found.rows)
            ledgers[partition] = Ledger(partition, secrets.token_hex(4), found.rows, found.latest, self.part_bytes)
            states[partition] = await self.in_core(self.state.open, partition, written)
        async with self._lock:
            self.states.update(states)
            self.ledgers.update(ledgers)
            self.progressed = time.monotonic()
            self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether the states of all partitions that were assigned are there."""
        return self._opened.is_set()

    async def in_core(self, work: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - gives what `work` gives
        """Run `work` in the core's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *args)

    async def _wait(self, flush_at: float) -> None:
        """Until there is something to do, or for _POLL_SECONDS."""
        left = flush_at - time.monotonic()
        if left > 0:
            await self.inbox.wait(min(left, _POLL_SECONDS), until_full=self.patient)

    def _ripe(self, flush_at: float) -> bool:
        """Whether what is in the inbox is to be applied now."""
        return bool(self.inbox) and (not self.patient or self.inbox.full() or time.monotonic() >= flush_at)

    def _shows(self, flush_at: float) -> bool:
        """Whether a flush is due, and there is time for it."""
        return not self.inbox.full() and time.monotonic() >= flush_at

    async def _apply(self, taken: list[Taken], *, show: bool = False) -> None:
        """Under the lock: partitions do not move meanwhile. show: each is flushed before the next is looked at."""
        by_partition: dict[int, list[Event]] = defaultdict(list)
        for assignment, event in taken:
            if assignment == self._assignment:
                by_partition[event.message.partition].append(event)
        for partition, some in by_partition.items():
            state = self.states[partition]
            mine = await self._in_sequence(partition, state, some)
            if not mine:
                continue
            self._send(await self.in_core(self.state.apply, state, mine))
            if show:
                self._send(await self.in_core(self.state.flush, state))
            self._waiting[partition] += mine
            self.positions[partition] = mine[-1].message.offset
            for event in mine:
                event.message.value = None  # held until the checkpoint: the offset is enough
                event.value = None
        self.progressed = time.monotonic()

    async def _in_sequence(self, partition: int, state: S, events: list[Event]) -> list[Event]:
        """The events that follow on what the state includes; from the first one missing on, all are asked for again.

        Faust can step over messages around a rebalance, and a worker that was thought dead can have left an older
        checkpoint than the offset that was committed: what is counted follows the state's own stamp, nothing else.
        """
        expected = self.state.stamp(state) + 1
        for number, event in enumerate(events):
            offset = event.message.offset
            if offset > expected and not await self._is_hole(partition, expected, offset):
                return events[:number]
            expected = max(expected, offset + 1)
        return events

    async def _is_hole(self, partition: int, expected: int, found: int) -> bool:
        """Whether there is nothing from `expected` up to `found`; else reading goes back to `expected`."""
        earliest = await self.source.earliest(self.topic, partition)
        if earliest >= found or self._tried(partition, expected, found) > _TRIES:
            gone = min(earliest, found)
            if gone > expected:
                self.instruments.lost(self.topic, gone - expected)
                log.error("%s/%s: offsets %s to %s are gone", self.topic, partition, expected, gone - 1)
            if gone < found:
                log.warning(
                    "%s/%s: offsets %s to %s hold no message", self.topic, partition, max(gone, expected), found - 1
                )
            return True
        log.info("%s/%s: offset %s came before %s, reading again", self.topic, partition, found, expected)
        await self.source.seek(self.topic, partition, max(expected, earliest))
        return False

    def _tried(self, partition: int, expected: int, found: int) -> int:
        """How often `found` was the first to come in place of `expected`.

        What comes behind a smaller one says nothing: that one is there, and is to be read before it.
        """
        missing = self._missing.get(partition)
        if missing is None or missing.expected != expected or missing.instead > found:
            missing = self._missing[partition] = _Missing(expected, found)
        missing.tried += missing.instead == found
        return missing.tried if missing.instead == found else 0

    async def _next(self, earliest: float, work: Awaitable[None]) -> float:
        """Do the work; when it is due again."""
        began = time.monotonic()
        await work
        return due(earliest, began, time.monotonic(), behind=self.inbox.full())

    async def _flush(self) -> None:
        for state in self.states.values():
            self._send(await self.in_core(self.state.flush, state))

    async def _checkpoint(self) -> None:
        """First what was sent must be safe, then the rows, then the rows that settle it; then acknowledge."""
        started = time.monotonic()
        await self._confirm(self._sent)
        self._sent.clear()
        size = 0
        for partition, state in self.states.items():
            mine = self.ledgers[partition]
            first, then = await self.in_core(self.state.checkpoint, state)
            size += await self._write(partition, mine.first(first))
            size += await self._write(partition, mine.then(then, self.state.stamp(state)))
            self._acknowledge(partition, self.state.settled(state))
        self.instruments.checkpoint(self.name, time.monotonic() - started, size)

    def _acknowledge(self, partition: int, settled: int) -> None:
        waiting = self._waiting.pop(partition, [])
        for event in waiting:
            if event.message.offset <= settled:
                event.ack()
        self._waiting[partition] = [event for event in waiting if event.message.offset > settled]

    async def _write(self, partition: int, keyed: Keyed) -> int:
        rows = [Outgoing(self.changelog, partition, key, value) for key, value in keyed.items()]
        await self._confirm([_soon(row) for row in rows])
        return sum(len(row.value or b"") for row in rows)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        self._sent += map(_soon, messages)

    async def _confirm(self, futures: Sequence[Awaitable[Any]]) -> None:
        if futures:
            await asyncio.wait_for(asyncio.gather(*futures), timeout=_CONFIRM_SECONDS)


def due(earliest: float, began: float, ended: float, *, behind: bool) -> float:
    """When work is due again that took from `began` to `ended`.

    Behind (a backlog, which touches many panes) it takes its share of the time, not all. Else nobody waits for it.
    """
    rest = min(_REST * (ended - began), _MOST_REST_SECONDS) if behind else 0.0
    return max(earliest, ended + rest)


def _soon(message: Outgoing) -> Awaitable[Any]:
    """On its way; done when the broker has it."""
    sent: Awaitable[Any] = message.topic.send_soon(
        key=message.key, value=message.value, partition=message.partition, key_serializer="raw", value_serializer="raw"
    )
    return sent


def partitions_of(topic: str, assigned: Iterable[TP]) -> list[int]:
    """The partitions of one topic in an assignment."""
    return sorted(tp.partition for tp in assigned if tp.topic == topic)
