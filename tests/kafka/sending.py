"""Raw messages for workers that are watched from outside: sent, and waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from streams.core.raw import RawMessage
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher


async def publish(bootstrap: str, names: Names, given: Sequence[RawMessage], pause: float = 0.0) -> None:
    """Onto the raw topic, in order; the topics are made."""
    await prepare_topics(bootstrap, our_topics(names, Topics()), {}, print)
    publisher = Publisher(bootstrap, names.raw, Topics().raw_partitions, {})
    await publisher.start()
    for message in given:
        await publisher.send([message])
        await asyncio.sleep(pause)
    await publisher.stop()


async def until(what: str, check: Callable[[], bool], seconds: float = 90.0) -> None:
    """Fails when it does not come true in time."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(check):
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.2)
