"""A topic of somebody else, in many shapes -> bridge -> worker -> /metrics, against DuckDB: every line counts once.

The bridge is killed in mid-stream, and in the end one reads all of the topic again.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.generate import FORMATS, Network, Version, minute
from streams.kafka import TopicSpec, ensure_topics, our_topics
from streams.names import Names
from streams.settings import Topics
from tests.kafka.letters import dead_letters
from tests.kafka.oracle import Oracle, added
from tests.kafka.process import Vpcflow, by_label, flows_shown, sums, total, until

PARTITIONS = 3
EVENTS = 7
"""Lines in a CloudWatch envelope."""

WRAPPINGS: dict[str, Callable[[str], bytes]] = {
    "a bare line": lambda line: line.encode(),
    "a line and its end": lambda line: line.encode() + b"\r\n",
    "Firehose": lambda line: orjson.dumps({"message": line}),
    "gzip": lambda line: gzip.compress(line.encode(), 1),
    "Vector": lambda line: orjson.dumps(
        {"bucket": "logs", "message": line, "object": "AWSLogs/1.log.gz", "source_type": "aws_s3", "timestamp": "now"}
    ),
    "Filebeat": lambda line: orjson.dumps(
        {"@timestamp": "2026-01-01T00:00:00Z", "event": {"original": line}, "log": {"offset": 7}, "tags": ["x"]}
    ),
    "Fluent Bit": lambda line: orjson.dumps({"@timestamp": 1767225600.25, "log": line}),
}
"""Who writes a line so, and how."""

SPELLINGS: dict[str, Callable[[str], str]] = {
    "pkt-srcaddr": lambda name: name,
    "pkt_srcaddr": lambda name: name.replace("-", "_"),
    "pktSrcaddr": lambda name: name[0] + name.title().replace("-", "")[1:],
}
"""How shippers that parse call their fields."""

JUNK: tuple[Callable[[int], bytes], ...] = (
    lambda n: f'{{"x":{n}}}'.encode(),
    lambda n: b"\x1f\x8bno gzip %d" % n,
    lambda n: b'{"message": "cut off %d' % n,
    lambda n: b"no flow log %d" % n,
    lambda n: b"\xff\xfe %d" % n,
    lambda n: b"2 123456789010 eni-%d not-an-address 10.0.0.1 1 2 6 1 40 1700000000 1700000060 ACCEPT OK" % n,
)
PROBE = orjson.dumps({"messageType": "CONTROL_MESSAGE", "logEvents": [{"id": "", "timestamp": 1, "message": "probe"}]})

NO_LINES: tuple[list[bytes | None], ...] = ([], [], [None], [PROBE])


@dataclass
class Foreign:
    """What stands on the topic, in order, and what is in it. repeated: events that are twice in one envelope."""

    values: list[bytes | None] = field(default_factory=list)
    plain: list[bytes] = field(default_factory=list)
    wide: list[bytes] = field(default_factory=list)
    junk: list[bytes] = field(default_factory=list)
    repeated: int = 0

    @property
    def lines(self) -> int:
        """Those that are counted with an outcome."""
        return len(self.plain) + len(self.wide) + len(self.junk)


def _foreign(seed: int) -> Foreign:
    """Runs of messages of a kind, junk between them: long ones take the bridge's fast way, short ones the other."""
    chance, made = random.Random(seed), Foreign()
    plain, wide = iter(_lines(2)), iter(_lines(5))
    kinds = [*(_wrapped(made, plain, wrap) for wrap in WRAPPINGS.values()), _envelopes(made, plain)]
    kinds += [_parsed(made, wide, spell) for spell in SPELLINGS.values()]
    while kinds:
        kind = chance.choice(kinds)
        run = list(islice(kind, chance.choice((1, 3, 40, 200))))
        made.values += run
        if not run:
            kinds.remove(kind)
        number = len(made.junk)
        made.junk.append(JUNK[number % len(JUNK)](number))
        made.values += [made.junk[-1], *chance.choice(NO_LINES)]
    return made


def _lines(version: Version) -> list[bytes]:
    now = int(time.time()) // 60 * 60
    network = Network(seed=5)
    found = b"\n".join(minute(network, now - 60 * back, 2000, version=version) for back in (3, 2, 1))
    return [line for line in found.split(b"\n") if line]


def _wrapped(made: Foreign, lines: Iterator[bytes], wrap: Callable[[str], bytes]) -> Iterator[bytes]:
    for line in lines:
        made.plain.append(line)
        yield wrap(line.decode())


def _envelopes(made: Foreign, lines: Iterator[bytes]) -> Iterator[bytes]:
    """CloudWatch Logs' envelopes, gzip and sometimes base64 on top; one event of each comes twice in it."""
    for first in lines:
        found = [first, *islice(lines, EVENTS - 1)]
        made.plain += found
        made.repeated += 1
        events = [{"id": f"{made.repeated}-{n}", "message": line.decode()} for n, line in enumerate(found)]
        envelope = {"messageType": "DATA_MESSAGE", "logGroup": "flows", "logEvents": [*events, events[0]]}
        zipped = gzip.compress(orjson.dumps(envelope), 1)
        yield base64.b64encode(zipped) if made.repeated % 2 else zipped


