"""A finding in the Elastic Common Schema, version 8.17. Source: elastic.co/guide/en/ecs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from streams.core.findings import Finding, origins
from streams.core.protocols import protocol_name
from streams.detectors.registry import BY_NAME
from streams.sinks import attack

VERSION = "8.17.0"
_SEVERITIES = (1, 21, 47, 73, 99)
"""As Elastic's own rules have them, from informational to critical."""

_TRANSPORTS = {58: "ipv6-icmp"}
"""Names that differ from ours."""


def render(finding: Finding) -> bytes:
    """As JSON. `event.id` is the finding's id."""
    return orjson.dumps(document(finding))


def document(finding: Finding) -> dict[str, Any]:
    """As an object. What ECS has no field for is under `vpcflow`."""
    detector = BY_NAME[finding.detector]
    techniques = [attack.technique(one) for one in detector.attack]
    parties = {
        "source": _party(finding.source, None),
        "destination": _party(finding.target, finding.port),
        "network": _network(finding),
        "aws": {"vpcflow": {"interface_id": finding.eni}} if finding.eni else None,
    }
    return {
        "@timestamp": _time(finding.last),
        "ecs": {"version": VERSION},
        "message": finding.sentence,
        "event": {
            "id": finding.id, "kind": "alert", "category": ["network", "intrusion_detection"],
            "type": ["end" if finding.closed else "info"], "dataset": "vpcflow.anomalies", "module": "vpcflow",
            "provider": "vpcflow-streams", "action": finding.detector, "reason": finding.sentence,
            "severity": _SEVERITIES[finding.severity], "start": _time(finding.first), "end": _time(finding.last),
            "created": _time(finding.detected),
        },
        "rule": {"id": finding.detector, "name": detector.title, "description": detector.explanation},
        "threat": {
            "framework": "MITRE ATT&CK",
            "technique": {
                "id": [one.id for one in techniques], "name": [one.name for one in techniques],
                "subtechnique": {
                    "id": [one.sub[0] for one in techniques if one.sub],
                    "name": [one.sub[1] for one in techniques if one.sub],
                },
            },
        },
        "cloud": {"provider": "aws"},
        "related": {"ip": [one for one in (finding.source, finding.target) if one]},
        **{name: value for name, value in parties.items() if value},
        "vpcflow": {
            "finding": {
                "count": finding.count, "updates": finding.updates, "closed": finding.closed,
                "evidence": orjson.loads(finding.evidence), "origins": origins(finding),
            }
        },
    }  # fmt: skip


def _party(address: str | None, port: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"address": address, "ip": address} if address else {}
    return {**found, "port": port} if port is not None and port >= 0 else found


def _network(finding: Finding) -> dict[str, Any]:
    if finding.protocol is None or finding.protocol < 0:
        return {}
    address = finding.source or finding.target
    kind = {"type": "ipv6" if ":" in address else "ipv4"} if address else {}
    name = _TRANSPORTS.get(finding.protocol) or protocol_name(finding.protocol)
    return {"iana_number": str(finding.protocol), "transport": name, **kind}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
