"""What goes wrong with a broker is one line, never a traceback, and a process that is asked to end does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streams.app import not_for_long
from streams.core import tables
from streams.core.combine import Meta
from streams.core.raw import Origin, RawMessage, digest
from streams.embedded import free_port
from streams.kafka import BrokerError, Contact, TopicSpec, ensure_topics, our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from streams.sources.publish import Publisher
from tests.kafka.broker import KafkaCluster
from tests.kafka.process import COMMAND, ROOT, Vpcflow, until
from tests.sources.fakes import heard
from tests.sources.firehose_sender import FirehoseSender
from tests.sources.samples import A

QUICK = {"VPCFLOW_CHECKPOINT__SECONDS": "1", "VPCFLOW_GROUP__SESSION_SECONDS": "6"}


def _ready(process: Vpcflow) -> bool:
    return process.get("/readyz")[0] == 200


def _not_ready(process: Vpcflow, reason: str) -> bool:
    status, text = process.get("/readyz")
    return status == 503 and reason in text


def _said_once(process: Vpcflow, line: str) -> bool:
    """Whether it said `line` once, and nothing that only somebody who knows its libraries understands."""
    foreign = [word for word in ("Traceback", "aiokafka", "faust", "mode.", "[^") if word in process.printed()]
    assert foreign == [], process.printed()
    return process.printed().count(line) == 1


@contextmanager
def _waiting(*arguments: str) -> Iterator[Vpcflow]:
    """A process whose broker is not there: it serves HTTP, and has not said that it listens."""
    address = f"127.0.0.1:{free_port()}"
    process = Vpcflow(*arguments, listen=address)
    process.launch()
    process.url = f"http://{address}"
    try:
        process.wait_for_line(r"(can't reach Kafka)")
        yield process
    finally:
        process.__exit__()


# -- ending -----------------------------------------------------------------------------------------------------------


async def test_sigterm_ends_a_worker_whose_broker_is_gone(lone_kafka: KafkaCluster) -> None:
    """Two that have tables and can't save: one ends with its reason, the other at once at the second signal."""
    command = ("worker", "--broker", f"kafka://{lone_kafka.bootstrap}")
    with Vpcflow(*command, environ=QUICK) as one, Vpcflow(*command, environ=QUICK) as other:
        for worker in (one, other):
            await until("recovered", partial(_ready, worker))
        lone_kafka.kill9()
        for worker in (one, other):
            await until("noticed", partial(_not_ready, worker, f"can't reach Kafka at {lone_kafka.bootstrap}"))
        began = time.monotonic()
        for worker in (one, other):
            os.kill(worker.pid, signal.SIGTERM)
        await until("not ready any more", partial(_not_ready, other, "stopping"), 5)
        assert other.end(signal.SIGTERM) == 1
        assert time.monotonic() - began < 5
        assert one.end(signal.SIGCONT) == 1  # it was told already
        assert time.monotonic() - began < 15
        assert _said_once(
            one, f"vpcflow: stopped without the last checkpoint: Kafka at {lone_kafka.bootstrap} does not"
        )
        assert _said_once(one, "can't reach Kafka")
        assert _said_once(other, "vpcflow: SIGTERM came again: ended at once")


async def test_a_worker_that_was_stopped_leaves_its_partitions_at_once(apache_kafka: str, prefix: str) -> None:
    """The next one has them long before the session of the first is over."""
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_GROUP__SESSION_SECONDS": "40"}
    command = ("worker", "--broker", f"kafka://{apache_kafka}")
    with Vpcflow(*command, environ=environ) as first:
        await until("recovered", partial(_ready, first))
        began = time.monotonic()
        assert first.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10
        assert _said_once(first, "partitions assigned: ")
    with Vpcflow(*command, environ=environ) as second:
        await until("recovered", partial(_ready, second))
        assert time.monotonic() - began < 25
        assert (
            sum(second.samples()["vpcflow_recovery_duration_seconds_sum"].values()) < 5
        )  # no question waits for input
        second.wait_for_line(
            rf"(assigned: {prefix}\.raw \[0, 1, 2, 3\], {prefix}\.summaries \[0, 1, 2, 3\])", seconds=15
        )


