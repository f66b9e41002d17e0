"""What the tests of the whole path share: settings of a test's own, waiting, topics read back, what must come out.

A `Delivery` is one Firehose request that knows what it holds, line by line, so that every one can be asked for later.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.names import Names
from tests.kafka.oracle import Sums
from tests.kafka.process import Vpcflow

Samples = Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]
Bad = tuple[bytes, str]
"""(a line or payload, its reject reason)."""


def environ(prefix: str, **more: str) -> dict[str, str]:
    """Settings: topics of the test's own, short times, and a series for every port. more: NAME=value, without VPCFLOW_."""
    settings = {
        "TOPICS__PREFIX": prefix,
        "CHECKPOINT__SECONDS": "1",
        "GROUP__SESSION_SECONDS": "6",
        "BUDGET__PORT_SERIES": "20000",
        "BRIDGE__GROUP": f"{prefix}-bridge",
        **more,
    }
    return {f"VPCFLOW_{name}": value for name, value in settings.items()}


async def until(what: str, check: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a state that a process reaches in its own time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await asyncio.to_thread(check):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"not in {seconds} s: {what}")


# -- figures of a process ---------------------------------------------------------------------------------------------


def by(samples: Samples, metric: str, label: str) -> dict[str, int]:
    """Value of `label` -> sum over the other labels; what is zero is left out."""
    found: Counter[str] = Counter()
    for labels, value in samples.get(metric, {}).items():
        found[dict(labels)[label]] += int(value)
    return {name: count for name, count in found.items() if count}


def total(samples: Samples, metric: str) -> int:
    """The sum over all labels."""
    return int(sum(samples.get(metric, {}).values()))


def visible(worker: Vpcflow) -> int:
    """Flows in the tables."""
    return total(worker.samples(), "vpcflow_eni_flows_total")


def taken(worker: Vpcflow) -> int:
    """Lines that came out of the raw topic: counted, or dropped as repeats."""
    samples = worker.samples()
    return total(samples, "vpcflow_lines_total") + total(samples, "vpcflow_duplicate_lines_total")


def added(*tables: Sums) -> Sums:
    """The sums of several tables."""
    found: Sums = {}
    for key, sums in (pair for table in tables for pair in table.items()):
        flows, packets, octets = found.get(key, (0, 0, 0))
        found[key] = (flows + sums[0], packets + sums[1], octets + sums[2])
    return found


# -- topics -----------------------------------------------------------------------------------------------------------


async def values_on(bootstrap: str, topic: str) -> list[bytes]:
    """All values that are on a topic now."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.topics()
        partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[bytes] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            polled = await consumer.getmany(timeout_ms=500)
            found += [record.value for records in polled.values() for record in records]
        return found


async def dead_letters(bootstrap: str, prefix: str) -> list[dict[str, object]]:
    """Every object on the dead-letter topic."""
    values = await values_on(bootstrap, Names(prefix).dead_letters)
    return [orjson.loads(line) for value in values for line in value.split(b"\n")]


async def put(bootstrap: str, topic: str, values: Iterable[bytes | None]) -> None:
    """Messages on a topic of somebody else, a value each, over its partitions in turn."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 * 1024 * 1024) as producer:
        partitions = sorted(await producer.partitions_for(topic))
        sent = [
            await producer.send(topic, value, partition=partitions[n % len(partitions)]) for n, value in enumerate(values)
        ]
        await asyncio.gather(*sent)


# -- requests of Firehose ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivery:
    """A request. records: as they are posted. good: lines that are records of flow logs; bad: what is rejected.

    compressed: the body comes as gzip. attributes: common attributes. blank: blank lines in it.
    """

    request_id: str
    records: Sequence[bytes]
    good: Sequence[bytes]
    bad: Sequence[Bad] = ()
    compressed: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    blank: int = 0

    @property
    def lines(self) -> int:
        """All that is accounted for as lines."""
        return len(self.good) + len(self.bad) + self.blank


