"""Every query of Grafana's dashboards has an answer: worker, Kafka, Prometheus."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from deploy.grafana.dashboards import BOARDS
from deploy.grafana.panels import CHOSEN
from streams import generate
from streams.core.raw import Origin, RawMessage, digest
from streams.names import Names
from tests.conftest import missing
from tests.debian import MissingError
from tests.deploy.boards import asked, filled
from tests.kafka.findings import environ
from tests.kafka.monitoring import Prometheus
from tests.kafka.process import Vpcflow, until
from tests.kafka.refusing import refusing
from tests.kafka.sending import publish

ACCOUNT = "012345678901"
_MARKS = ", findings"
_TRAFFIC = "vpcflow_eni_bytes_total offset 10s and on () vpcflow_watched_before_timestamp_seconds offset 10s"
_FOUND = 'vpcflow_findings_total{detector="broken-dependency"} offset 6s'


def _traffic(start: int, minutes: int) -> list[RawMessage]:
    """Generated traffic, and in each minute a line that can't be read."""
    network = generate.Network()
    given = []
    for at in range(start, start + 60 * minutes, 60):
        lines = generate.minute(network, at, 600, version=5) + b"\nno flow log\n"
        origin = Origin("file", "generated", str(at), digest(lines))
        given.append(RawMessage(lines, origin, 1000 * (at + 70), generate.FORMATS[5]))
    return given


def _answers(server: Prometheus, expression: str) -> Sequence[dict[str, Any]]:
    """Numbers that it gave at any time in the last minute. Of what was hours ago it is asked what was seconds ago."""
    recent = re.sub(r"offset \d+[mhdw]", "offset 5s", re.sub(r"\[(\d+[mhd])\]", "[10s]", expression))
    found = server.query(f"max_over_time(({recent})[1m:1s])")
    return [one for one in found if not math.isnan(float(one["value"][1]))]


def _unaided(expression: str) -> str:
    """Without what stands in where nothing is there; and of any detector, as it takes days to see some."""
    return re.sub(r'detector="[\w-]+"', 'detector=~".+"', expression.replace(" or vector(0)", ""))


def _detectors(answer: Sequence[dict[str, Any]]) -> set[str]:
    return {one["metric"]["detector"] for one in answer}


def _accounts(server: Prometheus, **chosen: str) -> set[str]:
    """Those of the interfaces that are shown; empty: it tells none."""
    return {one["metric"].get("account", "") for one in server.query(filled(CHOSEN, **chosen))}


@contextmanager
def _watched(bootstrap: str, names: Names) -> Iterator[Prometheus]:
    """A Prometheus that looks at a worker every second."""
    settings = environ(names, VPCFLOW_BUDGET__SERIES_TTL_SECONDS="86400")
    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=settings) as worker:
        targets = [{"targets": [worker.url.removeprefix("http://")]}]
        job = {"job_name": "vpcflow-worker", "honor_labels": True, "static_configs": targets}
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        try:
            server = Prometheus(yaml.safe_dump(config))
        except MissingError as error:
            missing(error)
            raise
        with server:
            yield server


async def test_every_query_has_an_answer_and_every_first_finding_a_mark(apache_kafka: str) -> None:
    """From a worker with generated traffic, lines that can't be read, repeats, an incident and its findings."""
    names, start = Names(f"dashboards-{time.time_ns()}"), int(time.time()) // 60 * 60 - 8 * 3600
    before, after = _traffic(start, 5), _traffic(start + 300, 5)
    incident, then = refusing(start + 600)
    await publish(apache_kafka, names, [*before, *before])
    with _watched(apache_kafka, names) as server:
        await until("there is traffic", lambda: bool(server.query(_TRAFFIC)))
        await publish(apache_kafka, names, [*after, *incident, *then])
        await until("the incident is found", lambda: bool(server.query(_FOUND)))
        [busiest] = server.query('topk(1, sum by (eni) (vpcflow_eni_bytes_total{eni!="other"}))')
        eni = busiest["metric"]["eni"]
        answers = {one: _answers(server, _unaided(filled(one.expression, eni=eni))) for one in asked()}
        opened = _detectors(server.query("vpcflow_findings_total"))
        every, one_account = _accounts(server), _accounts(server, account=ACCOUNT)

    marked = [_detectors(found) for one, found in answers.items() if one.where.endswith(_MARKS)]
    assert [one for one, found in answers.items() if not found] == []
    assert marked == [opened] * len(BOARDS)
    assert (len(every), one_account) == (3, {ACCOUNT, ""})
