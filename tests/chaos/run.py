"""One run: a fleet, input, faults, and what came of it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka import TopicSpec, ensure_topics, our_topics, prepare_topics
from streams.names import Names
from streams.settings import Topics
from tests.chaos import verdict
from tests.chaos.arena import Brokers, Network
from tests.chaos.faults import Faults, Happened
from tests.chaos.feed import PARTITIONS, Feed, Pace, stored
from tests.chaos.findings import Replayed, in_findings, replayed, watched
from tests.chaos.fleet import Fleet
from tests.chaos.report import FaultReport, Result
from tests.chaos.schedule import BROKERS, Fault, Schedule
from tests.chaos.traffic import Traffic, traffic
from tests.chaos.verdict import Truth, truth
from tests.chaos.watch import Reading, Watch, counted_once
from tests.kafka.letters import dead_letters
from tests.kafka.process import Samples

_DRAIN_SECONDS = 180.0
_SETTLE_SECONDS = 12.0
"""After the first moment at which all is right: somebody's late write would come by then."""
_PANES_SECONDS = 30.0


@dataclass
class Course:
    """How a run went."""

    fleet: Fleet
    feed: Feed
    watch: Watch
    began: float
    happened: Sequence[Happened] = ()
    truth: Truth | None = None
    findings: Replayed | None = None
    counted_after: float | None = None
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """command: what repeats the run. level: of the processes' logs."""

    seed: int
    lines: int
    schedule: Schedule
    command: str
    level: str = "info"


def alone(plan: Plan) -> Result:
    """A run in a process of its own, on brokers of its own. Raises MissingError."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers die here, and our own clients would tell
    with Brokers() as brokers:
        return asyncio.run(run(brokers, plan, lambda line: print(f"{plan.seed}:{line}", flush=True)))


async def run(brokers: Brokers, plan: Plan, tell: Callable[[str], None]) -> Result:
    """One run on brokers that may have had others before: its topics are its own."""
    seed, lines, schedule = plan.seed, plan.lines, plan.schedule
    prefix, topic = f"chaos-{seed}-{int(time.time())}", f"theirs-{seed}-{int(time.time())}"
    bootstrap, topics = brokers.cluster.bootstrap, Topics(replication=BROKERS)
    made = traffic(seed, lines, int(time.time()))
    await prepare_topics(bootstrap, our_topics(Names(prefix), topics), {}, tell)
    await ensure_topics(bootstrap, [TopicSpec(topic, PARTITIONS, {}, BROKERS)])
    await _assert_copies(bootstrap, [spec.name for spec in our_topics(Names(prefix), topics)] + [topic])
    async with Network(brokers) as network:
        fleet = Fleet(bootstrap, network.bootstrap, prefix, topic, plan.level)
        try:
            fleet.start(schedule.workers)
            await fleet.until_ready()
            feed = Feed(fleet, bootstrap, topic, Pace(lines / schedule.seconds))
            course = Course(fleet, feed, Watch(fleet, lambda: feed.begun), time.monotonic())
            faults = Faults(fleet, brokers, network, course.watch, Names(prefix), tell)
            await _course(course, faults, schedule, made)
            await _judge(course, bootstrap, Names(prefix))
            return _result(course, plan, await _kept(course, bootstrap, Names(prefix)))
        except Exception:
            folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
            fleet.keep_logs(folder)
            tell(f"  what each process said: {folder}")
            raise
        finally:
            fleet.end()


async def _assert_copies(bootstrap: str, names: Sequence[str]) -> None:
    """As production has it: three copies of each."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = {one["topic"]: one for one in await admin.describe_topics(list(names))}
    finally:
        await admin.close()
    assert found.keys() == set(names)
    copies = {len(partition["replicas"]) for one in found.values() for partition in one["partitions"]}
    assert copies == {BROKERS}, copies


