"""Kafka dies while Firehose posts come in, and comes back: /metrics ends with every line once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest

from streams.generate import FORMATS, Network, Version, minute
from tests.kafka.broker import KafkaCluster
from tests.kafka.oracle import Oracle
from tests.kafka.process import Vpcflow, by_label, flows_shown, sums, total, until
from tests.sources.firehose_sender import Delivery, FirehoseSender

VERSION: Version = 5
POSTS = 60
STREAMS = 4
LONGEST_PAUSE = 1.0
"""Seconds. Firehose's own pauses grow, and then the test would only be longer."""


def _posts() -> list[list[bytes]]:
    now = int(time.time()) // 60 * 60
    network = Network(seed=9)
    found = b"\n".join(minute(network, now - 60 * back, 6000, version=VERSION) for back in (4, 3, 2, 1))
    lines = [line for line in found.split(b"\n") if line]
    return [lines[n::POSTS] for n in range(POSTS)]


@dataclass
class Streams:
    """Delivery streams that post side by side. delivered: what was accepted; refused: refusals, by stream.

    free: until it is set, each posts half of what it has.
    """

    url: str
    delivered: list[tuple[list[bytes], Delivery]] = field(default_factory=list)
    refused: list[int] = field(default_factory=lambda: [0] * STREAMS)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, posts: Sequence[list[bytes]], request_ids: Sequence[str | None]) -> None:
        """Each post until it is accepted."""
        both = list(zip(posts, request_ids, strict=True))
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._stream(session, number, both[number::STREAMS]) for number in range(STREAMS)))

    async def _stream(
        self, session: aiohttp.ClientSession, number: int, posts: Sequence[tuple[list[bytes], str | None]]
    ) -> None:
        async def pause(seconds: float) -> None:
            self.refused[number] += 1
            self.moved.set()
            await asyncio.sleep(min(seconds, LONGEST_PAUSE))

        sender = FirehoseSender(session, self.url, attributes={"format": FORMATS[VERSION]}, sleep=pause)
        for place, (lines, request_id) in enumerate(posts):
            if place >= len(posts) // 2:
                await self.free.wait()
            records = [orjson.dumps({"message": line.decode()}) for line in lines]
            self.delivered.append((lines, await sender.deliver(records, request_id)))
            self.moved.set()

    async def until(self, delivered: int = 0, refused: int = 0) -> None:
        """Wait until so many posts are accepted, and each stream was refused so often."""
        async with asyncio.timeout(60):
            while len(self.delivered) < delivered or min(self.refused) < refused:
                self.moved.clear()
                await self.moved.wait()


@pytest.mark.timeout(180)
async def test_a_broker_that_dies_costs_no_line_and_doubles_none(lone_kafka: KafkaCluster, prefix: str) -> None:
    """Posts get 503 while it is away, and are sent again; so are some that were stored before: they are repeats."""
    posts = _posts()
    oracle = Oracle((line for lines in posts for line in lines), FORMATS[VERSION])
    outcomes = Counter(oracle.outcomes())
    environ = {
        "VPCFLOW_TOPICS__PREFIX": prefix,
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_CHECKPOINT__SUMMARY_SECONDS": "0.1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
        "VPCFLOW_INGEST__DEADLINE_SECONDS": "2",
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
    }
    broker = ("--broker", f"kafka://{lone_kafka.bootstrap}")
    with Vpcflow("ingest", *broker, environ=environ) as ingest, Vpcflow("worker", *broker, environ=environ) as worker:
        streams, again = Streams(f"{ingest.url}/firehose"), Streams(f"{ingest.url}/firehose")
        async with asyncio.TaskGroup() as delivering:
            delivering.create_task(streams.deliver(posts, [None] * POSTS))
            await streams.until(delivered=POSTS // 4)
            await until("something is read", lambda: total(worker.samples(), "vpcflow_lines_total") > 0)
            lone_kafka.kill9()
            streams.free.set()
            unheard = list(streams.delivered)
            await streams.until(refused=2)
            assert total(worker.samples(), "vpcflow_lines_total") > 0  # it can still be scraped
            lone_kafka.launch(lone_kafka.nodes[0])
        again.free.set()
        await again.deliver([lines for lines, _ in unheard], [delivery.request_id for _, delivery in unheard])
        await until("all lines are read", lambda: total(worker.samples(), "vpcflow_lines_total") >= outcomes.total())
        await until("all flows are shown", lambda: flows_shown(worker.samples()) >= outcomes["flow"])
        repeats = sum(len(lines) for lines, _ in unheard)
        await until("all repeats came", lambda: total(worker.samples(), "vpcflow_duplicate_lines_total") >= repeats)
        samples = worker.samples()

    statuses = Counter(attempt.status for _, delivery in streams.delivered for attempt in delivery.attempts)
    assert statuses.keys() == {200, 503}
    assert statuses[200] == POSTS > len(unheard) > 0
    assert by_label(samples, "vpcflow_lines_total", "outcome") == outcomes
    assert sums(samples, "eni", ["eni", "direction", "action"]) == oracle.enis_by_direction()
    assert sums(samples, "port", ["port", "protocol", "action"]) == oracle.ports()
