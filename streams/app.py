"""The only wiring: settings -> broker, worker, ingest, feeds, HTTP server. Nothing imports it but the command line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import yaml
from aiohttp import web
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streams import deadletters, feeds, tuning
from streams.agents.worker import Plan, Worker
from streams.console.api import Access, access, console_routes, elsewhere_routes, is_loopback
from streams.console.fleet import Fleet
from streams.console.models import Picture
from streams.console.picture import Maker
from streams.core import findings
from streams.core.combine import Policy
from streams.core.fields import Format, parse_format
from streams.core.raw import RawMessage
from streams.core.watching import Setup
from streams.deadletters import Listing
from streams.embedded import embedded_broker
from streams.feeds import Replay
from streams.kafka import BrokerError, Contact, Options, client_options, our_topics, prepare_topics, tells_no_login
from streams.live import View
from streams.looplag import watch_lag
from streams.metrics import Exposition, Instruments, Snapshot
from streams.names import Names
from streams.server import Server, health_routes
from streams.settings import EMBEDDED, Client, ConfigError, Settings, access_keys, redacted
from streams.sinks import ecs, ocsf
from streams.sinks.alertmanager import push
from streams.sources.bridge import BridgeSettings, Reading, run_bridge
from streams.sources.deadletters import LetterError, Putting, Reader, opened, put_back
from streams.sources.firehose import RUNNER_OPTIONS, FirehoseSettings, firehose_routes
from streams.sources.messages import format_names
from streams.sources.publish import Publisher
from streams.stopping import Ending
from streams.watch import LastError, Watcher, watch

log = logging.getLogger(__name__)

_EMBEDDED_SESSION = 8.0
"""Instead of `group.session_seconds`: the embedded broker lets half of it pass at every join."""
_LIBRARIES = ("faust", "mode", "aiokafka", "asyncio")
_PATIENCE_SECONDS = 60.0
"""A worker that has not reached its broker for so long ends: started again it finds back in any case."""
_UNREADY_SECONDS = 60.0
_LOOK_SECONDS = 1.0

Tell = Callable[[str], None]
Feed = Callable[[Publisher, Settings, Callable[[], None]], Coroutine[Any, Any, None]]
"""Something that puts records on the raw topic until it is cancelled: the generator, files. Where it has no more, it
says so by calling the last one.
"""


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
    publisher: Publisher | None
    worker: Worker | None
    instruments: Instruments
    contacts: tuple[Contact, ...]
    bridged: Reading | None
    rulebook: tuning.Rulebook | None
    ending: Ending
    fleet: Fleet | None

    def ready(self) -> tuple[bool, str]:
        """Whether it works, else why not."""
        if self.ending.asked.is_set():
            return False, "stopping"
        problems = [contact.problem for contact in self.contacts]
        problems += [part.problem for part in (self.publisher, self.bridged) if part]
        for problem in filter(None, problems):
            return False, problem
        return self.worker.ready() if self.worker else (True, "ready")

    async def snapshot(self) -> Snapshot:
        """What /metrics and the live view read."""
        found = await self.worker.snapshot() if self.worker else Snapshot()
        return replace(found, ready=self.ready()[0])


_OVERHEARD = LastError()
"""The newest warning of the libraries: they are not shown, but it may be the reason why nothing goes on."""


def log_to_stderr(settings: Settings) -> None:
    """Our own lines, from the level in the settings on. The libraries' are kept back unless it is debug.

    They say one problem many times a second, in words of their own, with tracebacks: what matters of it we say.
    """
    level = settings.log.level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiokafka.conn").addFilter(tells_no_login)
    if level == "DEBUG":
        return
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.propagate, library.handlers = False, [_OVERHEARD]
    threading.excepthook = lambda _: None  # threads of theirs: ours are pools, which hand on what is raised


def policy(settings: Settings) -> Policy:
    """The core's settings."""
    panes, budget = settings.panes, settings.budget
    return Policy(
        pane_seconds=panes.seconds, assign=panes.assign, lateness=panes.lateness_seconds, retained=panes.retained,
        max_span=panes.max_span_seconds, eni_keys=budget.eni_keys, port_keys=budget.port_keys,
        key_ttl=budget.key_ttl_seconds, origins=budget.origins, default_format=_format(settings.format),
        watched=settings.detection.live, watch_lateness=settings.detection.lateness_seconds,
    )  # fmt: skip


