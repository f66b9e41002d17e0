"""The worker: a Faust app with the two agents, their tables, and what a scrape and a health check read from them."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import faust
import polars as pl
from faust.types import TP
from yarl import URL

from streams.agents.combine import Combine
from streams.agents.loop import Loop, partitions_of
from streams.agents.roll import Roll
from streams.core import tables
from streams.core.combine import Meta, Policy, RawPartition
from streams.core.known import INFO_SCHEMA
from streams.core.roll import SummaryPartition
from streams.core.tables import TABLES
from streams.kafka import LARGEST_MESSAGE, tls_context
from streams.metrics import Instruments, Snapshot
from streams.names import Names
from streams.settings import Client

log = logging.getLogger(__name__)

_STALLED_SECONDS = 60.0
"""With messages waiting and none taken for so long, the worker is not ready."""
_STOP_SECONDS = 4.0


@dataclass(frozen=True)
class Plan:
    """What a worker runs. flush_seconds, checkpoint_seconds: see agents.loop."""

    names: Names
    raw_partitions: int
    summary_partitions: int
    policy: Policy
    flush_seconds: float = 1.0
    checkpoint_seconds: float = 5.0
    idle_seconds: float = 30.0
    session_seconds: float = 30.0
    instance_id: str = ""


class Worker:
    """`start`, then it works until `stop`, or until `failed` is set because something broke."""

    def __init__(self, bootstrap: str, client: Client, plan: Plan, instruments: Instruments) -> None:
        """bootstrap: host:port[,host:port...]. Nothing is reached yet."""
        self._plan = plan
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="core")
        self._stopping = False
        self._recovered: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] | None = None
        self.app = _faust_app(bootstrap, client, plan)
        names, topic = plan.names, self.app.topic
        raw = topic(names.raw, value_serializer="raw", key_serializer="raw")
        summaries = topic(names.summaries, value_serializer="raw", key_serializer="raw")
        dead_letters = topic(names.dead_letters, value_serializer="raw", key_serializer="raw")
        combine = Combine(plan.policy, summaries, plan.summary_partitions, dead_letters, instruments, plan.idle_seconds)
        self.combine: Loop[RawPartition] = Loop(
            "combine", names.raw, self._table("combine", names.combine_changelog, plan.raw_partitions), self, combine,
            self._thread, instruments, plan.flush_seconds, plan.checkpoint_seconds,
        )  # fmt: skip
        self.roll: Loop[SummaryPartition] = Loop(
            "roll", names.summaries, self._table("roll", names.roll_changelog, plan.summary_partitions), self,
            Roll(plan.policy.lateness, instruments), self._thread, instruments, plan.checkpoint_seconds,
            plan.checkpoint_seconds, most_events=256,
        )  # fmt: skip
        self._loops: tuple[Loop[Any], ...] = (self.combine, self.roll)
        for loop, channel in ((self.combine, raw), (self.roll, summaries)):
            self._agent(loop, channel)
        self.app.on_partitions_revoked.connect(self._revoked)  # type: ignore[arg-type]  # Faust types one argument
        self.app.on_partitions_assigned.connect(self._assigned)  # type: ignore[arg-type]

    async def start(self) -> None:
        """Join the group and begin. The topics must exist."""
        self.failed = asyncio.get_running_loop().create_future()
        self.app.finalize()
        await self.app.start()
        self._tasks = [
            asyncio.create_task(loop.run(stopping=lambda: self._stopping), name=loop.name) for loop in self._loops
        ]
        self._tasks.append(asyncio.create_task(self._watch_faust(), name="faust"))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Settle what was taken, leave the group. After a failure nothing is settled: it is read again."""
        self._stopping = True
        if self.failed is not None and not self.failed.done():
            for loop in self._loops:
                await _within(_STOP_SECONDS, loop.settle(), "the last checkpoint")
        for task in self._tasks:
            task.cancel()
        await _within(_STOP_SECONDS, self.app.stop(), "leaving the group")
        self._thread.shutdown(wait=False)

    def ready(self) -> tuple[bool, str]:
        """Whether tables are recovered and progress is being made; else why not."""
        if self._stopping:
            return False, "stopping"
        if len(self._recovered) < len(self._loops):
            return False, "recovering tables"
        stalled = [
            loop.name for loop in self._loops
            if time.monotonic() - loop.progressed > _STALLED_SECONDS and any(self._lag(loop).values())
        ]  # fmt: skip
        return (False, f"no progress: {', '.join(stalled)}") if stalled else (True, "ready")

    async def snapshot(self) -> Snapshot:
        """What a scrape reads, at one moment."""
        ready, _ = self.ready()
        lag = {(loop.topic, p): count for loop in self._loops for p, count in self._lag(loop).items()}
        read = await self.combine.in_core(_read, dict(self.combine.states), dict(self.roll.states))
        return Snapshot(**read, lag=lag, ready=ready)

    async def earliest(self, topic: str, partition: int) -> int:
        """The first offset that the broker still holds (agents.loop.Source)."""
        tp = TP(topic, partition)
        return int((await self.app.consumer.earliest_offsets(tp))[tp] or 0)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read on from `offset` (agents.loop.Source)."""
        await self.app.consumer.seek(TP(topic, partition), offset)

    def _lag(self, loop: Loop[Any]) -> dict[int, int]:
        consumer = self.app.consumer
        waiting = {}
        for partition in partitions_of(loop.topic, consumer.assignment() if self._recovered else ()):
            highwater = consumer.highwater(TP(loop.topic, partition)) or 0
            waiting[partition] = max(0, highwater - loop.positions.get(partition, highwater - 1) - 1)
        return waiting

    def _table(self, name: str, changelog: str, partitions: int) -> Any:  # noqa: ANN401 - faust.Table is untyped
        return self.app.Table(
            name, partitions=partitions, key_type=bytes, value_type=bytes,
            changelog_topic=self.app.topic(
                changelog, partitions=partitions, internal=True, compacting=True, deleting=False,
                key_serializer="raw", value_serializer="raw", acks=False,
            ),
            on_recover=lambda: self._note_recovered(name),
        )  # fmt: skip

    def _agent(self, loop: Loop[Any], channel: Any) -> None:  # noqa: ANN401 - faust.Topic is untyped
        async def body(stream: Any) -> None:  # noqa: ANN401
            async for event in stream.noack().events():
                await loop.take(event)

        self.app.agent(channel, name=loop.name, concurrency=1)(body)

    async def _note_recovered(self, name: str) -> None:
        """Faust forgets an exception raised here: it must end the worker all the same."""
        loop = next(loop for loop in self._loops if loop.name == name)
        try:
            await loop.open_all(partitions_of(loop.topic, self.app.consumer.assignment()))
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is fatal and told
            self._fail(problem)
        else:
            self._recovered.add(name)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:  # noqa: ANN401 - Faust's signal
        self._recovered.clear()
        for loop in self._loops:
            partitions = partitions_of(loop.topic, revoked)
            await loop.settle(partitions)
            await loop.drop(partitions)

    async def _assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:  # noqa: ANN401 - Faust's signal
        for loop in self._loops:
            loop.progressed = time.monotonic()
        mine = {loop.topic: partitions_of(loop.topic, assigned) for loop in self._loops}
        log.info("partitions assigned: %s", ", ".join(f"{topic} {mine[topic]}" for topic in mine))

    async def _watch_faust(self) -> None:
        await self.app.wait_until_stopped()
        if not self._stopping:
            raise self.app.crash_reason or RuntimeError("the Faust app stopped by itself")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not (self._stopping or task.cancelled()):
            self._fail(task.exception() or RuntimeError(f"{task.get_name()} ended"))

    def _fail(self, problem: BaseException) -> None:
        if self.failed is not None and not self.failed.done():
            self.failed.set_exception(problem)


async def _within(seconds: float, work: Any, what: str) -> None:  # noqa: ANN401 - any awaitable
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        log.warning("gave up waiting for %s after %s s; what was not saved is read again", what, seconds)


def _read(raw: Mapping[int, RawPartition], rolled: Mapping[int, SummaryPartition]) -> dict[str, Any]:
    """In the core's thread: frames do not change once they are made, counters are copied."""
    every = {partition: state.totals(replay=True) for partition, state in rolled.items()}
    live = {name: [found[name].filter(~pl.col("replay")) for found in every.values()] for name in TABLES}
    info = [frame for state in rolled.values() if (frame := state.info()).height]
    return {
        "metas": {partition: Meta.decode(state.meta.encode()) for partition, state in raw.items()},
        "totals": {name: tables.merge(table, live[name]) for name, table in TABLES.items()},
        "info": pl.concat(info) if info else pl.DataFrame(schema=INFO_SCHEMA),
        "closed_before": {partition: state.clock.closed_before() for partition, state in rolled.items()},
        "tabled": {partition: int(found["eni"].get_column("flows").sum()) for partition, found in every.items()},
        "panes": {partition: len(state.pane_starts()) for partition, state in rolled.items()},
    }


