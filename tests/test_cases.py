"""`vpcflow detectors test`: cases of an operator's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from streams.cases import read_cases, tried
from streams.detectors.examples import HEADER, INSIDE, NEIGHBOUR, refused
from streams.detectors.registry import DETECTORS
from streams.settings import ConfigError
from tests.kafka.process import vpcflow


def _scan(ports: int) -> str:
    lines = [line for port in range(ports) for line in refused(port, NEIGHBOUR, INSIDE, 1000 + port)]
    return "\n".join((HEADER, *lines))


def _file(folder: Path, *cases: object) -> Path:
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump({"cases": list(cases)}))
    return path


def _case(ports: int, *, fires: bool, **more: object) -> dict[str, object]:
    return {"detector": "port-scan", "what": f"{ports} ports", "fires": fires, "lines": _scan(ports), **more}


def test_cases_hold_or_fail_and_the_exit_code_says_it(tmp_path: Path) -> None:
    good = _file(tmp_path, _case(10, fires=True), _case(9, fires=False))
    found = vpcflow("detectors", "test", good)
    assert found.returncode == 0
    assert "2 of 2 cases hold" in found.stdout.decode()

    bad = _file(tmp_path, _case(10, fires=True), _case(9, fires=True))
    found = vpcflow("detectors", "test", bad)
    assert found.returncode == 1
    assert "FAILED" in found.stdout.decode()
    assert "1 of 2 cases hold" in found.stdout.decode()


def test_they_run_with_the_settings_in_force(tmp_path: Path) -> None:
    (tmp_path / "detectors.yaml").write_text("port-scan:\n  ports: 5\n")
    environ = {"VPCFLOW_DETECTION__DETECTORS": str(tmp_path / "detectors.yaml")}

    found = vpcflow("detectors", "test", _file(tmp_path, _case(9, fires=True)), environ=environ)

    assert found.returncode == 0, found.stdout


def test_lines_that_cannot_be_read_prove_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, _case(9, fires=False, lines=_scan(9) + "\nnonsense"))

    [outcome] = tried(read_cases(path, DETECTORS), DETECTORS, None)

    assert (outcome.rejects, outcome.holds) == (1, False)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"detector": "port-scan"}, "case 1: what: field required"),
        (_case(9, fires=True, detector="port-scam"), "the nearest is port-scan"),
        (_case(9, fires=True, colour="red"), "case 1: colour: extra inputs are not permitted"),
        ("text", "case 1: expected a map"),
    ],
)
def test_a_case_that_is_none_is_told_with_its_number(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_cases(_file(tmp_path, row), DETECTORS)


def test_a_file_without_cases_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text("detectors: []\n")

    with pytest.raises(ConfigError, match="expected a list under `cases`"):
        read_cases(path, DETECTORS)
