"""What the longer queries of the dashboards mean: promtool draws the time and asks."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from deploy.grafana.dashboards import changed
from deploy.grafana.panels import opened
from tests.conftest import missing
from tests.debian import MissingError
from tests.kafka.monitoring import NEWEST, program

_FOUND = 'vpcflow_findings_total{{detector="{}", severity="high", partition="0"}}'
_LOOKED = 'vpcflow_watched_before_timestamp_seconds{partition="0"}'


def _asked(folder: Path, query: str, minute: int, series: Mapping[str, str], answer: Mapping[str, float]) -> str:
    """What promtool says against it: that `query` has this answer in a minute of a time of these samples."""
    samples = [{"labels": labels, "value": value} for labels, value in answer.items()]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{minute}m", "exp_samples": samples}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump({"tests": [test]}))
    try:
        command: list[str | Path] = [program(NEWEST, "promtool"), "test", "rules", folder / "test.yml"]
    except MissingError as error:
        missing(error)
        raise
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_a_first_finding_and_one_more_are_opened_and_those_of_before_are_not(tmp_path: Path) -> None:
    # minute     0 1 2 3
    series = {
        _LOOKED: "5 6 7 8",
        _FOUND.format("flood"): "_ _ _ 1",
        _FOUND.format("beacon"): "4 4 4 6",
        _FOUND.format("policy"): "9 9 9 9",
    }
    answer = {'{detector="flood", severity="high"}': 1.0, '{detector="beacon", severity="high"}': 2.0}

    assert _asked(tmp_path, f"sum by (detector, severity) ({opened('1m')}) > 0", 3, series, answer) == ""


def test_findings_that_were_not_looked_at_before_are_not_opened(tmp_path: Path) -> None:
    # a worker that was away for ten minutes, and one that is seen for the first time
    series = {_LOOKED: "5 stale _x9 8 9", _FOUND.format("flood"): "4 stale _x9 4 4"}

    assert _asked(tmp_path, f"sum by (detector) ({opened('1m')}) > 0", 11, series, {}) == ""
    assert _asked(tmp_path, f"sum by (detector) ({opened('1m')}) > 0", 0, series, {}) == ""


def test_what_is_new_and_what_is_gone_has_changed(tmp_path: Path) -> None:
    day = 24 * 60
    series = {
        'bytes{eni="same"}': f"10x{2 * day}",
        'bytes{eni="more"}': f"10x{day} 30x{day}",
        'bytes{eni="new"}': f"_x{day} 50x{day}",
        'bytes{eni="gone"}': f"40x{day} stale",
    }
    answer = {'{eni="new"}': 50.0, '{eni="gone"}': 40.0, '{eni="more"}': 20.0, '{eni="same"}': 0.0}
    yesterday = changed("sum by (eni) (last_over_time(bytes[2m]))")

    assert _asked(tmp_path, yesterday, day + 30, series, answer) == ""
    assert _asked(tmp_path, yesterday, 30, series, {}) == ""
