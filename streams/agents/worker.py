"""The worker: a Faust app with its agents, and what a scrape and a health check read from their states."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import faust
import polars as pl
from aiokafka.errors import KafkaError, UnknownError
from faust.exceptions import FaustError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer
from faust.types import TP
from yarl import URL

from streams.agents.changelog import StateError, Stored, stored
from streams.agents.combine import Combine
from streams.agents.detect import Detect, Render
from streams.agents.inbox import Inbox
from streams.agents.loop import Loop, partitions_of
from streams.agents.roll import Roll
from streams.core import ledger, tables
from streams.core.combine import Meta, Policy, RawPartition
from streams.core.findings import Finding
from streams.core.known import INFO_SCHEMA
from streams.core.ledger import HoleError
from streams.core.roll import Standing, SummaryPartition, held
from streams.core.tables import TABLES
from streams.core.watching import Setup, WatchingPartition
from streams.kafka import LARGEST_MESSAGE, BrokerError, client_options, tls_context
from streams.metrics import Instruments, Snapshot
from streams.names import Names
from streams.settings import Client
from streams.stopping import within

log = logging.getLogger(__name__)

_STALLED_SECONDS = 60.0
"""With messages waiting and none taken for so long, the worker is not ready."""
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 5.0
_LEAVE_SECONDS = 3.0
_BROKEN = (KafkaError, FaustError, OSError)
"""What the libraries raise when Kafka is gone, slow or says no. A TimeoutError is an OSError."""
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError)
"""What reading a row raises that is not one of ours, or not of this release."""
_FAUST = "faust"
_PLAIN = ("origins",)
"""Rows that hold no frames."""
_FETCH_BYTES = 512 * 1024
"""What a fetch brings of a partition, compressed: some 2 MB of lines. A larger message comes all the same: KIP-74."""

_RAW_BYTES = 16 * 1024 * 1024
_RAW_MESSAGES = 512
"""What is counted at once: of small messages those of a second, of large ones not more than a scrape can wait for."""
_SUMMARIES = 32
"""They are taken one by one, some milliseconds each: a scrape waits for them."""

_BLOCKS = 4
"""Each may close minutes, and partitions do not move before those that were taken are done."""


@dataclass(frozen=True)
class Plan:
    """What a worker runs. flush_seconds, checkpoint_seconds: see agents.loop. setup: None: no detectors run. outputs:
    topics that findings go to, each in its form.
    """

    names: Names
    summary_partitions: int
    policy: Policy
    flush_seconds: float = 0.5
    checkpoint_seconds: float = 5.0
    idle_seconds: float = 30.0
    session_seconds: float = 30.0
    recovery_seconds: float = 60.0
    instance_id: str = ""
    setup: Setup | None = None
    outputs: Mapping[str, Render] = field(default_factory=dict)
    conversation_partitions: int = 1


class Worker:
    """`start`, then it works until `stop`, or until `failed` is set because something broke."""

    def __init__(self, bootstrap: str, client: Client, plan: Plan, instruments: Instruments) -> None:
        """bootstrap: host:port[,host:port...]. Nothing is reached yet."""
        self._plan = plan
        self._bootstrap = bootstrap
        self._options = {"bootstrap_servers": bootstrap, **client_options(client)}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="core")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._stopping = False
        self._opening: asyncio.Task[None] | None = None
        self._instruments = instruments
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] | None = None
        self.app = _faust_app(bootstrap, client, plan)
        names, topic = plan.names, self.app.topic
        raw = topic(names.raw, value_serializer="raw", key_serializer="raw")
        summaries = topic(names.summaries, value_serializer="raw", key_serializer="raw")
        dead_letters = topic(names.dead_letters, value_serializer="raw", key_serializer="raw")
        conversations = topic(names.conversations, value_serializer="raw", key_serializer="raw")
        self._combining = combine = Combine(
            plan.policy, summaries, plan.summary_partitions, dead_letters, instruments, plan.idle_seconds,
            conversations=conversations if plan.setup else None, conversation_partitions=plan.conversation_partitions,
        )  # fmt: skip
        self.combine: Loop[RawPartition] = Loop(
            "combine", names.raw, topic(names.combine_changelog), self, combine, self._thread, instruments,
            plan.flush_seconds, plan.checkpoint_seconds, Inbox(_RAW_BYTES, _RAW_MESSAGES), patient=True,
        )  # fmt: skip
        roll = Roll(plan.policy.lateness, instruments)
        self.roll: Loop[SummaryPartition] = Loop(
            "roll", names.summaries, topic(names.roll_changelog), self, roll, self._thread, instruments,
            plan.checkpoint_seconds, plan.checkpoint_seconds, Inbox(_RAW_BYTES, _SUMMARIES),
        )  # fmt: skip
        self._loops: list[Loop[Any]] = [self.combine, self.roll]
        self._detecting: Detect | None = None
        self.detect = self._detect(plan.setup) if plan.setup else None
        for loop, channel in zip(self._loops, (raw, summaries, conversations), strict=False):
            self._agent(loop, channel)
        self.app.on_partitions_revoked.connect(self._revoked)  # type: ignore[arg-type]  # Faust types one argument
        self.app.on_partitions_assigned.connect(self._assigned)  # type: ignore[arg-type]

    def _detect(self, setup: Setup) -> Loop[WatchingPartition]:
        """In a thread of its own: a minute takes detectors so long that a scrape must not wait for them."""
        names, topic, plan = self._plan.names, self.app.topic, self._plan
        outputs = [
            (topic(name, value_serializer="raw", key_serializer="raw"), render) for name, render in plan.outputs.items()
        ]
        thread = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self._detecting = Detect(setup, outputs, self._instruments)
        loop: Loop[WatchingPartition] = Loop(
            "detect", names.conversations, topic(names.detect_changelog), self,
            self._detecting, thread, self._instruments,
            plan.checkpoint_seconds, plan.checkpoint_seconds, Inbox(_RAW_BYTES, _BLOCKS),
        )  # fmt: skip
        self._loops.append(loop)
        return loop

    def open_findings(self) -> list[Finding]:
        """Of this worker's partitions, as of their last minute."""
        states = list(self.detect.states.values()) if self.detect else []
        return [finding for state in states for finding in state.figures.findings]

    def renew(self, setup: Setup) -> None:
        """Detectors go on by other rules, from the next minute that closes."""
        if self._detecting:
            self._detecting.setup = setup

    def over(self) -> None:
        """Nothing more is to come: once what was sent is counted, all minutes close for the detectors."""
        self._combining.over = True

    async def start(self) -> None:
        """Join the group and begin. The topics must exist. Raises BrokerError, StateError."""
        self.failed = asyncio.get_running_loop().create_future()
        self.app.finalize()
        starting = asyncio.create_task(self.app.start())
        await asyncio.wait({starting, self.failed}, return_when=asyncio.FIRST_COMPLETED)
        if self.failed.done():
            starting.cancel()
            self.failed.result()
        try:
            starting.result()
        except _BROKEN as problem:
            raise self._lost(problem) from problem
        for loop in self._loops:
            self._begin(self._run(loop), loop.name)
        self._begin(self._watch_faust(), _FAUST)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    async def stop(self, *, failed: bool = False) -> None:
        """Settle what was taken, leave the group. After a failure nothing is settled: it is read again.

        Raises BrokerError when Kafka does not answer in time; all is stopped then as well as it can be.
        """
        self._stopping = True
        await self._no_opening()
        failed = failed or (self.failed is not None and self.failed.done())
        settled = failed or await self._settled()
        for task in self._tasks:
            task.cancel()
        left = await self._left()
        for loop in self._loops:
            loop.thread.shutdown(wait=False)
        self._reading.shutdown(wait=False)
        if not (failed or (settled and left)):
            missing = "leaving the group" if settled else "the last checkpoint"
            raise BrokerError(
                f"stopped without {missing}: Kafka at {self._bootstrap} does not answer; "
                "nothing is lost, what was not saved is read again"
            )

    def ready(self) -> tuple[bool, str]:
        """Whether tables are recovered and progress is being made; else why not."""
        if self._stopping:
            return False, "stopping"
        if not self._is_open():
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
        metas, shown = await self.combine.in_core(_looked, dict(self.combine.states), dict(self.roll.states))
        read = await asyncio.get_running_loop().run_in_executor(self._reading, _worked_out, metas, shown)
        watched = {at: state.figures for at, state in self.detect.states.items()} if self.detect else {}
        return Snapshot(**read, watched=watched, lag=lag, ready=ready, recovering=not self._is_open())

    async def earliest(self, topic: str, partition: int) -> int:
        """The first offset that the broker still holds (agents.loop.Source)."""
        tp = TP(topic, partition)
        return int((await self.app.consumer.earliest_offsets(tp))[tp] or 0)

    async def stored(self, changelog: str, topic: str, partitions: Iterable[int]) -> dict[int, Stored]:
        """What a changelog holds by now (agents.loop.Source). Raises StateError, KafkaError."""
        return await stored(self._options, changelog, topic, partitions, self._plan.recovery_seconds)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read on from `offset` (agents.loop.Source).

        Faust's own `seek` reaches into the consumer from this thread while its thread is reading: KeyErrors there.
        """
        await self.app.consumer.seek_wait({TP(topic, partition): offset})

    def _lag(self, loop: Loop[Any]) -> dict[int, int]:
        consumer = self.app.consumer
        waiting = {}
        for partition in partitions_of(loop.topic, consumer.assignment() if self._is_open() else ()):
            highwater = consumer.highwater(TP(loop.topic, partition)) or 0
            waiting[partition] = max(0, highwater - loop.positions.get(partition, highwater - 1) - 1)
        return waiting

    def _is_open(self) -> bool:
        return all(loop.is_open for loop in self._loops)

    def _agent(self, loop: Loop[Any], channel: Any) -> None:  # noqa: ANN401 - faust.Topic is untyped
        async def body(stream: Any) -> None:  # noqa: ANN401
            async for event in stream.noack().events():
                await loop.take(event)

        self.app.agent(channel, name=loop.name, concurrency=1)(body)

    async def _revoked(self, _app: Any, _revoked: set[TP], **_: Any) -> None:  # noqa: ANN401 - Faust's signal
        """All partitions go at once, also those that come back: that is how Faust's consumer moves them."""
        await self._no_opening()
        for loop in self._loops:
            await loop.settle()
            await loop.drop()

    async def _assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:  # noqa: ANN401 - Faust's signal
        """Reading the states back takes longer than a rebalance may: it goes on beside it."""
        await self._no_opening()
        self._instruments.assigned()
        mine = {loop.topic: partitions_of(loop.topic, assigned) for loop in self._loops}
        log.info("partitions assigned: %s", ", ".join(f"{topic} {mine[topic]}" for topic in mine))
        self._opening = asyncio.create_task(self._open(mine))
        self._opening.add_done_callback(self._was_opening)

    async def _no_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def _open(self, partitions: Mapping[str, list[int]]) -> None:
        began = time.monotonic()
        for loop in self._loops:
            try:
                await loop.open(partitions[loop.topic])
            except Exception as problem:
                raise await self._explained(loop, problem) from problem
        self._instruments.recovered(time.monotonic() - began)

    async def _run(self, loop: Loop[Any]) -> None:
        try:
            await loop.run(stopping=lambda: self._stopping)
        except (*_BROKEN, *_UNREADABLE) as problem:
            raise await self._explained(loop, problem) from problem

    async def _watch_faust(self) -> None:
        await self.app.wait_until_stopped()
        if not self._stopping:
            reason = self.app.crash_reason or RuntimeError("the Faust app stopped by itself")
            raise self._lost(reason) if isinstance(reason, _BROKEN) else reason

    async def _settled(self) -> bool:
        """Whether the last checkpoint is written. The loops end by themselves: a cut would only leave it half done."""
        running = [task for task in self._tasks if task.get_name() != _FAUST]
        try:
            return await within(_SETTLE_SECONDS, asyncio.gather(*running, *(loop.settle() for loop in self._loops)))
        except (*_BROKEN, BrokerError, StateError):
            return False

    async def _left(self) -> bool:
        try:
            return await within(_LEAVE_SECONDS, self.app.stop())
        except _BROKEN:
            return False

    async def _explained(self, loop: Loop[Any], problem: Exception) -> Exception:
        """The problem as an operator can use it, where it is one of theirs: else it is a bug, and stays what it is."""
        if isinstance(problem, _BROKEN):
            return self._lost(problem)
        if isinstance(problem, HoleError):
            return StateError(
                f"the tables of {loop.name} were not read back whole ({problem}); nothing is lost, the next start "
                "reads them again. If every start says this, begin anew with another topics.prefix"
            )
        if not isinstance(problem, _UNREADABLE):
            return problem
        topic = loop.changelog.topics[0]
        try:
            read = await self.stored(topic, loop.topic, partitions_of(loop.topic, self.app.consumer.assignment()))
        except _BROKEN as gone:
            return self._lost(gone)
        found = await loop.in_core(_unreadable, loop, read)
        if found is None:
            return problem
        partition, key, why = found
        return StateError(
            f"state that can't be read: topic {topic}, partition {partition}, key {key}: {why}; "
            "use the release that wrote it, or begin anew with another topics.prefix"
        )

    def _lost(self, problem: BaseException) -> BrokerError:
        reason = " ".join(str(problem).split()) or "no answer in time"
        return BrokerError(
            f"Kafka at {self._bootstrap} failed the worker: {reason}; "
            "nothing is lost, the next start goes on from the last checkpoint"
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not (self._stopping or task.cancelled()):
            self._fail(task.exception() or RuntimeError(f"{task.get_name()} ended"))

    def _was_opening(self, task: asyncio.Task[None]) -> None:
        if not (self._stopping or task.cancelled()) and (problem := task.exception()):
            self._fail(problem)

    def _fail(self, problem: BaseException) -> None:
        if self.failed is not None and not self.failed.done():
            self.failed.set_exception(problem)


def _unreadable(loop: Loop[Any], read: Mapping[int, Stored]) -> tuple[int, str, str] | None:
    """Partition, key and reason of the first row that can't be read by itself. Slow: for a worker that ends anyway."""
    for partition, found_rows in read.items():
        written = ledger.read(partition, found_rows.rows)
        rows = [(writer, name, value) for writer, found in written.items() for name, value in found.items()]
        for writer, name, value in rows:
            why = _fault(_read_row, loop, partition, name, value)
            if why:
                return partition, ledger.key(partition, writer, name).decode(), why
        why = _fault(loop.state.open, partition, written)
        if why:
            return partition, f"{partition}/*", why
    return None


def _fault(read: Callable[..., object], *arguments: object) -> str:
    """Why something can't be read, in one line; empty: it can."""
    try:
        read(*arguments)
    except _UNREADABLE as problem:
        return " ".join(str(problem).split()) or type(problem).__name__
    return ""


def _read_row(loop: Loop[Any], partition: int, name: str, value: bytes) -> None:
    if name == "meta":
        Meta.decode(value)
        return
    if name == "stamp":
        held(value)
        return
    loop.state.open(partition, {"": {name: value}})
    if name.partition("/")[0] not in _PLAIN:
        tables.decode(value)  # some states leave that for the time when they need the row


Looked = tuple[dict[int, bytes], dict[int, Standing]]


def _looked(raw: Mapping[int, RawPartition], rolled: Mapping[int, SummaryPartition]) -> Looked:
    """In the core's thread: frames do not change once they are made, counters are copied."""
    metas = {partition: state.meta.encode() for partition, state in raw.items()}
    return metas, {partition: state.standing() for partition, state in rolled.items()}


def _worked_out(metas: Mapping[int, bytes], shown: Mapping[int, Standing]) -> dict[str, Any]:
    """In a thread of its own, so that a record that comes meanwhile does not wait for a scrape."""
    every = {partition: one.totals(replay=True) for partition, one in shown.items()}
    live = {name: [found[name].filter(~pl.col("replay")) for found in every.values()] for name in TABLES}
    info = [frame for one in shown.values() if (frame := one.info()).height]
    return {
        "metas": {partition: Meta.decode(meta) for partition, meta in metas.items()},
        "totals": {name: tables.merge(table, live[name]) for name, table in TABLES.items()},
        "info": pl.concat(info) if info else pl.DataFrame(schema=INFO_SCHEMA),
        "closed_before": {partition: one.closed_before for partition, one in shown.items()},
        "tabled": {partition: int(found["eni"].get_column("flows").sum()) for partition, found in every.items()},
        "panes": {partition: one.panes for partition, one in shown.items()},
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
    app = _App(
        plan.names.group,
        broker=[URL(f"kafka://{address}") for address in bootstrap.split(",")],
        broker_credentials=_credentials(client),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=_FETCH_BYTES,
        consumer_group_instance_id=plan.instance_id or None,
        broker_session_timeout=plan.session_seconds,
        broker_heartbeat_interval=plan.session_seconds / 10,
        broker_commit_interval=1.0,
        producer_compression_type=None,  # the values are compressed already
        producer_max_request_size=LARGEST_MESSAGE,
        stream_buffer_maxsize=8,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
    )
    app.transport.Consumer, app.transport.Producer = _Consumer, _Producer  # type: ignore[misc]  # of this transport only
    return app


class _App(faust.App):
    logger = logging.getLogger("faust.app")  # else it would be ours, by the module

    def _create_directories(self) -> None:
        """None: state is in Kafka, and a full disk or a read-only one is nothing to a worker."""


class _Thread(AIOKafkaConsumerThread):
    logger = logging.getLogger("faust.consumer")

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:  # noqa: ANN401 - mode's
        """Instead of a traceback on stderr: what broke is told by whoever waits for the consumer."""
        log.debug("%s", msg.format(*fmt))


class _Consumer(Consumer):
    logger = _Thread.logger

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Producer(Producer):
    """A request that was held up in the network and comes after its repeat would put an old row over a newer one.

    An idempotent producer's does not. The embedded broker knows none; nothing is held up on the way to it.
    """

    logger = logging.getLogger("faust.producer")
    _idempotent = True

    def _settings_extra(self) -> Mapping[str, Any]:
        return {**super()._settings_extra(), "enable_idempotence": self._idempotent}

    async def on_start(self) -> None:
        """Once more without it where the broker has no answer to that."""
        try:
            await super().on_start()
        except UnknownError:
            log.info("this broker knows no idempotent producers")
            await self.on_stop()
            self._idempotent = False
            await super().on_start()
