"""Traffic for the laws: Hypothesis strategies, a count with dicts that shares no code with the core, and the core as
the agents drive it.

Lines keep AWS's promises: an ENI has one address of its own per IP version, in every record of it.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

import polars as pl
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from streams.core import direction, tables
from streams.core.combine import Policy, RawPartition, Summary
from streams.core.deadletter import DeadLetter
from streams.core.panes import Assign
from streams.core.raw import Origin, RawMessage, digest
from streams.core.roll import SummaryPartition, newest
from streams.core.tables import Frames

T = TypeVar("T")


def examples(count: int) -> settings:
    """So many examples, the same ones in every run.

    LAW_EXAMPLES=20 tries 20 times as many, new ones each time; LAW_SHRINK=1 looks for the smallest failure (minutes).
    """
    more = int(os.environ.get("LAW_EXAMPLES", "0"))
    phases = set(Phase) - (set() if os.environ.get("LAW_SHRINK") else {Phase.shrink, Phase.explain})
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=count * max(1, more), derandomize=not more, database=None, deadline=None, phases=tuple(phases),
        suppress_health_check=health, print_blob=False,
    )  # fmt: skip


T0 = 1_700_000_040
"""A multiple of 60: the first record's pane starts here or before."""
ARRIVAL = (T0 + 86_400) * 1000
"""Late enough for every record to be from the past."""

V2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
V5 = f"{V2} tcp-flags vpc-id instance-id flow-direction"
FORMATS = {2: V2, 5: V5}

OWN = {
    "eni-0a1b2c3d4e5f60701": ("10.0.0.10", "2001:db8::10"),
    "eni-0a1b2c3d4e5f60702": ("10.0.0.20", "2001:db8::20"),
    "eni-0a1b2c3d4e5f60703": ("10.0.0.30", "2001:db8::30"),
    "nat-like-eni": ("10.0.9.99", "2001:db8::99"),
}
PEERS = (("10.0.0.10", "10.0.7.7", "192.0.2.1", "198.51.100.9"), ("2001:db8::10", "2001:db8:f::1", "fd00::5"))
PORTS = (22, 53, 80, 443, 3306, 5000, 31999, 32768, 44321, 60000, 65535, 0)


@dataclass(frozen=True)
class Flow:
    """A record. flags, way: what the format's tcp-flags and flow-direction say; None is `-`."""

    eni: str
    src: str
    dst: str
    ports: tuple[int, int]
    protocol: int
    packets: int
    octets: int
    start: int
    end: int
    action: str = "ACCEPT"
    flags: int | None = None
    way: str | None = None
    status: str = "OK"

    def line(self, version: int) -> str:
        """As the format of `version` has it."""
        v2 = (
            f"{version} 123456789012 {self.eni} {self.src} {self.dst} {self.ports[0]} {self.ports[1]} {self.protocol}"
            f" {self.packets} {self.octets} {self.start} {self.end} {self.action} {self.status}"
        )
        flags = "-" if self.flags is None else str(self.flags)
        return v2 if version == 2 else f"{v2} {flags} vpc-0123456789abcdef0 i-{self.eni} {self.way or '-'}"


def silent(eni: str, status: str, at: int, version: int) -> str:
    """A NODATA or SKIPDATA line."""
    v2 = f"{version} 123456789012 {eni} - - - - - - - {at} {at + 59} - {status}"
    return v2 if version == 2 else f"{v2} - - - -"


