"""The loop around a state: when what is due is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.agents.changelog import Stored
from streams.agents.inbox import Inbox
from streams.agents.loop import Event, Loop, Outgoing, due
from streams.core.ledger import Rows, Written
from tests.agents.simulation import Counted

QUEUE = 4


@pytest.mark.parametrize(
    ("took", "behind", "next_after_end"),
    [(0.1, True, 4.9), (0.5, True, 6.0), (20.0, True, 15.0), (0.5, False, 4.5), (20.0, False, 0.0)],
    ids=[
        "in its turn", "a share of the time under load", "one that waited for a broker was no work",
        "in its turn where nothing waits", "at once where it took longer",
    ],
)  # fmt: skip
def test_a_checkpoint_of_every_5_seconds_is_due_again(took: float, next_after_end: float, *, behind: bool) -> None:
    assert due(105.0, 100.0, 100.0 + took, behind=behind) - (100.0 + took) == pytest.approx(next_after_end)


class Diary:
    """A state that tells what is done to it: how many events are applied at once, or which call it is."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[int | str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._stamp = -1

    async def next(self, count: int) -> list[int | str]:
        """What is done next, as soon as it is."""
        return [await self._told.get() for _ in range(count)]

    def _tell(self, entry: int | str) -> None:
        self._loop.call_soon_threadsafe(self._told.put_nowait, entry)

    def open(self, _partition: int, _written: Written) -> Diary:
        return self

    def apply(self, _state: Diary, events: Sequence[Event]) -> list[Outgoing]:
        self._tell(len(events))
        self._stamp = events[-1].message.offset
        return []

    def flush(self, _state: Diary) -> list[Outgoing]:
        self._tell("flush")
        return []

    def checkpoint(self, _state: Diary) -> tuple[Rows, Rows]:
        self._tell("checkpoint")
        return {}, {}

    def stamp(self, _state: Diary) -> int:
        return self._stamp

    def settled(self, _state: Diary) -> int:
        return self._stamp - 1


class Nothing:
    """A source whose changelog is empty."""

    async def stored(self, _changelog: str, _topic: str, partitions: Sequence[int]) -> dict[int, Stored]:
        return {partition: Stored({}, -1) for partition in partitions}


def _event(offset: int, acknowledged: list[int] | None = None, *, partition: int = 0) -> Event:
    message = SimpleNamespace(partition=partition, offset=offset, value=b"")
    told = [] if acknowledged is None else acknowledged
    return cast("Event", SimpleNamespace(message=message, value=b"", ack=lambda: told.append(offset)))


@asynccontextmanager
async def _loop(flush_seconds: float, *, patient: bool, partitions: int = 1) -> AsyncIterator[tuple[Loop[Any], Diary]]:
    """A loop at work that waits for events."""
    diary, changelog = Diary(), SimpleNamespace(topics=["changelog"])
    with ThreadPoolExecutor(1) as thread:
        loop: Loop[Any] = Loop(
            "diary", "raw", changelog, cast("Any", Nothing()), cast("Any", diary), thread, cast("Any", Counted()),
            flush_seconds, 60.0, Inbox(1, QUEUE), patient=patient,
        )  # fmt: skip
        await loop.open(range(partitions))
        over = asyncio.Event()
        running = asyncio.create_task(loop.run(stopping=over.is_set))
        async with asyncio.timeout(10):
            assert await diary.next(2 * partitions) == ["flush"] * partitions + ["checkpoint"] * partitions
            await _breathe(loop)
            yield loop, diary
        over.set()
        await running


async def _breathe(loop: Loop[Any]) -> None:
    """Time for the loop to take what is there, if it would."""
    for _ in range(5):
        await loop.in_core(int)


async def test_what_a_checkpoint_does_not_hold_is_acknowledged_by_a_later_one() -> None:
    """Diary's checkpoints hold all but the last: it comes again after a crash."""
    acknowledged: list[int] = []
    async with _loop(60.0, patient=False) as (loop, _):
        for offset in range(3):
            await loop.take(_event(offset, acknowledged))
        await loop.settle()
        first = list(acknowledged)
        await loop.take(_event(3, acknowledged))
        await loop.settle()

    assert first == [0, 1]
    assert acknowledged == [0, 1, 2]


async def test_what_comes_between_two_flushes_is_applied_at_once() -> None:
    """Before the flush that shows it: a message alone costs nearly as much as ten together."""
    async with _loop(0.5, patient=True) as (loop, diary):
        for offset in range(3):
            await loop.take(_event(offset))
            await _breathe(loop)

        assert await diary.next(2) == [3, "flush"]


async def test_what_a_partition_got_is_shown_before_the_next_one_is_looked_at() -> None:
    """Diary counts offsets for all partitions together."""
    async with _loop(0.5, patient=True, partitions=2) as (loop, diary):
        for partition, offset in ((0, 0), (0, 1), (1, 2)):
            await loop.take(_event(offset, partition=partition))

        assert await diary.next(4) == [2, "flush", 1, "flush"]


async def test_a_full_inbox_does_not_wait_for_the_flush() -> None:
    """Nor for the next look at the clock: a backlog of small messages would take that long for each inbox of them."""
    async with _loop(60.0, patient=True) as (loop, diary):
        for round_ in range(200):
            await _breathe(loop)
            for n in range(QUEUE):
                await loop.take(_event(QUEUE * round_ + n))

            assert await diary.next(1) == [QUEUE]


async def test_a_loop_that_is_not_patient_applies_what_comes() -> None:
    async with _loop(60.0, patient=False) as (loop, diary):
        for offset in range(3):
            await loop.take(_event(offset))

            assert await diary.next(1) == [1]
