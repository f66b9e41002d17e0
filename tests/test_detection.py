"""`vpcflow detectors` and `vpcflow evaluate`, as a user meets them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from streams.detection import detectors_markdown, read_truth
from streams.detectors.examples import HEADER, INSIDE, NEIGHBOUR, START, refused
from streams.detectors.registry import DETECTORS
from tests.kafka.process import vpcflow

SCAN = [line for port in range(12) for line in refused(port, NEIGHBOUR, INSIDE, 1000 + port)]
EPISODE = {"kind": "port-scan", "start": START, "end": START + 60, "attacker": NEIGHBOUR, "victim": INSIDE}


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.log"
    path.write_text("\n".join((HEADER, *SCAN)))
    return path


def test_analyze_tells_what_it_found(flows: Path) -> None:
    """The keys are an interface."""
    [found] = json.loads(vpcflow("analyze", "--json", flows).stdout)["findings"]

    assert len(found.pop("id")) == 32
    assert found.pop("evidence") == {"tried": 12, "answered": 0, "some": list(range(1000, 1012))}
    assert found == {
        "detector": "port-scan", "severity": "medium", "first_seen": START, "last_seen": START + 11, "eni": "eni-0a",
        "source": NEIGHBOUR, "target": INSIDE, "port": None, "protocol": None, "count": 12,
        "detected": START - START % 60 + 60, "updates": 1, "closed": False, "origins": [],
        "sentence": f"{NEIGHBOUR} tried 12 ports of {INSIDE} that it had not used before and got no answer; 0 answered",
    }  # fmt: skip


def test_analyze_only_counts_where_nothing_else_is_wanted(flows: Path) -> None:
    told = json.loads(vpcflow("analyze", "--json", "--no-findings", flows).stdout)

    assert (told["findings"], told["suppressed"], told["totals"]["flows"]) == ([], 0, 12)


@pytest.mark.parametrize("zipped", [False, True])
def test_evaluate_holds_findings_against_a_truth(flows: Path, tmp_path: Path, zipped: bool) -> None:
    truth = tmp_path / ("truth.jsonl.gz" if zipped else "truth.jsonl")
    text = json.dumps(EPISODE).encode() + b"\n"
    truth.write_bytes(gzip.compress(text) if zipped else text)
    found = json.loads(vpcflow("evaluate", "--json", flows, truth).stdout)
    shown = vpcflow("evaluate", flows, truth).stdout.decode()

    assert [(one["kind"], one["caught"], one["episodes"]) for one in found["kinds"]] == [("port-scan", 1, 1)]
    assert found["kinds"][0]["median_seconds_to_detect"] == 60
    assert (found["false_findings"], found["enis"]) == (0, 1)
    assert "1 of 1" in shown
    assert "0 false findings" in shown


def test_a_finding_about_nothing_is_told(flows: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(json.dumps({**EPISODE, "attacker": "192.0.2.9", "victim": "192.0.2.8"}))

    shown = " ".join(vpcflow("evaluate", flows, truth).stdout.decode().split())
    assert "0 of 1" in shown
    assert "1 false finding in" in shown
    assert f"port-scan: {NEIGHBOUR} tried 12 ports of {INSIDE}" in shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "line 2: not an episode (an episode has no 'kind')"), ("oops", "line 2: not an episode ("),
        ("[]", "line 2: not an episode ("), ('{"kind": "x", "start": "soon", "end": 1}', "line 2: not an episode ("),
    ],
)  # fmt: skip
def test_a_truth_that_is_none_is_one_line(flows: Path, tmp_path: Path, line: str, said: str) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(f"{json.dumps(EPISODE)}\n{line}\n")
    done = vpcflow("evaluate", flows, truth)

    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1
    with pytest.raises(ValueError, match="line 2"):
        read_truth(truth)


def test_detectors_are_listed_and_explained() -> None:
    listed = vpcflow("detectors", "list").stdout.decode()
    explained = vpcflow("detectors", "explain", "port-scan").stdout.decode()
    unknown = vpcflow("detectors", "explain", "portscan")

    assert all(one.name in listed for one in DETECTORS)
    assert explained.strip() in detectors_markdown()
    assert "| `ports` | 10 | " in explained
    assert unknown.returncode == 2
    assert "no detector 'portscan'; the nearest is port-scan" in unknown.stderr.decode()
