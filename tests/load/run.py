"""The two runs: more than a worker can take, and half of it for long. Apache Kafka, one worker, a feeder beside it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from tests.kafka.process import ROOT, Vpcflow, sums
from tests.load import feeder
from tests.load.batches import LINES, Truth, between, differences, kinds, truth
from tests.load.judge import Look, Overload, Soak, slope
from tests.load.watch import Watch

Tell = Callable[[str], None]

PARTITIONS = Topics().raw_partitions
STEP = PARTITIONS * LINES
"""Lines of a step of the feeder."""

_KEYS = {"eni": ("eni", "action"), "port": ("port", "protocol", "action")}
_PAUSE = 0.2
_TABLES_SECONDS = 30.0
"""So long after lines are counted they are in the tables at the latest."""
READY_SECONDS = 60.0
DRAIN_SECONDS = 120.0
_SLOW = 20_000
"""Lines a second that any machine takes."""
_WARM = 0.2
"""Part of the backlog that does not count for the capacity: libraries are loaded, buffers made."""
_STEADY = {
    "VPCFLOW_PANES__RETAINED": "5",
    "VPCFLOW_PANES__LATENESS_SECONDS": "300",
    "VPCFLOW_BUDGET__ORIGINS": "2048",
}
"""What is kept by time or by count is full within minutes. By default that takes 2 hours and 15 minutes (panes) and, at
half load, more hours (origins): until then memory must grow.
"""
_STEADY_SECONDS = 480.0
"""When it is."""
_SEGMENT, _RETAINED = 64 * 1024 * 1024, 512 * 1024 * 1024


@dataclass(frozen=True)
class OverloadPlan:
    """backlog: steps that the capacity is measured with. times: of it. drain: seconds for the rest, at most."""

    seconds: float = 600.0
    times: float = 5.0
    backlog: int = 800
    drain: float = 4500.0


@dataclass(frozen=True)
class SoakPlan:
    """part: of the capacity. every: seconds between looks."""

    seconds: float = 7200.0
    part: float = 0.5
    backlog: int = 800
    every: float = 10.0

    @property
    def warmup(self) -> float:
        """Seconds that are left out."""
        return max(self.seconds / 4, _STEADY_SECONDS)


@dataclass
class Source:
    """Topics of one run, and how many steps are on the raw topic or on their way."""

    bootstrap: str
    prefix: str
    steps: int = 0

    @property
    def sent(self) -> int:
        """Lines."""
        return self.steps * STEP

    def prepare(self, raw: Mapping[str, str], tell: Tell) -> None:
        """Make the topics. raw: Kafka's settings of the raw topic, on top of ours."""
        names = Names(self.prefix)
        specs = [
            replace(spec, config={**spec.config, **raw}) if spec.name == names.raw else spec
            for spec in our_topics(names, Topics())
        ]
        asyncio.run(prepare_topics(self.bootstrap, specs, {}, tell))

    @contextmanager
    def feed(self, steps: int, rate: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
        """A feeder at work; it is ended when `with` is left before it has ended itself."""
        plan = feeder.Plan(self.steps, steps, rate)
        command = [sys.executable, "-m", "tests.load.feeder", self.bootstrap, Names(self.prefix).raw, str(PARTITIONS)]
        with subprocess.Popen([*command, *plan.arguments()], stdout=subprocess.PIPE, cwd=ROOT) as process:
            try:
                yield process
            finally:
                process.kill()
        self.steps += steps

    def fill(self, steps: int) -> None:
        """Feed as fast as the broker takes it, and wait."""
        with self.feed(steps) as process:
            ended_well(process)

    def worker(self, **environ: str) -> Vpcflow:
        """With settings as they are by default, but `environ`."""
        return Vpcflow(
            "worker", "--broker", f"kafka://{self.bootstrap}",
            environ={"VPCFLOW_TOPICS__PREFIX": self.prefix, **environ},
        )  # fmt: skip


def overload(bootstrap: str, plan: OverloadPlan, tell: Tell) -> Overload:
    """Measure what a worker takes, send `times` as much, let it drain. In the main thread (see KafkaCluster)."""
    source, made = Source(bootstrap, f"overload-{uuid4().hex[:8]}"), truth(kinds())
    source.prepare({}, tell)
    source.fill(plan.backlog)
    with source.worker() as worker, ready_watch(worker, 1.0) as watch:
        capacity = capacity_of(watch, source.sent)
        steps = max(1, round(plan.times * capacity * plan.seconds / STEP))
        tell(f"it takes {capacity:,.0f} lines/s; {steps * STEP:,} are sent in {plan.seconds:g} s")
        begins = time.monotonic()
        with source.feed(steps, rate=steps / plan.seconds) as process:
            wait(lambda: process.poll() is not None, watch, 3 * plan.seconds + READY_SECONDS)
            ended_well(process)
        ends = time.monotonic()
        tell(f"all is sent in {ends - begins:.0f} s, {source.sent - watch.looks[-1].counted:,} lines wait")
        drained = wait(lambda: watch.looks[-1].counted >= source.sent, watch, plan.drain)
        wrong = _exact(worker, source, made) if drained else _bracketed(worker, source, made)
        looks = watch.looks
    return Overload(
        capacity, plan.times, steps * STEP / (ends - begins), begins, ends, looks, source.sent, looks[-1].counted,
        LINES, drained, wrong,
    )  # fmt: skip


def soak(bootstrap: str, plan: SoakPlan, tell: Tell) -> Soak:
    """Half of what a worker takes, most of the time in a steady state. In the main thread."""
    source, made = Source(bootstrap, f"soak-{uuid4().hex[:8]}"), truth(kinds())
    source.prepare({"retention.bytes": str(_RETAINED), "segment.bytes": str(_SEGMENT)}, tell)
    source.fill(plan.backlog)
    with source.worker(**_STEADY) as worker:
        with ready_watch(worker, 1.0) as watch:
            capacity = capacity_of(watch, source.sent)
            wait(lambda: watch.looks[-1].counted >= source.sent, watch, DRAIN_SECONDS)
        steps = max(1, round(plan.part * capacity * plan.seconds / STEP))
        tell(f"it takes {capacity:,.0f} lines/s; {steps * STEP:,} are sent in {plan.seconds:g} s")
        begins = time.monotonic()
        with Watch(worker, plan.every) as watch:
            with source.feed(steps, rate=steps / plan.seconds) as process:
                wait(lambda: process.poll() is not None, watch, 2 * plan.seconds + READY_SECONDS)
                ended_well(process)
            ends = time.monotonic()
            wait(lambda: watch.looks[-1].counted >= source.sent, watch, DRAIN_SECONDS)
            wrong = _exact(worker, source, made)
        looks = [look for look in watch.looks if begins + plan.warmup <= look.at <= ends]
        counted = watch.looks[-1].counted
    return Soak(
        capacity, steps * STEP / (ends - begins), ends - begins, plan.warmup, looks, source.sent, counted, wrong
    )


@contextmanager
def ready_watch(worker: Vpcflow, every: float) -> Iterator[Watch]:
    """A watch whose first look is of a worker that is ready."""
    end = time.monotonic() + READY_SECONDS
    while worker.get("/readyz")[0] != 200:
        assert time.monotonic() < end, worker.printed()
        time.sleep(_PAUSE)
    with Watch(worker, every) as watch:
        yield watch


def capacity_of(watch: Watch, backlog: int) -> float:
    """Lines a second from a backlog of so many lines, the beginning left out."""
    first, last = _WARM * backlog, backlog - STEP
    seconds = READY_SECONDS + backlog / _SLOW
    assert wait(lambda: watch.looks[-1].counted >= last, watch, seconds), "the backlog stays"
    seen = [look for look in watch.looks if first <= look.counted <= last]
    return slope([(look.at, look.counted) for look in seen])


def wait(check: Callable[[], bool], watch: Watch, seconds: float) -> bool:
    """Whether it came true in time; fails when the worker does not answer any more."""
    end = time.monotonic() + seconds
    while not (watch.looks and check()):
        watch.check()
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def ended_well(process: subprocess.Popen[bytes]) -> None:
    printed, _ = process.communicate()
    assert process.returncode == 0, f"the feeder failed: {printed.decode()}"


# -- compared with DuckDB ----------------------------------------------------------------------------------------------


def _exact(worker: Vpcflow, source: Source, made: Truth) -> list[str]:
    """What is wrong once the tables had the time to show all that is counted."""
    end = time.monotonic() + _TABLES_SECONDS
    offsets = dict.fromkeys(range(PARTITIONS), source.steps)
    while (wrong := _tables(worker, made, offsets)) and time.monotonic() < end:
        time.sleep(1.0)
    return wrong


def _tables(worker: Vpcflow, made: Truth, offsets: Mapping[int, int]) -> list[str]:
    samples = worker.samples()
    return [
        f"{table} {difference}"
        for table, labels in _KEYS.items()
        for difference in differences(made.after(offsets, table), sums(samples, table, labels))
    ]


def _bracketed(worker: Vpcflow, source: Source, made: Truth) -> list[str]:
    """What is wrong while more still waits: a key lies between what was counted a while ago and what is by now."""
    watch = Watch(worker, 1.0)
    before = watch.look()
    time.sleep(_TABLES_SECONDS)
    samples = worker.samples()
    after = watch.look()
    return [*uncounted(after, source.steps), *(
        f"{table} {difference}"
        for table, labels in _KEYS.items()
        for difference in between(
            made.after(_messages(before), table), made.after(_messages(after), table), sums(samples, table, labels)
        )
    )]  # fmt: skip


def _messages(look: Look) -> dict[int, int]:
    """Counted of each partition: a message is counted whole."""
    assert all(lines % LINES == 0 for lines in look.lines.values()), look.lines
    return {partition: lines // LINES for partition, lines in look.lines.items()}


def uncounted(look: Look, steps: int) -> list[str]:
    """Partitions where what was sent is neither counted nor told to wait.

    A scrape reads one after the other: a few messages can be both.
    """
    both = 64
    return [
        f"partition {partition}: {steps} messages sent, {counted} counted, {look.lag[partition]} wait"
        for partition, counted in _messages(look).items()
        if not steps <= counted + look.lag[partition] <= steps + both
    ]
