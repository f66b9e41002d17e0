"""What an operator says of detection: every mistake is told at once, and nothing is half applied."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.core.findings import Finding
from streams.detection import detectors_yaml
from streams.detectors.examples import HEADER
from streams.detectors.registry import DETECTORS
from streams.settings import ConfigError
from streams.tuning import suppressions, tuned
from tests.core.test_evaluation import finding
from tests.kafka.process import ROOT, vpcflow
from tests.test_detection import SCAN


def _file(folder: Path, text: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(text)
    return path


def _problems(problem: ConfigError, path: Path) -> list[str]:
    return [one.removeprefix(f"{path}: ") for one in problem.problems]


def test_the_shipped_file_is_what_the_code_has() -> None:
    """Every detector, every setting, its default, type and all."""
    assert tuned(ROOT / "config/detectors.yaml", DETECTORS) == list(DETECTORS)
    assert (ROOT / "config/detectors.yaml").read_text() == detectors_yaml()
    assert suppressions(ROOT / "config/suppressions.yaml", DETECTORS) == []


def test_a_setting_replaces_a_default_and_leaves_the_others(tmp_path: Path) -> None:
    path = _file(tmp_path, "port-scan: {ports: 25}\nflood: {enabled: false}\nexposure: {admin: [22]}\nbeacon:\n")
    found = {one.name: one for one in tuned(path, DETECTORS)}
    before = {one.name: one for one in DETECTORS}

    assert set(before) - set(found) == {"flood"}
    assert found["port-scan"].settings == replace(before["port-scan"].settings, ports=25)
    assert found["exposure"].settings == replace(before["exposure"].settings, admin=(22,))
    assert found["beacon"] == before["beacon"]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        """
        port-scam: {ports: 3}
        flood: 7
        port-scan: {port: 3, ports: many, likelihood: 0, enabled: 1}
        beacon: {calls: 2.5, spread: -1, busy: true}
        exposure: {admin: ssh}
        """,
    )
    with pytest.raises(ConfigError) as caught:
        tuned(path, DETECTORS)

    assert _problems(caught.value, path) == [
        "port-scam: unknown detector; the nearest is port-scan",
        "flood: expected a map of settings, found 7",
        "port-scan.port: unknown key; the nearest is ports",
        'port-scan.ports: expected a whole number above 0, found "many"',
        "port-scan.likelihood: expected a number above 0, found 0",
        "port-scan.enabled: expected true or false, found 1",
        "beacon.calls: expected a whole number above 0, found 2.5",
        "beacon.spread: expected a number above 0, found -1",
        "beacon.busy: expected a whole number above 0, found true",
        'exposure.admin: expected a list of ports, found "ssh"',
    ]


# -- suppressions ------------------------------------------------------------------------------------------------------

OURS: dict[str, Any] = {"who": "me", "why": "our scanner"}


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"detector": "port-scan"}, True), ({"detector": "flood"}, False), ({"eni": "eni-0a"}, True),
        ({"eni": "eni-0b"}, False), ({"source": "192.0.2.0/24"}, True), ({"source": "192.0.2.9"}, False),
        ({"target": "10.0.0.5"}, True), ({"target": "2001:db8::/32"}, False), ({"port": 22}, False),
        ({"source": "192.0.2.0/24", "target": "10.0.0.9"}, False),
        ({"eni": "eni-0a", "until": "1970-01-01"}, True), ({"eni": "eni-0a", "until": "1969-12-31"}, False),
    ],
)  # fmt: skip
def test_all_that_a_suppression_gives_must_fit(tmp_path: Path, rule: dict[str, Any], fits: bool) -> None:
    [one] = suppressions(_file(tmp_path, json.dumps({"suppressions": [OURS | rule]})), DETECTORS)

    assert one.fits(finding()) is fits


def test_a_finding_about_no_address_is_in_no_network(tmp_path: Path) -> None:
    [one] = suppressions(_file(tmp_path, json.dumps({"suppressions": [OURS | {"source": "0.0.0.0/0"}]})), DETECTORS)
    unknown: list[Finding] = [finding(source=None), finding(source="192.0.2.0/24")]

    assert [one.fits(each) for each in unknown] == [False, False]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"eni": "x", "why": "no who"}, "who: expected a few words, found nothing"),
        ({"eni": "x", "who": "me", "why": " "}, "why: expected a few words, found nothing"),
        (OURS, "expected a detector, eni, source, target or port; this one would suppress everything"),
        (OURS | {"detector": "port-scam"}, "detector: unknown; the nearest is port-scan"),
        (OURS | {"sauce": "x"}, "sauce: unknown key; the nearest is source"),
        (OURS | {"source": "10.0.0.1/24"}, 'source: expected an address or CIDR, found "10.0.0.1/24"'),
        (OURS | {"port": "22"}, 'port: expected a number, found "22"'),
        (OURS | {"eni": "x", "until": "soon"}, 'until: expected a day such as 2026-12-31, found "soon"'),
        ("all", 'expected a map, found "all"'),
    ],
)
def test_a_suppression_that_is_none_is_told(tmp_path: Path, rule: object, said: str) -> None:
    path = _file(tmp_path, json.dumps({"suppressions": [OURS | {"eni": "x"}, rule]}))
    with pytest.raises(ConfigError) as caught:
        suppressions(path, DETECTORS)

    assert _problems(caught.value, path) == [f"suppression 2: {said}"]


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a list under `suppressions`, and nothing else"):
        suppressions(_file(tmp_path, "rules: []"), DETECTORS)


def test_analyze_uses_both_files(tmp_path: Path) -> None:
    """What is suppressed is counted; a mistake is told before anything is read."""
    flows, detectors = tmp_path / "flows.log", tmp_path / "detectors.yaml"
    flows.write_text("\n".join((HEADER, *SCAN)))
    detectors.write_text("port-scan: {ports: 13}")
    quiet = _file(tmp_path, json.dumps({"suppressions": [OURS | {"detector": "port-scan"}]}))

    def analyzed(**environ: Path) -> Any:
        names = {f"VPCFLOW_DETECTION__{name.upper()}": str(path) for name, path in environ.items()}
        return vpcflow("analyze", "--json", flows, environ=names)

    plain, tuned_, hushed = (
        json.loads(one.stdout) for one in (analyzed(), analyzed(detectors=detectors), analyzed(suppressions=quiet))
    )
    assert (len(plain["findings"]), plain["suppressed"]) == (1, 0)
    assert (len(tuned_["findings"]), tuned_["suppressed"]) == (0, 0)
    assert (len(hushed["findings"]), hushed["suppressed"]) == (0, 1)
    wrong = analyzed(suppressions=detectors)
    assert wrong.returncode == 2
    assert "expected a list under `suppressions`" in wrong.stderr.decode()