def setup(settings: Settings, rules: tuning.Rules) -> Setup:
    """What the detectors go by."""
    return Setup(
        rules.detectors, rules.suppressions, settings.topics.raw_partitions, settings.detection.lateness_seconds,
        settings.budget.conversations,
    )  # fmt: skip


def _format(text: str) -> Format | None:
    try:
        return parse_format(text) if text else None
    except ValueError as problem:
        raise ConfigError([f"format: {problem}"]) from None


def plan(settings: Settings, rules: tuning.Rules | None) -> Plan:
    """The worker's settings. rules: of the detectors, None: none run."""
    names = Names(settings.topics.prefix)
    return Plan(
        names=names, summary_partitions=settings.topics.summary_partitions,
        policy=policy(settings), setup=setup(settings, rules) if rules else None,
        outputs={names.anomalies: findings.render, names.anomalies_ocsf: ocsf.render, names.anomalies_ecs: ecs.render},
        conversation_partitions=settings.topics.conversation_partitions,
        flush_seconds=settings.checkpoint.summary_seconds, checkpoint_seconds=settings.checkpoint.seconds,
        idle_seconds=settings.panes.idle_seconds,
        session_seconds=_EMBEDDED_SESSION if settings.broker.url == EMBEDDED else settings.group.session_seconds,
        recovery_seconds=settings.group.recovery_seconds, instance_id=settings.group.instance_id,
    )  # fmt: skip


async def run(settings: Settings, parts: Parts, tell: Tell) -> None:
    """Run the parts until SIGINT or SIGTERM, or until one of them fails: then its exception is raised.

    Whatever happens then, the process is over STOP_SECONDS later (see streams.stopping).
    """
    ending = Ending()
    ending.listen()
    async with AsyncExitStack() as stack:
        try:
            await _serve(settings, parts, tell, stack, ending)
        finally:
            ending.begin()


async def _serve(settings: Settings, parts: Parts, tell: Tell, stack: AsyncExitStack, ending: Ending) -> None:
    starting = asyncio.create_task(_start(settings, parts, tell, stack, ending))
    if not await _unless(ending.asked, starting):
        return
    running, server = starting.result()
    tell(_said(settings, parts, server))
    work = [asyncio.create_task(one) for one in _work(settings, parts, running, server)]
    failures = [running.worker.failed] if running.worker and running.worker.failed else []
    await _until_stopped(ending, work, failures)


