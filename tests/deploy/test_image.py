"""The image's recipe and the compose file, read by the programs that will read them."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.tools import DEPLOY, checker, docker_compose, run
from tests.house.repo import ROOT

DOCKERFILE = DEPLOY / "Dockerfile"


def test_hadolint_finds_nothing_in_the_image() -> None:
    found = run(checker("hadolint"), DOCKERFILE)

    assert (found.returncode, found.stdout) == (0, "")


def test_hadolint_finds_a_base_without_a_version() -> None:
    found = run(checker("hadolint"), "-", stdin="FROM python:latest\nUSER 10001\n")

    assert found.returncode == 1
    assert "DL3007" in found.stdout


def test_compose_reads_its_file() -> None:
    read = run(docker_compose(), "-f", ROOT / "docker-compose.yml", "config", "-q")

    assert (read.returncode, read.stderr) == (0, "")


def test_compose_refuses_a_service_that_waits_for_one_that_is_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    broken.write_text(text.replace("depends_on:\n    kafka:", "depends_on:\n    cafca:"), "utf-8")

    assert "cafca" in run(docker_compose(), "-f", broken, "config", "-q").stderr
