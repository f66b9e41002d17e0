"""The only wiring: settings -> broker, worker, ingest, feeds, HTTP server. Nothing imports it but the command line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from streams import feeds
from streams.agents.worker import Plan, Worker
from streams.core.combine import Policy
from streams.core.fields import Format, parse_format
from streams.embedded import embedded_broker
from streams.feeds import Replay
from streams.kafka import client_options, our_topics, prepare_topics
from streams.live import View
from streams.metrics import Exposition, Instruments, Snapshot
from streams.names import Names
from streams.server import Server, health_routes
from streams.settings import EMBEDDED, ConfigError, Settings, access_keys, redacted
from streams.sources.bridge import BridgeSettings, run_bridge
from streams.sources.firehose import RUNNER_OPTIONS, FirehoseSettings, firehose_routes
from streams.sources.publish import Publisher
from streams.watch import LastError, Watcher, watch

log = logging.getLogger(__name__)

_EMBEDDED_SESSION = 8.0
"""Instead of `group.session_seconds`: the embedded broker lets half of it pass at every join."""
_LIBRARIES = ("faust", "mode", "aiokafka", "asyncio")

Tell = Callable[[str], None]
Feed = Callable[[Publisher, Settings], Coroutine[Any, Any, None]]
"""Something that puts records on the raw topic until it is done or cancelled: the generator, files."""


@dataclass(frozen=True)
class Parts:
    """What one process runs. feed: see Feed; watched: with the live view in the terminal."""

    worker: bool = False
    ingest: bool = False
    bridge: bool = False
    feed: Feed | None = None
    watched: bool = False


@dataclass(frozen=True)
class Running:
    """What is running, for whoever asks it for its state."""

    bootstrap: str
    publisher: Publisher
    worker: Worker | None
    instruments: Instruments

    def ready(self) -> tuple[bool, str]:
        """Whether it works, else why not."""
        return self.worker.ready() if self.worker else (True, "ready")

    async def snapshot(self) -> Snapshot:
        """What /metrics and the live view read."""
        return await self.worker.snapshot() if self.worker else Snapshot(ready=True)


def log_to_stderr(settings: Settings) -> None:
    """Our own lines from the level in the settings on; what the libraries say, from warnings on, unless it is debug."""
    level = settings.log.level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(
            level if level == "DEBUG" else max(logging.WARNING, logging.getLevelName(level))
        )
    logging.getLogger("faust.agents.actor").setLevel(logging.CRITICAL)  # an agent that is stopped is no crash


def policy(settings: Settings) -> Policy:
    """The core's settings."""
    panes, budget = settings.panes, settings.budget
    return Policy(
        pane_seconds=panes.seconds, assign=panes.assign, lateness=panes.lateness_seconds, retained=panes.retained,
        max_span=panes.max_span_seconds, eni_keys=budget.eni_keys, port_keys=budget.port_keys, origins=budget.origins,
        default_format=_format(settings.format),
    )  # fmt: skip


def _format(text: str) -> Format | None:
    try:
        return parse_format(text) if text else None
    except ValueError as problem:
        raise ConfigError([f"format: {problem}"]) from None


def plan(settings: Settings) -> Plan:
    """The worker's settings."""
    return Plan(
        names=Names(settings.topics.prefix), raw_partitions=settings.topics.raw_partitions,
        summary_partitions=settings.topics.summary_partitions, policy=policy(settings),
        flush_seconds=settings.checkpoint.summary_seconds, checkpoint_seconds=settings.checkpoint.seconds,
        idle_seconds=settings.panes.idle_seconds,
        session_seconds=_EMBEDDED_SESSION if settings.broker.url == EMBEDDED else settings.group.session_seconds,
        instance_id=settings.group.instance_id,
    )  # fmt: skip


async def run(settings: Settings, parts: Parts, tell: Tell) -> None:
    """Run the parts until SIGINT or SIGTERM, or until one of them fails: then its exception is raised."""
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(_start(settings, parts, tell, stack))
        if not await _unless(stop, starting):
            return
        running, server = starting.result()
        tell(_said(settings, parts, server))
        work = [asyncio.create_task(one) for one in _work(settings, parts, running, server, stop)]
        failures = [running.worker.failed] if running.worker and running.worker.failed else []
        await _until_stopped(stop, work, failures)


