"""All workers, as each of them sees them: every five seconds a worker tells its picture on a topic that all read.

Nobody commits here and nobody waits: a broker that is away leaves a worker with its own picture, and what goes wrong
here ends no worker. Who stops says so with an empty message; who is killed is gone after GONE_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter

from streams.console.models import VERSION, Picture
from streams.console.picture import EVERY_SECONDS, encode
from streams.stopping import within

log = logging.getLogger(__name__)

GONE_SECONDS = 30
"""A worker that has told nothing for so long is gone."""
MOST_WORKERS = 1000
_BACK_MS = 60_000
_SEND_SECONDS = 4.0
_STOP_SECONDS = 1.0
_BROKEN = (KafkaError, OSError)
_PICTURE = TypeAdapter(Picture)

Look = Callable[[], Awaitable[Picture]]


class Fleet:
    """`run` until cancelled; `pictures` at any time."""

    def __init__(self, bootstrap: str, options: Mapping[str, object], topic: str, every: float = EVERY_SECONDS) -> None:
        """options: of aiokafka's clients. every: seconds between two pictures. Nothing is reached yet."""
        self._every = every
        self._options = {"bootstrap_servers": bootstrap, **options}
        self._topic = topic
        self._known: dict[str, Picture] = {}
        self._producer: AIOKafkaProducer | None = None
        self._told = ""
        self._name = b""

    def pictures(self, now: float) -> list[Picture]:
        """Of the workers that are there, by name. now: epoch seconds."""
        self._known = {name: one for name, one in self._known.items() if now - one.epoch <= GONE_SECONDS}
        return [self._known[name] for name in sorted(self._known)]

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """A message of the topic. What is no picture, or one of another release, is passed over."""
        if value is None:
            self._known.pop((key or b"").decode("utf-8", "replace"), None)
            return
        try:
            picture = _PICTURE.validate_json(value)
        except ValueError:
            return
        known = self._known.get(picture.instance)
        full = known is None and len(self._known) >= MOST_WORKERS
        if picture.version == VERSION and not full and (known is None or known.epoch <= picture.epoch):
            self._known[picture.instance] = picture

    async def run(self, look: Look) -> None:
        """Tell what `look` sees, and hear the others."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(look))
            group.create_task(self._listen())

    # -- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, look: Look) -> None:
        try:
            while True:
                await asyncio.sleep(self._every - time.time() % self._every)  # all workers at the same moments
                await self._look(look)
        finally:
            await self._hang_up(goodbye=True)

    async def _look(self, look: Look) -> None:
        try:
            picture = await look()
        except Exception as problem:  # a page is no reason for a worker to end
            if str(problem) != self._told:
                log.exception("no picture of this worker for the console")
            self._told = str(problem)
            return
        self._known[picture.instance] = picture
        await self._send(picture)

    async def _send(self, picture: Picture) -> None:
        value = await asyncio.to_thread(encode, picture)
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                producer = await self._connected()
                self._name = picture.instance.encode()
                await producer.send_and_wait(self._topic, value, key=self._name)
        except _BROKEN as problem:
            log.debug("the others do not see this worker: %s", problem)
            await self._hang_up()

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(compression_type="zstd", **self._options)
            await self._producer.start()
        return self._producer

    async def _hang_up(self, *, goodbye: bool = False) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(*_BROKEN):
            if goodbye and self._name:
                await within(_STOP_SECONDS, producer.send_and_wait(self._topic, None, key=self._name))
            await within(_STOP_SECONDS, producer.stop())

    # -- hearing ------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                await self._read()
            except _BROKEN as problem:
                log.debug("the other workers are not seen: %s", problem)
            await asyncio.sleep(EVERY_SECONDS)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(auto_offset_reset="latest", **self._options)
        try:
            await consumer.start()
            await self._seek(consumer)
            async for message in consumer:
                self.take(message.key, message.value)
        finally:
            with contextlib.suppress(*_BROKEN):
                await within(_STOP_SECONDS, consumer.stop())

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """From the last minute on: older pictures are of nobody who is there."""
        partition = TopicPartition(self._topic, 0)
        consumer.assign([partition])
        found = await consumer.offsets_for_times({partition: int(time.time() * 1000) - _BACK_MS})
        if found[partition] is None:
            await consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, found[partition].offset)
