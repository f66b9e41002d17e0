"""Real Prometheus Alertmanager for tests: Debian's package, unpacked, on loopback, a free port, a folder of its own.

Nothing is installed: the package is unpacked in `.tools/` in the repository once. Debian's build looks for its
templates in /usr/share: it runs in a mount namespace of its own, where that is the package's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from streams.embedded import DIE_WITH_PARENT, LOOPBACK, free_port

PACKAGE = "prometheus-alertmanager"
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools" / PACKAGE
_PROGRAM = f"usr/bin/{PACKAGE}"
_OWN_MOUNTS = ("--map-root-user", "--mount")
_MOUNTED = 'mount --bind "$0" /usr/share && exec "$@"'
_START_SECONDS, _PAUSE = 20.0, 0.1
_CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


class MissingError(Exception):
    """Alertmanager can't be had on this machine: str() says why."""


def program() -> Path:
    """The program, fetched on the first call. Raises MissingError."""
    if said := _run(ROOT, "unshare", *_OWN_MOUNTS, "true"):
        raise MissingError(f"Alertmanager needs a mount namespace of its own: {said}")
    if not TOOLS.is_dir():
        TOOLS.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TOOLS.parent) as folder:
            _fetch(Path(folder))
            # Whole or not at all, and another run may have been faster.
            if not TOOLS.is_dir():
                Path(folder, "root").rename(TOOLS)
    return TOOLS / _PROGRAM


def _fetch(folder: Path) -> None:
    """With the machine's own lists of packages; where it has none, with lists that are fetched for this."""
    if _run(folder, "apt-get", "download", PACKAGE):
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}"]
        said = _run(folder, "apt-get", *own, "update") or _run(folder, "apt-get", *own, "download", PACKAGE)
        if said:
            raise MissingError(f"apt-get can't fetch {PACKAGE}: {said}")
    [package] = folder.glob("*.deb")
    if said := _run(folder, "dpkg-deb", "-x", package.name, "root"):
        raise MissingError(f"dpkg-deb can't unpack {package.name}: {said}")


def _run(folder: Path, *command: str) -> str:
    """What a command says when it fails; empty: it did not."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not on this machine"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    said = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
    return said[-1] if done.returncode else ""


class Alertmanager:
    """`with Alertmanager() as server:` runs until the end of the block."""

    def __init__(self) -> None:
        """Raises MissingError."""
        self._program = program()
        self.url = f"http://{LOOPBACK}:{free_port()}"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        (folder / "alertmanager.yml").write_text(_CONFIG)
        self._process = subprocess.Popen(
            [
                sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()),
                shutil.which("unshare") or "unshare", *_OWN_MOUNTS, "sh", "-c", _MOUNTED, str(TOOLS / "usr/share"),
                str(self._program), f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
                f"--web.listen-address={self.url.removeprefix('http://')}", "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._folder.cleanup()

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < end, "Alertmanager does not start"
            time.sleep(_PAUSE)

    def _answers(self) -> bool:
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def alerts(self) -> Sequence[dict[str, Any]]:
        """Those that fire."""
        found: Sequence[dict[str, Any]] = json.loads(self._get("/api/v2/alerts?active=true"))
        return found

    def firing(self) -> set[str]:
        """Their names."""
        return {one["labels"]["alertname"] for one in self.alerts()}

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own http address
            body: bytes = answer.read()
        return body
