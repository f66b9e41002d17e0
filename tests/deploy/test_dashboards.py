"""Grafana's dashboards: current, whole, and as Grafana's own types want them; their queries ask for what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import promql_parser as promql
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.prometheus import Dataquery
from jsonschema import Draft7Validator

from deploy.grafana.dashboards import BOARDS, FOLDER, path, text
from deploy.grafana.panels import Board
from streams.core import direction, tables
from streams.core.findings import SEVERITIES
from streams.detectors.registry import DETECTORS
from streams.metrics import METRICS
from tests.deploy import schema
from tests.deploy.boards import as_json, asked, filled, panels
from tests.house.repo import ROOT

BY_NAME = {board.uid.removeprefix("vpcflow-"): board for board in BOARDS}
_OF_TARGETS = {"job", "instance"}
_VALUES = {
    "direction": set(direction.NAMES),
    "action": set(tables.ACTIONS),
    "detector": {one.name for one in DETECTORS},
    "severity": set(SEVERITIES),
}
"""Labels whose values are known -> these."""

_OLDER = {"style", "auto", "auto_count", "auto_min", "id", "footer"}
"""What the SDK writes for Grafana 10; newer ones do not read it."""

_PROMETHEUS = {"titleFormat", "textFormat", "tagKeys", "expr", "interval", "refId"}
"""What Grafana's Prometheus source reads of an annotation; the types have only what Grafana's own source does."""


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
    for panel in panels(as_json(BY_NAME[name])):
        defaults = panel["fieldConfig"]["defaults"]
        assert (bool(panel["description"]), bool(panel["targets"])) == (True, True), panel["title"]
        assert (bool(defaults["unit"]), bool(defaults["noValue"])) == (True, True), panel["title"]


@pytest.mark.parametrize("name", BY_NAME)
def test_variables_that_are_used_are_there(name: str) -> None:
    made = as_json(BY_NAME[name])
    names = {one["name"] for one in made["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", orjson.dumps([made["panels"], made["templating"]]).decode()))

    assert used == names


# --- Grafana's types -------------------------------------------------------------------------------------------------


def _errors(made: dict[str, Any]) -> list[str]:
    """What Grafana's types do not know, or know otherwise."""
    schemas = orjson.loads(schema.PATH.read_bytes())
    parts = [("dashboard", made)]
    for panel in panels(made):
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        parts += [(f"{panel['type']}.options", panel["options"])]
        parts += [(f"{panel['type']}.custom", custom)] if custom else []
    found = [_said(error) for name, part in parts for error in Draft7Validator(schemas[name]).iter_errors(part)]
    queries = [one for panel in panels(made) for one in panel["targets"]]
    return [*found, *(f"{one} has more than a query" for one in queries if _as_the_sdk_has_it(one) != one)]


def _said(error: Any) -> str:
    """Of a part that may be one of several, what is wrong with each."""
    return f"{error.json_path}: {'; '.join(one.message for one in error.context) or error.message}"


def _as_the_sdk_has_it(query: dict[str, Any]) -> dict[str, Any]:
    """@grafana/schema has no type for it: what the SDK reads of a query and writes again."""
    again: dict[str, Any] = orjson.loads(JSONEncoder().encode(Dataquery.from_json(query)))
    return again


def _without(made: Any, keys: set[str]) -> Any:
    if isinstance(made, list):
        return [_without(one, keys) for one in made]
    if not isinstance(made, dict):
        return made
    return {key: _without(one, keys) for key, one in made.items() if key not in keys}


def _plain(board: Board) -> dict[str, Any]:
    """Without what the types are known not to have."""
    made = as_json(board)
    marks = _without(made["annotations"], _PROMETHEUS)
    plain: dict[str, Any] = _without({**made, "annotations": marks}, _OLDER)
    return plain


def test_the_types_are_those_of_the_grafana_that_is_started() -> None:
    assert f"@grafana/schema {schema.version()}," in orjson.loads(schema.PATH.read_bytes())["$comment"]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_dashboard_is_what_grafanas_types_say(name: str) -> None:
    assert _errors(_plain(BY_NAME[name])) == []


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "refrsh", "30s"),
        (("panels", 1), "descripton", "What it shows."),
        (("panels", 1, "gridPos"), "w", "12"),
        (("panels", 1, "options"), "textMode", "valu"),
        (("panels", 1, "options", "reduceOptions"), "calc", ["last"]),
        (("panels", 1, "fieldConfig", "defaults"), "unitt", "Bps"),
        (("panels", -1, "fieldConfig", "defaults", "custom"), "drawStyle", "nonsense"),
        (("panels", -1, "fieldConfig", "defaults", "custom"), "fillOpacty", 5),
        (("panels", -1, "targets", 0), "exprr", "up"),
        (("templating", "list", 0), "refresh", 9),
    ],
)
def test_a_misspelt_key_and_a_value_of_another_type_are_found(place: tuple[Any, ...], key: str, value: Any) -> None:
    good, made = _plain(BY_NAME["pipeline"]), _plain(BY_NAME["pipeline"])
    part: Any = made
    for step in place:
        part = part[step]
    part[key] = value

    assert (_errors(good), len(_errors(made))) == ([], 1)


# --- Queries ---------------------------------------------------------------------------------------------------------


def _parts(expression: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    yield expression
    names = ("expr", "lhs", "rhs", "param", "vector_selector")
    parts = [getattr(expression, name, None) for name in names] + list(getattr(expression, "args", None) or [])
    for part in parts:
        if part is not None:
            yield from _parts(part)


def _selectors() -> Iterator[tuple[str, Any]]:
    for one in asked():
        parts = _parts(promql.parse(filled(one.expression)))
        yield from ((one.where, part) for part in parts if isinstance(part, promql.VectorSelector))


def _metric(name: str | None) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name or "")


def test_dashboards_ask_for_metrics_that_there_are_by_labels_that_they_have() -> None:
    selectors = list(_selectors())
    asked = {(where, one.name, label.name) for where, one in selectors for label in one.matchers.matchers}

    assert len(selectors) > len(BOARDS)
    assert {one.name for _, one in selectors if _metric(one.name) not in METRICS} == set()
    assert {at for at in asked if at[2] not in {*METRICS[_metric(at[1])].labels, *_OF_TARGETS}} == set()


def test_dashboards_ask_for_values_of_labels_that_there_are() -> None:
    matchers = [(where, one) for where, part in _selectors() for one in part.matchers.matchers if one.name in _VALUES]

    assert matchers
    assert [(where, one.value) for where, one in matchers if one.value not in _VALUES[one.name]] == []


def _groupings(expression: Any) -> Iterator[tuple[set[str], set[str]]]:
    """Labels that are grouped by, and those of all metrics within."""
    for part in _parts(expression):
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            names = {one.name for one in _parts(part.expr) if isinstance(one, promql.VectorSelector)}
            yield set(part.modifier.labels), {label for name in names for label in METRICS[_metric(name)].labels}


def test_what_is_grouped_by_is_a_label_of_what_is_grouped() -> None:
    groupings = [(one, *labels) for one in asked() for labels in _groupings(promql.parse(filled(one.expression)))]

    assert groupings
    assert [one for one, by, has in groupings if by - has - _OF_TARGETS - {"le"}] == []