@contextlib.asynccontextmanager
async def raw_topic(settings: Settings, tell: Tell) -> AsyncIterator[Publisher]:
    """A publisher on the raw topic of a broker that runs already."""
    bootstrap, options = settings.broker.bootstrap, client_options(settings.broker)
    names = Names(settings.topics.prefix)
    await prepare_topics(bootstrap, our_topics(names, settings.topics), options, tell)
    publisher = Publisher(bootstrap, names.raw, settings.topics.raw_partitions, options)
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def replay(settings: Settings, paths: Sequence[Path], how: Replay, tell: Tell) -> None:
    """`vpcflow replay`: files onto the raw topic, with a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeElapsedColumn(),
    )
    async with raw_topic(settings, tell) as publisher:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("replaying", total=None, lines=0)
            total = 0

            def sent(lines: int, size: int) -> None:
                nonlocal total
                total += lines
                progress.update(task, advance=size, lines=total)

            await feeds.replay(publisher.send, paths, how, sent)
    tell(f"{total:,} lines on {Names(settings.topics.prefix).raw}")


def generator_feed(rate: int) -> Feed:
    """Generated traffic of the present, `rate` records a second."""

    async def feed(publisher: Publisher, _: Settings) -> None:
        await feeds.generate(publisher.send, rate)

    return feed


def files_feed(paths: Sequence[Path]) -> Feed:
    """Files, folders or `-`, as live traffic: that is what a person who starts with them wants to see move."""

    async def feed(publisher: Publisher, settings: Settings) -> None:
        await feeds.replay(publisher.send, paths, Replay(live=True, format=settings.format or None), lambda *_: None)
        await asyncio.Event().wait()  # the tables stay to be looked at

    return feed


def check(settings: Settings) -> list[str]:
    """What `vpcflow check` prints: the settings in force, and what they would run."""
    access = access_keys(settings.ingest)
    names = Names(settings.topics.prefix)
    scheme = "https" if settings.ingest.tls_cert else "http"
    posts = f"/firehose {f'with {len(access)} access keys' if access else 'without an access key'}"
    return [
        yaml.safe_dump(redacted(settings), sort_keys=False).rstrip(),
        "",
        f"broker: {settings.broker.url}",
        *(f"topic: {spec.name}, {spec.partitions} partitions" for spec in our_topics(names, settings.topics)),
        f"listens: {scheme}://{settings.listen} ({posts}, /metrics, /livez, /readyz)",
        f"bridge: {', '.join(settings.bridge.topics) or 'nothing to bridge'}",
        "configuration: ok",
    ]


# -- starting and stopping --------------------------------------------------------------------------------------------


async def _start(settings: Settings, parts: Parts, tell: Tell, stack: AsyncExitStack) -> tuple[Running, Server]:
    bootstrap = await stack.enter_async_context(_broker(settings, tell))
    options, names, instruments = client_options(settings.broker), Names(settings.topics.prefix), Instruments()
    publisher = Publisher(
        bootstrap, names.raw, settings.topics.raw_partitions, options, settings.ingest.deadline_seconds
    )
    worker = Worker(bootstrap, settings.broker, plan(settings), instruments) if parts.worker else None
    running = Running(bootstrap, publisher, worker, instruments)
    tls = _tls(settings) if parts.ingest else None
    server = Server(settings.listen, _routes(settings, parts, running), RUNNER_OPTIONS, tls)
    await server.start()
    stack.push_async_callback(server.stop)
    await prepare_topics(bootstrap, our_topics(names, settings.topics), options, tell)
    await publisher.start()
    stack.push_async_callback(publisher.stop)
    if worker:
        await worker.start()
        stack.push_async_callback(worker.stop)
    return running, server


@contextlib.asynccontextmanager
async def _broker(settings: Settings, tell: Tell) -> AsyncIterator[str]:
    if settings.broker.url != EMBEDDED:
        yield settings.broker.bootstrap
        return
    async with embedded_broker() as address:
        tell(f"embedded broker at {address}: in memory, for a trial")
        yield address


def _routes(settings: Settings, parts: Parts, running: Running) -> list[web.RouteDef]:
    budget = settings.budget
    limits = {"eni": budget.eni_series, "port": budget.port_series}
    exposition = Exposition(running.instruments, limits, budget.series_ttl_seconds)
    one_at_a_time = asyncio.Lock()

    async def scrape() -> bytes:
        async with one_at_a_time:
            return await asyncio.to_thread(exposition.render, await running.snapshot())

    routes = health_routes(running.ready, scrape)
    return [*routes, *_firehose(settings, running)] if parts.ingest else routes


def _work(
    settings: Settings, parts: Parts, running: Running, server: Server, stop: asyncio.Event
) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the server and the worker."""
    work = []
    if parts.feed:
        work.append(parts.feed(running.publisher, settings))
    if parts.bridge:
        work.append(_bridge(settings, running))
    if parts.watched:
        work += _watch(running, server, stop)
    return work


