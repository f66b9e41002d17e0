"""What a detector is: a pure function over the conversations of closed minutes, with a bounded memory of its own.

Minutes come in order, each once. A detector gets the conversations of one (core.conversations, `pane` left out,
directions told) and all contacts (core.contacts), its memory (frames by name) and its settings; it gives hits
(core.findings) and its memory as it is now. It reads no clock: the minute is the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import polars as pl

from streams.core import direction
from streams.core.contacts import Contacts, Limits
from streams.core.conversations import PANE_SECONDS
from streams.core.findings import Episodes, Finding, as_frame, of_frame
from streams.core.places import Places

_CONTACTS, _MEMORY, _OPEN = "contacts", "memory", "open"
"""What frames of `Watch.frames` are named by."""

_NOWHERE = Places()
Memory = Mapping[str, pl.DataFrame]
Schema = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True)
class Minute:
    """start: epoch seconds. talks: conversations that began in it, as said above. contacts: what is known after it.

    silent: interfaces with records that hold no flow (core.statuses, `pane` left out).
    """

    start: int
    talks: pl.DataFrame
    contacts: Contacts
    silent: pl.DataFrame

    @property
    def end(self) -> int:
        """Epoch seconds; the first one that is not in it."""
        return self.start + PANE_SECONDS

    @classmethod
    def of(cls, start: int, talks: pl.DataFrame, contacts: Contacts, silent: pl.DataFrame) -> Minute:
        """With what many detectors ask of the same addresses, asked once."""
        sides = (_is_outside(side, contacts).alias(f"{side}{_OUTSIDE}") for side in _SIDES)
        return cls(start, talks.with_columns(sides), contacts, silent)

    def outside(self, address: str) -> pl.Expr:
        """Boolean: whether the addresses of that column are of the Internet, and no interface's own.

        Multicast, broadcast, link-local, loopback and unspecified ones are nobody's: not outside. `client` and `server`
        are those of `talks`.
        """
        return pl.col(f"{address}{_OUTSIDE}") if address in _SIDES else _is_outside(address, self.contacts)


_SIDES, _OUTSIDE = ("client", "server"), "_outside"


def _is_outside(address: str, contacts: Contacts) -> pl.Expr:
    text = pl.col(address)
    nobodys = text.str.contains(direction.PRIVATE) | text.str.contains(direction.NOBODYS)
    return ~nobodys & ~text.is_in(contacts.owned.implode())


Detected = tuple[pl.DataFrame, Memory]
"""Hits, and the memory as it is after them."""


def setting(default: Any, meaning: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field of a detector's settings. meaning: in the words of whoever sets it, with the unit."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Example:
    """Lines of version 2 (see tests.detectors), and whether they are a case for the detector."""

    what: str
    lines: Sequence[str]
    fires: bool


@dataclass(frozen=True)
class Detector:
    """name: as in findings and settings. attack: ids of MITRE ATT&CK. settings: a frozen dataclass, its defaults.

    memory: name -> columns of the frames that it remembers. cool_down: seconds, see core.findings.
    """

    name: str
    title: str
    attack: Sequence[str]
    explanation: str
    runbook: str
    settings: Any
    detect: Callable[[Minute, Memory, Any], Detected]
    memory: Mapping[str, Schema] = field(default_factory=dict)
    cool_down: int = 3600
    examples: Sequence[Example] = ()

    def empty(self) -> Memory:
        """The memory before anything was seen."""
        return {name: pl.DataFrame(schema=dict(schema)) for name, schema in self.memory.items()}


@dataclass
class Watch:
    """Detectors at work on minutes that come in order."""

    detectors: Sequence[Detector]
    limits: Limits = field(default_factory=Limits)
    _contacts: Contacts = field(default_factory=Contacts.none, init=False)
    _memories: dict[str, Memory] = field(init=False)
    _episodes: dict[str, Episodes] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing was seen yet."""
        self._memories = {one.name: one.empty() for one in self.detectors}
        self._episodes = {one.name: Episodes(one.name, one.cool_down) for one in self.detectors}

    def renew(self, detectors: Sequence[Detector]) -> list[Finding]:
        """Go on with other detectors or settings; gives the findings of those that are gone, closed."""
        frames, plain = self.frames(), self.plain()
        names = {one.name for one in detectors}
        gone = [replace(one, closed=True) for one in self.open_findings() if one.detector not in names]
        self.detectors = detectors
        self.__post_init__()
        self.restore(frames, plain)
        return gone

    def see(self, start: int, talks: pl.DataFrame, silent: pl.DataFrame, places: Places) -> list[Finding]:
        """Findings that a minute opens, changes or closes. places: where its conversations come from."""
        self._contacts = self._contacts.after(start, talks, self.limits)
        minute = Minute.of(start, talks, self._contacts, silent)
        return [finding for one in self.detectors for finding in self._see(one, minute, places)]

    def see_all(self, talks: pl.DataFrame, silent: pl.DataFrame, places: Places = _NOWHERE) -> Iterator[Finding]:
        """Findings of conversations (core.conversations.SCHEMA, directions told) and statuses (core.statuses.SCHEMA).

        The minutes in which there is something, in order.
        """
        said, quiet = _by_minute(talks), _by_minute(silent)
        no_talks, no_silent = talks.clear().drop("pane"), silent.clear().drop("pane")
        for start in sorted({*said, *quiet}):
            yield from self.see(start, said.get(start, no_talks), quiet.get(start, no_silent), places)

    def open_findings(self) -> list[Finding]:
        """Those that are not closed."""
        return [finding for episodes in self._episodes.values() for finding in episodes.open.values()]

    def frames(self) -> dict[str, pl.DataFrame]:
        """All that is remembered, but what `plain` has: `restore` takes it up again."""
        memories = {
            f"{_MEMORY}/{detector}/{name}": frame
            for detector, memory in self._memories.items()
            for name, frame in memory.items()
        }
        known = self._contacts
        contacts = {"known": known.known, "enis": known.enis, "owned": known.owned.rename("owned").to_frame()}
        return {
            **{f"{_CONTACTS}/{name}": frame for name, frame in contacts.items()}, **memories,
            _OPEN: as_frame(self.open_findings()),
        }  # fmt: skip

    def plain(self) -> dict[str, object]:
        """The rest, as JSON can have it."""
        return {"over": {name: episodes.over for name, episodes in self._episodes.items()}}

    def restore(self, frames: Mapping[str, pl.DataFrame], plain: Mapping[str, Any]) -> None:
        """Go on from what was remembered. A frame that has no rows may be left out.

        A detector that is new, or remembers other columns than it did, begins anew.
        """
        none = Contacts.none()
        self._contacts = Contacts(
            frames.get(f"{_CONTACTS}/known", none.known), none.fresh, frames.get(f"{_CONTACTS}/enis", none.enis),
            frames.get(f"{_CONTACTS}/owned", none.owned.rename("owned").to_frame()).get_column("owned"),
        )  # fmt: skip
        for one in self.detectors:
            mine = {name: frames.get(f"{_MEMORY}/{one.name}/{name}", empty) for name, empty in one.empty().items()}
            if all(mine[name].schema == empty.schema for name, empty in one.empty().items()):
                self._memories[one.name] = mine
        for finding in of_frame(frames.get(_OPEN, as_frame([]))):
            if finding.detector in self._episodes:
                self._episodes[finding.detector].open[finding.about] = finding
        for name, over in plain["over"].items():
            if name in self._episodes:
                self._episodes[name].over = over

    @property
    def over(self) -> int:
        """Hits that were passed over, as there were too many."""
        return sum(episodes.over for episodes in self._episodes.values())

    def _see(self, one: Detector, minute: Minute, places: Places) -> list[Finding]:
        hits, self._memories[one.name] = one.detect(minute, self._memories[one.name], one.settings)
        return self._episodes[one.name].update(hits, minute.end, places)


def _by_minute(frame: pl.DataFrame) -> dict[int, pl.DataFrame]:
    parts = frame.partition_by("pane", as_dict=True, include_key=False)
    return {cast("int", start): part for (start,), part in parts.items()}


def last_of_each(findings: Iterable[Finding]) -> list[Finding]:
    """The newest word on each finding, in the order of their beginning."""
    newest = {finding.id: finding for finding in findings}
    return sorted(newest.values(), key=lambda finding: (finding.first, finding.id))
