"""Driving workers that are measured: fill the raw topic, wait, ask for CPU and bytes; Polars to hold them against.

Shared by the benchmark, the recovery and the curves of growth.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TypedDict
from zlib import crc32

import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streams.core.raw import TARGET_BYTES, Origin, RawMessage, digest
from streams.generate import FORMATS, Version
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import LARGEST, Publisher
from tests.kafka.process import Vpcflow

MIB = 1024 * 1024
PAUSE = 0.25
_MOST_AT_ONCE = 500
"""Messages that are sent together: to wait for each of many small ones would take longer than the measurement."""


class Limit(TypedDict):
    """What tests/bench/limit.py prints."""

    records: int
    cpu_seconds: float
    seconds: float
    peak_rss_mb: int
    verified: bool


def limit(chunks: Sequence[bytes], version: Version) -> Limit:
    """Polars over the same lines in a file, one thread."""
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(chunk + b"\n" for chunk in chunks)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.limit", file.name, *FORMATS[version].split()]
        one_thread = {**os.environ, "POLARS_MAX_THREADS": "1"}
        printed = subprocess.run(command, check=True, capture_output=True, env=one_thread).stdout
    found: Limit = json.loads(printed)
    return found


async def ready(worker: Vpcflow) -> None:
    """Return when it has its partitions."""
    while worker.get("/readyz")[0] != HTTPStatus.OK:  # noqa: ASYNC110 - asks another process
        await asyncio.sleep(PAUSE)


def cpu(process: psutil.Process) -> float:
    """Seconds of user and system time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def fill(
    bootstrap: str, names: Names, chunks: Sequence[bytes], version: Version, topics: Topics | None = None
) -> None:
    """Make the topics, put a message for each of `chunks` on the raw one."""
    topics = topics or Topics()
    await prepare_topics(bootstrap, our_topics(names, topics), {}, print)
    publisher = Publisher(bootstrap, names.raw, topics.raw_partitions, {})
    await publisher.start()
    for group in grouped(messages(chunks, version)):
        await publisher.send(group)
    await publisher.stop()


async def fill_as_others(
    bootstrap: str, chunks: Sequence[bytes], version: Version, topics: Topics, compression: str
) -> None:
    """The same messages in the same partitions, compressed as our publisher does not."""
    names = Names(topics.prefix)
    await prepare_topics(bootstrap, our_topics(names, topics), {}, print)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type=compression, max_batch_size=MIB,
        max_request_size=LARGEST,
    )  # fmt: skip
    await producer.start()
    for one in messages(chunks, version):
        partition = crc32(one.origin.partition_key()) % topics.raw_partitions
        await producer.send_and_wait(names.raw, one.value, partition=partition, headers=list(one.headers()))
    await producer.stop()


def messages(chunks: Sequence[bytes], version: Version, origin: str = "bench") -> Iterator[RawMessage]:
    """Raw messages that arrive now, each with an origin of its own."""
    now = int(time.time() * 1000)
    for n, chunk in enumerate(chunks):
        yield RawMessage(chunk, Origin("file", origin, str(n), digest(chunk)), now, FORMATS[version])


def grouped(some: Iterator[RawMessage]) -> Iterator[list[RawMessage]]:
    """Messages to be sent together: one of the usual size, many small ones."""
    group: list[RawMessage] = []
    size = 0
    for message in some:
        if group and (size + len(message.value) > TARGET_BYTES or len(group) >= _MOST_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(message)
        size += len(message.value)
    if group:
        yield group


async def committed(bootstrap: str, names: Names) -> int:
    """Raw messages that are counted, checkpointed and acknowledged."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(names.group)
    finally:
        await admin.close()
    return sum(max(0, one.offset) for tp, one in offsets.items() if tp.topic == names.raw)


def stored(folders: Sequence[Path], topic: str) -> int:
    """Bytes of a topic's messages on the disks of brokers, whose data folders these are."""
    return sum(log.stat().st_size for folder in folders for log in folder.glob(f"{topic}-[0-9]*/*.log"))