def _credentials(client: Client) -> faust.SASLCredentials | faust.SSLCredentials | None:
    tls = tls_context(client) if client.security_protocol.endswith("SSL") else None
    if not client.sasl_mechanism:
        return faust.SSLCredentials(context=tls) if tls else None
    return faust.SASLCredentials(
        username=client.sasl_username, password=client.sasl_password.get_secret_value(),
        mechanism=client.sasl_mechanism, ssl_context=tls,
    )  # fmt: skip


def _faust_app(bootstrap: str, client: Client, plan: Plan) -> faust.App:
    return faust.App(
        plan.names.group,
        broker=[URL(f"kafka://{address}") for address in bootstrap.split(",")],
        broker_credentials=_credentials(client),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=LARGEST_MESSAGE,
        consumer_group_instance_id=plan.instance_id or None,
        broker_session_timeout=plan.session_seconds,
        broker_heartbeat_interval=plan.session_seconds / 10,
        broker_commit_interval=1.0,
        producer_compression_type=None,  # the values are compressed already
        producer_max_request_size=LARGEST_MESSAGE,
        stream_buffer_maxsize=32,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        table_cleanup_interval=3600.0,
        table_standby_replicas=0,
        datadir=tempfile.mkdtemp(prefix="vpcflow-"),
        worker_redirect_stdouts=False,
    )
