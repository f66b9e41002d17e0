"""Workers on the topic that shows them to each other: who is there, who left, and what does not end a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from streams.console.fleet import Fleet
from streams.console.models import Picture
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from tests.kafka.process import until

NOBODY = "127.0.0.1:1"


@asynccontextmanager
async def running(bootstrap: str, topic: str, see: Callable[[], Picture]) -> AsyncIterator[Fleet]:
    """A worker's part of it, until the end of the block."""

    async def look() -> Picture:
        return see()

    fleet = Fleet(bootstrap, {}, topic, every=0.2)
    task = asyncio.create_task(fleet.run(look))
    try:
        yield fleet
    finally:
        task.cancel()
        await asyncio.wait([task])


def picture(name: str) -> Picture:
    return Picture(name, time.time(), ready=True, reason="ready")


def sees(fleet: Fleet, *names: str) -> bool:
    return [one.instance for one in fleet.pictures(time.time())] == list(names)


async def test_each_sees_all_and_who_leaves_is_gone_at_once(bootstrap: str, prefix: str) -> None:
    names = Names(prefix)
    await prepare_topics(bootstrap, our_topics(names, Topics()), {}, print)

    async with running(bootstrap, names.view, partial(picture, "a")) as one:
        async with running(bootstrap, names.view, partial(picture, "b")) as other:
            await until("each sees both", lambda: sees(one, "a", "b") and sees(other, "a", "b"), 30)
        await until("the other is gone", lambda: sees(one, "a"), 4)


async def test_without_a_broker_a_worker_sees_itself() -> None:
    async with running(NOBODY, "t", partial(picture, "a")) as fleet:
        await until("it sees itself", lambda: sees(fleet, "a"), 20)


async def test_what_goes_wrong_in_a_look_is_told_once_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looked = iter([None, None])

    def see() -> Picture:
        if next(looked, 1) is None:
            raise ZeroDivisionError("a bug")
        return picture("a")

    async with running(NOBODY, "t", see) as fleet:
        await until("it goes on", lambda: sees(fleet, "a"), 30)

    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "no picture of this worker for the console"
    ]
