"""Real Prometheus Alertmanager for tests: Debian's package, unpacked, on loopback, a free port, a folder of its own.

Debian's build looks for its templates in /usr/share: it runs in a mount namespace of its own, where that is the
package's.
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
from tests.kafka.debian import ROOT, TOOLS, MissingError, said, unpacked

PACKAGE = "prometheus-alertmanager"
_PROGRAM = f"usr/bin/{PACKAGE}"
_OWN_MOUNTS = ("--map-root-user", "--mount")
_MOUNTED = 'mount --bind "$0" /usr/share && exec "$@"'
_START_SECONDS, _PAUSE = 20.0, 0.1
_CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def program() -> Path:
    """The program, fetched on the first call. Raises MissingError."""
    if problem := said(ROOT, "unshare", *_OWN_MOUNTS, "true"):
        raise MissingError(f"Alertmanager needs a mount namespace of its own: {problem}")
    return unpacked(PACKAGE) / _PROGRAM


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
                shutil.which("unshare") or "unshare", *_OWN_MOUNTS, "sh", "-c", _MOUNTED,
                str(TOOLS / PACKAGE / "usr/share"), str(self._program), f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/data",
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