# -- no broker --------------------------------------------------------------------------------------------------------


async def test_ingest_is_not_ready_while_the_broker_is_away(lone_kafka: KafkaCluster) -> None:
    """Before it came, and after it went: alive, not ready with the reason, posts get 503; in between all is well."""
    reason = f"can't reach Kafka at {lone_kafka.bootstrap}"
    lone_kafka.kill9()
    with _waiting("ingest", "--broker", f"kafka://{lone_kafka.bootstrap}") as ingest:
        assert ingest.get("/livez") == (200, "alive\n")
        assert _not_ready(ingest, reason)
        assert await _post(ingest) == 503
        assert "vpcflow_ready 0.0" in ingest.get("/metrics")[1]
        lone_kafka.restart()
        await until("ready", partial(_ready, ingest))
        assert await _post(ingest) == 200
        assert _said_once(ingest, reason)
        lone_kafka.kill9()
        await until("noticed", partial(_not_ready, ingest, reason))
        assert ingest.get("/livez")[0] == 200
        assert ingest.end(signal.SIGTERM) == 0
        assert ingest.printed().count(reason) == 2


async def _post(ingest: Vpcflow) -> int:
    async with aiohttp.ClientSession() as session:
        sender = FirehoseSender(session, f"{ingest.url}/firehose")
        return (await sender.post([orjson.dumps({"message": A})], "r-1")).status


async def test_a_bridge_is_ready_when_it_reads_and_can_write(apache_kafka: str, prefix: str) -> None:
    topic = f"{prefix}-theirs"
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_BRIDGE__GROUP": prefix}
    command = ("bridge", "--broker", f"kafka://{apache_kafka}", "--topic", topic)
    nobody = f"127.0.0.1:{free_port()}"
    elsewhere = {**environ, "VPCFLOW_BRIDGE__BROKER__URL": f"kafka://{nobody}"}
    with Vpcflow(*command, environ=environ) as bridge, Vpcflow(*command, environ=elsewhere) as lost:
        await until("missed", partial(_not_ready, bridge, f"Kafka at {apache_kafka} has no topic {topic}"))
        await ensure_topics(apache_kafka, [TopicSpec(topic, 1)])
        await until("ready", partial(_ready, bridge))
        assert _said_once(bridge, "has no topic")
        await until("noticed", partial(_not_ready, lost, f"can't reach Kafka at {nobody}"))
        assert _said_once(lost, nobody)


