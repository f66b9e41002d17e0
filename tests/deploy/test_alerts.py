"""What deploy/ gives to Prometheus and Alertmanager: their own tools accept it, and every alert is whole."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.metrics import METRICS
from tests.conftest import missing
from tests.debian import PROMETHEUS, MissingError
from tests.house.repo import ROOT
from tests.kafka.monitoring import NEWEST, Alertmanager, program

DEPLOY = ROOT / "deploy"
RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))
UNIT_TESTS = sorted((ROOT / "tests/deploy/rules").glob("*.test.yml"))
ROUTES = DEPLOY / "alertmanager/alertmanager.yml"
PARTS = ("**Meaning.** ", "**First query.** ", "**First action.** ", "**False alarm.** ")

Rule = dict[str, Any]


def _rules(kind: str) -> Iterator[Rule]:
    """Of `alert` or `record`."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


ALERTS = {rule["alert"]: rule for rule in _rules("alert")}


def _says(release: str, tool: str, *arguments: str | Path) -> str:
    """What a tool prints; an AssertionError says what, when it fails."""
    try:
        command = [program(release, tool), *arguments]
    except MissingError as error:
        missing(error)
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("release", PROMETHEUS, ids=PROMETHEUS.values())
def test_prometheus_takes_the_configuration_and_its_rules(release: str) -> None:
    assert _says(release, "promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")


@pytest.mark.parametrize("release", PROMETHEUS, ids=PROMETHEUS.values())
def test_each_alert_fires_when_it_should_and_only_then(release: str) -> None:
    assert _says(release, "promtool", "test", "rules", *UNIT_TESTS)


def test_each_alert_has_a_unit_test_that_fires_and_one_that_stays_silent() -> None:
    cases = [case for path in UNIT_TESTS for case in yaml.safe_load(path.read_text("utf-8"))["tests"]]
    asked = [one for case in cases for one in case["alert_rule_test"]]
    fires = {one["alertname"] for one in asked if one["exp_alerts"]}
    silent = {one["alertname"] for one in asked if not one["exp_alerts"]}
    assert fires == silent == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert re.search(r"\d|\$value", rule["annotations"]["description"]), "no number"
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["labels"]["about"] in {"network", "pipeline"}
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == name.lower()
    [section] = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", (ROOT / path).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert [part in section for part in PARTS] == [True] * len(PARTS)


def test_the_runbook_speaks_of_no_other_alerts() -> None:
    assert re.findall(r"^### (.*)$", (DEPLOY / "RUNBOOK.md").read_text("utf-8"), re.MULTILINE) == list(ALERTS)


def test_records_are_named_by_level_metric_and_operations() -> None:
    for rule in _rules("record"):
        assert re.fullmatch(r"[a-z_]+:vpcflow_[a-z_]+:[a-z0-9_]+", rule["record"])


def test_rules_and_runbook_ask_for_metrics_that_there_are() -> None:
    known = set(METRICS) | {rule["record"] for rule in _rules("record")}
    texts = [path.read_text("utf-8") for path in (*RULES, DEPLOY / "RUNBOOK.md")]
    asked = {name for text in texts for name in re.findall(r"\b(?:[a-z_]+:)?vpcflow_\w+(?::\w+)?", text)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} - known == set()


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page about=pipeline", "page"),
        ("severity=ticket about=pipeline", "ticket"),
        ("severity=page about=network", "siem,page"),
        ("severity=ticket about=network", "siem,ticket"),
        ("detector=port-scan severity=high", "siem"),
        ("severity=other", "ticket"),
    ],
)
@pytest.mark.parametrize("release", PROMETHEUS, ids=PROMETHEUS.values())
def test_an_alert_goes_to_those_who_can_do_something(release: str, labels: str, receivers: str) -> None:
    said = _says(release, "amtool", "config", "routes", "test", f"--config.file={ROUTES}", *labels.split())
    assert said.strip() == receivers


def test_alertmanager_takes_the_routes() -> None:
    assert "3 receivers" in _says(NEWEST, "amtool", "check-config", ROUTES)


@pytest.mark.parametrize("blind", [name for name, rule in ALERTS.items() if "blind" in rule["labels"]])
@pytest.mark.parametrize("release", PROMETHEUS, ids=PROMETHEUS.values())
def test_a_blind_pipeline_holds_the_network_back_and_nothing_else(release: str, blind: str) -> None:
    try:
        server = Alertmanager(release, ROUTES.read_text("utf-8"))
    except MissingError as error:
        missing(error)
        return
    with server as alertmanager:
        _fire(alertmanager, *(set(ALERTS) - {name for name in ALERTS if "blind" in ALERTS[name]["labels"]}), blind)
        held = {one["labels"]["alertname"] for one in alertmanager.alerts() if one["status"]["inhibitedBy"]}

    network = {name for name, rule in ALERTS.items() if rule["labels"]["about"] == "network"}
    assert held == network | ({"VpcflowNotReady"} if blind == "VpcflowDown" else set())


def _fire(alertmanager: Alertmanager, *names: str) -> None:
    """Tell it of alerts, with the labels that their rules give them."""
    alerts = [{"labels": {"alertname": name, **ALERTS[name]["labels"]}} for name in names]
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{alertmanager.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - ours
