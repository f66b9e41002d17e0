"""Findings through Kafka: what workers tell is what the same lines give at once, and a kill -9 changes none of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.analysis import Analysis
from streams.core.detection import Watch
from streams.core.fields import parse_format
from streams.core.findings import as_object
from streams.core.parse import parse
from streams.core.raw import Origin, RawMessage, digest
from streams.detectors.registry import DETECTORS
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.kafka.process import Vpcflow

pytestmark = pytest.mark.timeout(240)

FORMAT = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action flow-direction"
ENI, HOST, DATABASE, SCANNER = "eni-0a1b2c3d4e5f60718", "10.0.0.5", "10.0.1.9", "198.51.100.7"
T0 = 1_700_000_040
MINUTES, SCAN, REFUSED = 60, 10, 30
TRAILING = 48
"""Messages long after all that: every raw partition gets some, and all minutes before close."""


def _record(at: int, route: tuple[str, int, str, int], *, out: bool, action: str = "ACCEPT", size: int = 900) -> str:
    source, srcport, target, dstport = route
    way = "egress" if out else "ingress"
    return f"{ENI} {source} {target} {srcport} {dstport} 6 9 {size} {at} {at + 59} {action} {way}"


def _minute(n: int) -> list[str]:
    """An application asks its database, until that refuses; somebody tries twelve ports in the eleventh minute."""
    at = T0 + 60 * n
    ask, answer = (HOST, 40_000 + n, DATABASE, 5432), (DATABASE, 5432, HOST, 40_000 + n)
    if n < REFUSED:
        lines = [_record(at, ask, out=True), _record(at, answer, out=False)]
    else:
        lines = [_record(at, ask, out=True, action="REJECT", size=60)] * 3
    if n == SCAN:
        lines += [
            _record(at, (SCANNER, 50_000, HOST, 1000 + port), out=False, action="REJECT", size=60) for port in range(12)
        ]
    return lines


def _messages() -> list[RawMessage]:
    minutes = [(_minute(n), n) for n in range(MINUTES)]
    trailing = [([_record(T0 + 7200, (HOST, 40_000 + n, DATABASE, 5432), out=True)], 1000 + n) for n in range(TRAILING)]
    return [
        RawMessage(text, Origin("file", "f", str(n), digest(text)), 1000 * (T0 + 60 * n + 70), FORMAT)
        for lines, n in [*minutes, *trailing]
        for text in ["\n".join(lines).encode()]
    ]


def _expected(messages: list[RawMessage]) -> dict[str, object]:
    """Id -> the newest word on it, of all minutes that close."""
    analysis = Analysis()
    for message in messages[:MINUTES]:
        analysis.add(parse(message.value + b"\n", parse_format(FORMAT)))
    return {one.id: as_object(one) for one in Watch(DETECTORS).see_all(analysis.talks())}


async def _publish(bootstrap: str, names: Names, messages: list[RawMessage], pause: float = 0.0) -> None:
    await prepare_topics(bootstrap, our_topics(names, Topics()), {}, print)
    publisher = Publisher(bootstrap, names.raw, Topics().raw_partitions, {})
    await publisher.start()
    for message in messages:
        await publisher.send([message])
        await asyncio.sleep(pause)
    await publisher.stop()


async def _told(bootstrap: str, topic: str) -> dict[str, object]:
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


async def _until(what: str, check: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(check):
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.2)


def _watched_to(worker: Vpcflow, at: int) -> bool:
    return max(worker.samples().get("vpcflow_watched_before_timestamp_seconds", {(): 0.0}).values()) >= at


def _has_lines(worker: Vpcflow, count: int) -> bool:
    return sum(worker.samples().get("vpcflow_lines_total", {(): 0.0}).values()) >= count


def _environ(names: Names) -> dict[str, str]:
    return {
        "VPCFLOW_TOPICS__PREFIX": names.prefix,
        "VPCFLOW_DETECTION__LIVE": "true",
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
    }


async def test_workers_tell_what_the_same_lines_give_at_once(bootstrap: str) -> None:
    """The scan and the dependency that broke are told on the topic and in the metrics, once each."""
    names, messages = Names(f"findings-{uuid4().hex[:8]}"), _messages()
    expected = _expected(messages)
    detectors = {one["detector"] for one in expected.values() if isinstance(one, dict)}
    assert {"port-scan", "broken-dependency"} <= detectors
    await _publish(bootstrap, names, messages)

    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=_environ(names)) as worker:
        await _until("all minutes are closed", partial(_watched_to, worker, T0 + 60 * MINUTES))
        samples = await asyncio.to_thread(worker.samples)

    assert await _told(bootstrap, names.anomalies) == expected
    assert (await _told(bootstrap, names.anomalies_ocsf)).keys() == expected.keys()
    assert (await _told(bootstrap, names.anomalies_ecs)).keys() == expected.keys()
    opened = samples["vpcflow_findings_total"]
    assert sum(opened.values()) == len(expected)
    assert {dict(labels)["detector"] for labels in opened} == detectors
    assert sum(samples["vpcflow_unwatched_records_total"].values()) == 0


async def test_kill_9_in_an_episode_changes_no_finding(apache_kafka: str) -> None:
    """Killed while the database refuses, twice: the same ids, words and counts as of a worker that lived."""
    names, messages = Names(f"findings-{uuid4().hex[:8]}"), _messages()
    publishing = asyncio.create_task(_publish(apache_kafka, names, messages, pause=0.2))
    await asyncio.sleep(3.0)

    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=_environ(names)) as worker:
        for minute in (REFUSED + 3, REFUSED + 12):
            await _until("some are watched", partial(_watched_to, worker, T0 + 60 * minute))
            await asyncio.to_thread(worker.kill9)
            await asyncio.to_thread(worker.start)
        await publishing
        await _until("all minutes are closed", partial(_watched_to, worker, T0 + 60 * MINUTES))
        samples = await asyncio.to_thread(worker.samples)

    expected = _expected(messages)
    assert await _told(apache_kafka, names.anomalies) == expected
    assert sum(samples["vpcflow_findings_total"].values()) == len(expected)
