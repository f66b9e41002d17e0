"""Dead letters read from their topic, message by message, and put back on the raw topic: each group of them once.

A group is marked on the dead-letter topic once it is stored. Interrupted between the two it is sent again, with the
same origin, and `combine` drops the repeat. What was on the topic at the start is read: nothing goes in a circle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.core.deadletter import SOURCE, Group, Mark, Page, Recent, Wanted, groups, holds_marks, read
from streams.core.fields import parse_format
from streams.core.parse import parse
from streams.core.raw import Origin, RawMessage, split_lines
from streams.sources.decode import decode
from streams.sources.publish import BrokerUnavailable

log = logging.getLogger(__name__)

Publish = Callable[[Sequence[RawMessage]], Awaitable[None]]
Progress = Callable[[int, int], None]
"""Gets the messages that were read, and those that there are."""

_REMEMBERED = 262_144
_BATCH_MESSAGES = 500
_BATCH_BYTES = 4 * 1024 * 1024
_FETCH_BYTES = 4 * 1024 * 1024
_POLL_MS = 500
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


class LetterError(Exception):
    """There is no such topic, or no such letter. One line."""


# -- reading ----------------------------------------------------------------------------------------------------------


class Letters(Protocol):
    """What is on the topic."""

    def pages(self, *, marks_only: bool) -> AsyncIterator[Page]:
        """From the beginning, at each call. marks_only: nothing but marks is needed."""


@dataclass(frozen=True)
class Reader:
    """A consumer on the topic, and where the topic began and ended when it was opened."""

    consumer: AIOKafkaConsumer
    first: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]
    bootstrap: str
    progress: Progress

    async def pages(self, *, marks_only: bool) -> AsyncIterator[Page]:
        """Every message that was there when it was opened, in order. Raises BrokerUnavailable."""
        total = sum(self.end[one] - self.first[one] for one in self.end)
        try:
            for partition, first in self.first.items():
                self.consumer.seek(partition, first)
            while left := await self._left():
                self.progress(total - left, total)
                for value in await self._some():
                    if holds_marks(value) or not marks_only:
                        yield read(value)
        except KafkaError as problem:
            raise BrokerUnavailable(f"can't read from Kafka at {self.bootstrap}: {_reason(problem)}") from problem
        self.progress(total, total)

    async def _some(self) -> list[bytes]:
        found = await self.consumer.getmany(timeout_ms=_POLL_MS)
        return [
            one.value or b"" for partition, records in found.items() for one in records
            if one.offset < self.end[partition]
        ]  # fmt: skip

    async def _left(self) -> int:
        """Messages that are still to be read."""
        return sum([max(0, end - await self.consumer.position(one)) for one, end in self.end.items()])


@contextlib.asynccontextmanager
async def opened(
    bootstrap: str, topic: str, options: Mapping[str, object], progress: Progress
) -> AsyncIterator[Reader]:
    """The topic, from its beginning to its present end; the broker is waited for.

    Nothing is made and nothing is committed. Raises LetterError when the topic is not there, BrokerUnavailable.
    """
    consumer = await _connected(bootstrap, options)
    try:
        if topic not in await consumer.topics():
            raise LetterError(
                f"Kafka at {bootstrap} has no topic {topic}: no worker has run there, or topics.prefix is another"
            )
        consumer.assign([TopicPartition(topic, 0)])  # it has one partition, or no worker starts
        first = await consumer.beginning_offsets(consumer.assignment())
        end = await consumer.end_offsets(consumer.assignment())
        yield Reader(consumer, first, end, bootstrap, progress)
    except KafkaError as problem:
        raise BrokerUnavailable(f"can't read from Kafka at {bootstrap}: {_reason(problem)}") from problem
    finally:
        await consumer.stop()


async def _connected(bootstrap: str, options: Mapping[str, object]) -> AIOKafkaConsumer:
    pause, told = _FIRST_PAUSE, False
    while True:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES, **options,
        )  # fmt: skip
        try:
            await consumer.start()
        except (KafkaError, OSError) as problem:
            await consumer.stop()
            if not told:
                log.warning("can't reach Kafka at %s (%s); trying again", bootstrap, _reason(problem))
            told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        except BaseException:
            await consumer.stop()
            raise
        else:
            return consumer


def _reason(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__


async def once(pages: AsyncIterator[Page], wanted: Wanted) -> AsyncIterator[tuple[list[Group], list[Mark], int]]:
    """Groups and marks that are meant, each once, and the number of strange rows; message by message.

    Twins lie close together: a worker that starts again writes the letters since its last checkpoint anew.
    """
    recent = Recent(_REMEMBERED)
    async for page in pages:
        found = [group for group in groups(page) if wanted.takes(group.first) and recent.is_new(group.key)]
        marks = [mark for mark in page.marks if wanted.takes(mark) and recent.is_new(b"mark" + mark.key)]
        yield found, marks, page.strange


# -- putting back -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Putting:
    """How letters are put back.

    format: field names with spaces between, instead of what they came with. limit: letters; groups are not cut.
    largest_bytes: of what a payload decompresses to. default_format: of the workers; trial: nothing is stored.
    """

    wanted: Wanted = field(default_factory=Wanted)
    format: str | None = None
    limit: int | None = None
    largest_bytes: int = 64 * 1024 * 1024
    default_format: str | None = None
    trial: bool = False


@dataclass
class Put:
    """What became of the letters: their numbers.

    put: stored on the raw topic, as `messages`. before: stored by an earlier replay. bad_again: they had been put back
    and were bad again; passed over unless their source was asked for. undecodable: payloads that still can't be read.
    strange: rows that are no letters. readable, unreadable: lines of what would be put back (only on trial).
    """

    put: int = 0
    messages: int = 0
    before: int = 0
    bad_again: int = 0
    undecodable: int = 0
    strange: int = 0
    readable: int = 0
    unreadable: int = 0


async def put_back(letters: Letters, send: Publish, mark: Publish, how: Putting, clock: Callable[[], float]) -> Put:
    """Put back the letters that are meant. send: onto the raw topic, mark: onto the dead-letter topic, until stored.

    Reads twice: marks, then letters. Held are the keys of the marks that are meant, and a batch of letters.
    clock: epoch seconds.
    """
    out, batch = Put(), _Batch(send, mark, clock)
    marked = {one.key async for page in letters.pages(marks_only=True) for one in page.marks if how.wanted.takes(one)}
    async for group in _meant(letters, how, out):
        if how.limit is not None and out.put >= how.limit:
            break
        again = _again(group, marked, how, out)
        if again and not how.trial:
            await batch.add(group, again)
    await batch.store()
    return out


async def _meant(letters: Letters, how: Putting, out: Put) -> AsyncIterator[Group]:
    async for found, _, strange in once(letters.pages(marks_only=False), how.wanted):
        out.strange += strange
        for group in found:
            yield group


def _again(group: Group, marked: set[bytes], how: Putting, out: Put) -> list[RawMessage]:
    """The messages that a group goes back as, and counts what becomes of it; none: it stays."""
    letters = len(group.letters)
    if group.key in marked:
        out.before += letters
        return []
    if group.first.source == SOURCE and SOURCE not in how.wanted.sources:
        out.bad_again += letters
        return []
    again = [group.lines_again(how.format)] if group.first.line is not None else _decoded(group, how)
    if not again:
        out.undecodable += letters
        return []
    out.put += letters
    out.messages += len(again)
    if how.trial:
        _try(again, how, out)
    return again


def _decoded(group: Group, how: Putting) -> list[RawMessage]:
    """A payload, decoded anew. None when any of it can't be, or when no line of it is a record: it would come back."""
    found = decode(group.value, how.largest_bytes)
    if found.errors or found.notifications:
        return []
    lines = [(part, batch.format) for batch in found.batches for part in split_lines(batch.lines)]
    again = group.whole_again(lines, how.format)
    return again if any(_lines(message, how)[0] for message in again) else []


