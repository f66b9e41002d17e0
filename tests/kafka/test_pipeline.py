"""The whole path as a user runs it: Firehose posts in, /metrics out, equal to DuckDB over the same lines to the unit."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import orjson
import pytest

from streams.embedded import free_port
from streams.generate import FORMATS, bulk
from tests.kafka.broker import KafkaCluster
from tests.kafka.oracle import Oracle
from tests.kafka.pipeline import (
    BAD_LINES,
    Delivery,
    added,
    as_bad,
    by,
    dead_letters,
    deliveries,
    environ,
    junk,
    taken,
    total,
    until,
    visible,
)
from tests.kafka.process import Vpcflow, sums
from tests.sources.firehose_sender import FirehoseSender

KEYS = "the-old-key\nthe-new-key\n"
SEED_V2, SEED_V5 = 21, 22
pytestmark = pytest.mark.timeout(180)


@dataclass
class Posts:
    """What was posted. answers: outcome -> requests. lines: all that was answered 200, repeats too."""

    url: str
    session: aiohttp.ClientSession
    key: str | None
    answers: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    repeated: int = 0

    async def post(self, delivery: Delivery, *, key: str | None = None) -> str:
        """Post once; gives the outcome."""
        sender = self._sender(delivery, key)
        attempt = await sender.post(delivery.records, delivery.request_id)
        outcome = {200: "ok", 400: "bad_request", 401: "unauthorized", 503: "unavailable"}[attempt.status]
        assert attempt.accepted == (outcome == "ok"), attempt
        assert attempt.answer["requestId"] == delivery.request_id
        self.answers[outcome] += 1
        self.lines += delivery.lines if outcome == "ok" else 0
        return outcome

    async def again(self, delivery: Delivery) -> None:
        """A retry, though the first answer was 200: it got lost on its way."""
        assert await self.post(delivery) == "ok"
        self.repeated += delivery.lines

    async def post_body(self, body: bytes, request_id: str) -> int:
        """Post bytes; gives the status."""
        attempt = await self._sender(Delivery(request_id, (), ())).post_body(body, request_id)
        self.answers["ok" if attempt.status == 200 else "bad_request"] += 1
        return attempt.status

    def _sender(self, delivery: Delivery, key: str | None = None) -> FirehoseSender:
        return FirehoseSender(
            self.session, f"{self.url}/firehose", key or self.key,
            attributes=delivery.attributes, compressed=delivery.compressed,
        )  # fmt: skip


def lines_of(version: int, count: int, seed: int) -> list[bytes]:
    chunks = bulk(count, enis=50, seed=seed, version=5 if version == 5 else 2)
    return [line for chunk in chunks for line in chunk.split(b"\n")]


@contextmanager
def processes(*all_of_them: Vpcflow) -> Iterator[None]:
    """Started side by side, ended at last."""
    with ExitStack() as stack:
        for one in all_of_them:
            one.launch()
            stack.push(one.__exit__)
        for one in all_of_them:
            one.wait()
        yield


def assert_ends_well(process: Vpcflow) -> None:
    began = time.monotonic()
    assert process.end(signal.SIGTERM) == 0, process.printed()
    assert time.monotonic() - began < 10
    assert "Traceback" not in process.printed()


async def posted(posts: Posts, ordinary: Sequence[Delivery], odd: Delivery) -> None:
    """What a delivery stream does on a bad day."""
    assert await posts.post(ordinary[0], key="a-stranger") == "unauthorized"
    assert await posts.post(ordinary[0], key="the-old-key") == "ok"  # the retry, once the key was mended
    for delivery in ordinary[1:4]:
        assert await posts.post(delivery) == "ok"
        await posts.again(delivery)
    assert set(await asyncio.gather(*(posts.post(one) for one in ordinary[4:]))) == {"ok"}
    for delivery in (odd, Delivery("nothing", (), ())):
        assert await posts.post(delivery) == "ok"
        await posts.again(delivery)
    await posts.again(ordinary[-1])
    await posts.again(ordinary[-1])
    assert await posts.post_body(b"no JSON", "no-json") == 400


async def assert_posts_are_counted(
    bootstrap: str, prefix: str, ingest: Vpcflow, worker: Vpcflow, started: Sequence[Vpcflow]
) -> None:
    v2, v5 = lines_of(2, 6_000, SEED_V2), lines_of(5, 4_000, SEED_V5)
    odd = junk("bad-day")
    ordinary = [*deliveries("v2", v2), *deliveries("v5", v5, FORMATS[5])]
    not_base64 = {"requestId": "half", "timestamp": 1, "records": [{"data": base64.b64encode(v2[0]).decode()}, {"data": "%"}]}
    good = Oracle([*v2, *odd.good])
    with_direction = Oracle(v5, FORMATS[5])
    async with aiohttp.ClientSession() as session:
        posts = Posts(ingest.url, session, "the-new-key")
        await posted(posts, ordinary, odd)
        assert await posts.post_body(orjson.dumps(not_base64), "half") == 200
    posts.lines += 2
    expected = added(good.enis(), Oracle(v2[:1]).enis(), with_direction.enis())

    await until("all lines taken", lambda: taken(worker) >= posts.lines)
    await until("all flows visible", lambda: visible(worker) >= sum(flows for flows, _, _ in expected.values()))
    samples, requests = worker.samples(), ingest.samples()

    outcomes = Counter(good.outcomes()) + Counter(with_direction.outcomes()) + Counter(Oracle(v2[:1]).outcomes())
    outcomes.update(blank=odd.blank, reject=len(odd.bad) + 1)
    assert by(samples, "vpcflow_lines_total", "outcome") == outcomes
    assert by(samples, "vpcflow_duplicate_lines_total", "source") == {"firehose": posts.repeated}
    assert posts.lines == total(samples, "vpcflow_lines_total") + posts.repeated
    assert sums(samples, "eni", ["eni", "action"]) == expected
    directions = with_direction.enis_by_direction()
    theirs = {key: value for key, value in sums(samples, "eni", ["eni", "direction", "action"]).items() if key in directions}
    assert theirs == directions
    assert sums(samples, "port", ["port", "protocol", "action"]) == added(
        good.ports(), Oracle(v2[:1]).ports(), with_direction.ports()
    )
    bad = [*odd.bad, (b"%", "bad_base64")]
    assert by(samples, "vpcflow_rejected_lines_total", "reason") == Counter(reason for _, reason in bad)
    assert by(requests, "vpcflow_ingest_requests_total", "outcome") == posts.answers
    assert by(requests, "vpcflow_ingest_skipped_total", "reason").keys() == {"probe"}
    for process in started:
        assert_ends_well(process)

    letters = await dead_letters(bootstrap, prefix)
    assert len({letter["id"] for letter in letters}) == len(letters)
    assert Counter(map(as_bad, letters)) == Counter(bad)
    assert {(letter["source"], letter["origin"]) for letter in letters} == {("firehose", "bad-day"), ("firehose", "half")}


async def test_firehose_posts_are_counted_to_the_unit_on_apache_kafka(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    keys, broker = tmp_path / "keys", ("--broker", f"kafka://{apache_kafka}")
    keys.write_text(KEYS)
    ingest = Vpcflow("ingest", *broker, "--access-key-file", str(keys), environ=environ(prefix))
    worker = Vpcflow("worker", *broker, environ=environ(prefix))
    with processes(worker, ingest):
        await assert_posts_are_counted(apache_kafka, prefix, ingest, worker, [ingest, worker])


async def test_firehose_posts_are_counted_to_the_unit_on_the_embedded_broker(
    embedded: str, prefix: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    arguments = ("up", "--no-generator", "--broker", f"kafka://{embedded}", "--access-key-file", str(keys))
    with Vpcflow(*arguments, environ=environ(prefix)) as everything:
        await assert_posts_are_counted(embedded, prefix, everything, everything, [everything])


async def test_nothing_is_ready_before_the_broker_is_there(lone_kafka: KafkaCluster, prefix: str) -> None:
    """Alive all the time; ready once the broker has answered and the tables are whole."""
    lone_kafka.kill9()
    broker = ("--broker", f"kafka://{lone_kafka.bootstrap}")
    both = [
        Vpcflow(name, *broker, environ=environ(prefix), listen=f"127.0.0.1:{free_port()}") for name in ("worker", "ingest")
    ]
    with ExitStack() as stack:
        for one in both:
            one.launch()
            stack.push(one.__exit__)
            one.wait_for_line(r"(can't reach Kafka at \S+)")
            assert (one.get("/livez")[0], one.get("/readyz")[0]) == (200, 503)
        lone_kafka.restart()
        for one in both:
            one.wait()
            await until("ready", lambda one=one: one.get("/readyz") == (200, "ready\n"))
        for one in both:
            assert_ends_well(one)


async def test_a_broker_that_dies_costs_no_line_and_doubles_none(lone_kafka: KafkaCluster, prefix: str) -> None:
    """503 while it is down, so that Firehose comes again; the worker goes on by itself."""
    lines = lines_of(2, 3_000, SEED_V2)
    first, second, third = deliveries("down", lines, size=1_000)
    settings = environ(prefix, INGEST__DEADLINE_SECONDS="3")
    broker = ("--broker", f"kafka://{lone_kafka.bootstrap}")
    ingest, worker = (Vpcflow(name, *broker, environ=settings) for name in ("ingest", "worker"))
    with processes(worker, ingest):
        async with aiohttp.ClientSession() as session:
            posts = Posts(ingest.url, session, None)
            assert await posts.post(first) == "ok"
            await until("the first request visible", lambda: visible(worker) >= Oracle(first.good).outcomes()["flow"])
            lone_kafka.kill9()
            assert await posts.post(second) == "unavailable"
            assert await posts.post(third) == "unavailable"
            assert ingest.get("/livez")[0] == worker.get("/livez")[0] == 200
            lone_kafka.restart()
            await until_accepted(posts, [first, second, third])
        oracle = Oracle(lines)
        await until("all flows visible", lambda: visible(worker) >= oracle.outcomes()["flow"])
        await until("all lines taken", lambda: taken(worker) >= posts.lines)
        samples = worker.samples()
        assert by(samples, "vpcflow_lines_total", "outcome") == oracle.outcomes()
        assert sums(samples, "eni", ["eni", "action"]) == oracle.enis()
        for process in (ingest, worker):
            assert_ends_well(process)


async def until_accepted(posts: Posts, wanted: Sequence[Delivery]) -> None:
    """As Firehose does it: the same request again until it is accepted."""
    end = time.monotonic() + 60
    for delivery in wanted:
        while await posts.post(delivery) != "ok":
            assert time.monotonic() < end
            await asyncio.sleep(0.5)