def test_a_replay_says_once_that_it_waits(tmp_path: Path) -> None:
    address, file = f"127.0.0.1:{free_port()}", tmp_path / "flows.log"
    file.write_text(A)
    command = [*COMMAND, "replay", "--broker", f"kafka://{address}", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as replay:
        assert replay.stderr
        assert f"can't reach Kafka at {address}: ".encode() in replay.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            replay.wait(4)  # long enough for some tries
        replay.send_signal(signal.SIGINT)
        assert replay.wait(10) == 130
        assert replay.stderr.read().split(b"\n") == [b"", b"vpcflow: interrupted", b""]


async def test_a_contact_tells_a_reason_once_and_silence_ends_a_worker() -> None:
    contact = Contact(f"127.0.0.1:{free_port()}", {}, ["x"])
    watching = asyncio.create_task(contact.watch())
    with heard("streams.kafka") as log:
        with pytest.raises(BrokerError, match=rf"^Kafka at {contact.bootstrap} has not answered for 3 s; "):
            await not_for_long(contact, 3)
        watching.cancel()
        await asyncio.wait([watching])

    assert log.said == [contact.problem]
    assert contact.problem.startswith(f"can't reach Kafka at {contact.bootstrap}: ")


# -- state ------------------------------------------------------------------------------------------------------------

_PANE = tables.encode({"stamp": 3}, tables.empty_frames())


@dataclass(frozen=True)
class Broken:
    """Rows of partition 0 of a changelog, the key of the one that can't be read, and what is wrong with it."""

    changelog: str
    rows: dict[str, bytes]
    key: str
    why: str


@pytest.mark.parametrize(
    "broken",
    [
        Broken("combine", {"meta": b'{"v":2}'}, "0/w/meta", "written by a newer release"),
        Broken("combine", {"meta": Meta().encode(), "pane/60": _PANE[:-1]}, "0/w/pane/60", "cut off or changed"),
        Broken("roll", {"0/pane/60": b'{"v":2,"frames":[]}\n'}, "0/w/0/pane/60", "written by a newer release"),
    ],
    ids=lambda broken: f"{broken.changelog} {broken.key}",
)
async def test_state_that_cannot_be_read_ends_the_worker_with_its_place(
    apache_kafka: str, prefix: str, broken: Broken
) -> None:
    topic = f"{prefix}.{broken.changelog}-changelog"
    await prepare_topics(apache_kafka, our_topics(Names(prefix), Topics()), {}, print)
    async with AIOKafkaProducer(bootstrap_servers=apache_kafka) as producer:
        for name, value in broken.rows.items():
            await producer.send_and_wait(topic, value, f"0/w/{name}".encode(), partition=0)

    worker = Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ={"VPCFLOW_TOPICS__PREFIX": prefix})
    worker.launch()
    try:
        line = worker.wait_for_line(r"(vpcflow: state that can't be read: .*)")
        assert worker.end(signal.SIGCONT) == 1  # by itself
        assert f"topic {topic}, partition 0, key {broken.key}: " in line
        assert broken.why in line
        assert line.endswith("use the release that wrote it, or begin anew with another topics.prefix")
        assert _said_once(worker, "can't be read")
    finally:
        worker.__exit__()


async def test_the_mark_of_a_transaction_does_not_keep_a_worker_from_its_tables(apache_kafka: str, prefix: str) -> None:
    """It is the last offset of a changelog, and no record has it: Faust's own recovery waits for it without end."""
    topic = f"{prefix}.combine-changelog"
    await prepare_topics(apache_kafka, our_topics(Names(prefix), Topics()), {}, print)
    producer = AIOKafkaProducer(bootstrap_servers=apache_kafka, transactional_id=prefix)
    async with producer, producer.transaction():
        await producer.send_and_wait(topic, b"{}", b"foreign", partition=0)

    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ={"VPCFLOW_TOPICS__PREFIX": prefix}) as worker:
        await until("recovered", partial(_ready, worker))


async def test_a_workers_writes_are_idempotent(apache_kafka: str, prefix: str) -> None:
    """Else a request that a network held up would put an old row over a newer one (tests/chaos: `cut, held`)."""
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_LOG__LEVEL": "debug"}
    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ) as worker:
        await until("recovered", partial(_ready, worker))
        assert "InitProducerIdResponse_v0(throttle_time_ms=0, error_code=0" in worker.printed()


async def test_a_full_disk_is_nothing_to_a_worker(apache_kafka: str, prefix: str) -> None:
    """It keeps nothing on one: where no byte can be written to a file it counts, checkpoints and starts again."""
    names, url = Names(prefix), f"http://127.0.0.1:{free_port()}"
    await prepare_topics(apache_kafka, our_topics(names, Topics()), {}, print)
    publisher = Publisher(apache_kafka, names.raw, 4, {})
    await publisher.start()
    await publisher.send(
        [RawMessage(A.encode(), Origin("file", "one", "0", digest(A.encode())), int(time.time() * 1000))]
    )
    await publisher.stop()
    arguments = ["worker", "--broker", f"kafka://{apache_kafka}", "--listen", url.removeprefix("http://")]
    command = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *COMMAND, *arguments]
    environ = {**os.environ, "VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_CHECKPOINT__SECONDS": "1"}
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await until("counted", partial(_shows, url, 'vpcflow_lines_total{outcome="flow"'), 60)
        finally:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0


def _shows(url: str, series: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310
            return series in answer.read().decode()
    except OSError:
        return False