def _try(messages: Sequence[RawMessage], how: Putting, out: Put) -> None:
    for message in messages:
        readable, unreadable = _lines(message, how)
        out.readable += readable
        out.unreadable += unreadable


def _lines(message: RawMessage, how: Putting) -> tuple[int, int]:
    """Lines that a worker would read, and those that it would not."""
    text = message.format or how.default_format
    try:
        parsed = parse(message.value, parse_format(text) if text else None)
    except ValueError:  # the format that it came with is none
        return 0, message.lines
    return parsed.lines - parsed.rejects.height, parsed.rejects.height


class _Batch:
    """Messages that are stored together, then marked."""

    def __init__(self, send: Publish, mark: Publish, clock: Callable[[], float]) -> None:
        self._send, self._mark, self._clock = send, mark, clock
        self._messages: list[RawMessage] = []
        self._marks: list[Mark] = []

    async def add(self, group: Group, messages: Sequence[RawMessage]) -> None:
        self._messages += messages
        self._marks.append(group.mark())
        size = sum(len(message.value) for message in self._messages)
        if size >= _BATCH_BYTES or len(self._messages) >= _BATCH_MESSAGES:
            await self.store()

    async def store(self) -> None:
        if not self._messages:
            return
        await self._send(self._messages)
        rows = b"\n".join(mark.encode() for mark in self._marks)
        await self._mark([RawMessage(rows, Origin(SOURCE, "marks"), int(self._clock() * 1000))])
        self._messages, self._marks = [], []
