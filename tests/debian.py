"""Programs out of Debian's packages: fetched once, unpacked in `.tools/` in the repository. Nothing is installed.

Packages of another release come from where this machine's own do. Those of the releases named here run on it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

TOOLS = Path(__file__).parents[1] / ".tools"
PROMETHEUS = {"trixie": "2.53", "sid": "3"}
"""Releases that hold the Prometheus versions that we say we work with."""

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_OWN = ("--format", "$(RELEASE) $(SITE)", "Created-By: Packages")


class MissingError(Exception):
    """A package can't be had on this machine: str() says why."""


def unpacked(release: str, *packages: str, needs: bool = False) -> Path:
    """The folder that holds the files of packages of a release, `usr` in it. Raises MissingError.

    needs: with the packages that they need and that are not installed on this machine.
    """
    folder = TOOLS / f"{release}-{packages[0]}"
    if not folder.is_dir():
        TOOLS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TOOLS) as work:
            _fetch(Path(work), release, packages, needs=needs)
            # Whole or not at all, and another run may have been faster.
            if not folder.is_dir():
                Path(work, "root").rename(folder)
    return folder


def said(folder: Path, *command: str) -> str:
    """What a command says when it fails; empty: it did not."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not on this machine"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
    return lines[-1] if done.returncode else ""


def _fetch(folder: Path, release: str, packages: Sequence[str], *, needs: bool) -> None:
    """With lists of packages of their own: those of the machine are as they are, or not there at all."""
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_site()} {release} main\n")
    own = ["-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null"]
    own += ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    problem = said(folder, "apt-get", *own, "update")
    wanted = _with_needs(own, packages) if needs else packages
    if problem := problem or said(folder, "apt-get", *own, "download", *wanted):
        raise MissingError(f"apt-get can't fetch {', '.join(packages)} of {release}: {problem}")
    for package in folder.glob("*.deb"):
        if problem := said(folder, "dpkg-deb", "-x", package.name, "root"):
            raise MissingError(f"dpkg-deb can't unpack {package.name}: {problem}")


def _with_needs(own: Sequence[str], packages: Sequence[str]) -> list[str]:
    """What apt-get would install."""
    command = ["apt-get", *own, "--simulate", "--no-install-recommends", "install", *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def _site() -> str:
    """Where this machine has its packages from."""
    if not shutil.which("apt-get"):
        raise MissingError("apt-get is not on this machine")
    command = ["apt-get", "indextargets", *_OWN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    release = this_release()
    sites = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(f"{release} ")]
    if not sites:
        raise MissingError(f"apt-get knows no packages of {release or 'Debian'} on this machine")
    return sites[0]


def this_release() -> str:
    """The name of the release that this machine runs, as os-release has it."""
    path = Path("/etc/os-release")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    return told.get("VERSION_CODENAME", "")