def noise(lines: int, each: int, name: str = "f") -> list[RawMessage]:
    """Messages of `each` lines, every record as full of surprise as its fields allow: all compressors do badly."""
    chance = Random(name)
    return [message([_noise(chance) for _ in range(each)], 2, name, n) for n in range(lines // each)]


def _noise(chance: Random) -> str:
    eni = f"eni-{chance.getrandbits(68):017x}"
    source, target = (":".join(f"{chance.getrandbits(16):x}" for _ in range(8)) for _ in range(2))
    srcport, dstport = chance.getrandbits(16), chance.getrandbits(16)
    start, end = T0 + chance.randrange(60), T0 + 60 + chance.randrange(60)
    packets, octets = chance.getrandbits(50), chance.getrandbits(60)
    return f"2 123456789012 {eni} {source} {target} {srcport} {dstport} 6 {packets} {octets} {start} {end} ACCEPT OK"


# -- strategies --------------------------------------------------------------------------------------------------------

JUNK = ("junk", "2 too short", "a b c d e f g h i j k l m n o p q r s t u v w x y z", "\\x00 no record", "2 ü é ñ")
"""Lines that no format reads."""


@st.composite
def flows(draw: st.DrawFn, spread: int = 840, longest: int = 130) -> Flow:
    """A record that ends within `spread` seconds after T0 and lasts up to `longest` seconds."""
    eni, six = draw(st.sampled_from(sorted(OWN))), draw(st.sampled_from((False, False, False, True)))
    own = OWN[eni][six]
    peer = draw(st.sampled_from([one for one in PEERS[six] if one != own]))
    leaves = draw(st.booleans())
    end = T0 + draw(st.integers(0, spread))
    return Flow(
        eni=eni,
        src=own if leaves else peer,
        dst=peer if leaves else own,
        ports=(draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))),
        protocol=draw(st.sampled_from((6, 6, 6, 17, 1, 253))),
        packets=draw(st.integers(0, 10**6)),
        octets=draw(st.integers(0, 10**12)),
        start=max(T0, end - draw(st.integers(0, longest))),
        end=end,
        action=draw(st.sampled_from(("ACCEPT", "ACCEPT", "REJECT"))),
        flags=draw(st.sampled_from((None, 0, 1, 2, 3, 18, 19, 22))),
        way=draw(st.sampled_from((None, "egress" if leaves else "ingress"))),
    )


def flow_lines(version: int, spread: int = 840) -> st.SearchStrategy[str]:
    """Lines of flows alone."""
    return flows(spread).map(lambda flow: flow.line(version))


def any_lines(version: int, spread: int = 840) -> st.SearchStrategy[str]:
    """Flows mostly; NODATA and SKIPDATA, junk, blank lines and headers among them."""
    quiet = st.builds(
        silent, st.sampled_from(sorted(OWN)), st.sampled_from(("NODATA", "SKIPDATA")), st.just(T0), st.just(version)
    )
    oddities = st.sampled_from((*JUNK, "", "  ", FORMATS[version]))
    return st.one_of(*[flow_lines(version, spread)] * 6, quiet, oddities)


@st.composite
def wild_lines(draw: st.DrawFn, version: int, spread: int = 3000) -> str:
    """What the promises do not cover: more ENIs and ports, fields left out, broken clocks, contradicting addresses."""
    flow = draw(flows(spread))
    eni = draw(st.sampled_from((flow.eni, flow.eni, *(f"eni-{n:04x}" for n in range(6)), "other", "expired")))
    ports = (draw(st.integers(0, 65535)), flow.ports[1])
    flow = replace(flow, eni=eni, ports=ports, octets=draw(st.sampled_from((flow.octets, flow.octets, 2**62))))
    words = flow.line(version).split()
    at = dict(zip(FORMATS[version].split(), range(len(words)), strict=True))
    changes = {
        "srcaddr": ("-", "10.0.7.7", "192.0.2.1"), "dstaddr": ("-", "198.51.100.9"), "srcport": ("-",),
        "protocol": ("-",),
        "start": ("-", str(flow.end + 500)), "end": ("-", str(T0 + 10**6)), "packets": ("-",), "action": ("-",),
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(changes)), max_size=2)):
        words[at[name]] = draw(st.sampled_from(changes[name]))
    return " ".join(words)


