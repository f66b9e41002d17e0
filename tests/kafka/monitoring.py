"""Real Prometheus and Alertmanager for tests: Debian's, unpacked, on loopback, a free port, a folder of their own.

Debian's builds look for their templates in /usr/share: they run in a mount namespace of their own, where that is the
packages'.
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
from urllib.parse import urlencode

from streams.embedded import DIE_WITH_PARENT, LOOPBACK, free_port
from tests.debian import MissingError, said, unpacked

NEWEST = "sid"
PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")
_OWN_MOUNTS = ("--map-root-user", "--mount")
_MOUNTED = 'mount --bind "$0" /usr/share && exec "$@"'
_START_SECONDS, _PAUSE = 20.0, 0.1
_NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def program(release: str, name: str) -> Path:
    """One of `prometheus`, `promtool`, `prometheus-alertmanager`, `amtool`. Raises MissingError."""
    return unpacked(release, *PACKAGES) / "usr/bin" / name


class _Server:
    """`with ... as server:` runs until the end of the block."""

    def __init__(self, release: str, name: str, config: str) -> None:
        """Raises MissingError."""
        if problem := said(Path("/"), "unshare", *_OWN_MOUNTS, "true"):
            raise MissingError(f"{name} needs a mount namespace of its own: {problem}")
        self._program, self._config = program(release, name), config
        self._share = unpacked(release, *PACKAGES) / "usr/share"
        self.address = f"{LOOPBACK}:{free_port()}"
        self.url = f"http://{self.address}"

    def _flags(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        (folder / "config.yml").write_text(self._config)
        self._process = subprocess.Popen(
            [
                sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()),
                shutil.which("unshare") or "unshare", *_OWN_MOUNTS, "sh", "-c", _MOUNTED, str(self._share),
                str(self._program), f"--config.file={folder}/config.yml", f"--web.listen-address={self.address}",
                *self._flags(folder),
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
            assert time.monotonic() < end, f"{self._program.name} does not start"
            time.sleep(_PAUSE)

    def _answers(self) -> bool:
        try:
            self.get("/-/ready")
        except OSError:
            return False
        return True

    def get(self, path: str, **query: str) -> bytes:
        """The body of an answer. Raises OSError."""
        with urllib.request.urlopen(f"{self.url}{path}?{urlencode(query)}", timeout=10) as answer:  # noqa: S310 - ours
            body: bytes = answer.read()
        return body


class Alertmanager(_Server):
    """Alertmanager, by default one that tells nobody."""

    def __init__(self, release: str = NEWEST, config: str = _NOBODY) -> None:
        """Raises MissingError."""
        super().__init__(release, "prometheus-alertmanager", config)

    def _flags(self, folder: Path) -> list[str]:
        return [f"--storage.path={folder}/data", "--cluster.listen-address="]

    def alerts(self) -> Sequence[dict[str, Any]]:
        """Those that fire."""
        found: Sequence[dict[str, Any]] = json.loads(self.get("/api/v2/alerts", active="true"))
        return found

    def firing(self) -> set[str]:
        """Their names."""
        return {one["labels"]["alertname"] for one in self.alerts()}


class Prometheus(_Server):
    """Prometheus."""

    def __init__(self, config: str, release: str = NEWEST) -> None:
        """config: names files by their whole paths. Raises MissingError."""
        super().__init__(release, "prometheus", config)

    def _flags(self, folder: Path) -> list[str]:
        return [f"--storage.tsdb.path={folder}/data"]

    def query(self, expression: str) -> Sequence[dict[str, Any]]:
        """The answer's samples, now."""
        found = json.loads(self.get("/api/v1/query", query=expression))
        result: Sequence[dict[str, Any]] = found["data"]["result"]
        return result
