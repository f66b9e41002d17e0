"""From an incident in flow logs to whoever is on call: worker, Prometheus and Alertmanager with what deploy/ holds."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from streams.embedded import LOOPBACK
from streams.names import Names
from tests.conftest import missing
from tests.debian import MissingError
from tests.kafka.findings import environ, trailing
from tests.kafka.monitoring import Alertmanager, Prometheus
from tests.kafka.process import Vpcflow, until
from tests.kafka.refusing import FORMAT, MINUTES, later, refusing
from tests.kafka.sending import publish

pytestmark = pytest.mark.timeout(240)

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERT = "VpcflowFindingsSevere"


class Told(NamedTuple):
    """Who was told that an alert is firing or resolved."""

    receiver: str
    alert: str
    status: str


class _Receivers:
    """An HTTP server that stands for all receivers; `told` is what they got."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.texts: list[str] = []
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receivers.take(self.path.removeprefix("/"), json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def take(self, receiver: str, notification: dict[str, Any]) -> None:
        """Of each alert the last status."""
        for one in notification["alerts"]:
            self.told.append(Told(receiver, one["labels"]["alertname"], one["status"]))
            self.texts.append(one["annotations"].get("description", ""))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def _hurried(text: str) -> str:
    """A minute becomes a second."""
    return re.sub(r"\b(\d+)m\b", r"\1s", re.sub(r"(group_wait|interval): \w+", r"\1: 1s", text))


def _prometheus(folder: Path, worker: str, alertmanager: str) -> str:
    """deploy/prometheus, every second, of this worker."""
    for rules in (DEPLOY / "prometheus").glob("*.rules.yml"):
        (folder / rules.name).write_text(_hurried(rules.read_text("utf-8")))
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{folder}/*.rules.yml"]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    [job] = [one for one in config["scrape_configs"] if one["job_name"] == "vpcflow-worker"]
    job["static_configs"] = [{"targets": [worker]}]
    config["scrape_configs"] = [job]
    return yaml.safe_dump(config)


async def test_who_is_on_call_hears_of_an_incident_and_of_its_end(apache_kafka: str, tmp_path: Path) -> None:
    """A database refuses its application; two hours later nobody has asked it again, and the finding is closed."""
    names, start = Names(f"alerts-{time.time_ns()}"), int(time.time()) // 60 * 60 - 60 * MINUTES
    given, then = refusing(start)
    await publish(apache_kafka, names, [*given, *then])
    receivers = _Receivers()
    routes = (DEPLOY / "alertmanager/alertmanager.yml").read_text("utf-8")
    try:
        alertmanager = Alertmanager(config=_hurried(routes.replace("http://127.0.0.1:9095", receivers.url)))
    except MissingError as error:
        missing(error)
        return
    with ExitStack() as running:
        for one in (receivers.serving(), alertmanager):
            running.enter_context(one)
        worker = Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ(names))
        running.enter_context(worker)
        config = _prometheus(tmp_path, worker.url.removeprefix("http://"), alertmanager.address)
        prometheus = running.enter_context(Prometheus(config))
        await until("whoever is on call is told", lambda: Told("page", ALERT, "firing") in receivers.told)
        await until("the SIEM is told", lambda: Told("siem", ALERT, "firing") in receivers.told)
        firing = prometheus.query(f'ALERTS{{alertname="{ALERT}", alertstate="firing"}}')

        await publish(apache_kafka, names, trailing(start + 60 * MINUTES + 7200, later, FORMAT))
        await until("and that it is over", lambda: Told("page", ALERT, "resolved") in receivers.told)

    assert [one["metric"]["detector"] for one in firing] == ["broken-dependency"]
    assert any("broken-dependency" in text for text in receivers.texts)
