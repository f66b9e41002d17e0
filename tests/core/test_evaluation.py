"""Findings held against the truth."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.evaluation import Episode, detectors_for, evaluate, is_about, poisson, wilson
from streams.core.findings import Finding

SCAN = Episode("syn-port-scan", 1000, 1100, "192.0.2.1", "10.0.0.5", "eni-0a")


def finding(**change: Any) -> Finding:
    values: dict[str, Any] = {
        "id": "x", "detector": "port-scan", "eni": "eni-0a", "source": "192.0.2.1", "target": "10.0.0.5", "port": None,
        "protocol": 6, "severity": 2, "first": 1000, "last": 1100, "detected": 1060, "count": 9, "updates": 1,
        "sentence": "", "evidence": "{}",
    }  # fmt: skip
    return Finding(**{**values, **change})


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({}, True), ({"source": None}, True), ({"target": None}, True), ({"source": None, "target": None}, False),
        ({"source": "192.0.2.9", "target": "10.0.0.9"}, False), ({"eni": "eni-0b"}, False), ({"eni": None}, True),
        ({"first": 1400}, True), ({"first": 1401}, False), ({"last": 700}, True), ({"last": 699}, False),
    ],
)  # fmt: skip
def test_a_finding_is_about_an_episode_that_it_overlaps_and_names(change: dict[str, Any], about: bool) -> None:
    assert is_about(finding(**change), SCAN) is about


def test_an_episode_is_caught_by_a_detector_that_is_there_for_it() -> None:
    """A finding of another detector about it is not false: it says something true of the same traffic."""
    other = Episode("DDoS", 5000, 5100, "10.0.0.5", "198.51.100.1", None)
    found = evaluate([finding(), finding(detector="flood")], [SCAN, other], 2.0, 3)

    assert [(one.kind, one.episodes, one.caught, one.delay) for one in found.kinds] == [
        ("DDoS", 1, 0, None), ("syn-port-scan", 1, 1, 60),
    ]  # fmt: skip
    assert found.false == []


def test_what_is_about_nothing_is_false_and_counted_a_day_and_an_interface() -> None:
    found = evaluate([finding(source="192.0.2.9", target="10.0.0.9")] * 3, [SCAN], 2.0, 3)

    assert found.false_rate == pytest.approx(0.5)
    low, high = found.false_interval
    assert 0 < low < 0.5 < high


@pytest.mark.parametrize(
    ("kind", "detector"),
    [
        ("ssh-brute-force", "brute-force"), ("FTP-Patator", "brute-force"), ("PartOfAHorizontalPortScan", "port-sweep"),
        ("C&C", "beacon"), ("c2-beacon", "beacon"), ("DoS Hulk", "flood"), ("exfiltration", "exfiltration"),
        ("broken_dependency", "broken-dependency"),
    ],
)  # fmt: skip
def test_a_kind_is_known_by_a_word_in_it(kind: str, detector: str) -> None:
    assert detector in detectors_for(kind)
    assert detectors_for("Infiltration") == ()


def test_the_truth_is_read_and_what_is_no_address_is_unknown() -> None:
    row = {"kind": "x", "start": 1, "end": "2", "attacker": "*", "victim": "10.0.0.5", "flows": 3}

    assert Episode.of(row) == Episode("x", 1, 2, None, "10.0.0.5", None)
    with pytest.raises(ValueError, match="no 'end'"):
        Episode.of({"kind": "x", "start": 1})
    with pytest.raises(ValueError, match="invalid literal"):
        Episode.of({"kind": "x", "start": "soon", "end": 2})


def test_intervals_are_those_of_the_textbook() -> None:
    """Wilson: 8 of 10 is 0.49 to 0.94. Poisson: of 3 seen 0.62 to 8.77, of none up to 3.7."""
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=0.001)
    assert wilson(0, 0) == (0.0, 1.0)
    assert poisson(3) == pytest.approx((0.62, 8.77), abs=0.05)
    assert poisson(0) == pytest.approx((0.0, 3.7), abs=0.05)
