"""The third run: how long a record takes from the broker to /metrics at half load, and a worker from start to ready.

All as a user has it: settings by default, Apache Kafka, a worker that is scraped. The time ends when a scrape that
shows the record is there.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from streams.names import Names
from tests.bench.loads import every_eni
from tests.bench.worker import committed, fill
from tests.kafka.process import Vpcflow, total, until
from tests.load import probe
from tests.load.judge import Latency, Look, Start
from tests.load.probe import Glimpse, Probe
from tests.load.run import (
    DRAIN_SECONDS,
    PARTITIONS,
    READY_SECONDS,
    STEP,
    Source,
    Tell,
    capacity_of,
    ended_well,
    ready_watch,
    wait,
)
from tests.load.watch import Watch

_SETTLE_SECONDS = 5.0
"""Of load before the first probe and after the last one."""
_SEEN_SECONDS = 60.0
"""A probe that is not visible by then is lost."""
_LOOK_SECONDS = 0.02
_FLOWS = "vpcflow_eni_flows_total"


@dataclass(frozen=True)
class LatencyPlan:
    """probes: in `seconds`. part: of the capacity, measured with `backlog` steps; rate: lines a second instead of that.

    every: seconds between scrapes. starts: so often a worker is started, without state and with that of `enis` in each
    of `panes`.
    """

    seconds: float = 300.0
    probes: int = 240
    part: float = 0.5
    backlog: int = 800
    rate: float = 0.0
    every: float = 0.15
    starts: int = 3
    enis: int = 50_000
    panes: int = 120


def latency(bootstrap: str, plan: LatencyPlan, tell: Tell) -> Latency:
    """Start workers, then send probes beside a load. In the main thread (see KafkaCluster)."""
    begun = list(_starts(bootstrap, plan, tell))
    source = Source(bootstrap, f"latency-{uuid4().hex[:8]}")
    source.prepare({}, tell)
    if not plan.rate:
        source.fill(plan.backlog)
    with source.worker() as worker:
        capacity = _capacity(worker, source)
        rate = plan.rate or plan.part * capacity
        tell(f"{plan.probes} probes in {plan.seconds:g} s, beside {rate:,.0f} lines/s")
        watching = _Watching(worker, plan.every)
        with watching.watch as watch:
            began, told = time.monotonic(), watching.told()
            with _load(source, rate, plan.seconds, watch):
                time.sleep(_SETTLE_SECONDS)
                told = watching.told()
                probes = asyncio.run(_probed(bootstrap, Names(source.prefix).raw, plan))
                wait(lambda: not probe.miscounted(probes, watching.glimpses[-1]), watch, _SEEN_SECONDS)
                later = watching.told()
            seconds = time.monotonic() - began
            sent = source.sent + len(probes)
            wait(lambda: watch.looks[-1].counted >= sent, watch, DRAIN_SECONDS)
        seen = probe.sightings(probes, watching.glimpses)
    return Latency(
        capacity=capacity, part=plan.part, rate=rate, seconds=seconds, looks=watch.looks, sent=sent,
        counted=watch.looks[-1].counted, differences=probe.miscounted(probes, watching.glimpses[-1]),
        probes=len(probes), least=[one.least for one in seen], most=[one.most for one in seen],
        confirmed=[one.confirmed - one.sent for one in probes],
        told={bound: count - told.get(bound, 0) for bound, count in later.items()}, starts=begun,
    )  # fmt: skip


class _Watching:
    """A watch that keeps what its scrapes show of the probes, and the worker's own histogram."""

    def __init__(self, worker: Vpcflow, every: float) -> None:
        self.glimpses: list[Glimpse] = []
        self.watch = Watch(worker, every, self._read)
        self._worker = worker

    def told(self) -> dict[float, int]:
        """The histogram now."""
        return dict(probe.told(self._worker.get("/metrics")[1]))

    def _read(self, look: Look, text: str) -> None:
        self.glimpses.append(Glimpse(look.at, look.at + look.scrape_seconds, probe.flows(text)))


