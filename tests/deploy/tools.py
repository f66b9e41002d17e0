"""The programs that deploy/ is checked with. `make test` gets them; one that is missing skips, with the reason."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.debian import MissingError, unpacked
from tests.house.repo import ROOT

DEPLOY = ROOT / "deploy"
ENVIRONMENT = ROOT / ".venv-deploy" / "bin"
_SECONDS = 100


def checker(name: str) -> str:
    """A program of the dependency group `deploy`, with its path."""
    return _found(ENVIRONMENT / name, "`make .venv-deploy/.done`")


def helm() -> str:
    """Helm, with its path."""
    [version] = re.findall(r"(?m)^HELM_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"))
    return _found(ROOT / ".tools" / f"helm-{version}" / "helm", f"`make .tools/helm-{version}/.done`, with Go,")


def docker_compose() -> str:
    """Debian's docker-compose, with its path. It needs no Docker to read a file."""
    try:
        return str(unpacked("trixie", "docker-compose") / "usr/libexec/docker/cli-plugins/docker-compose")
    except MissingError as problem:
        pytest.skip(str(problem))


def _found(program: Path, how: str) -> str:
    if not program.is_file():
        pytest.skip(f"{program.relative_to(ROOT)} is not there: {how} makes it")
    return str(program)


def run(*command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in the repository."""
    return subprocess.run(
        [str(part) for part in command],
        input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=ROOT,
    )  # fmt: skip
