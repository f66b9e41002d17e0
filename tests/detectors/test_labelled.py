"""Detectors on traffic that others made and labelled. Where it is not at hand, these skip."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from streams.core.evaluation import Evaluation
from tests.detectors.measure import generated, measured, page
from tests.sources.samples import shared


def evaluation(name: str) -> Evaluation:
    folder = shared(f"data/labelled/{name}")
    return measured(folder / "flows.log.gz", folder / "truth.jsonl.gz")[0]


def caught(found: Evaluation) -> dict[str, tuple[int, int]]:
    return {one.kind: (one.caught, one.episodes) for one in found.kinds}


@pytest.mark.parametrize(
    ("name", "kind", "episodes", "seconds"),
    [
        ("malicious-ssh-bruteforce", "ssh-brute-force", 1, 120), ("synscan", "syn-port-scan", 1, 60),
        ("test-cc-capture-1", "c2-beacon", 2, 720),
    ],
)  # fmt: skip
def test_a_captured_attack_is_known_in_time_and_nothing_else(name: str, kind: str, episodes: int, seconds: int) -> None:
    found = evaluation(f"packet-captures/{name}")

    assert caught(found) == {kind: (episodes, episodes)}
    assert max(found.kinds[0].delays) <= seconds
    assert found.false == []


@pytest.mark.timeout(300)
def test_a_mirai_bot_is_known_by_its_floods_and_by_how_it_calls_home() -> None:
    """14,394 flows are 211 records. Its scans are of one host each, one a single probe: nothing finds them."""
    found = evaluation("iot23-34-1-mirai")

    assert caught(found) == {"C&C": (2, 2), "DDoS": (3, 3), "PartOfAHorizontalPortScan": (0, 2)}
    assert {one.detector for one in found.false} <= {"broken-dependency", "flood"}
    assert len(found.false) <= 3


def test_incidents_of_made_up_traffic_are_known(tmp_path: Path) -> None:
    """An hour and a half. A beacon takes twenty calls, an interface's habit an hour: some end before that."""
    flows, truth = generated(tmp_path, 5, 2, hours=1.5)
    found, findings = measured(flows, truth)
    by_kind = caught(found)

    assert by_kind["port_scan"][0] == by_kind["port_scan"][1] >= 5
    assert by_kind["ssh_brute_force"][0] == by_kind["ssh_brute_force"][1] >= 4
    assert by_kind["broken_dependency"][0] >= 2
    assert by_kind["beacon"][0] >= 1
    assert {one.detector for one in found.false} <= {"port-scan", "distributed-scan", "log-health"}
    assert {one.detector for one in findings} >= {"port-scan", "brute-force", "beacon", "broken-dependency", "exposure"}


def test_the_page_tells_what_was_caught_and_what_was_false(tmp_path: Path) -> None:
    flows, truth = tmp_path / "flows.log.gz", tmp_path / "truth.jsonl.gz"
    flows.write_bytes(gzip.compress(b"srcaddr dstaddr start end\n10.0.0.5 10.0.0.6 60 86460\n"))
    truth.write_bytes(gzip.compress(b'{"kind": "scan", "start": 60, "end": 120, "attacker": "10.0.0.5"}\n'))
    told = page([("none", measured(flows, truth)[0])], "2026-01-01")

    assert "| none | scan | 0 of 1 | 0% to 79% | - | port-scan, port-sweep, distributed-scan, rejected-surge |" in told
    assert "| none | 1.00 | 1 | 0 | 0.00 | 0.00 to 3.67 |" in told