@st.composite
def cuts(draw: st.DrawFn, count: int, most: int = 6) -> list[int]:
    """Sizes of the parts that `count` things are cut into; parts may be empty."""
    at = sorted(draw(st.lists(st.integers(0, count), max_size=most - 1)))
    return [b - a for a, b in zip([0, *at], [*at, count], strict=True)]


def parts(things: Sequence[T], sizes: Iterable[int]) -> list[list[T]]:
    """`things` in parts of `sizes`."""
    rest = iter(things)
    return [[next(rest) for _ in range(size)] for size in sizes]


def message(lines: Sequence[str], version: int, name: str, part: int = 0, **fields: object) -> RawMessage:
    """Lines as a file's part."""
    value = "".join(f"{line}\n" for line in lines).encode()
    known = {"value": value, "arrival_ms": ARRIVAL, "format": FORMATS[version], **fields}
    return RawMessage(origin=Origin("file", name, str(part), digest(value)), **known)  # type: ignore[arg-type]


def cut(
    lines: Sequence[str], sizes: Iterable[int], version: int, name: str = "f", **fields: object
) -> list[RawMessage]:
    """Messages of `sizes` lines."""
    return [message(some, version, name, n, **fields) for n, some in enumerate(parts(lines, sizes)) if some]


# -- the count, with dicts ---------------------------------------------------------------------------------------------

Key = tuple[object, ...]
Measured = dict[Key, tuple[int, int, int]]
"""Key -> flows, packets, bytes."""

SERVICES_HERE = {3306, 5000}
_PRIVATE = re.compile(r"10\.|192\.168\.|fd")
_COUNTERS = re.compile(r"\d+")


@dataclass
class Counted:
    """lines: outcomes. enis: (eni, direction, action). ports: (port, protocol, action). panes: start -> those two."""

    lines: Counter[str] = field(default_factory=Counter)
    totals: list[int] = field(default_factory=lambda: [0, 0, 0])
    enis: Measured = field(default_factory=dict)
    ports: Measured = field(default_factory=dict)
    panes: dict[int, tuple[Measured, Measured]] = field(default_factory=dict)


def count(lines: Iterable[str], version: int, assign: Assign = "end", pane: int = 60, max_span: int = 3600) -> Counted:
    """What the core must find in `lines`: read once to learn whose address is whose, once to count."""
    found, records = Counted(), []
    for line in lines:
        outcome, record = _outcome(line, version)
        found.lines[outcome] += 1
        records += [record] if record else []
    owners = _owners(records)
    for record in records:
        key_eni = (record["interface-id"], _way(record, owners), record["action"])
        key_port = (_service(record), int(record["protocol"]), record["action"])
        for start, measured in _pieces(record, assign, pane, max_span):
            enis, ports = found.panes.setdefault(start, ({}, {}))
            for table, key in ((found.enis, key_eni), (found.ports, key_port), (enis, key_eni), (ports, key_port)):
                table[key] = _plus(table.get(key, (0, 0, 0)), measured)
            found.totals = list(_plus(found.totals, measured))
    return found


def _outcome(line: str, version: int) -> tuple[str, dict[str, str] | None]:
    names, words = FORMATS[version].split(), line.split()
    if not words or words == names:
        return ("header" if words else "blank"), None
    record = dict(zip(names, words, strict=False))
    if len(words) != len(names):
        return "reject", None
    if record["log-status"] != "OK":
        return record["log-status"].lower(), None
    return "flow", record


def _owners(records: Sequence[Mapping[str, str]]) -> dict[tuple[str, bool], str | None]:
    """The address that the records of an ENI without flow-direction share; None: nothing tells."""
    shared: dict[tuple[str, bool], set[str]] = {}
    for record in records:
        if record.get("flow-direction", "-") == "-":
            key, pair = _owner_key(record), {record["srcaddr"], record["dstaddr"]}
            shared[key] = shared.get(key, pair) & pair
    return {key: _one(pair) for key, pair in shared.items()}


