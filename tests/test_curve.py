"""What a threshold is worth at other values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.core.analysis import Analysis
from streams.core.evaluation import Episode, Point
from streams.core.parse import parse
from streams.curve import curve, threshold
from streams.detectors.examples import HEADER, INSIDE, NEIGHBOUR, START, refused
from streams.detectors.registry import DETECTORS
from streams.settings import ConfigError
from tests.kafka.process import vpcflow

OTHER = "10.0.9.8"
TRUTH = {"kind": "port scan", "start": START, "end": START + 60, "attacker": NEIGHBOUR, "victim": INSIDE, "eni": None}


def _lines() -> str:
    """A scan of twenty ports, and somebody who tries six of another host and is none."""
    tries = [(NEIGHBOUR, INSIDE, port) for port in range(20)] + [(OTHER, "10.0.0.6", port) for port in range(6)]
    lines = [line for who, host, port in tries for line in refused(port, who, host, 1000 + port)]
    return "\n".join((HEADER, *lines))


def test_a_low_threshold_catches_more_and_says_more_that_is_not_true() -> None:
    analysis = Analysis()
    analysis.add(parse(f"{_lines()}\n".encode()))
    one, setting = threshold("port-scan.ports", DETECTORS)

    points = {found.value: found for found in curve(analysis, one, setting, [Episode.of(TRUTH)])}

    assert points[10] == Point(10, episodes=1, caught=1, true=1, false=0)
    assert points[5] == Point(5, episodes=1, caught=1, true=1, false=1)
    assert (points[5].recall, points[5].precision) == (1.0, 0.5)
    assert points[30] == Point(30, episodes=1, caught=0, true=0, false=0)
    assert (points[30].recall, points[30].precision) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["port-scan.prots", "ports", "policy.x"])
def test_a_threshold_that_is_none_is_told_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match="the nearest is"):
        threshold(name, DETECTORS)


def test_the_command_tells_and_draws_it(tmp_path: Path) -> None:
    flows, truth, picture = (tmp_path / name for name in ("flows.log", "truth.jsonl", "curve.png"))
    flows.write_text(_lines())
    truth.write_text(json.dumps(TRUTH))

    found = vpcflow("evaluate", "--curve", "port-scan.ports", "--plot", picture, flows, truth)

    assert found.returncode == 0, found.stderr
    assert "10 (now) 1 of 1 100% 1 100%" in " ".join(found.stdout.decode().split())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
