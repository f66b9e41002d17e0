"""What an operator says of detection: every mistake is told at once, and nothing is half applied."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streams.core.findings import Finding
from streams.detection import detectors_yaml
from streams.detectors.examples import HEADER, INSIDE, PUBLIC, answered, refused
from streams.detectors.known_bad import Entry, Lists
from streams.detectors.policy import Allow, Matrix
from streams.detectors.registry import DETECTORS
from streams.settings import ConfigError
from streams.tuning import read_list, read_policy, suppressions, tuned
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
        'exposure.admin: expected a list, found "ssh"',
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


# -- lists -------------------------------------------------------------------------------------------------------------


def test_a_list_has_an_address_a_line(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "# ours\n192.0.2.7\n\n198.51.100.0/24 ; SBL1\n2001:db8::/32,tor,90,2026-12-31\n203.0.113.9,c2\n"
    )

    assert read_list(path) == [
        Entry("192.0.2.7", "given"), Entry("198.51.100.0/24", "given"),
        Entry("2001:db8::/32", "tor", 90, 1_798_761_599), Entry("203.0.113.9", "c2"),
    ]  # fmt: skip


def test_every_line_that_is_none_is_told(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "evil.example\n192.0.2.1/24\n192.0.2.1,x,101\n192.0.2.1,x,5,soon\n192.0.2.1,a,1,2026-01-01,e\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_list(path)

    assert [one.removeprefix(f"{path}:") for one in caught.value.problems] == [
        '1: address: expected an address or CIDR, found "evil.example"',
        '2: address: expected an address or CIDR, found "192.0.2.1/24"',
        "3: expected address, source, confidence (0 to 100), day",
        '4: until: expected a day such as 2026-12-31, found "soon"',
        "5: expected address, source, confidence (0 to 100), day",
    ]
    with pytest.raises(ConfigError, match="expected a list of addresses, found none"):
        read_list(tmp_path / "missing")


def test_the_longest_prefix_and_the_most_confident_entry_count() -> None:
    lists = Lists.of(
        [
            Entry("192.0.2.0/24", "wide", 90),
            Entry("192.0.2.7", "one", 10),
            Entry("192.0.2.7", "two", 60),
            Entry("::/0", "six"),
        ]
    )
    asked = pl.Series(["192.0.2.7", "192.0.2.8", "192.0.3.7", "oops", "1.2.3", "a:b:c"])

    assert lists.look_up(asked).select("address", "list").sort("address").rows() == [
        ("192.0.2.7", "two"), ("192.0.2.8", "wide"),
    ]  # fmt: skip


def test_analyze_finds_what_is_on_a_list(tmp_path: Path) -> None:
    flows, bad = tmp_path / "flows.log", tmp_path / "tor.txt"
    flows.write_text("\n".join((HEADER, *answered(0, INSIDE, PUBLIC, 443))))
    bad.write_text(f"{PUBLIC},exit nodes,95\n")
    detectors = _file(tmp_path, json.dumps({"known-bad": {"lists": [str(bad)]}}))
    done = vpcflow("analyze", "--json", flows, environ={"VPCFLOW_DETECTION__DETECTORS": str(detectors)})

    [found] = json.loads(done.stdout)["findings"]
    assert (found["detector"], found["severity"], found["source"], found["target"]) == (
        "known-bad", "critical", INSIDE, PUBLIC,
    )  # fmt: skip
    assert f"{PUBLIC} is on the list exit nodes, confidence 95; 1200 bytes there, 2400 back" in found["sentence"]


# -- policy ------------------------------------------------------------------------------------------------------------


def test_a_policy_is_groups_rules_and_what_is_protected(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        """
        groups: {app: [10.0.1.0/24], database: [10.0.2.0/24, "2600:1f18::/64"]}
        allow:
          - {from: app, to: database, ports: [5432, "6000-6010"], why: orders}
          - {from: outside, to: app, protocol: any}
        protected: [database]
        """,
    )

    assert read_policy(path) == Matrix(
        {"app": ("10.0.1.0/24",), "database": ("10.0.2.0/24", "2600:1f18::/64")},
        (Allow("app", "database", ((5432, 5432), (6000, 6010))), Allow("outside", "app", (), None)),
        ("database",),
    )
    assert read_policy(ROOT / "config/policy.yaml") == Matrix()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: {a: [10.0.0.1/24]}", "10.0.0.1/24 has host bits set"),
        ("groups: {app: []}\nprotected: [ap]", "ap: unknown group; the nearest is app"),
        ("allow: [{from: outside, to: outside, ports: [http]}]", "ports: expected a port or a range"),
        ("allow: [{from: outside}]", "allow.0.to: field required, found a map"),
        (
            "allow: [{from: outside, to: outside, protocol: icmp}]",
            "allow.0.protocol: input should be 'tcp', 'udp' or 'any'",
        ),
        ("allowed: []", "allowed: extra inputs are not permitted, found a list"),
    ],
)
def test_a_policy_that_is_none_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {said}")):
        read_policy(path)


def test_analyze_holds_traffic_against_the_policy(tmp_path: Path) -> None:
    flows = tmp_path / "flows.log"
    flows.write_text("\n".join((HEADER, *answered(0, PUBLIC, INSIDE, 443))))
    policy = _file(tmp_path, "groups: {web: [10.0.0.0/24]}\nprotected: [web]")
    [found] = json.loads(
        vpcflow("analyze", "--json", flows, environ={"VPCFLOW_DETECTION__POLICY": str(policy)}).stdout
    )["findings"]

    assert (found["detector"], found["port"]) == ("policy", 443)
    assert f"{PUBLIC} (outside) reached {INSIDE} (web) on port 443" in found["sentence"]


def test_analyze_tells_the_rules_of_the_policy_that_nothing_needed(tmp_path: Path) -> None:
    """One that is used is not told, one that only refused traffic fits is."""
    flows = tmp_path / "flows.log"
    flows.write_text("\n".join((HEADER, *answered(0, PUBLIC, INSIDE, 443), *refused(1, PUBLIC, INSIDE, 80))))
    policy = _file(
        tmp_path,
        "groups: {web: [10.0.0.0/24]}\n"
        "allow:\n- {from: outside, to: web, ports: [443]}\n- {from: outside, to: web, ports: [80, 8000-8100]}",
    )

    found = json.loads(vpcflow("analyze", "--json", flows, environ={"VPCFLOW_DETECTION__POLICY": str(policy)}).stdout)

    assert found["unused_rules"] == ["outside to web, 80, 8000-8100, tcp"]
