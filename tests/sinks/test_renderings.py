"""Findings as OCSF and ECS, held against the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from streams.core.findings import Finding, as_object
from streams.detectors.registry import DETECTORS
from streams.sinks import attack, ecs, ocsf

FINDING = Finding(
    id="0123456789abcdef0123456789abcdef", detector="port-scan", eni="eni-1", source="198.51.100.7", target="10.0.0.5",
    port=None, protocol=None, severity=2, first=1_700_000_000, last=1_700_000_059, detected=1_700_000_060, count=12,
    updates=1, sentence="198.51.100.7 tried 12 ports of 10.0.0.5", evidence='{"tried":12,"some":[1,2]}',
    origins="0@12,3@4567",
)  # fmt: skip
SHAPES = [
    FINDING,
    replace(FINDING, updates=3),
    replace(FINDING, closed=True, updates=3),
    replace(FINDING, source=None, target=None, port=22, protocol=6),
    replace(FINDING, eni=None, target="2001:db8::1", port=443, protocol=58),
    replace(FINDING, port=-3, protocol=-3),
]
_NOT_MODELLED = {"src_endpoint", "dst_endpoint", "connection_info"}
"""Of an evidence: in the schema, but not in py-ocsf-models."""
_ECS = {
    "@timestamp", "message", "ecs.version", "event.id", "event.kind", "event.category", "event.type", "event.dataset",
    "event.module", "event.provider", "event.action", "event.reason", "event.severity", "event.start", "event.end",
    "event.created", "rule.id", "rule.name", "rule.description", "threat.framework", "threat.technique.id",
    "threat.technique.name", "threat.technique.subtechnique.id", "threat.technique.subtechnique.name",
    "cloud.provider", "related.ip", "source.address", "source.ip", "destination.address", "destination.ip",
    "destination.port", "network.iana_number", "network.transport", "network.type",
}  # fmt: skip
"""Fields of ECS 8.17 that are used; everything else is ours, under a name of its own."""


def _paths(value: object, before: str = "") -> Iterator[str]:
    """Dotted names of what an object holds, its lists' members without a number."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{before}.{name}" if before else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from _paths(inner, before)
    else:
        yield before


@pytest.mark.parametrize("finding", SHAPES)
def test_ocsf_is_valid_and_holds_nothing_that_the_schema_does_not_know(finding: Finding) -> None:
    given: dict[str, Any] = orjson.loads(ocsf.render(finding))

    read = DetectionFinding.model_validate(given)

    evidences = [{name: one[name] for name in one if name not in _NOT_MODELLED} for one in given["evidences"]]
    kept = read.model_dump(mode="json", exclude_none=True)
    assert set(_paths({**given, "evidences": evidences})) - set(_paths(kept)) == set()
    assert given["type_uid"] == given["class_uid"] * 100 + given["activity_id"]
    assert all(
        "ip" in one[side] for one in given["evidences"] for side in ("src_endpoint", "dst_endpoint") if side in one
    )


def test_ocsf_says_create_update_and_close_under_one_id() -> None:
    events = [ocsf.event(one) for one in SHAPES[:3]]

    assert [one["type_uid"] for one in events] == [200401, 200402, 200403]
    assert [one["status_id"] for one in events] == [1, 1, 4]
    assert {one["finding_info"]["uid"] for one in events} == {FINDING.id}
    assert events[0]["severity_id"] == 3
    assert events[0]["finding_info"]["attacks"][0]["technique"]["uid"] == "T1046"
    assert events[0]["finding_info"]["first_seen_time"] == FINDING.first * 1000


@pytest.mark.parametrize("finding", SHAPES)
def test_ecs_has_the_fields_of_ecs_and_ours_apart(finding: Finding) -> None:
    given = orjson.loads(ecs.render(finding))

    ours = {path for path in _paths(given) if path.startswith(("vpcflow.", "aws.vpcflow."))}
    assert set(_paths(given)) - ours <= _ECS
    assert given["event"]["id"] == finding.id
    assert given["@timestamp"] == "2023-11-14T22:14:19Z"
    assert given["vpcflow"]["finding"]["evidence"] == as_object(finding)["evidence"]
    assert given["vpcflow"]["finding"]["origins"] == [{"partition": 0, "offset": 12}, {"partition": 3, "offset": 4567}]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_every_technique_of_a_detector_has_a_name(detector: Any) -> None:
    assert all(attack.technique(one).name for one in detector.attack)


def test_no_name_is_left_that_no_detector_uses() -> None:
    used = {one for detector in DETECTORS for one in detector.attack}

    assert set(attack.TECHNIQUES) == used | {one.partition(".")[0] for one in used}