@contextlib.asynccontextmanager
async def raw_topic(settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher on the raw topic of a broker that runs already, or that is waited for."""
    bootstrap, options = settings.broker.bootstrap, _options("broker", settings.broker)
    names = Names(settings.topics.prefix)
    contact = Contact(bootstrap, options, [names.raw])
    await prepare_topics(bootstrap, our_topics(names, settings.topics), options, contact.lost)
    publisher = Publisher(bootstrap, names.raw, settings.topics.raw_partitions, options)
    watching = asyncio.create_task(contact.watch())
    try:
        await publisher.start()
        await contact.fine()  # cancelled while it connects, it would leave the connection behind
        yield publisher
    finally:
        watching.cancel()
        await asyncio.wait([watching])
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
    async with raw_topic(settings) as publisher:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("replaying", total=None, lines=0)
            total = 0

            def sent(lines: int, size: int) -> None:
                nonlocal total
                total += lines
                progress.update(task, advance=size, lines=total)

            await feeds.replay(feeds.lasting(publisher.send), paths, how, sent)
    tell(f"{total:,} lines on {Names(settings.topics.prefix).raw}")


@contextlib.asynccontextmanager
async def _letters(settings: Settings, doing: str, *, hidden: bool = False) -> AsyncIterator[Reader]:
    """The dead letters of a broker that is waited for, with a progress bar of their messages."""
    bootstrap, options = settings.broker.bootstrap, _options("broker", settings.broker)
    topic = Names(settings.topics.prefix).dead_letters
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    hidden = hidden or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(doing, total=None)

        def read(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        async with opened(bootstrap, topic, options, read) as reader:
            contact = Contact(bootstrap, options, [topic])
            watching = asyncio.create_task(contact.watch())
            try:
                await contact.fine()
                yield reader
            finally:
                await _cancelled(watching)


async def list_letters(settings: Settings, how: Listing, out: TextIO) -> None:
    """`vpcflow deadletters list`: counts for people, an object a letter for programs."""
    async with _letters(settings, "reading", hidden=how.as_json and out.isatty()) as reader:
        counts = await deadletters.count(reader, how, out)
    if not how.as_json:
        deadletters.print_counts(counts, Console(file=out), Names(settings.topics.prefix).dead_letters)


async def show_letters(settings: Settings, how: Listing, out: TextIO, tell: Tell) -> None:
    """`vpcflow deadletters show`: the newest letters, or one. Raises LetterError."""
    topic = Names(settings.topics.prefix).dead_letters
    async with _letters(settings, "reading") as reader:
        shown = await deadletters.newest(reader, how)
    if how.id is not None and not shown.letters:
        raise LetterError(f"no dead letter {how.id} on {topic}; vpcflow deadletters list --json has their ids")
    deadletters.print_letters(shown, how, out)
    if how.id is None:
        tell(f"{len(shown.letters):,} of {shown.total:,} dead letters on {topic}, the newest last")


async def replay_letters(settings: Settings, how: Putting, out: TextIO, tell: Tell, *, as_json: bool) -> None:
    """`vpcflow deadletters replay`: letters onto the raw topic, each once. On trial nothing is written, nor made."""
    names = Names(settings.topics.prefix)
    how = replace(how, largest_bytes=settings.ingest.max_decompressed_bytes, default_format=settings.format or None)
    async with AsyncExitStack() as stack:
        send: feeds.Send = _nowhere
        mark: feeds.Send = _nowhere
        reader = await stack.enter_async_context(_letters(settings, "looking" if how.trial else "putting back"))
        if not how.trial:
            send = feeds.lasting((await stack.enter_async_context(raw_topic(settings))).send)
            options = _options("broker", settings.broker)
            marks = Publisher(settings.broker.bootstrap, names.dead_letters, 1, options)
            stack.push_async_callback(marks.stop)
            await marks.start()
            mark = feeds.lasting(marks.send)
        put = await put_back(reader, send, mark, how, time.time)
    if as_json:
        out.write(deadletters.put_json(put, trial=how.trial) + "\n")
    else:
        for line in deadletters.put_text(put, names.raw, trial=how.trial):
            tell(line)


async def _nowhere(_: Sequence[RawMessage]) -> None:
    """Stores nothing."""


def generator_feed(rate: int) -> Feed:
    """Generated traffic of the present, `rate` records a second."""

    async def feed(publisher: Publisher, *_: object) -> None:
        await feeds.generate(feeds.lasting(publisher.send), rate)

    return feed


def files_feed(paths: Sequence[Path]) -> Feed:
    """Files, folders or `-`, as live traffic: that is what a person who starts with them wants to see move."""

    async def feed(publisher: Publisher, settings: Settings, over: Callable[[], None]) -> None:
        send = feeds.lasting(publisher.send)
        await feeds.replay(send, paths, Replay(live=True, format=settings.format or None), lambda *_: None)
        over()
        await asyncio.Event().wait()  # the tables stay to be looked at

    return feed


def verify(settings: Settings) -> None:
    """Refuse what is only found to be wrong when it is used: before anything starts. Raises ConfigError."""
    _format(settings.format)
    tuning.rules(settings.detection)
    for arn, text in settings.ingest.formats.items():
        try:
            format_names(text)
        except ValueError as problem:
            raise ConfigError([f"ingest.formats.{arn}: {problem}"]) from None
    access_keys(settings.ingest)
    _access(settings)
    _tls(settings)
    _options("broker", settings.broker)
    _source_options(settings)


def check(settings: Settings) -> list[str]:
    """What `vpcflow check` prints: the settings in force, and what they would run. Raises ConfigError."""
    verify(settings)
    access = access_keys(settings.ingest)
    names = Names(settings.topics.prefix)
    scheme = "https" if settings.ingest.tls_cert else "http"
    token = "for those with a token" if settings.console.token_file else "for everybody who reaches it"
    console = f"at / of each worker, {token}" if settings.console.enabled else "off"
    posts = f"/firehose with {_count(len(access), 'access key') if access else 'no access key'}"
    return [
        yaml.safe_dump(redacted(settings), sort_keys=False).rstrip(),
        "",
        f"broker: {settings.broker.url}",
        *(f"topic: {one.name}, {_count(one.partitions, 'partition')}" for one in our_topics(names, settings.topics)),
        f"listens: {scheme}://{settings.listen} ({posts}, /metrics, /livez, /readyz)",
        f"console: {console}",
        f"bridge: {', '.join(settings.bridge.topics) or 'nothing to bridge'}",
        "configuration: ok",
    ]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


# -- starting and stopping --------------------------------------------------------------------------------------------


async def _start(
    settings: Settings, parts: Parts, tell: Tell, stack: AsyncExitStack, ending: Ending
) -> tuple[Running, Server]:
    """HTTP first: health is answered while the broker is waited for. What is stopped last is started first."""
    bootstrap = await stack.enter_async_context(_broker(settings, tell))
    running = _assembled(settings, parts, bootstrap, ending)
    stack.push_async_callback(_cancelled, asyncio.create_task(watch_lag(running.instruments.loop_lag)))
    tls = _tls(settings) if parts.ingest else None
    server = Server(settings.listen, _routes(settings, parts, running), RUNNER_OPTIONS, tls)
    await server.start()
    stack.push_async_callback(server.stop)
    options, topics = _options("broker", settings.broker), our_topics(Names(settings.topics.prefix), settings.topics)
    await prepare_topics(bootstrap, topics, options, running.contacts[0].lost)
    for contact in running.contacts:
        stack.push_async_callback(_cancelled, asyncio.create_task(contact.watch()))
    if running.publisher:
        stack.push_async_callback(running.publisher.stop)
        await running.publisher.start()
    if worker := running.worker:

        async def stop_worker(_: object, problem: BaseException | None, __: object) -> None:
            await worker.stop(failed=problem is not None)

        stack.push_async_exit(stop_worker)
        await worker.start()
    return running, server


def _assembled(settings: Settings, parts: Parts, bootstrap: str, ending: Ending) -> Running:
    """The parts, none of them started. contacts: our own cluster first."""
    options, names, instruments = _options("broker", settings.broker), Names(settings.topics.prefix), Instruments()
    publisher = Publisher(
        bootstrap, names.raw, settings.topics.raw_partitions, options, settings.ingest.deadline_seconds
    )
    contacts = [Contact(bootstrap, options, [names.raw])]
    if parts.bridge:
        source = settings.bridge.broker
        topics = settings.bridge.topics
        contacts.append(Contact(source.bootstrap or bootstrap, _source_options(settings), topics))
    rulebook = tuning.Rulebook(settings.detection) if parts.worker and settings.detection.live else None
    planned = plan(settings, rulebook.rules if rulebook else None)
    return Running(
        bootstrap=bootstrap,
        publisher=publisher if parts.ingest or parts.bridge or parts.feed else None,
        worker=Worker(bootstrap, settings.broker, planned, instruments) if parts.worker else None,
        instruments=instruments,
        contacts=tuple(contacts),
        bridged=Reading() if parts.bridge else None,
        rulebook=rulebook,
        ending=ending,
        fleet=Fleet(bootstrap, options, names.view) if parts.worker and settings.console.enabled else None,
    )


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


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

    routes = [*health_routes(running.ready, scrape), *_console(settings, running)]
    return [*routes, *_firehose(settings, running.publisher, running)] if parts.ingest and running.publisher else routes


def _console(settings: Settings, running: Running) -> list[web.RouteDef]:
    """The page and its API, where a worker runs; elsewhere a word on where they are."""
    if running.fleet:
        return console_routes(running.fleet.pictures, _access(settings))
    off = running.worker is not None
    return elsewhere_routes("the console is off (console.enabled)" if off else "the console is at / of each worker")


def _access(settings: Settings) -> Access:
    """Who may ask the console's API. Raises ConfigError."""
    try:
        return access(settings.console.token_file, _host(settings))
    except ValueError as problem:
        raise ConfigError([f"console.{problem}"]) from None


def _host(settings: Settings) -> str:
    return settings.listen.rpartition(":")[0]


async def _show(running: Running, fleet: Fleet) -> None:
    """Every few seconds a picture of this worker, for the console of each."""
    await running.contacts[0].fine()
    maker = Maker(f"{socket.gethostname()}-{secrets.token_hex(3)}")

    async def look() -> Picture:
        snapshot, checkpoints = await running.snapshot(), running.instruments.checkpointed()
        moment = (running.ready(), time.monotonic(), time.time())
        return await asyncio.to_thread(maker.look, snapshot, *moment, checkpoints)

    await fleet.run(look)


def _work(settings: Settings, parts: Parts, running: Running, server: Server) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the server and the worker."""
    work = [_tell_unready(running)]
    if parts.worker:
        work.append(not_for_long(running.contacts[0], _PATIENCE_SECONDS))
    if running.rulebook:
        work.append(_follow_rules(settings, running.rulebook, running))
    if running.worker and running.rulebook and settings.detection.alertmanager:
        url, seconds = settings.detection.alertmanager, settings.detection.alertmanager_seconds
        work.append(push(url, seconds, running.worker.open_findings, running.instruments.pushed))
    if running.fleet:
        work.append(_show(running, running.fleet))
    if parts.feed and running.publisher and running.worker:
        work.append(parts.feed(running.publisher, settings, running.worker.over))
    if parts.bridge and running.publisher:
        work.append(_bridge(settings, running.publisher, running))
    if parts.watched:
        work += _watch(running, server)
    return work


async def not_for_long(contact: Contact, seconds: float) -> None:
    """Until the broker has not answered for so long: raises BrokerError then."""
    while (left := seconds - contact.silent_seconds) > 0:  # noqa: ASYNC110 - silence is no event
        await asyncio.sleep(left)
    raise BrokerError(
        f"Kafka at {contact.bootstrap} has not answered for {seconds:.0f} s; "
        "nothing is lost, the next start waits for it and goes on from the last checkpoint"
    )


async def _follow_rules(settings: Settings, rulebook: tuning.Rulebook, running: Running) -> None:
    """Detectors go by the files as they are; an edit that can't be right is told, and changes nothing."""
    while running.worker:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            changed = await asyncio.to_thread(rulebook.changed)
        except ConfigError as problem:
            log.warning("rules refused, those before stay in force: %s", problem)
            running.instruments.reloaded(successful=False)
            continue
        if changed:
            running.worker.renew(setup(settings, rulebook.rules))
            running.instruments.reloaded(successful=True)
            log.info("rules taken: %s detectors", len(rulebook.rules.detectors))


async def _tell_unready(running: Running) -> None:
    """Say it when a process is not ready for long, with what the libraries said last: it may be the reason."""
    since, told = time.monotonic(), ""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        ready, reason = running.ready()
        if ready:
            since, told = time.monotonic(), ""
        elif time.monotonic() - since >= _UNREADY_SECONDS and reason != told:
            log.warning(
                "not ready for %.0f s: %s (%s)", time.monotonic() - since, reason, _OVERHEARD.line or "no more is known"
            )
            told = reason


def _watch(running: Running, server: Server) -> list[Coroutine[Any, Any, None]]:
    urls = (
        *((("console", f"{server.url}/"),) if running.fleet else ()),
        ("metrics", f"{server.url}/metrics"),
        ("firehose", f"{server.url}/firehose"),
        ("ready", f"{server.url}/readyz"),
    )
    errors = LastError()
    console = Console(stderr=True)
    if console.is_terminal:
        logging.getLogger().handlers = [errors]
    watcher = Watcher(View(uptime_seconds=0.0, broker=running.bootstrap, urls=urls), errors)
    return [watcher.run(running.snapshot, running.ready), watch(watcher, console, running.ending.asked)]


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
    ending: Ending, work: Sequence[asyncio.Task[None]], failures: Sequence[asyncio.Future[None]]
) -> None:
    """Until the end is asked for, or the first failure, which is raised. Work that ends well just ends."""
    stopped = asyncio.create_task(ending.asked.wait())
    pending: set[asyncio.Future[Any]] = {stopped, *work, *failures}
    try:
        while not ending.asked.is_set():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    finally:
        ending.begin()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        stopped.cancel()


