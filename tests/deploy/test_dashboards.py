"""Grafana's dashboards: current, whole, and every query of theirs has an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import yaml

from deploy.grafana.dashboards import BOARDS, FOLDER, path, text
from deploy.grafana.panels import Board
from streams.metrics import METRICS
from tests.conftest import missing
from tests.debian import MissingError
from tests.house.repo import ROOT
from tests.kafka.monitoring import Prometheus
from tests.kafka.process import Vpcflow, until

BY_NAME = {board.uid.removeprefix("vpcflow-"): board for board in BOARDS}
_TRAFFIC = "rate(vpcflow_eni_bytes_total[10s] offset 5s) > 0"
_MADE_UP = {"datasource": "", "account": ".*", "vpc": ".*", "window": "10s"}

_RARE = ("vpcflow_findings_total", "vpcflow_findings_active", "vpcflow_rejected_lines_total")
"""What stays without an answer where nothing is wrong: `nothing` says so in the panel."""


class Asked(NamedTuple):
    """A query of a panel."""

    panel: str
    expression: str


def _panels(board: Board) -> list[dict[str, Any]]:
    panels = orjson.loads(text(board))["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def _asked() -> Iterator[Asked]:
    for board in BOARDS:
        for panel in _panels(board):
            yield from (Asked(f"{board.title}, {panel['title']}", one["expr"]) for one in panel["targets"])


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_provisioned_is_what_the_code_makes(name: str) -> None:
    assert path(BY_NAME[name]).read_text("utf-8") == text(BY_NAME[name]), "run `make dashboards`"


def test_nothing_else_is_provisioned() -> None:
    assert {file.stem for file in FOLDER.glob("*")} == set(BY_NAME)
    [provider] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/vpcflow.yml").read_text())["providers"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"./{FOLDER.relative_to(ROOT)}:{provider['options']['path']}:ro" in mounts


@pytest.mark.parametrize("name", BY_NAME)
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    for panel in _panels(BY_NAME[name]):
        defaults = panel["fieldConfig"]["defaults"]
        assert (bool(panel["description"]), bool(panel["targets"])) == (True, True), panel["title"]
        assert (bool(defaults["unit"]), bool(defaults["noValue"])) == (True, True), panel["title"]


def test_variables_that_are_used_are_there() -> None:
    for board in BOARDS:
        made = orjson.loads(text(board))
        names = {one["name"] for one in made["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", orjson.dumps(made["panels"]).decode()))
        assert used == names, board.title


def test_dashboards_ask_for_metrics_that_there_are() -> None:
    asked = {name for one in _asked() for name in re.findall(r"\b\w*vpcflow_\w+", one.expression)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} - set(METRICS) == set()


@pytest.mark.timeout(240)
async def test_every_query_has_an_answer_on_a_live_prometheus(tmp_path: Path) -> None:
    """From a worker with generated traffic. Of what was hours ago it is asked what was seconds ago."""
    with Vpcflow("up", environ={"VPCFLOW_TOPICS__PREFIX": "dashboards"}) as worker:
        job = {
            "job_name": "vpcflow-worker",
            "honor_labels": True,
            "static_configs": [{"targets": [worker.url.removeprefix("http://")]}],
        }
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        try:
            server = Prometheus(yaml.safe_dump(config))
        except MissingError as error:
            missing(error)
            return
        with server:
            await until("there is traffic", lambda: bool(server.query(_TRAFFIC)))
            [busiest] = server.query("topk(1, sum by (eni) (vpcflow_eni_bytes_total))")
            eni = busiest["metric"]["eni"]
            unanswered = [one for one in _asked() if not server.query(_recent(one.expression, eni))]

    assert [one for one in unanswered if not any(metric in one.expression for metric in _RARE)] == []


def _recent(expression: str, eni: str) -> str:
    """With the variables as Grafana puts them in, and seconds for hours."""
    for name, value in {**_MADE_UP, "eni": eni}.items():
        expression = expression.replace(f"${name}", value)
    return re.sub(r"offset 1[dw]", "offset 5s", re.sub(r"\[(\d+[mhd])\]", "[10s]", expression))
