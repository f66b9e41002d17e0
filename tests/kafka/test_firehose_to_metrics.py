"""The main job, end to end: Firehose posts -> ingest -> broker -> worker -> /metrics, against DuckDB."""

from __future__ import annotations

import gzip
import time
from collections import Counter
from pathlib import Path

import aiohttp
import orjson
import pytest

from streams.generate import FORMATS, Network, minute
from streams.names import Names
from tests.kafka.letters import dead_letters
from tests.kafka.oracle import Oracle, added
from tests.kafka.process import Vpcflow, by_label, flows_shown, sums, total, until
from tests.sources.firehose_sender import FirehoseSender

KEY = "first-key"
JUNK = [b"bogus!", b"2 1 eni-1 not-an-address", b"\xff\xfe broken", b'{"message": "2 too short"}']
UNDECODABLE = [gzip.compress(b"x" * 1000)[:20], b'{"message": ']
pytestmark = pytest.mark.timeout(180)


def _wrapped(lines: list[bytes]) -> list[bytes]:
    return [orjson.dumps({"message": line.decode()}) for line in lines]


def _lines(version: int) -> list[bytes]:
    now = int(time.time()) // 60 * 60
    network = Network(seed=3)
    found = b"\n".join(minute(network, now - 60 * back, 1500, version=5 if version == 5 else 2) for back in (3, 2, 1))
    return [line for line in found.split(b"\n") if line]


async def _deliver(url: str, key: str, lines: list[bytes], fields: str | None) -> int:
    """Post lines and junk in batches, some of them twice; gives the lines that came again."""
    again = 0
    attributes = {"format": fields} if fields else {}
    async with aiohttp.ClientSession() as session:
        for number, at in enumerate(range(0, len(lines), 400)):
            sender = FirehoseSender(session, f"{url}/firehose", key, attributes=attributes, compressed=number % 2 == 0)
            records = _wrapped(lines[at : at + 400])
            delivery = await sender.deliver(records)
            assert delivery.accepted, delivery.attempts
            if number % 3 == 0:  # Firehose did not hear the answer: the same batch, the same request id
                assert (await sender.deliver(records, delivery.request_id)).accepted
                again += len(records)
    return again


async def test_firehose_posts_come_out_as_metrics_exactly(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    """Every line that was posted is counted once: as a flow, NODATA, SKIPDATA, a reject or a duplicate."""
    keys = tmp_path / "keys"
    keys.write_text(f"old-key\n{KEY}\n")
    environ = {
        "VPCFLOW_TOPICS__PREFIX": prefix,
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": "6",
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
    }
    plain, wide = _lines(2), _lines(5)
    broker = ("--broker", f"kafka://{bootstrap}")
    with (
        Vpcflow("ingest", *broker, "--access-key-file", str(keys), environ=environ) as ingest,
        Vpcflow("worker", *broker, environ=environ) as worker,
    ):
        again = await _deliver(ingest.url, KEY, plain, None) + await _deliver(ingest.url, "old-key", wide, FORMATS[5])
        async with aiohttp.ClientSession() as session:
            refused = await FirehoseSender(session, f"{ingest.url}/firehose", "wrong").post(_wrapped(plain[:3]), "r1")
            assert refused.status == 401
            junk = FirehoseSender(session, f"{ingest.url}/firehose", KEY)
            assert (await junk.deliver([*JUNK, *UNDECODABLE])).accepted
            assert (await junk.deliver([])).accepted
        oracles = Oracle(plain), Oracle(wide, FORMATS[5])
        posted = len(plain) + len(wide) + len(JUNK) + len(UNDECODABLE)

        def counted() -> bool:
            return total(worker.samples(), "vpcflow_lines_total") >= posted

        def visible() -> bool:
            return flows_shown(worker.samples()) >= sum(oracle.outcomes()["flow"] for oracle in oracles)

        await until("all lines counted", counted)
        await until("all flows visible", visible)
        samples, taken = worker.samples(), ingest.samples()

    outcomes = by_label(samples, "vpcflow_lines_total", "outcome")
    rejected = len(JUNK) + len(UNDECODABLE)
    assert outcomes == Counter({"reject": rejected}) + sum((Counter(one.outcomes()) for one in oracles), Counter())
    assert total(samples, "vpcflow_duplicate_lines_total") == again
    assert sums(samples, "eni", ["eni", "action"]) == added(*(one.enis() for one in oracles))
    assert sums(samples, "port", ["port", "protocol", "action"]) == added(*(one.ports() for one in oracles))
    assert by_label(taken, "vpcflow_ingest_requests_total", "outcome")["unauthorized"] == 1
    letters = {letter.id: letter for letter in await dead_letters(bootstrap, Names(prefix).dead_letters)}
    assert len(letters) == rejected
    assert {b'{"message": ', b"bogus!"} <= {letter.payload for letter in letters.values()}