def _said(settings: Settings, parts: Parts, server: Server) -> str:
    shown = parts.worker and settings.console.enabled
    first = ["/"] if shown else []
    paths = [*first, "/metrics", "/livez", "/readyz", *(["/firehose"] if parts.ingest else [])]
    notes = []
    if parts.ingest and not access_keys(settings.ingest):
        notes.append(" (no access key: anybody who reaches it can post)")
    if shown and not settings.console.token_file and not is_loopback(_host(settings)):
        notes.append(" (no console token: anybody who reaches it can look)")
    return f"listening at {server.url} ({', '.join(paths)}){''.join(notes)}"


def _tls(settings: Settings) -> ssl.SSLContext | None:
    ingest = settings.ingest
    if not ingest.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(ingest.tls_cert, ingest.tls_key)
    except OSError as problem:
        expected = "expected a certificate chain and its key (ingest.tls_key), both PEM"
        raise ConfigError([f"ingest.tls_cert: {expected}, found {ingest.tls_cert}: {problem}"]) from None
    return context


def _options(section: str, client: Client) -> Options:
    """What clients need to reach the cluster of a section of the settings. Raises ConfigError."""
    try:
        return client_options(client)
    except OSError as problem:
        raise ConfigError([f"{section}.ssl_*: expected certificates and a key in PEM, found none: {problem}"]) from None


