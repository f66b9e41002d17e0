"""The processes of a run, each as an operator starts it, and what brings back one that ended by itself: a supervisor.

Local state is none to break: a worker keeps its tables in memory (Faust's store is `memory://`), and its folder for
temporary files holds nothing of ours. So a full disk at a worker is no fault here; a broker's would be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.embedded import LOOPBACK, free_port
from streams.settings import load
from tests.chaos.schedule import INGESTS, SESSION, WORKERS
from tests.kafka.process import Samples, Vpcflow

_LATENESS = 600
"""Event time runs some twenty times as fast as the clock here: what a fault holds up comes late."""


def environ(prefix: str, level: str = "info") -> dict[str, str]:
    """The settings of all processes."""
    return {
        "VPCFLOW_TOPICS__PREFIX": prefix,
        "VPCFLOW_TOPICS__REPLICATION": "3",
        "VPCFLOW_BRIDGE__GROUP": f"{prefix}-bridge",
        "VPCFLOW_CHECKPOINT__SECONDS": "1",
        "VPCFLOW_GROUP__SESSION_SECONDS": str(SESSION),
        "VPCFLOW_INGEST__DEADLINE_SECONDS": "5",
        "VPCFLOW_BUDGET__PORT_SERIES": "20000",
        "VPCFLOW_BUDGET__SERIES_TTL_SECONDS": "86400",
        "VPCFLOW_LOG__LEVEL": level,
        "VPCFLOW_DETECTION__LIVE": "true",
        "VPCFLOW_DETECTION__DETECTORS": str(Path(__file__).with_name("detectors.yaml")),
        "VPCFLOW_DETECTION__LATENESS_SECONDS": str(_LATENESS),
    }


@dataclass(eq=False)
class Member:
    """One process. launched: it was started once. wanted: it shall run. paused: it is stopped by SIGSTOP."""

    name: str
    process: Vpcflow
    address: str
    launched: bool = False
    wanted: bool = False
    paused: bool = False
    ended: list[str] = field(default_factory=list)
    """What it said last, each time that it ended by itself."""

    @classmethod
    def of(cls, name: str, arguments: Iterable[str], settings: Mapping[str, str]) -> Member:
        """Not started yet. It has one address all its life: one that dies is found where it was."""
        address = f"{LOOPBACK}:{free_port()}"
        return cls(name, Vpcflow(*arguments, environ=settings, listen=address), address)

    @property
    def url(self) -> str:
        """http://host:port."""
        return f"http://{self.address}"

    @property
    def asked(self) -> bool:
        """Whether it should answer."""
        return self.wanted and not self.paused

    def start(self) -> None:
        """Launch it, if it does not run."""
        if not (self.launched and self.process.runs):
            self.process.launch()
            self.process.url = self.url
        self.launched = self.wanted = True

    def kill9(self) -> None:
        """No goodbye, and nobody starts it again."""
        self.wanted = self.paused = False
        self.process.kill9()

    async def stop(self) -> None:
        """SIGTERM."""
        self.wanted = False
        await asyncio.to_thread(self.process.end, signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP."""
        self.paused = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False

    def supervise(self) -> None:
        """Start it again if it ended by itself."""
        if self.wanted and not self.process.runs:
            self.ended.append((self.process.printed().strip().splitlines() or ["it said nothing"])[-1])
            self.start()

    def samples(self) -> Samples | None:
        """Of one scrape; None: it does not answer."""
        try:
            return self.process.samples()
        except AssertionError:
            return None

    def ready(self) -> bool:
        """Whether it says so."""
        try:
            return self.process.get("/readyz")[0] == 200
        except AssertionError:
            return False


class Fleet:
    """Up to three workers, the first one behind the proxies; two ingests; a bridge. An async context manager."""

    def __init__(self, bootstrap: str, proxied: str, prefix: str, topic: str, level: str = "info") -> None:
        """topic: the foreign one. level: of the processes' logs."""
        settings = environ(prefix, level)
        broker, behind = ("--broker", f"kafka://{bootstrap}"), ("--broker", f"kafka://{proxied}")
        self.settings = load(environ={**settings, "VPCFLOW_BROKER__URL": broker[1]})
        self.workers = [
            Member.of(f"worker-{n}", ("worker", *(behind if n == 1 else broker)), settings)
            for n in range(1, WORKERS + 1)
        ]
        self.ingests = [Member.of(f"ingest-{n}", ("ingest", *broker), settings) for n in range(1, INGESTS + 1)]
        self.bridge = Member.of("bridge", ("bridge", *broker, "--topic", topic), settings)
        self.posts = 0

    @property
    def members(self) -> list[Member]:
        """All of them, running or not."""
        return [*self.workers, *self.ingests, self.bridge]

    def start(self, workers: int) -> None:
        """Launch ingests, bridge and the first so many workers."""
        for member in (*self.ingests, self.bridge, *self.workers[:workers]):
            member.start()

    async def until_ready(self, seconds: float = 120.0) -> None:
        """Wait until all that shall run is ready."""
        end = time.monotonic() + seconds
        while not all(await asyncio.gather(*(asyncio.to_thread(one.ready) for one in self.members if one.asked))):
            assert time.monotonic() < end, f"not ready in {seconds} s"
            self.supervise()
            await asyncio.sleep(0.3)

    def supervise(self) -> None:
        """See Member.supervise."""
        for member in self.members:
            member.supervise()

    async def scrapes(self) -> dict[str, Samples | None]:
        """Name -> samples of each worker that should answer."""
        asked = [worker for worker in self.workers if worker.asked]
        found = await asyncio.gather(*(asyncio.to_thread(worker.samples) for worker in asked))
        return {worker.name: samples for worker, samples in zip(asked, found, strict=True)}

    def firehose_url(self) -> str:
        """The next endpoint in turn, alive or not: nobody tells Firehose."""
        self.posts += 1
        return f"{self.ingests[self.posts % len(self.ingests)].url}/firehose"

    def end(self) -> None:
        """All of them, each by its own pid. They have done what they are here for: none has to say goodbye."""
        for member in self.members:
            if member.launched:
                member.kill9()
            member.process.forget()

    def keep_logs(self, folder: Path) -> None:
        """What each one printed, in a file of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        for member in self.members:
            (folder / f"{member.name}.log").write_text(member.process.printed(), "utf-8")

    def ended_by_themselves(self) -> Iterator[str]:
        """Who, and what it said last."""
        for member in self.members:
            yield from (f"{member.name}: {line}" for line in member.ended)