def parts(lines: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    """Lines, `size` at a time."""
    return [lines[at : at + size] for at in range(0, len(lines), size)]


def in_message(line: bytes) -> bytes:
    r"""As AWS writes a record: `{"message":"<line>"}`."""
    return orjson.dumps({"message": line.decode()})


def cloudwatch(lines: Iterable[bytes], kind: str = "DATA_MESSAGE", stamp: str = "") -> bytes:
    """A subscription's envelope, as gzip. stamp: makes the events' ids its own."""
    events = [{"id": f"{stamp}{n:056}", "timestamp": 0, "message": line.decode()} for n, line in enumerate(lines)]
    return gzip.compress(orjson.dumps({"messageType": kind, "owner": "1", "logEvents": events}))


def deliveries(name: str, lines: Sequence[bytes], fmt: str | None = None, size: int = 600) -> list[Delivery]:
    """Lines as requests. Wrappings and gzip change from one to the next."""
    attributes = {"format": " ".join(f"${{{field}}}" for field in fmt.split())} if fmt else {}
    wrappings: tuple[Callable[[Sequence[bytes]], list[bytes]], ...] = (
        lambda some: [in_message(line) for line in some],
        lambda some: [in_message(line) + b"\n" for line in some],
        lambda some: [line + b"\n" for line in some],
        lambda some: [cloudwatch(part, stamp=f"{name}{n}") for n, part in enumerate(parts(some, 100))],
    )
    return [
        Delivery(
            f"{name}-{n}",
            [*wrappings[n % 4](some), *([cloudwatch([b"CWL CONTROL MESSAGE"], "CONTROL_MESSAGE")] if n % 4 == 3 else [])],
            some,
            compressed=n % 2 == 1,
            attributes=attributes,
        )
        for n, some in enumerate(parts(lines, size))
    ]


GOOD = "2 123456789012 eni-0a{n:015} 10.0.0.1 10.0.9.9 50123 443 6 10 5000 1700000100 1700000130 ACCEPT OK"
BAD_LINES: tuple[Bad, ...] = (
    (b"2 123456789012 eni-1 10.0.0.1", "too_few_fields"),
    (GOOD.format(n=1).encode() + b" surplus", "too_many_fields"),
    (GOOD.format(n=1).replace(" 443 ", " https ").encode(), "not_a_number"),
    (GOOD.format(n=1).replace(" 443 ", " 70000 ").encode(), "out_of_range"),
    (GOOD.format(n=1).replace("ACCEPT", "DROP").encode(), "bad_action"),
    (GOOD.format(n=1).replace("OK", "FINE").encode(), "bad_log_status"),
    (GOOD.format(n=1).replace("10.0.9.9", "the-database").encode(), "bad_address"),
    (b"2 caf\xe9 \xff\xfe", "not_utf8"),
    (b"x" * 40_000, "too_long"),
)
"""A line for each reason that a line of the default format can be refused for."""

BAD_PAYLOADS: tuple[Bad, ...] = (
    (gzip.compress(b"2 1 eni-1")[:-9], "bad_gzip"),
    (b'{"message": "2 1 eni-1', "bad_json"),
    (b'{"temperature": 21}', "no_lines"),
    (b"PAR1\x00\xff\xff", "undecodable"),
)
"""Records without a line, each with its reason."""


def junk(request_id: str) -> Delivery:
    """Everything that can be wrong, among good lines and a blank one."""
    good = [GOOD.format(n=n).encode() for n in range(40)]
    records = [in_message(line) for line in good]
    bad = [line if reason == "not_utf8" else line + b"\n" for line, reason in BAD_LINES]
    payloads = [payload for payload, _ in BAD_PAYLOADS]
    mixed = [*records[:20], *bad, b'{"message":""}', *payloads, b"", *records[20:]]
    return Delivery(request_id, mixed, good, [*BAD_LINES, *BAD_PAYLOADS], blank=1)


def as_bad(letter: Mapping[str, object]) -> Bad:
    """What a dead letter says was bad, and why."""
    text, coded = letter.get("text"), letter.get("text_base64") or letter.get("payload")
    payload = str(text).encode() if text is not None else base64.b64decode(str(coded))
    return payload, str(letter["reason"])
