"""What an operator and a newcomer are handed: settings file, compose file, image, lock files, Makefile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from streams.settings import load, settings_markdown, settings_yaml
from tests.house.repo import ROOT
from tests.kafka.broker import POM, VERSION

COMPOSE = ROOT / "docker-compose.yml"
TARGETS = {"help", "setup", "run", "test", "check", "bench", "bench-check", "fuzz", "docs", "lock", "clean"}
LOCKS = [
    "requirements.lock", "requirements-dev.lock", "requirements-uv.lock", "requirements-fuzz.lock",
    "requirements-bench.lock", "requirements-deploy.lock",
]  # fmt: skip

Service = dict[str, object]


def _services() -> dict[str, Service]:
    found: dict[str, Service] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return found


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def _environment(service: Service) -> dict[str, str]:
    variables = service["environment"]
    assert isinstance(variables, dict)
    return {str(name): re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for name, value in variables.items()}


# --- settings --------------------------------------------------------------------------------------------------------


def test_the_shipped_settings_are_those_of_the_code() -> None:
    assert (ROOT / "config/vpcflow.yaml").read_text("utf-8") == settings_yaml(), "run `make docs`"


def test_the_settings_page_is_that_of_the_code() -> None:
    assert (ROOT / "docs/SETTINGS.md").read_text("utf-8") == settings_markdown(), "run `make docs`"


# --- docker-compose.yml ----------------------------------------------------------------------------------------------


def test_compose_follows_its_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_compose_has_the_whole_path() -> None:
    assert set(_services()) == {"kafka", "ingest", "worker", "prometheus", "alertmanager", "grafana"}


@pytest.mark.parametrize("name", sorted(_services()))
def test_a_service_has_a_pinned_image_a_health_check_and_comes_back(name: str) -> None:
    service = _services()[name]

    assert re.search(r":v?\d+\.\d+\.\d+$", str(service["image"]))
    assert service["healthcheck"]
    assert service["restart"] == "unless-stopped"


def test_everything_is_published_on_loopback_only() -> None:
    ports = [port for service in _services().values() for port in _strings(service.get("ports", []))]

    assert len(ports) == 6
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_the_kafka_of_compose_is_the_kafka_of_the_tests() -> None:
    versions = [str(element.text) for element in ET.parse(POM).iter() if element.tag.endswith("version")]  # noqa: S314  ours

    assert VERSION in versions
    assert _services()["kafka"]["image"] == f"apache/kafka:{VERSION}"


@pytest.mark.parametrize("name", ["ingest", "worker"])
def test_the_variables_of_compose_are_settings_and_lead_to_its_kafka(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    kafka = _environment(_services()["kafka"])

    settings = load(empty, _environment(_services()[name]))

    assert f"INSIDE://{settings.broker.bootstrap}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")


def test_every_volume_is_declared_and_every_mounted_file_is_there() -> None:
    mounts = [mount.split(":")[0] for service in _services().values() for mount in _strings(service.get("volumes", []))]
    files = [mount for mount in mounts if mount.startswith(".")]
    declared = yaml.safe_load(COMPOSE.read_text("utf-8"))["volumes"]

    assert files
    assert [mount for mount in files if not (ROOT / mount).exists()] == []
    assert set(mounts) - set(files) == set(declared)


def test_prometheus_scrapes_every_process_of_ours() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    targets = {
        target for job in config["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]
    }

    assert targets >= {f"{name}:8080" for name, service in _services().items() if "build" in service}


# --- the image -------------------------------------------------------------------------------------------------------


def test_the_image_is_built_in_stages_from_pinned_bases_and_is_not_run_by_root() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text("utf-8").splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]

    assert len(bases) == 2
    assert [base for base in bases if not re.search(r":\d+\.\d+\.\d+-", base)] == []
    assert users
    assert users[-1] not in ("0", "root")


def test_what_the_image_copies_is_there_and_reaches_the_builder() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text("utf-8").splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    wanted = {name for names in copies for name in names}
    allowed = (ROOT / "deploy/Dockerfile.dockerignore").read_text("utf-8").splitlines()

    assert wanted
    assert [name for name in wanted if not (ROOT / name).exists() or f"!{name}" not in allowed] == []


# --- lock files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_hashes_and_no_address(name: str) -> None:
    lock = (ROOT / name).read_text("utf-8")
    entries = re.split(r"\n(?=[a-z])", "\n" + lock)[1:]

    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert not re.search(r"https?://|--index|--extra-index|--find-links|file:|(?m:^-)", lock)


@pytest.mark.parametrize(
    ("lock", "names"),
    [
        ("requirements.lock", ("project", "build")),
        ("requirements-dev.lock", ("dev",)),
        ("requirements-fuzz.lock", ("fuzz",)),
        ("requirements-deploy.lock", ("deploy",)),
    ],
)
def test_a_lock_file_has_everything_that_is_asked_for(lock: str, names: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = {"project": project["project"]["dependencies"], **project["dependency-groups"]}
    wanted = {re.split(r"[\[<>=!~; ]", line)[0].lower() for name in names for line in groups[name]}
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / lock).read_text("utf-8")))

    assert wanted
    assert wanted - locked == set()


def test_both_lock_files_agree() -> None:
    pins = [dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text("utf-8"))) for name in LOCKS[:2]]
    both = pins[0].keys() & pins[1].keys()

    assert both
    assert [name for name in both if pins[0][name] != pins[1][name]] == []


# --- make and CI -----------------------------------------------------------------------------------------------------


def _make(*arguments: str) -> str:
    if not shutil.which("make"):
        pytest.skip("make is not on this machine")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    ).stdout


def test_make_alone_tells_every_target() -> None:
    told = set(re.findall(r"(?m)^  make ([\w-]+)", _make()))
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"))

    assert phony
    assert told == set(phony.group(1).split())
    assert told >= TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_can_be_made(target: str) -> None:
    _make("--dry-run", target)


def test_ci_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci/run"

    assert os.access(script, os.X_OK)
    assert [line.split()[:2] for line in script.read_text("utf-8").splitlines() if line.startswith("make ")] == [
        ["make", "check"],
        ["make", "test"],
        ["make", "bench-check"],
    ]


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert json.dumps(_services()["worker"]["image"]) == f'"vpcflow-streams:{version}"'
