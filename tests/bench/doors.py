"""`make bench-doors`: what it costs to take records in, before a worker sees them. Real processes, a real Apache Kafka.

`ingest`: posts of Amazon Data Firehose, gzip, a record in each of 10,000 parts as a flow log sends them. `bridge`: a
topic with one line a message. CPU is that of the ingest or the bridge process alone, from ready until all is on the raw
topic and confirmed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple
from uuid import uuid4

import aiohttp
import orjson
import psutil
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from streams.generate import bulk
from tests.bench.contenders.feed import feed
from tests.bench.worker import MIB, PAUSE, cpu, ready
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.process import Vpcflow
from tests.sources.firehose_sender import FirehoseSender, write_body

_PARTS = 10_000
BOUNDS = {"ingest": 0.3, "bridge": 3.0}
"""CPU-seconds a million records."""


class Cost(NamedTuple):
    """Of a run. peak: MB, resident."""

    cpu_seconds: float
    seconds: float
    peak: float


Run = Callable[[str, Sequence[bytes]], Awaitable[Cost]]


def main(arguments: Sequence[str]) -> int:
    """Measure, print. 1: dearer than asked, or Kafka is missing."""
    options = _options(arguments)
    lines = [line for chunk in bulk(options.records) for line in chunk.split(b"\n")]
    try:
        with KafkaCluster() as kafka:
            measured = {name: _median(kafka.bootstrap, lines, run, options.runs) for name, run in RUNS.items()}
            costs = {name: asyncio.run(one) for name, one in measured.items()}
    except MissingError as problem:
        Console(stderr=True).print(f"nothing is measured without Apache Kafka: {problem}")
        return 1
    _print(costs, len(lines))
    return int(any(1e6 * cost.cpu_seconds / len(lines) > BOUNDS[name] for name, cost in costs.items()))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-doors", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="the median by CPU counts")
    return parser.parse_args(arguments)


async def _median(bootstrap: str, lines: Sequence[bytes], run: Run, runs: int) -> Cost:
    costs = sorted([await run(bootstrap, lines) for _ in range(runs)])
    return costs[len(costs) // 2]


async def _ingest(bootstrap: str, lines: Sequence[bytes]) -> Cost:
    parts = [orjson.dumps({"message": line.decode()}) for line in lines]
    bodies = [_post(parts[at : at + _PARTS]) for at in range(0, len(parts), _PARTS)]
    prefix = f"doors-{uuid4().hex[:8]}"
    with Vpcflow("ingest", "--broker", f"kafka://{bootstrap}", environ={"VPCFLOW_TOPICS__PREFIX": prefix}) as ingest:
        await ready(ingest)
        return await _measured(ingest, _posted(ingest.url, bodies))


def _post(records: Sequence[bytes]) -> tuple[str, bytes]:
    name = str(uuid4())
    return name, write_body(records, name, int(1000 * time.time()))


async def _posted(url: str, bodies: Sequence[tuple[str, bytes]]) -> None:
    async with aiohttp.ClientSession() as session:
        sender = FirehoseSender(session, f"{url}/firehose", compressed=True)
        for name, body in bodies:
            assert (await sender.post_body(body, name)).accepted


async def _bridge(bootstrap: str, lines: Sequence[bytes]) -> Cost:
    prefix = f"doors-{uuid4().hex[:8]}"
    topic, group = f"{prefix}-flows", f"{prefix}-bridge"
    await feed(bootstrap, topic, lines)
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_BRIDGE__GROUP": group}
    with Vpcflow("bridge", "--broker", f"kafka://{bootstrap}", "--topic", topic, environ=environ) as bridge:
        return await _measured(bridge, _committed(bootstrap, group, len(lines)))


async def _committed(bootstrap: str, group: str, messages: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while sum(one.offset for one in (await admin.list_consumer_group_offsets(group)).values()) < messages:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
    finally:
        await admin.close()


async def _measured(program: Vpcflow, work: Awaitable[None]) -> Cost:
    process = psutil.Process(program.pid)
    before, began = cpu(process), time.monotonic()
    await work
    return Cost(cpu(process) - before, time.monotonic() - began, process.memory_info().rss / MIB)


def _print(costs: dict[str, Cost], records: int) -> None:
    table = Table("way in", "CPU-s per million", "asked", "records/s", "RSS at the end, MB")
    for name, cost in costs.items():
        each = 1e6 * cost.cpu_seconds / records
        table.add_row(name, f"{each:.2f}", f"{BOUNDS[name]}", f"{records / cost.seconds:,.0f}", f"{cost.peak:.0f}")
    Console(width=100).print(table)


RUNS: dict[str, Run] = {"ingest": _ingest, "bridge": _bridge}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
