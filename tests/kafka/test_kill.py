"""Law 4: a killed worker changes nothing. kill -9 in mid-stream, restart and take-over, on Apache Kafka."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.core.raw import Origin, RawMessage, digest
from streams.generate import FORMATS, bulk
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.kafka.oracle import Oracle
from tests.kafka.process import Vpcflow, sums

LINES = 400_000
VERSION = 5
pytestmark = pytest.mark.timeout(240)


def _messages() -> list[RawMessage]:
    now = int(time.time() * 1000)
    chunks = bulk(LINES, enis=300, version=VERSION, seed=11)
    return [RawMessage(lines, Origin("file", "bulk", str(n), digest(lines)), now, FORMATS[VERSION]) for n, lines in enumerate(chunks)]


async def _publish(bootstrap: str, prefix: str, messages: list[RawMessage], *, pause: float) -> None:
    names = Names(prefix)
    await prepare_topics(bootstrap, our_topics(names, Topics()), {}, print)
    publisher = Publisher(bootstrap, names.raw, Topics().raw_partitions, {})
    await publisher.start()
    for message in messages:
        await publisher.send([message])
        await asyncio.sleep(pause)
    await publisher.stop()


def _lines(*workers: Vpcflow) -> int:
    samples = [worker.samples().get("vpcflow_lines_total", {}) for worker in workers]
    return int(sum(value for found in samples for value in found.values()))


def _flows(*workers: Vpcflow) -> int:
    return int(sum(value for one in workers for value in one.samples().get("vpcflow_eni_flows_total", {}).values()))


async def _until(what: object, check: object, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await asyncio.to_thread(check):  # type: ignore[arg-type]
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"not in {seconds} s: {what}")


async def test_totals_are_exact_after_kill_9_and_restart(apache_kafka: str, prefix: str) -> None:
    """Killed twice while records stream in; the third life ends with exactly the input's totals."""
    messages = _messages()
    oracle = Oracle((line for message in messages for line in message.value.split(b"\n") if line), FORMATS[VERSION])
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_CHECKPOINT__SECONDS": "1", "VPCFLOW_BUDGET__PORT_SERIES": "20000"}
    await prepare_topics(apache_kafka, our_topics(Names(prefix), Topics()), {}, print)
    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ) as worker:
        publishing = asyncio.create_task(_publish(apache_kafka, prefix, messages, pause=0.05))
        for part in (0.25, 0.6):
            await _until(f"{part:.0%} of the lines", lambda part=part: _lines(worker) >= LINES * part)
            worker.kill9()
            worker.start()
        await publishing
        await _until("all lines counted", lambda: _lines(worker) >= LINES)
        await _until("all flows visible", lambda: _flows(worker) >= oracle.outcomes()["flow"])
        samples = worker.samples()

    by_outcome: dict[str, int] = {}
    for labels, value in samples["vpcflow_lines_total"].items():
        by_outcome[dict(labels)["outcome"]] = by_outcome.get(dict(labels)["outcome"], 0) + int(value)
    assert {name: count for name, count in by_outcome.items() if count} == oracle.outcomes()
    assert sums(samples, "eni", ["eni", "direction", "action"]) == oracle.enis_by_direction()
    assert sums(samples, "port", ["port", "protocol", "action"]) == oracle.ports()
