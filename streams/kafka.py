"""Reaching a Kafka cluster: what its clients need, and our topics on it. What can't be reached is said in one line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaConnectionError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)

from streams.names import Names
from streams.settings import Client, Topics
from streams.stopping import within

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 8 * 1024 * 1024
"""Bytes of the largest message that our topics take: an undecodable payload is kept whole."""

HOUR_MS = 3_600_000
LONGEST_PAUSE = 10.0
REQUEST_MS = 10_000
METADATA_PAUSE = 0.05
ASK_SECONDS = 2.0
ANSWER_SECONDS = 5.0

Options = Mapping[str, object]
"""Keyword arguments that every aiokafka client takes besides its address."""


class BrokerError(Exception):
    """The cluster can't be reached, or is not whole yet: worth another try. One line."""


class TopicError(Exception):
    """A topic is not as we need it, or we may not make it: no use in trying again. One line a topic."""


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is made. config: Kafka's topic settings; replication -1: the cluster's default."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    replication: int = 1


def our_topics(names: Names, topics: Topics) -> list[TopicSpec]:
    """Every topic that the workers need, as a new installation makes them."""
    raw, rolled, watched = topics.raw_partitions, topics.summary_partitions, topics.conversation_partitions
    shapes = (
        (names.raw, raw, _kept(hours=72)),
        (names.summaries, rolled, _kept(hours=24)),
        (names.dead_letters, 1, _kept(hours=14 * 24)),
        (names.combine_changelog, raw, _compacted()),
        (names.roll_changelog, rolled, _compacted()),
        (names.conversations, watched, _kept(hours=24)),
        (names.detect_changelog, watched, _compacted()),
        (names.view, 1, _momentary()),
        *((name, 1, _compacted()) for name in (names.anomalies, names.anomalies_ocsf, names.anomalies_ecs)),
    )
    return [TopicSpec(name, partitions, config, topics.replication) for name, partitions, config in shapes]


def client_options(client: Client) -> Options:
    """The keyword arguments of aiokafka's clients for these settings, the address left out.

    Raises ssl.SSLError or OSError for certificates that can't be used.
    """
    options: dict[str, object] = {"security_protocol": client.security_protocol}
    if client.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(client)
    if client.sasl_mechanism:
        options["sasl_mechanism"] = client.sasl_mechanism
        options["sasl_plain_username"] = client.sasl_username
        options["sasl_plain_password"] = client.sasl_password.get_secret_value()
    return options


def tls_context(client: Client) -> ssl.SSLContext:
    """A context that checks the brokers' names and certificates, with our own certificate where there is one."""
    context = ssl.create_default_context(cafile=client.ssl_cafile)
    if client.ssl_certfile:
        context.load_cert_chain(client.ssl_certfile, client.ssl_keyfile)
    return context


def tells_no_login(record: logging.LogRecord) -> bool:
    """A filter for the clients' own log: at debug it has whole requests, and SASL's has the password in it."""
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    return not any("sasl" in type(one).__name__.lower() for one in arguments)


