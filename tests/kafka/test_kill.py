"""Law 4: a killed worker changes nothing. kill -9 in mid-stream, restart and take-over, on Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial

import pytest

from streams.agents.changelog import stored
from streams.core.ledger import PART_BYTES
from streams.core.raw import Origin, RawMessage, digest
from streams.generate import FORMATS, Version, bulk
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.core.traffic import noise
from tests.kafka.oracle import Key, Oracle
from tests.kafka.process import Vpcflow, sums, until
from tests.kafka.sending import publish

LINES = 400_000
VERSION: Version = 5
pytestmark = pytest.mark.timeout(240)


def _messages() -> list[RawMessage]:
    now = int(time.time() * 1000)
    chunks = bulk(LINES, enis=300, version=VERSION, seed=11)
    return [
        RawMessage(lines, Origin("file", "bulk", str(n), digest(lines)), now, FORMATS[VERSION])
        for n, lines in enumerate(chunks)
    ]


def _oracle(messages: list[RawMessage]) -> Oracle:
    return Oracle((line for message in messages for line in message.value.split(b"\n") if line), FORMATS[VERSION])


def _lines(*workers: Vpcflow) -> int:
    samples = [worker.samples().get("vpcflow_lines_total", {}) for worker in workers]
    return int(sum(value for found in samples for value in found.values()))


def _has_lines(worker: Vpcflow, count: float) -> bool:
    return _lines(worker) >= count


def _flows(*workers: Vpcflow) -> int:
    return int(sum(value for one in workers for value in one.samples().get("vpcflow_eni_flows_total", {}).values()))


def _environ(prefix: str) -> dict[str, str]:
    return {
        "VPCFLOW_TOPICS__PREFIX": prefix,
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
    }


def _assert_exact(oracle: Oracle, *workers: Vpcflow) -> None:
    """Lines, ENIs and ports of all workers together are the oracle's, to the unit."""
    lines: Counter[str] = Counter()
    enis: dict[Key, tuple[int, ...]] = {}
    services: dict[Key, tuple[int, ...]] = {}
    for samples in [worker.samples() for worker in workers]:
        for labels, value in samples.get("vpcflow_lines_total", {}).items():
            lines[dict(labels)["outcome"]] += int(value)
        enis |= sums(samples, "eni", ["eni", "direction", "action"])
        services |= sums(samples, "port", ["port", "protocol", "action"])
    assert +lines == oracle.outcomes()
    assert enis == oracle.enis_by_direction()
    assert services == oracle.ports()


async def test_totals_are_exact_after_kill_9_and_restart(apache_kafka: str, prefix: str) -> None:
    """Killed twice while records stream in; the third life ends with exactly the input's totals."""
    messages = _messages()
    oracle = _oracle(messages)
    await prepare_topics(apache_kafka, our_topics(Names(prefix), Topics()), {}, print)
    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=_environ(prefix)) as worker:
        publishing = asyncio.create_task(publish(apache_kafka, Names(prefix), messages, pause=0.05))
        for part in (0.25, 0.6):
            await until(f"{part:.0%} of the lines", partial(_has_lines, worker, LINES * part))
            worker.kill9()
            worker.start()
        await publishing
        await until("all flows visible", lambda: _flows(worker) >= oracle.outcomes()["flow"])
        _assert_exact(oracle, worker)


async def test_totals_are_exact_when_others_take_over(apache_kafka: str, prefix: str) -> None:
    """Two workers share the partitions; one is killed, the other ends with all of them and exactly the totals."""
    messages = _messages()
    oracle = _oracle(messages)
    await prepare_topics(apache_kafka, our_topics(Names(prefix), Topics()), {}, print)
    command = ("worker", "--broker", f"kafka://{apache_kafka}")
    with Vpcflow(*command, environ=_environ(prefix)) as heir, Vpcflow(*command, environ=_environ(prefix)) as victim:
        publishing = asyncio.create_task(publish(apache_kafka, Names(prefix), messages, pause=0.1))
        await until("both count", lambda: min(_lines(heir), _lines(victim)) > 0 and _lines(heir, victim) > LINES * 0.3)
        victim.kill9()
        await publishing
        await until("all flows visible", lambda: _flows(heir) >= oracle.outcomes()["flow"])
        _assert_exact(oracle, heir)


async def test_a_state_larger_than_a_message_survives_too(apache_kafka: str, prefix: str) -> None:
    """Nearly a hundred thousand interfaces in one raw partition, no two records alike: rows go in parts."""
    names, topics = Names(prefix), Topics(raw_partitions=1)
    await prepare_topics(apache_kafka, our_topics(names, topics), {}, print)
    lines = 96_000
    publisher = Publisher(apache_kafka, names.raw, 1, {})
    await publisher.start()
    await publisher.send(noise(lines, 8000))
    await publisher.stop()

    environ = {**_environ(prefix), "VPCFLOW_TOPICS__RAW_PARTITIONS": "1", "VPCFLOW_DETECTION__LIVE": "true"}
    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ) as worker:
        await until("all flows visible", lambda: _flows(worker) == _lines(worker) == lines)
        await asyncio.sleep(3.0)  # and saved: a checkpoint is due every second
        await asyncio.to_thread(worker.kill9)
        await asyncio.to_thread(worker.start)
        await until("all flows visible", lambda: _flows(worker) == _lines(worker) == lines)
    options = {"bootstrap_servers": apache_kafka}
    found = await stored(options, names.combine_changelog, names.raw, [0], 30.0)
    assert any(b"#" in key for key in found[0].rows)
    assert max(map(len, found[0].rows.values())) == PART_BYTES
