"""The brokers themselves: both carry a message, ours end with us, Apache Kafka forgets nothing when it is killed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.embedded import embedded_broker, free_port
from streams.kafka import (
    BrokerError,
    TopicError,
    TopicSpec,
    client_options,
    ensure_topics,
    our_topics,
    prepare_topics,
)
from streams.names import Names
from streams.settings import Client, Topics
from tests.kafka.broker import KafkaCluster, answers

RUN_UNTIL_KILLED = """
import asyncio
from streams.embedded import embedded_broker

async def main():
    async with embedded_broker() as address:
        print(address, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value, headers=[("source", b"test")])


async def _first(bootstrap: str, topic: str) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        message = await asyncio.wait_for(consumer.getone(), 30)
    return message.value, tuple(message.headers)


async def test_a_message_comes_back_with_its_headers(bootstrap: str, prefix: str) -> None:
    topic = f"{prefix}.x"
    await ensure_topics(bootstrap, [TopicSpec(topic, 1)])

    await _send(bootstrap, topic, b"2 - -")

    assert await _first(bootstrap, topic) == (b"2 - -", (("source", b"test"),))


async def test_a_message_of_seven_mebibytes_fits(bootstrap: str, prefix: str) -> None:
    raw = Names(prefix).raw
    await ensure_topics(bootstrap, our_topics(Names(prefix), Topics()))
    large = os.urandom(7 * 1024 * 1024)

    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 * 1024 * 1024) as producer:
        sent = await producer.send_and_wait(raw, large, partition=0)

    assert sent.offset == 0


async def test_topics_that_are_there_are_left_alone(bootstrap: str, prefix: str) -> None:
    topics = our_topics(Names(prefix), Topics())
    await ensure_topics(bootstrap, topics)

    await ensure_topics(bootstrap, [*topics, TopicSpec(f"{prefix}.one-more", 2)])

    with pytest.raises(TopicError, match=r"one-more has 2 partitions, the settings say 3"):
        await ensure_topics(bootstrap, [TopicSpec(f"{prefix}.one-more", 3)])


async def test_processes_that_start_together_do_not_stumble_over_each_other(bootstrap: str, prefix: str) -> None:
    topics = our_topics(Names(prefix), Topics())

    await asyncio.gather(*(ensure_topics(bootstrap, topics) for _ in range(4)))

    await ensure_topics(bootstrap, topics)


async def test_another_partition_count_is_said_for_every_topic(bootstrap: str, prefix: str) -> None:
    await ensure_topics(bootstrap, our_topics(Names(prefix), Topics(raw_partitions=2)))

    with pytest.raises(TopicError) as raised:
        await ensure_topics(bootstrap, our_topics(Names(prefix), Topics(raw_partitions=3)))

    assert str(raised.value).splitlines() == [
        f"topic {prefix}.raw has 2 partitions, the settings say 3",
        f"topic {prefix}.combine-changelog has 2 partitions, the settings say 3",
    ]


async def test_more_copies_than_brokers_is_worth_another_try(apache_kafka: str, prefix: str) -> None:
    with pytest.raises(BrokerError, match=rf"topic {prefix}\.raw can't be made: .*replicat"):
        await ensure_topics(apache_kafka, our_topics(Names(prefix), Topics(replication=3)))


async def test_a_name_that_kafka_refuses_is_an_error_of_the_topic(apache_kafka: str) -> None:
    with pytest.raises(TopicError, match=r"topic a b can't be made"):
        await ensure_topics(apache_kafka, [TopicSpec("a b", 1)])


async def test_nobody_there_is_one_line_with_the_address() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(BrokerError) as raised:
        await ensure_topics(address, [])

    assert str(raised.value).startswith(f"can't reach Kafka at {address}: ")
    assert "\n" not in str(raised.value)


async def test_a_wait_for_the_broker_tells_its_reason_once_and_ends_with_success(
    prefix: str, lone_kafka: KafkaCluster
) -> None:
    told: list[str] = []
    first_try = asyncio.Event()

    def tell(reason: str) -> None:
        told.append(reason)
        first_try.set()

    lone_kafka.kill9()
    waiting = asyncio.create_task(prepare_topics(lone_kafka.bootstrap, [TopicSpec(f"{prefix}.x", 1)], None, tell))
    await asyncio.wait_for(first_try.wait(), 30)
    lone_kafka.launch(lone_kafka.nodes[0])
    await asyncio.wait_for(waiting, 60)

    assert len(told) == len(set(told))
    assert told[0].startswith(f"can't reach Kafka at {lone_kafka.bootstrap}: ")


async def test_killed_and_restarted_kafka_still_has_what_it_confirmed(lone_kafka: KafkaCluster, prefix: str) -> None:
    topic = f"{prefix}.x"
    await ensure_topics(lone_kafka.bootstrap, [TopicSpec(topic, 1)])
    await _send(lone_kafka.bootstrap, topic, b"kept")

    lone_kafka.kill9()
    assert not answers(lone_kafka.bootstrap)
    lone_kafka.restart()

    value, _ = await _first(lone_kafka.bootstrap, topic)
    assert value == b"kept"


async def test_the_embedded_broker_is_gone_after_its_block() -> None:
    async with embedded_broker() as address:
        assert answers(address)

    assert not answers(address)


async def test_two_embedded_brokers_do_not_meet() -> None:
    async with embedded_broker() as one, embedded_broker() as other:
        await ensure_topics(one, [TopicSpec("x", 1)])

        await ensure_topics(other, [TopicSpec("x", 2)])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_the_embedded_broker_ends_when_its_owner_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", RUN_UNTIL_KILLED], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        address = owner.stdout.readline().decode().strip()
        assert answers(address)
        pidfd = os.pidfd_open(_only_child(owner.pid))
        owner.send_signal(signal.SIGKILL)

    ended, _, _ = select.select([pidfd], [], [], 10)
    os.close(pidfd)

    assert ended
    assert not answers(address)


async def test_a_broker_program_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")

    with pytest.raises(BrokerError, match=r"^can't start the embedded broker: .*--broker kafka://HOST:PORT"):
        async with embedded_broker():
            pass


async def test_a_broker_program_that_fails_is_told_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho no storage here >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(program))

    with pytest.raises(BrokerError, match=r"can't start the embedded broker: no storage here"):
        async with embedded_broker():
            pass


def test_tls_and_login_become_options_of_the_clients() -> None:
    client = Client.model_validate(
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "p"}
    )

    options = dict(client_options(client))
    context = options.pop("ssl_context")

    assert context
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
    }


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