async def _course(course: Course, faults: Faults, schedule: Schedule, made: Traffic) -> None:
    """Input and faults side by side, then the rest of the input."""
    watching = asyncio.create_task(course.watch.run())
    try:
        async with asyncio.TaskGroup() as together:
            together.create_task(course.feed.all(made))
            await faults.run(schedule.lanes)
            course.feed.pace.hurry()
        faults.tell(f"  all is sent: {time.monotonic() - course.began:.1f} s after the start")
        course.happened = sorted(faults.happened, key=lambda one: one.began)
        course.counted_after = await _within(_DRAIN_SECONDS, partial(_counted, course))
        await course.feed.last(made)
        course.truth = await asyncio.to_thread(truth, made, await stored(course.feed.bootstrap, course.feed.topic))
        course.findings = await asyncio.to_thread(replayed, await faults.raw(), course.fleet.settings)
        await _within(_DRAIN_SECONDS, partial(_right, course, course.truth, course.findings))
        await asyncio.sleep(_SETTLE_SECONDS)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()


async def _within(seconds: float, check: Callable[[], Awaitable[bool]]) -> float | None:
    """Seconds until it came true. None: it did not in time."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if await check():
            return round(time.monotonic() - began, 1)
        await asyncio.sleep(1.0)
    return None


async def _counted(course: Course) -> bool:
    return counted_once(await _scrapes(course.fleet)) >= course.feed.begun


async def _right(course: Course, right: Truth, findings: Replayed) -> bool:
    scrapes = await _scrapes(course.fleet)
    return watched(findings, scrapes) and not verdict.at_metrics(right, scrapes)


async def _scrapes(fleet: Fleet) -> list[Samples]:
    return [samples for samples in (await fleet.scrapes()).values() if samples is not None]


async def _judge(course: Course, bootstrap: str, names: Names) -> None:
    """Fill in the differences."""
    right, findings = course.truth, course.findings
    assert right
    assert findings
    last = await _scrapes(course.fleet)
    end = time.monotonic() + _PANES_SECONDS
    panes = verdict.in_panes(right, await verdict.stored_panes(bootstrap, names.roll_changelog))
    while panes and time.monotonic() < end:
        await asyncio.sleep(2.0)
        panes = verdict.in_panes(right, await verdict.stored_panes(bootstrap, names.roll_changelog))
    course.differences = [
        *verdict.at_metrics(right, last), *panes,
        *verdict.in_letters(right, await dead_letters(bootstrap, names.dead_letters)),
        *in_findings(findings, [one.value for one in await verdict.records(bootstrap, names.anomalies)], last),
        *course.watch.excess, *verdict.on_the_way(right, course.watch.highs, last),
    ]  # fmt: skip


async def _kept(course: Course, bootstrap: str, names: Names) -> str:
    """The folder of what each process said and wrote, after a difference or a restart; empty: there was neither."""
    if not (course.differences or list(course.fleet.ended_by_themselves())):
        return ""
    folder = Path(tempfile.mkdtemp(prefix=f"{names.prefix}-"))
    course.fleet.keep_logs(folder)
    for changelog in (names.combine_changelog, names.roll_changelog, names.detect_changelog):
        await verdict.keep_changelog(bootstrap, changelog, folder / f"{changelog}.txt")
    return str(folder)


def _result(course: Course, plan: Plan, logs: str) -> Result:
    right, findings, readings = course.truth, course.findings, course.watch.readings
    assert right
    assert findings
    return Result(
        plan.seed, plan.command, right.lines, right.junk.total(), findings.opened.total(),
        round(time.monotonic() - course.began, 1),
        course.feed.attempts, course.feed.failed, course.feed.repeated, len(readings), course.counted_after,
        [
            reported(one.fault, one.began, one.ended, began=course.began, readings=readings) for one in course.happened
        ],
        list(course.fleet.ended_by_themselves()), course.differences, logs,
    )  # fmt: skip


def reported(
    fault: Fault, fault_began: float, ended: float, *, began: float, readings: Sequence[Reading]
) -> FaultReport:
    """A fault, from moments to seconds. began: of the input."""
    later = [reading for reading in readings if reading.at >= ended]
    ready = next((reading.at for reading in later if reading.ready), None)
    drained = next((reading.at for reading in later if reading.ready and not reading.lag), None)
    return FaultReport(
        round(fault_began - began, 1), fault.kind, fault.target, round(ended - fault_began, 1),
        None if ready is None else round(ready - ended, 1),
        None if drained is None else round(drained - ended, 1),
    )  # fmt: skip