async def ensure_topics(bootstrap: str, topics: Sequence[TopicSpec], options: Options | None = None) -> None:
    """Make the topics that are missing; leave those that are there as they are. Safe to run in many processes at once.

    bootstrap: host:port[,host:port...]. Raises BrokerError (not reached), TopicError (other partition count, refused).
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_MS, **(options or {}))
    try:
        await admin.start()
        counts = await _partitions(admin)
        missing = [spec for spec in topics if spec.name not in counts]
        if missing:
            await _create(admin, missing)
            counts = await _seen(admin, topics)
        _compare(topics, counts)
    except (KafkaError, OSError, TimeoutError) as error:
        msg = f"can't reach Kafka at {bootstrap}: {_reason(error)}"
        raise BrokerError(msg) from error
    finally:
        await admin.close()


async def prepare_topics(
    bootstrap: str, topics: Sequence[TopicSpec], options: Options | None, tell: Callable[[str], None]
) -> None:
    """`ensure_topics` until the cluster answers. tell: gets each new reason for waiting, once."""
    pause, told = 0.5, ""
    while True:
        try:
            return await ensure_topics(bootstrap, topics, options)
        except BrokerError as error:
            if str(error) != told:
                tell(f"{error}; trying again")
            told = str(error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


class Contact:
    """Whether a cluster answers and has the topics, asked every ASK_SECONDS over a connection of its own.

    `problem` is empty while it does, else the reason in one line with the address. It is told when it changes, once:
    the clients themselves would say the same several times a second, each in its own words.
    """

    def __init__(self, bootstrap: str, options: Options, topics: Sequence[str] = ()) -> None:
        """bootstrap: host:port[,host:port...]. Nothing is asked yet."""
        self.bootstrap = bootstrap
        self.problem = f"not connected to Kafka at {bootstrap} yet"
        self._options = options
        self._topics = tuple(topics)
        self._answered = time.monotonic()
        self._told = False
        self._fine = asyncio.Event()
        self._client: AIOKafkaClient | None = None

    @property
    def silent_seconds(self) -> float:
        """Since the last answer."""
        return time.monotonic() - self._answered

    def lost(self, problem: str) -> None:
        """Take note that it does not answer, or not as it should."""
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem, self._told = problem, True
        self._fine.clear()

    async def fine(self) -> None:
        """Wait until it answers and has the topics."""
        await self._fine.wait()

    async def watch(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self._ask()
                await asyncio.sleep(ASK_SECONDS)
        finally:
            await self._hang_up()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                missing = await self._missing()
        except (KafkaError, OSError) as error:
            await self._hang_up()
            self.lost(f"can't reach Kafka at {self.bootstrap}: {_reason(error)}; trying again")
            return
        self._answered = time.monotonic()
        if missing:
            self.lost(f"Kafka at {self.bootstrap} has no topic {', '.join(missing)}; waiting for it")
            return
        if self._told:
            log.info("Kafka at %s is there", self.bootstrap)
        self.problem, self._told = "", False
        self._fine.set()

    async def _missing(self) -> list[str]:
        """The topics that are not there. Raises KafkaError, OSError: no answer."""
        if self._client is None:
            client = self._client = AIOKafkaClient(
                bootstrap_servers=self.bootstrap, request_timeout_ms=int(ANSWER_SECONDS * 1000), **self._options
            )
            await client.bootstrap()
            answered = await client.set_topics(self._topics)
        else:
            answered = await self._client.force_metadata_update()
        if not answered:
            raise KafkaConnectionError
        known = self._client.cluster.topics()
        return [topic for topic in self._topics if topic not in known]

    async def _hang_up(self) -> None:
        """Drop the connection: brokers may come back at other addresses."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, OSError):
                await within(ANSWER_SECONDS, client.close())


def _kept(hours: int) -> Mapping[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(hours * HOUR_MS),
        "max.message.bytes": str(LARGEST_MESSAGE),
    }


def _compacted() -> Mapping[str, str]:
    """State: the last value of a key. Small segments, or the active one would hold hours of old values."""
    return {
        "cleanup.policy": "compact",
        "segment.ms": str(HOUR_MS),
        "segment.bytes": str(64 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.2",
        "max.message.bytes": str(LARGEST_MESSAGE),
    }


def _momentary() -> Mapping[str, str]:
    """The last value of a key, and none that is older than an hour. Segments of minutes: readers look back one."""
    return {
        "cleanup.policy": "compact,delete",
        "retention.ms": str(HOUR_MS),
        "segment.ms": str(HOUR_MS // 6),
        "segment.bytes": str(16 * 1024 * 1024),
        "max.message.bytes": str(LARGEST_MESSAGE),
    }


def _reason(error: BaseException) -> str:
    if isinstance(error, KafkaConnectionError):
        return "nobody answers there, or not as security_protocol and sasl_* say"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join((str(error).strip() or type(error).__name__).split())


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Topic -> partitions. All topics are asked for: to ask for one by name can make it, with the wrong count."""
    found = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}


async def _seen(admin: AIOKafkaAdminClient, topics: Sequence[TopicSpec]) -> dict[str, int]:
    """Topic -> partitions once every topic is there: a broker learns of a new topic a moment after it was made."""
    async with asyncio.timeout(REQUEST_MS / 1000):
        while True:
            counts = await _partitions(admin)
            if all(spec.name in counts for spec in topics):
                return counts
            await asyncio.sleep(METADATA_PAUSE)


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[TopicSpec]) -> None:
    answer = await admin.create_topics(
        [NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config)) for spec in missing]
    )
    refused = []
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        said = f"topic {name} can't be made: {(message and message[0]) or error.__name__}"
        if error is InvalidReplicationFactorError:  # brokers that still start count as missing
            raise BrokerError(said)
        if error not in (NoError, TopicAlreadyExistsError):
            refused.append(said)
    if refused:
        raise TopicError("\n".join(refused))


def _compare(topics: Sequence[TopicSpec], counts: Mapping[str, int]) -> None:
    wrong = [
        f"topic {spec.name} has {counts[spec.name]} partitions, the settings say {spec.partitions}"
        for spec in topics
        if counts[spec.name] != spec.partitions
    ]
    if wrong:
        raise TopicError("\n".join(wrong))