def _watch(running: Running, server: Server, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    urls = (
        ("metrics", f"{server.url}/metrics"),
        ("firehose", f"{server.url}/firehose"),
        ("ready", f"{server.url}/readyz"),
    )
    errors = LastError()
    console = Console(stderr=True)
    if console.is_terminal:
        logging.getLogger().handlers = [errors]
    watcher = Watcher(View(uptime_seconds=0.0, broker=running.bootstrap, urls=urls), errors)
    return [watcher.run(running.snapshot, running.ready), watch(watcher, console, stop)]


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless(stop: asyncio.Event, work: asyncio.Task[Any]) -> bool:
    """Wait for `work`; False when `stop` came first, and `work` is over then."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not work.done():
        work.cancel()
        await asyncio.wait([work])
        return False
    work.result()
    return True


async def _until_stopped(
    stop: asyncio.Event, work: Sequence[asyncio.Task[None]], failures: Sequence[asyncio.Future[None]]
) -> None:
    """Until `stop`, or the first failure, which is raised. Work that ends well just ends."""
    stopped = asyncio.create_task(stop.wait())
    pending: set[asyncio.Future[Any]] = {stopped, *work, *failures}
    try:
        while not stop.is_set():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    finally:
        stop.set()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        stopped.cancel()


def _said(settings: Settings, parts: Parts, server: Server) -> str:
    paths = ["/metrics", "/livez", "/readyz", *(["/firehose"] if parts.ingest else [])]
    open_door = parts.ingest and not access_keys(settings.ingest)
    note = " (no access key: anybody who reaches it can post)" if open_door else ""
    return f"listening at {server.url} ({', '.join(paths)}){note}"


def _tls(settings: Settings) -> ssl.SSLContext | None:
    ingest = settings.ingest
    if not ingest.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ingest.tls_cert, ingest.tls_key)
    return context


def _firehose(settings: Settings, running: Running) -> list[web.RouteDef]:
    """The endpoint's routes. Raises ConfigError."""
    ingest = settings.ingest
    try:
        endpoint = FirehoseSettings(
            access_keys=tuple(key.get_secret_value() for key in ingest.access_keys),
            access_key_file=ingest.access_key_file, max_body_bytes=ingest.max_body_bytes,
            max_decompressed_bytes=ingest.max_decompressed_bytes, max_in_flight_bytes=ingest.max_in_flight_bytes,
            deadline_seconds=ingest.deadline_seconds, formats=ingest.formats,
        )  # fmt: skip
        return firehose_routes(endpoint, running.publisher.send, running.instruments)
    except ValueError as problem:
        raise ConfigError([f"ingest.{problem}"]) from None


async def _bridge(settings: Settings, running: Running) -> None:
    """Raises ConfigError."""
    bridge = settings.bridge
    source = bridge.broker if bridge.broker.url else settings.broker
    try:
        wanted = BridgeSettings(
            bootstrap=source.bootstrap or running.bootstrap, options=client_options(source), group=bridge.group,
            topics=bridge.topics, own_prefix=f"{settings.topics.prefix}.", generation=bridge.generation,
            format=settings.format,
        )  # fmt: skip
    except ValueError as problem:
        raise ConfigError([f"bridge.{problem}"]) from None
    await run_bridge(wanted, running.publisher.send, running.instruments)
