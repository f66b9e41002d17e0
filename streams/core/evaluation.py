"""How good the detectors are: findings held against what really happened.

An episode of the truth is caught when a finding of a fitting detector names one of its parties and overlaps it in time.
A finding that fits no episode at all is false. Rates come with 95 % intervals: a handful of episodes proves little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from streams.core.findings import Finding

GRACE_SECONDS = 300
"""A finding may say that it began so much before an episode, or go on so much after it: minutes, late ends."""

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("scan", ("port-scan", "port-sweep", "distributed-scan", "rejected-surge")),
    ("sweep", ("port-scan", "port-sweep", "distributed-scan", "rejected-surge")),
    ("brute", ("brute-force",)),
    ("patator", ("brute-force",)),
    ("dos", ("flood", "connection-flood")),
    ("flood", ("flood", "connection-flood")),
    ("c&c", ("beacon",)),
    ("c2", ("beacon",)),
    ("beacon", ("beacon",)),
    ("exfiltration", ("exfiltration", "unusual-volume")),
    ("dependency", ("broken-dependency",)),
)
"""A word in an episode's kind, lower case -> the detectors that are there for it. Other kinds: any detector."""


@dataclass(frozen=True)
class Episode:
    """start, end: epoch seconds. attacker, victim: addresses, None: several or unknown. eni: None: unknown."""

    kind: str
    start: int
    end: int
    attacker: str | None
    victim: str | None
    eni: str | None

    @classmethod
    def of(cls, row: Mapping[str, object]) -> Episode:
        """A line of a truth file. Raises ValueError."""
        try:
            kind, start, end = str(row["kind"]), int(str(row["start"])), int(str(row["end"]))
        except KeyError as missing:
            raise ValueError(f"an episode has no {missing}") from None
        sides = (row.get(name) for name in ("attacker", "victim", "eni"))
        attacker, victim, eni = (str(one) if one not in (None, "*", "-") else None for one in sides)
        return cls(kind, start, end, attacker, victim, eni)


@dataclass(frozen=True)
class Kind:
    """What became of the episodes of one kind. delays: seconds from the start of each one caught until it was told."""

    kind: str
    detectors: Sequence[str]
    episodes: int
    caught: int
    delays: Sequence[int]

    @property
    def interval(self) -> tuple[float, float]:
        """Of the part that is caught."""
        return wilson(self.caught, self.episodes)

    @property
    def delay(self) -> float | None:
        """The median, in seconds."""
        return median(self.delays) if self.delays else None


@dataclass(frozen=True)
class Evaluation:
    """false: the findings that fit nothing. days: that the records span. enis: interfaces with records."""

    kinds: Sequence[Kind]
    false: Sequence[Finding]
    days: float
    enis: int

    @property
    def false_rate(self) -> float:
        """A day and an interface."""
        return len(self.false) / self._watched

    @property
    def false_interval(self) -> tuple[float, float]:
        """Of that rate."""
        low, high = poisson(len(self.false))
        return low / self._watched, high / self._watched

    @property
    def _watched(self) -> float:
        return max(self.days, 1e-9) * max(self.enis, 1)


def evaluate(findings: Sequence[Finding], truth: Sequence[Episode], days: float, enis: int) -> Evaluation:
    """Hold findings against the truth."""
    kinds = sorted({episode.kind for episode in truth})
    found = [_kind(kind, [one for one in truth if one.kind == kind], findings) for kind in kinds]
    false = [one for one in findings if not any(is_about(one, episode) for episode in truth)]
    return Evaluation(found, false, days, enis)


def is_about(finding: Finding, episode: Episode) -> bool:
    """Whether they overlap, name no different interface, and share a party."""
    apart = finding.first > episode.end + GRACE_SECONDS or finding.last < episode.start - GRACE_SECONDS
    elsewhere = None not in (finding.eni, episode.eni) and finding.eni != episode.eni
    parties = {finding.source, finding.target} & {episode.attacker, episode.victim} - {None}
    return not apart and not elsewhere and bool(parties)


def detectors_for(kind: str) -> Sequence[str]:
    """Those that are there for it; none: any will do."""
    return tuple(dict.fromkeys(name for word, names in _KINDS if word in kind.lower() for name in names))


def _kind(kind: str, episodes: Sequence[Episode], findings: Iterable[Finding]) -> Kind:
    fitting = detectors_for(kind)
    mine = [one for one in findings if not fitting or one.detector in fitting]
    delays = list(_delays(episodes, mine))
    return Kind(kind, fitting, len(episodes), len(delays), delays)


def _delays(episodes: Iterable[Episode], findings: Sequence[Finding]) -> Iterator[int]:
    for episode in episodes:
        told = [one.detected for one in findings if is_about(one, episode)]
        if told:
            yield max(0, min(told) - episode.start)


@dataclass(frozen=True)
class Point:
    """A detector with one of its settings at `value`. true, false: findings that fit an episode, that fit none.

    caught: of `episodes`, those of the kinds that the detector is there for.
    """

    value: float
    episodes: int
    caught: int
    true: int
    false: int

    @property
    def recall(self) -> float:
        """The part of the episodes that is caught; of none: none."""
        return self.caught / self.episodes if self.episodes else 0.0

    @property
    def precision(self) -> float:
        """The part of the findings that is true; of none: all."""
        told = self.true + self.false
        return self.true / told if told else 1.0


def point(value: float, detector: str, findings: Sequence[Finding], truth: Sequence[Episode]) -> Point:
    """What one detector's findings are worth."""
    mine = [one for one in truth if detector in detectors_for(one.kind)]
    caught = sum(any(is_about(finding, episode) for finding in findings) for episode in mine)
    true = sum(any(is_about(finding, episode) for episode in truth) for finding in findings)
    return Point(value, len(mine), caught, true, len(findings) - true)


_Z = 1.959964


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); of none: everything."""
    if not tries:
        return 0.0, 1.0
    share, spread = hits / tries, _Z * _Z / tries
    middle = share + spread / 2
    half = _Z * sqrt(share * (1 - share) / tries + spread / tries / 4)
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def poisson(count: int) -> tuple[float, float]:
    """95 % interval of a mean of which `count` were seen (Byar's approximation)."""
    low = 0.0 if not count else count * (1 - 1 / (9 * count) - _Z / (3 * sqrt(count))) ** 3
    more = count + 1
    return low, more * (1 - 1 / (9 * more) + _Z / (3 * sqrt(more))) ** 3