def _one(pair: set[str]) -> str | None:
    private = {address for address in pair if _PRIVATE.match(address)}
    return min(pair) if len(pair) == 1 else min(private) if len(private) == 1 else None


def _owner_key(record: Mapping[str, str]) -> tuple[str, bool]:
    return record["interface-id"], ":" in record["srcaddr"]


def _way(record: Mapping[str, str], owners: Mapping[tuple[str, bool], str | None]) -> str:
    told = record.get("flow-direction", "-")
    if told != "-":
        return told
    own = owners[_owner_key(record)]
    return "unknown" if own is None else "egress" if record["srcaddr"] == own else "ingress"


def _service(record: Mapping[str, str]) -> int:
    src, dst, flags = int(record["srcport"]), int(record["dstport"]), record.get("tcp-flags", "-")
    if flags != "-" and int(flags) & 2:
        return src if int(flags) & 16 else dst
    return min((src, dst), key=lambda port: (0 if port < 1024 or port in SERVICES_HERE else 1 + (port >= 32768), port))


def _pieces(
    record: Mapping[str, str], assign: Assign, pane: int, max_span: int
) -> list[tuple[int, tuple[int, int, int]]]:
    """(pane, what of the record belongs there): second by second, the parts before and up to it rounded down."""
    packets, octets, start, end = (int(record[name]) for name in ("packets", "bytes", "start", "end"))
    if assign != "spread" or not 0 < end - start <= max_span:
        at = start if assign == "start" else end
        return [(at - at % pane, (1, packets, octets))]
    span, found = end - start + 1, []
    for begin in range(start - start % pane, end + 1, pane):
        before, until = max(0, begin - start), min(span, begin + pane - start)
        some, more = (total * until // span - total * before // span for total in (packets, octets))
        found.append((begin, (int(begin + pane > end), some, more)))
    return found


def _plus(a: Sequence[int], b: Sequence[int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


# -- the core, driven --------------------------------------------------------------------------------------------------

SUMMARY_PARTITIONS = 2


def measured(frame: pl.DataFrame, table: str) -> Measured:
    """A table's frame as the count has it."""
    keys = ("eni", "direction", "action") if table == "eni" else ("port", "protocol", "action")
    found: Measured = {}
    for row in frame.iter_rows(named=True):
        key = tuple(_name(name, row[name]) for name in keys)
        found[key] = _plus(found.get(key, (0, 0, 0)), [row[name] for name in tables.COUNTS])
    return found


def _name(column: str, value: object) -> object:
    names = {"direction": direction.NAMES, "action": ("-", *tables.ACTIONS[1:])}.get(column)
    return names[value] if names and isinstance(value, int) else value


@dataclass
class Roll:
    """All summary partitions, as their agents hold them."""

    lateness: int = 900
    states: dict[int, SummaryPartition] = field(default_factory=dict)

    def take(self, summaries: Iterable[Summary]) -> None:
        """Apply summaries in their order."""
        for one in summaries:
            state = self.states.setdefault(one.partition, SummaryPartition(self.lateness))
            state.apply(one.key.decode(), one.value)

    def restart(self, rows: Mapping[int, Mapping[str, bytes]]) -> None:
        """Start again from the rows of each."""
        self.states = {at: SummaryPartition(self.lateness, newest({"": found})) for at, found in rows.items()}

    def totals(self) -> dict[str, Measured]:
        """enis and ports of all summary partitions, replayed history among them."""
        return self._sum(state.standing().totals(replay=True) for state in self.states.values())

    def panes(self) -> dict[int, dict[str, Measured]]:
        """The same for each retained pane."""
        by_start: dict[int, list[Frames]] = defaultdict(list)
        for state in self.states.values():
            for start, frames in state.panes().items():
                by_start[start].append(frames)
        return {start: self._sum(found) for start, found in by_start.items()}

    def _sum(self, found: Iterable[Frames]) -> dict[str, Measured]:
        sums: dict[str, Measured] = {"eni": {}, "port": {}}
        for frames in found:
            for name, frame in frames.items():
                for key, counts in measured(frame, name).items():
                    sums[name][key] = _plus(sums[name].get(key, (0, 0, 0)), counts)
        return sums


@dataclass
class Run:
    """What a run through the core gave."""

    states: list[RawPartition]
    roll: Roll
    letters: list[DeadLetter]

    def meta(self, name: str) -> Counter[str]:
        """A counter of Meta, summed over raw partitions; zeros left out."""
        found: Counter[str] = Counter()
        for state in self.states:
            found.update(getattr(state.meta, name))
        return +found


def run(
    partitions: Sequence[Sequence[RawMessage]],
    policy: Policy,
    *,
    batches: Callable[[int], Sequence[int]] | None = None,
    summaries_after: Callable[[int], bool] = lambda _: True,
) -> Run:
    """Fold the messages of each raw partition in `batches(count)`; summaries where wished, and at the end."""
    roll, step = Roll(policy.lateness), 0
    letters: list[DeadLetter] = []
    states: list[RawPartition] = []
    for number, messages in enumerate(partitions):
        state = RawPartition(number, policy)
        sizes = batches(len(messages)) if batches else [len(messages)]
        for batch in parts(list(enumerate(messages)), sizes):
            letters += state.fold(batch).dead_letters
            step += 1
            if summaries_after(step):
                roll.take(state.summaries(SUMMARY_PARTITIONS))
        roll.take(state.summaries(SUMMARY_PARTITIONS))
        states.append(state)
    return Run(states, roll, letters)


_NAMED_BY_OFFSETS = ("slots", "unsent", "rows", "cut", "block")


def contents(state: RawPartition) -> dict[str, object]:
    """All that a raw partition says, in a form that compares: counters, rows of panes and history, what is known.

    Left out: stamps (a batch has one), and when the information on an ENI was first seen. Directions are told as roll
    tells them.
    """
    seen = {name: frame.drop("seen") if name == "info" else frame for name, frame in state.known.frames().items()}
    meta = {name: value for name, value in vars(state.meta).items() if name not in _NAMED_BY_OFFSETS}
    return {
        "meta": {name: +value if isinstance(value, Counter) else value for name, value in meta.items()},
        "panes": {start: _told(pane.value(), state) for start, pane in state.panes.items()},
        "history": _told(state.history.value(), state),
        "known": _rows(seen),
        "origins": len(state.origins),
    }


def _told(frames: Frames, state: RawPartition) -> dict[str, list[tuple[object, ...]]]:
    (owners,) = direction.combined([state.known.owners])
    enis = tables.merge(tables.ENI, [direction.resolved(frames["eni"], owners)])
    return _rows({"eni": enis, "port": frames["port"]})


def _rows(frames: Frames) -> dict[str, list[tuple[object, ...]]]:
    return {name: sorted(frame.rows(), key=repr) for name, frame in frames.items()}


def wrapped(total: int) -> int:
    """As a signed integer of 64 bits."""
    return (total + 2**63) % 2**64 - 2**63


def counted(state: RawPartition) -> dict[str, list[int]]:
    """Table -> flows, packets and bytes of all its rows, panes and history. Sums wrap as those of 64 bits do."""
    frames = [pane.value() for pane in (*state.panes.values(), state.history)]
    return {
        name: [wrapped(sum(int(one[name].get_column(column).sum()) for one in frames)) for column in tables.COUNTS]
        for name in tables.TABLES
    }


def shown(panes: Mapping[int, Mapping[str, Measured]]) -> dict[int, dict[str, Measured]]:
    """Panes without rows that count nothing: a `spread` record's first seconds may hold no packet."""
    return {
        start: {name: {key: counts for key, counts in rows.items() if any(counts)} for name, rows in frames.items()}
        for start, frames in panes.items()
    }
