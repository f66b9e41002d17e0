"""A finding as OCSF Detection Finding (class 2004), version 1.5.0. Source: schema.ocsf.io."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import orjson

from streams.core.detection import Detector
from streams.core.findings import SEVERITIES, Finding, origins
from streams.detectors.registry import BY_NAME
from streams.sinks import attack

VERSION = "1.5.0"
_PRODUCT = {"name": "vpcflow-streams", "vendor_name": "vpcflow-streams", "version": version("vpcflow-streams")}
_CATEGORY, _CLASS = 2, 2004
_CREATE, _UPDATE, _CLOSE = 1, 2, 3
_ACTIVITIES = {_CREATE: "Create", _UPDATE: "Update", _CLOSE: "Close"}
_NEW, _RESOLVED = 1, 4
_RULE, _BEHAVIORAL = 1, 2
_RULES = ("known-bad", "policy", "exposure")
"""Detectors that hold traffic against what somebody declared, not against what is usual."""


def render(finding: Finding) -> bytes:
    """As JSON. `finding_info.uid` is the finding's id: what comes again under it replaces what came before."""
    return orjson.dumps(event(finding))


def event(finding: Finding) -> dict[str, Any]:
    """As an object; times in milliseconds since the epoch."""
    activity = _CLOSE if finding.closed else (_CREATE if finding.updates == 1 else _UPDATE)
    detector = BY_NAME[finding.detector]
    return {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "category_name": "Findings",
        "category_uid": _CATEGORY,
        "class_name": "Detection Finding",
        "class_uid": _CLASS,
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_ACTIVITIES[activity]}",
        "time": finding.last * 1000,
        "start_time": finding.first * 1000,
        "end_time": finding.last * 1000,
        "count": finding.count,
        "message": finding.sentence,
        "severity_id": finding.severity + 1,
        "severity": SEVERITIES[finding.severity].capitalize(),
        "status_id": _RESOLVED if finding.closed else _NEW,
        "status": "Resolved" if finding.closed else "New",
        "metadata": {
            "version": VERSION,
            "uid": finding.id,
            "product": _PRODUCT,
        },
        "cloud": {"provider": "AWS"},
        "finding_info": _info(finding, detector),
        "evidences": [_evidence(finding)],
        "remediation": {"desc": detector.runbook},
        **({"resources": [{"type": "AWS::EC2::NetworkInterface", "uid": finding.eni}]} if finding.eni else {}),
    }


def _info(finding: Finding, detector: Detector) -> dict[str, Any]:
    kind = _RULE if finding.detector in _RULES else _BEHAVIORAL
    return {
        "uid": finding.id,
        "title": detector.title,
        "desc": finding.sentence,
        "types": [finding.detector],
        "created_time": finding.detected * 1000,
        "first_seen_time": finding.first * 1000,
        "last_seen_time": finding.last * 1000,
        "analytic": {
            "uid": finding.detector, "name": detector.title, "type_id": kind,
            "type": "Rule" if kind == _RULE else "Behavioral",
        },
        "attacks": [_attack(one) for one in detector.attack],
    }  # fmt: skip


def _attack(attack_id: str) -> dict[str, Any]:
    found = attack.technique(attack_id)
    sub = {"sub_technique": dict(zip(("uid", "name"), found.sub, strict=True))} if found.sub else {}
    return {"version": attack.VERSION, "technique": {"uid": found.id, "name": found.name}, **sub}


def _evidence(finding: Finding) -> dict[str, Any]:
    """An endpoint needs an address; a port without one is in `data`."""
    port = {} if finding.port is None or finding.port < 0 else {"port": finding.port}
    known = {
        "src_endpoint": {"ip": finding.source} if finding.source else None,
        "dst_endpoint": {"ip": finding.target, **port} if finding.target else None,
        "connection_info": _connection(finding),
    }
    data = {**orjson.loads(finding.evidence), **port, "origins": origins(finding)}
    return {**{name: value for name, value in known.items() if value}, "data": data}


def _connection(finding: Finding) -> dict[str, int] | None:
    if finding.protocol is None or finding.protocol < 0:
        return None
    return {"protocol_num": finding.protocol, "direction_id": 0}
