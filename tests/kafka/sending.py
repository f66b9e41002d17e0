"""Raw messages for workers that are watched from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
