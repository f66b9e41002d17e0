"""Programs of Debian for tests: a package is unpacked in `.tools/` in the repository once, and nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SOURCE = f"deb [signed-by={_KEYRING}] $(REPO_URI)"


class MissingError(Exception):
    """A program can't be had on this machine: str() says why."""


def unpacked(package: str, suite: str = "") -> Path:
    """The folder with a package's files, fetched on the first call. Raises MissingError.

    suite: Debian's, such as trixie; "": the machine's own.
    """
    target = TOOLS / package
    if target.is_dir():
        return target
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        _fetch(Path(folder), package, suite)
        # Whole or not at all, and another run may have been faster.
        if not target.is_dir():
            Path(folder, "root").rename(target)
    return target


def _fetch(folder: Path, package: str, suite: str) -> None:
    """With the machine's own lists of packages; where it has none, or not of the suite, with lists fetched for this."""
    if suite or said(folder, "apt-get", "download", package):
        own = _lists(folder, suite)
        problem = said(folder, "apt-get", *own, "update") or said(folder, "apt-get", *own, "download", package)
        if problem:
            raise MissingError(f"apt-get can't fetch {package}: {problem}")
    [file] = folder.glob("*.deb")
    if problem := said(folder, "dpkg-deb", "-x", file.name, "root"):
        raise MissingError(f"dpkg-deb can't unpack {file.name}: {problem}")


def _lists(folder: Path, suite: str) -> list[str]:
    """Options of apt-get: lists of packages in `folder`, of a suite from where the machine has its own."""
    (folder / "lists" / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::Lists={folder}/lists"]
    if not suite:
        return options
    if not shutil.which("apt-get"):
        raise MissingError("apt-get is not on this machine")
    command = ["apt-get", "indextargets", "--format", _SOURCE, "Created-By: Packages", "Origin: Debian"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split("\n")
    archives = [line for line in found if line.endswith("/debian/")]
    if not archives:
        raise MissingError("this machine has no archive of Debian among its sources of packages")
    (folder / "sources.list").write_text(f"{archives[0]} {suite} main\n")
    return [*options, "-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=-"]


def said(folder: Path, *command: str) -> str:
    """What a command says when it fails; empty: it did not."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not on this machine"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
    return lines[-1] if done.returncode else ""