def _capacity(worker: Vpcflow, source: Source) -> float:
    """From the backlog, 0 without one. The worker is ready then, and the backlog gone."""
    with ready_watch(worker, 1.0) as watch:
        capacity = capacity_of(watch, source.sent) if source.sent else 0.0
        wait(lambda: watch.looks[-1].counted >= source.sent, watch, DRAIN_SECONDS)
    return capacity


@contextmanager
def _load(source: Source, rate: float, seconds: float, watch: Watch) -> Iterator[None]:
    """So many lines a second, from `with` on until some time after `seconds`; its end is waited for."""
    before = source.sent
    steps = max(1, round(rate * (seconds + 3 * _SETTLE_SECONDS) / STEP))
    with source.feed(steps, rate=rate / STEP) as process:
        assert wait(lambda: watch.looks[-1].counted > before, watch, READY_SECONDS), "no load"
        yield
        assert _over(process, watch, 2 * seconds + READY_SECONDS), "the feeder does not come to its end"
        ended_well(process)


def _over(process: subprocess.Popen[bytes], watch: Watch, seconds: float) -> bool:
    return wait(lambda: process.poll() is not None, watch, seconds)


async def _probed(bootstrap: str, topic: str, plan: LatencyPlan) -> list[Probe]:
    """Probes at moments of chance: what the worker does once a second must not meet all of them alike."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    chance, began, gap = Random(1), time.monotonic(), plan.seconds / plan.probes
    try:
        found = []
        for number in range(plan.probes):
            due = began + (number + chance.random()) * gap
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            found.append(await _sent(producer, topic, number))
        return found
    finally:
        await producer.stop()


async def _sent(producer: AIOKafkaProducer, topic: str, number: int) -> Probe:
    message = probe.message(number, PARTITIONS, time.time())
    sent = time.monotonic()
    await producer.send_and_wait(topic, message.value, partition=number % PARTITIONS, headers=list(message.headers()))
    return Probe(probe.eni(number, PARTITIONS), 1 + number // PARTITIONS**2, sent, time.monotonic())


# -- from the start of the process to the first 200 of /readyz ---------------------------------------------------------


def _starts(bootstrap: str, plan: LatencyPlan, tell: Tell) -> Iterator[Start]:
    if not plan.starts:
        return
    prefixes = [f"start-{uuid4().hex[:8]}" for _ in range(plan.starts)]
    yield _start("without topics and state", [Source(bootstrap, prefix) for prefix in prefixes], 0, tell)
    if plan.enis:
        source = Source(bootstrap, f"state-{uuid4().hex[:8]}")
        flows = asyncio.run(_filled(source, plan))
        yield _start(f"with {plan.enis:,} ENIs in {plan.panes} panes", [source] * plan.starts, flows, tell)


def _start(name: str, sources: Sequence[Source], flows: int, tell: Tell) -> Start:
    """A worker on each of the sources, one after the other. flows: what their tables hold."""
    runs = [_ready(source.worker()) for source in sources]
    tell(f"ready {name}: " + ", ".join(f"{seconds:.1f} s" for seconds, _ in runs))
    return Start(name, [seconds for seconds, _ in runs], flows, [found for _, found in runs])


def _ready(worker: Vpcflow) -> tuple[float, int]:
    """Seconds, and the flows in the first scrape after that."""
    began = time.monotonic()
    with worker:
        while worker.get("/readyz")[0] != HTTPStatus.OK:
            assert time.monotonic() - began < READY_SECONDS, worker.printed()
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began, total(worker.samples(), _FLOWS)


async def _filled(source: Source, plan: LatencyPlan) -> int:
    """Have a worker make the state and stop as it should; the flows in it."""
    names, flows = Names(source.prefix), plan.enis * plan.panes
    chunks = list(every_eni(plan.enis, plan.panes, int(time.time())))
    await fill(source.bootstrap, names, chunks, 2)
    with source.worker() as worker:
        while await committed(source.bootstrap, names) < len(chunks):
            assert worker.runs, worker.printed()
            await asyncio.sleep(1.0)
        await until("all is in the tables", lambda: total(worker.samples(), _FLOWS) == flows)
    return flows