def _parsed(made: Foreign, lines: Iterator[bytes], spell: Callable[[str], str]) -> Iterator[bytes]:
    """Objects with numbers as numbers and nothing as null."""
    names = [spell(name) for name in _names(5)]
    for line in lines:
        made.wide.append(line)
        words = line.decode().split()
        yield orjson.dumps({name: _value(word) for name, word in zip(names, words, strict=True)})


def _names(version: Version) -> list[str]:
    return [name.strip("${}") for name in FORMATS[version].split()]


def _value(word: str) -> str | int | None:
    if word == "-":
        return None
    return int(word) if word.isdecimal() and not word.startswith("0") else word


def _requests(bridge: Vpcflow) -> Counter[str]:
    """Outcome -> batches that it tried to store."""
    return by_label(bridge.samples(), "vpcflow_ingest_requests_total", "outcome")


async def _produce(bootstrap: str, topic: str, values: Sequence[bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        for number, value in enumerate(values):
            await producer.send(topic, value, key=b"k", partition=number % PARTITIONS)
        await producer.flush()


async def _let_write(bootstrap: str, prefix: str, *, allowed: bool) -> None:
    """Have Kafka take messages on the raw topic, or refuse them: on a compacted topic it takes none without a key."""
    (raw,) = [spec for spec in our_topics(Names(prefix), Topics()) if spec.name == Names(prefix).raw]
    config = {**raw.config, "cleanup.policy": "delete" if allowed else "compact"}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, raw.name, config)])
        assert [error for error, *_ in answer.resources] == [0], answer
    finally:
        await admin.close()


@pytest.mark.timeout(180)
async def test_foreign_topics_are_counted_to_the_unit_though_the_bridge_is_killed(
    apache_kafka: str, prefix: str
) -> None:
    """Killed with lines in its hands it reads them again; and a bridge that has lost its offsets adds nothing."""
    topic, made = f"{prefix}-flows", _foreign(seed=1)
    await ensure_topics(apache_kafka, [TopicSpec(topic, PARTITIONS)])
    oracles = Oracle(made.plain), Oracle(made.wide, FORMATS[5])
    flows = sum(oracle.outcomes()["flow"] for oracle in oracles)
    environ = {
        "VPCFLOW_TOPICS__PREFIX": prefix,
        "VPCFLOW_BRIDGE__GROUP": f"{prefix}-bridge",
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
    }
    broker = ("--broker", f"kafka://{apache_kafka}")
    third = len(made.values) // 3
    with Vpcflow("worker", *broker, environ=environ) as worker:

        def read(lines: int) -> Callable[[], bool]:
            return lambda: total(worker.samples(), "vpcflow_lines_total") >= lines

        def repeated(lines: int) -> Callable[[], bool]:
            return lambda: total(worker.samples(), "vpcflow_duplicate_lines_total") >= lines

        with Vpcflow("bridge", *broker, "--topic", topic, environ=environ) as bridge:
            await _produce(apache_kafka, topic, made.values[:third])
            await until("some lines are read", read(1))
            await _let_write(apache_kafka, prefix, allowed=False)
            await _produce(apache_kafka, topic, made.values[third : 2 * third])
            await until("it has lines that it can't store", lambda: _requests(bridge)["unavailable"] > 0)
            bridge.kill9()
            await _let_write(apache_kafka, prefix, allowed=True)
            rest = _produce(apache_kafka, topic, made.values[2 * third :])
            await asyncio.gather(asyncio.to_thread(bridge.start), rest)
            await until("all lines are read", read(made.lines))
            await until("all flows are shown", lambda: flows_shown(worker.samples()) >= flows)
            bridge.end(signal.SIGTERM)
            before = total(worker.samples(), "vpcflow_duplicate_lines_total")
        lost = {**environ, "VPCFLOW_BRIDGE__GROUP": f"{prefix}-lost"}
        with Vpcflow("bridge", *broker, "--topic", topic, environ=lost) as bridge:
            await until("all lines came again", repeated(before + made.lines))
            skipped = by_label(bridge.samples(), "vpcflow_ingest_skipped_total", "reason")
        samples = worker.samples()

    outcomes = Counter(reject=len(made.junk)) + sum((Counter(one.outcomes()) for one in oracles), Counter())
    assert by_label(samples, "vpcflow_lines_total", "outcome") == outcomes
    assert by_label(samples, "vpcflow_duplicate_lines_total", "source") == Counter(bridge=before + made.lines)
    assert sums(samples, "eni", ["eni", "action"]) == added(*(one.enis() for one in oracles))
    assert sums(samples, "port", ["port", "protocol", "action"]) == added(*(one.ports() for one in oracles))
    probes, tombstones = made.values.count(PROBE), made.values.count(None)
    assert skipped == Counter(tombstone=tombstones, probe=probes, duplicate=made.repeated)
    letters = {letter.id: letter.payload for letter in await dead_letters(apache_kafka, Names(prefix).dead_letters)}
    assert sorted(letters.values()) == sorted(made.junk)
