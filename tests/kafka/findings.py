"""Raw messages in, findings out: what the tests of live detection share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.analysis import Analysis
from streams.core.detection import Watch
from streams.core.fields import parse_format
from streams.core.findings import as_object
from streams.core.parse import parse
from streams.core.raw import Origin, RawMessage, digest
from streams.detectors.registry import DETECTORS
from streams.names import Names
from tests.kafka.process import Vpcflow

_TRAILING = 48
"""Messages long after all others: every raw partition gets some, and all minutes before close."""
_LONG_AFTER = 7200


def messages(minutes: Mapping[int, Sequence[str]], fmt: str) -> list[RawMessage]:
    """Start of a minute (epoch seconds) -> lines: a message each, which arrives ten seconds after the minute's end."""
    return [_message(start, "\n".join(minutes[start]).encode(), fmt) for start in sorted(minutes)]


def trailing(end: int, line: Callable[[int], str], fmt: str) -> list[RawMessage]:
    """Messages that close all minutes up to `end`, and no later one. line: a record that begins at a second."""
    text = line(end + _LONG_AFTER).encode()
    return [_message(end + _LONG_AFTER + 60 * n, text, fmt) for n in range(_TRAILING)]


def _message(start: int, text: bytes, fmt: str) -> RawMessage:
    return RawMessage(text, Origin("file", "f", str(start), digest(text)), 1000 * (start + 70), fmt)


def expected(given: Sequence[RawMessage]) -> dict[str, object]:
    """Id -> the newest word on it, when the same lines are looked at at once."""
    analysis = Analysis()
    for message in given:
        analysis.add(parse(message.value + b"\n", parse_format(str(message.format))))
    return {one.id: as_object(one) for one in Watch(DETECTORS).see_all(analysis.talks(), analysis.silent())}


async def told(bootstrap: str, topic: str) -> dict[str, object]:
    """Id -> the newest word on it, of all that is on the topic."""
    partition = TopicPartition(topic, 0)
    found: dict[str, object] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for message in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                found[message.key.decode()] = orjson.loads(message.value)
    finally:
        await consumer.stop()
    return found


def without_origins(found: Mapping[str, object]) -> dict[str, object]:
    """What a file has too: it has no raw topic."""
    return {name: {**one, "origins": []} for name, one in found.items() if isinstance(one, dict)}


def watched_to(worker: Vpcflow, at: int) -> bool:
    """Whether the detectors have seen all minutes that end by then."""
    return max(worker.samples().get("vpcflow_watched_before_timestamp_seconds", {(): 0.0}).values()) >= at


def environ(names: Names, **more: str) -> dict[str, str]:
    """Settings of a worker that detects, and checkpoints every second."""
    return {
        "VPCFLOW_TOPICS__PREFIX": names.prefix,
        "VPCFLOW_DETECTION__LIVE": "true",
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
        **more,
    }
