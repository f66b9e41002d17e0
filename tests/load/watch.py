"""Looks at a worker from outside: scrapes it as Prometheus does, and asks the system for its memory, files, threads."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, Self

import psutil

from tests.kafka.process import Vpcflow
from tests.load.judge import Look

MB = 1_000_000
_SAMPLES = 4
"""Of memory, between two looks a second apart."""

_LINES = re.compile(r'^vpcflow_lines_total\{(?=.*partition="(\d+)").*\} (\S+)$', re.MULTILINE)
_LAG = re.compile(
    r'^vpcflow_consumer_lag_messages\{(?=.*topic="[^"]*\.raw")(?=.*partition="(\d+)").*\} (\S+)$', re.MULTILINE
)
_LOST = re.compile(r"^vpcflow_lost_messages_total\{.*\} (\S+)$", re.MULTILINE)
_BLOCKS = re.compile(r"^vpcflow_python_blocks (\S+)$", re.MULTILINE)
_READY = re.compile(r"^vpcflow_ready 1\.0$", re.MULTILINE)
_SERIES = re.compile(r"^[^#\n]", re.MULTILINE)


class Watch:
    """Looks every `every` seconds in a thread of its own, from `with` on until its end."""

    def __init__(self, worker: Vpcflow, every: float, read: Callable[[Look, str], None] = lambda *_: None) -> None:
        """read: is given each look, and the text of its scrape."""
        self.looks: list[Look] = []
        self._worker, self._every, self._read = worker, every, read
        self._process = psutil.Process(worker.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._rollup = Path(f"/proc/{self._process.pid}/smaps_rollup")
        self._samples: list[tuple[int, int]] = []
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the looking: the worker does not answer, or is gone."""
        if self._problem:
            raise self._problem

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._over.is_set():
                self.looks.append(self.look())
                due = max(due + self._every, time.monotonic())
                self._rest(due)
        except BaseException as problem:  # noqa: BLE001 - raised in the thread that waits
            self._problem = problem

    def _rest(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            self._sample()
            if self._over.wait(min(left, 1 / _SAMPLES)):
                return

    def _sample(self) -> None:
        rss = self._process.memory_info().rss
        self._samples.append((rss, rss - given_back(self._rollup)))

    def look(self) -> Look:
        """Scrape once."""
        at = time.monotonic()
        status, text = self._worker.get("/metrics")
        seconds = time.monotonic() - at
        assert status == HTTPStatus.OK, text
        self._sample()
        samples, self._samples = self._samples, []
        rss, peak = samples[-1][0] / MB, max(rss for rss, _ in samples) / MB
        held = fmean(held for _, held in samples) / MB
        told, files, threads = scraped(text), self._process.num_fds(), self._process.num_threads()
        look = Look(at, seconds, rss, peak, files=files, threads=threads, held_mb=held, **told._asdict())
        self._read(look, text)
        return look


def given_back(rollup: Path) -> int:
    """Bytes of RSS that the kernel may take at any time. 0 where it does not say so: not on Linux."""
    found = re.search(r"^LazyFree:\s+(\d+) kB$", rollup.read_text("ascii") if rollup.exists() else "", re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class Scraped(NamedTuple):
    """What a scrape tells: see Look."""

    lines: Mapping[int, int]
    lag: Mapping[int, int]
    series: int
    ready: bool
    lost: int
    blocks: int


def scraped(text: str) -> Scraped:
    """Read by patterns: a parser takes longer than the scrape, and it shares the machine with the worker."""
    lost = sum(int(float(value)) for value in _LOST.findall(text))
    ready = _READY.search(text) is not None
    blocks = sum(int(float(value)) for value in _BLOCKS.findall(text))
    return Scraped(
        _by_partition(_LINES, text), _by_partition(_LAG, text), len(_SERIES.findall(text)), ready, lost, blocks
    )


def _by_partition(pattern: re.Pattern[str], text: str) -> Mapping[int, int]:
    found = Counter[int]()
    for partition, value in pattern.findall(text):
        found[int(partition)] += int(float(value))
    return dict(found)
