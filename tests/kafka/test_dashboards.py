"""Every query of Grafana's dashboards has an answer: worker, Kafka, Prometheus."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

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


@pytest.mark.timeout(240)
async def test_every_query_has_an_answer_on_a_live_prometheus(apache_kafka: str) -> None:
    """From a worker with generated traffic, lines that can't be read, repeats, an incident and its findings."""
    names, start = Names(f"dashboards-{time.time_ns()}"), int(time.time()) // 60 * 60 - 8 * 3600
    before, after = _traffic(start, 5), _traffic(start + 300, 5)
    incident, then = refusing(start + 600)
    with ExitStack() as running:
        settings = environ(names, VPCFLOW_BUDGET__SERIES_TTL_SECONDS="86400")
        worker = running.enter_context(Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=settings))
        job = {
            "job_name": "vpcflow-worker",
            "honor_labels": True,
            "static_configs": [{"targets": [worker.url.removeprefix("http://")]}],
        }
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        try:
            server = running.enter_context(Prometheus(yaml.safe_dump(config)))
        except MissingError as error:
            missing(error)
            return
        await publish(apache_kafka, names, [*before, *before])
        await until("there is traffic", lambda: bool(server.query("vpcflow_eni_bytes_total offset 10s")))
        await publish(apache_kafka, names, [*after, *incident, *then])
        await until("a finding is open", lambda: bool(server.query("vpcflow_findings_total offset 5s")))
        [busiest] = server.query('topk(1, sum by (eni) (vpcflow_eni_bytes_total{eni!="other"}))')
        eni = busiest["metric"]["eni"]
        answers = {one: _answers(server, _unaided(filled(one.expression, eni))) for one in asked()}

    assert [one for one, found in answers.items() if not found] == []
