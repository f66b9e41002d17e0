"""Dead letters, read back from their topic: all that are on it, and nothing is waited for."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaConsumer


@dataclass(frozen=True)
class Letter:
    """id: the same for the same line, however often it was written. payload: the bytes that could not be read."""

    id: str
    reason: str
    payload: bytes


async def dead_letters(bootstrap: str, topic: str) -> list[Letter]:
    """In the order of the topic; a letter that was written twice is there twice."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        assert ends
        found: list[Letter] = []
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                found += [_letter(line) for message in messages for line in message.value.split(b"\n")]
        return found
    finally:
        await consumer.stop()


def _letter(line: bytes) -> Letter:
    row = orjson.loads(line)
    encoded = row.get("payload") or row.get("text_base64")
    payload = base64.b64decode(encoded) if encoded else str(row.get("text")).encode()
    return Letter(row["id"], row["reason"], payload)
