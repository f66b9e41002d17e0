"""What the console shows, as data: what a worker tells the others, and what the API answers.

The API's schemas are made of these classes, their sentences too. A rate is per second; times are epoch seconds. None:
not known, which is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
"""Of a picture on the topic: raised when an older release could not read it."""


@dataclass(frozen=True)
class Rates:
    """What moves, per second. accepted, rejected: flow records by their action."""

    records: float
    bytes: float
    accepted: float
    rejected: float


@dataclass(frozen=True)
class Point:
    """The rates of five seconds, which end at `epoch`."""

    epoch: int
    rates: Rates


@dataclass(frozen=True)
class Eni:
    """A network interface; `other`: all those above the budget, `-`: records without one.

    Rates are of the last minute. history: bytes per second, five seconds each, the newest last; None: not among those
    that moved most.
    """

    eni: str
    bytes: float
    flows: float
    rejected: float
    history: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Port:
    """A service port with its protocol, such as `443/tcp`. service: what usually speaks there, or nothing.

    The rest as for an interface.
    """

    port: str
    service: str
    bytes: float
    flows: float
    rejected: float
    history: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Talker:
    """Client and server, both ways together, in one minute: sums. flows: records; rejected: those that were refused."""

    client: str
    server: str
    port: str
    service: str
    bytes: int
    flows: int
    rejected: int


@dataclass(frozen=True)
class Found:
    """An open finding. evidence: the numbers that it rests on; service: port and protocol, such as `22/tcp`."""

    id: str
    detector: str
    severity: str
    sentence: str
    first_seen: int
    last_seen: int
    count: int
    eni: str | None
    source: str | None
    target: str | None
    service: str | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Totals since the beginning. lag: messages that wait, by topic. dead_letters: lines that can't be read, by reason.

    folded, tabled: flow records on both sides of the summaries; they are equal when nothing is on its way.
    """

    lag: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    late: int = 0
    future: int = 0
    duplicates: int = 0
    unwatched: int = 0
    folded: int = 0
    tabled: int = 0


@dataclass(frozen=True)
class Picture:
    """One moment of one worker. What it has of its own partitions: together the workers have all.

    watermark: the latest of its raw partitions. checkpoints: agent -> when its last one was written. history: five
    seconds a point, the newest last. open: findings by severity, all of them; findings: the worst. talkers: of the
    minute `talked`, which is None where no detector looks.
    """

    instance: str
    epoch: float
    ready: bool
    reason: str
    rates: Rates | None = None
    history: tuple[Point, ...] = ()
    enis: tuple[Eni, ...] = ()
    ports: tuple[Port, ...] = ()
    rejected_enis: tuple[Eni, ...] = ()
    rejected_ports: tuple[Port, ...] = ()
    counts: Counts = field(default_factory=Counts)
    watermark: int | None = None
    checkpoints: Mapping[str, float] = field(default_factory=dict)
    detecting: bool = False
    open: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Found, ...] = ()
    talked: int | None = None
    talkers: tuple[Talker, ...] = ()
    version: int = VERSION


# -- what the API answers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worker:
    """A worker that told of itself in the last 30 seconds. age_seconds: so long ago. reason: why it is not ready."""

    instance: str
    age_seconds: float
    ready: bool
    reason: str
    rates: Rates | None
    detecting: bool


@dataclass(frozen=True)
class Overview:
    """All workers together. ready: there is one, and all are. rates: of the last minute; history: see Point.

    detecting: some worker looks for findings. open: findings by severity.
    """

    epoch: float
    ready: bool
    workers: tuple[Worker, ...]
    rates: Rates | None
    history: tuple[Point, ...]
    detecting: bool
    open: Mapping[str, int]


@dataclass(frozen=True)
class Enis:
    """The 50 interfaces that moved most bytes in the last minute, and those with most refused records."""

    enis: tuple[Eni, ...]
    rejected: tuple[Eni, ...]


@dataclass(frozen=True)
class Ports:
    """The 50 service ports that moved most bytes in the last minute, and those with most refused records."""

    ports: tuple[Port, ...]
    rejected: tuple[Port, ...]


@dataclass(frozen=True)
class Talkers:
    """The 20 conversations with most bytes of the last closed minute, which began at `minute`; None: none is known."""

    minute: int | None
    talkers: tuple[Talker, ...]


@dataclass(frozen=True)
class Explained:
    """What a detector looks for, and what to do about what it finds. attack: MITRE ATT&CK techniques."""

    title: str
    explanation: str
    runbook: str
    attack: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """open: how many there are, by severity. findings: the worst of them. detectors: of those, by name."""

    open: Mapping[str, int]
    findings: tuple[Found, ...]
    detectors: Mapping[str, Explained]


@dataclass(frozen=True)
class Health:
    """The way of a record. watermark_age_seconds: since the latest event time that any raw partition has reached.

    checkpoint_age_seconds: by agent, of the worker whose last one is the oldest. conservation_difference: flow records
    that are counted, and not in the tables yet; it returns to 0 unless something is lost.
    """

    counts: Counts
    watermark_age_seconds: float | None
    checkpoint_age_seconds: Mapping[str, float]
    conservation_difference: int


@dataclass(frozen=True)
class Problem:
    """Why there is no answer."""

    error: str
