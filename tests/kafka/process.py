"""`vpcflow` as a process of its own, as an operator runs it: started, asked over HTTP, killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

Samples = Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]
"""Sample name -> sorted labels -> value, of one scrape."""

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "streams")

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_PAUSE = 0.1


def vpcflow(
    *arguments: str | Path, environ: Mapping[str, str] | None = None, stdin: bytes = b"", seconds: float = 60.0
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end: exit code, stdout, stderr. Its working folder has no configuration."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=stdin, capture_output=True, timeout=seconds, check=False, cwd=folder, env=_environ(environ),
        )  # fmt: skip


def _environ(more: Mapping[str, str] | None) -> dict[str, str]:
    """The tests' own variables must not be settings, and `streams` is found from any folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VPCFLOW_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **(more or {})}


class Vpcflow:
    """`with Vpcflow("worker", "--broker", url) as worker:` listens on a free port of loopback."""

    def __init__(self, *arguments: str, environ: Mapping[str, str] | None = None, listen: str = "127.0.0.1:0") -> None:
        """arguments: of the command; `--listen` is added."""
        self._arguments = (*arguments, "--listen", listen)
        self._environ = environ
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self.url = ""

    def __enter__(self) -> Self:
        self.launch()
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)
        self.forget()

    def forget(self) -> None:
        """Close its log: it has ended, and nobody will ask what it printed."""
        self._log.close()

    def start(self) -> None:
        """Start and wait until it says where it listens."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start; see `wait`. Several can be launched side by side."""
        self._began = len(self._written())
        self._process = subprocess.Popen(
            [*COMMAND, *self._arguments],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, cwd=ROOT, env=_environ(self._environ),
        )  # fmt: skip

    def wait(self) -> None:
        """Return when it has said where it listens."""
        self.url = self.wait_for_line(r"listening at (\S+)", self._began)

    def wait_for_line(self, pattern: str, at: int = 0, seconds: float = _START_SECONDS) -> str:
        """The first group of `pattern` in what it printed from byte `at` on."""
        end = time.monotonic() + seconds
        over = False
        while time.monotonic() < end and not over:
            over = self._process.poll() is not None  # what it said last is looked at all the same
            found = re.search(pattern, self._written()[at:].decode("utf-8", "replace"))
            if found:
                return found.group(1)
            time.sleep(_PAUSE)
        raise AssertionError(f"no line like {pattern!r} in:\n{self.printed()}")

    def printed(self) -> str:
        """What it has written so far."""
        return self._written().decode("utf-8", "replace")

    def _written(self) -> bytes:
        """All of the log. It is one open file with the process: where that writes must not move."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own http address
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read().decode()
        except OSError as problem:
            raise AssertionError(f"{self.url}{path}: {problem}; it printed:\n{self.printed()}") from problem

    def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Sample name -> sorted labels -> value, of one scrape."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    @property
    def runs(self) -> bool:
        """Whether it has not ended since it was launched."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def kill9(self) -> None:
        """No goodbye."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


async def until(what: str, check: Callable[[], bool], seconds: float = 90.0) -> None:
    """Ask again and again, in a thread, until the answer is yes; an AssertionError says `what` did not become true."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(check):
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        await asyncio.sleep(_PAUSE)


def total(samples: Samples, name: str) -> int:
    """The sum over all labels."""
    return int(sum(samples.get(name, {}).values()))


def flows_shown(samples: Samples) -> int:
    """Flows at /metrics: what both tables show by now. Each is on its way for itself."""
    return min(total(samples, f"vpcflow_{table}_flows_total") for table in ("eni", "port"))


def by_label(samples: Samples, name: str, label: str) -> Counter[str]:
    """Value of a label -> the sum over the other labels, where it is not 0."""
    found: Counter[str] = Counter()
    for labels, value in samples.get(name, {}).items():
        found[dict(labels)[label]] += int(value)
    return +found


def sums(samples: Samples, table: str, labels: Iterable[str]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Labels -> flows, packets, bytes of `vpcflow_TABLE_*_total`, summed over other labels, as the oracle has them."""
    wanted = tuple(labels)
    found: dict[tuple[str, ...], list[int]] = {}
    for at, unit in enumerate(("flows", "packets", "bytes")):
        for pairs, value in samples.get(f"vpcflow_{table}_{unit}_total", {}).items():
            key = tuple(dict(pairs)[name] for name in wanted)
            found.setdefault(key, [0, 0, 0])[at] += int(value)
    return {key: tuple(values) for key, values in found.items()}
