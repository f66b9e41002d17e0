"""The dashboards as Grafana gets them, and what they ask Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from deploy.grafana.dashboards import BOARDS, text
from deploy.grafana.panels import Board

_CHOSEN = {"account": ".*", "vpc": ".*", "eni": "eni-1", "window": "10s", "__interval": "5s"}
"""What Grafana puts in for variables, where all is chosen."""


class Asked(NamedTuple):
    """A query of a dashboard, and where it stands."""

    where: str
    expression: str


def as_json(board: Board) -> dict[str, Any]:
    """What is provisioned."""
    made: dict[str, Any] = orjson.loads(text(board))
    return made


def panels(made: dict[str, Any]) -> list[dict[str, Any]]:
    """All but titles of rows."""
    return [panel for panel in made["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """Of panels, marks and variables."""
    for board in BOARDS:
        made = as_json(board)
        for panel in panels(made):
            yield from (Asked(f"{board.title}, {panel['title']}", one["expr"]) for one in panel["targets"])
        for mark in made["annotations"]["list"]:
            yield Asked(f"{board.title}, {mark['name']}", mark["target"]["expr"])
        for variable in made["templating"]["list"]:
            found = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"])
            if found:
                yield Asked(f"{board.title}, ${variable['name']}", found.group(1))


def filled(expression: str, **chosen: str) -> str:
    """With the variables as Grafana puts them in."""
    for name, value in {**_CHOSEN, **chosen}.items():
        expression = expression.replace(f"${name}", value)
    return expression