def _source_options(settings: Settings) -> Options:
    """The same for the cluster that the bridge reads."""
    source = settings.bridge.broker
    return _options("bridge.broker", source) if source.url else _options("broker", settings.broker)


def _firehose(settings: Settings, publisher: Publisher, running: Running) -> list[web.RouteDef]:
    """The endpoint's routes. Raises ConfigError."""
    ingest = settings.ingest
    try:
        endpoint = FirehoseSettings(
            access_keys=tuple(key.get_secret_value() for key in ingest.access_keys),
            access_key_file=ingest.access_key_file, max_body_bytes=ingest.max_body_bytes,
            max_decompressed_bytes=ingest.max_decompressed_bytes, max_in_flight_bytes=ingest.max_in_flight_bytes,
            deadline_seconds=ingest.deadline_seconds, formats=ingest.formats,
        )  # fmt: skip
        return firehose_routes(endpoint, publisher.send, running.instruments)
    except ValueError as problem:
        raise ConfigError([f"ingest.{problem}"]) from None


async def _bridge(settings: Settings, publisher: Publisher, running: Running) -> None:
    """Raises ConfigError."""
    bridge = settings.bridge
    try:
        wanted = BridgeSettings(
            bootstrap=bridge.broker.bootstrap or running.bootstrap, options=_source_options(settings),
            group=bridge.group, topics=bridge.topics, own_prefix=f"{settings.topics.prefix}.",
            generation=bridge.generation, format=settings.format,
        )  # fmt: skip
    except ValueError as problem:
        raise ConfigError([f"bridge.{problem}"]) from None
    await running.contacts[-1].fine()
    await run_bridge(wanted, publisher.send, running.instruments, reading=running.bridged)
