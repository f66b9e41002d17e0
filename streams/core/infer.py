"""A format from the types in the columns, with its confidence told. Never from `version` or the count of words alone.

Known orders come first: AWS's own, sorted by name, as AWS's examples print them. Then the columns are named one by one:
an id tells its field by its prefix; addresses, ports, counters and times need the convention (source before
destination) and what must hold between them (start <= end, a packet has 20 bytes). All on a small sample of lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

from streams.core.fields import FIELDS, NEWEST, NUMERIC, TGW_DEFAULT, Format, cumulative

SAMPLE = 100
"""Lines of a batch that are looked at."""

Rows = Sequence[Sequence[str]]

_AGREE = 0.9
"""Share of a column's values that must look like the field: the rest are bad lines."""

_STRONG, _WEAK = 1.0, 0.25
_DOUBT = 2.0
"""Confidence is s / (s + _DOUBT); s sums _STRONG per column that looks like one kind of field, _WEAK per number."""

_OUT_OF_ORDER = 0.75
"""Factor where two columns of a format look exchanged: anonymised records can look so."""

_MOST_DIGITS = 18
"""A longer number may not fit 64 bits."""

_HEADER_BYTES = 20
"""No packet is shorter: an IPv4 header."""

_PUBLISHED = (
    """version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport pkt-srcaddr
    pkt-dstaddr protocol bytes packets start end action tcp-flags log-status""",
    """version interface-id account-id vpc-id subnet-id instance-id srcaddr dstaddr srcport dstport protocol tcp-flags
    type pkt-srcaddr pkt-dstaddr action log-status""",
    """version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id vpc-id subnet-id
    instance-id interface-id region az-id sublocation-type sublocation-id action tcp-flags pkt-srcaddr pkt-dstaddr
    pkt-src-aws-service pkt-dst-aws-service traffic-path flow-direction log-status""",
    "instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr",
    "flow-direction traffic-path srcaddr dstaddr srcport dstport encryption-status",
)
"""Orders that AWS's documentation and blog print as examples, and that people therefore have."""


def _known_orders() -> tuple[Format, ...]:
    aws = [cumulative(version) for version in range(2, NEWEST + 1)] + [TGW_DEFAULT]
    aws += [tuple(text.split()) for text in _PUBLISHED]
    unversioned = [tuple(name for name in fmt if name != "version") for fmt in aws]
    by_name = [tuple(sorted(fmt)) for fmt in aws + unversioned]
    return tuple(dict.fromkeys(aws + unversioned + by_name))


KNOWN_ORDERS = _known_orders()
"""Formats that are tried as they are, the likelier first."""


def infer(rows: Rows) -> tuple[Format | None, float]:
    """The likeliest format of lines (given as words) and the confidence in it, 0..1; None when nothing is known.

    Lines of another length than most are left out, and lower the confidence.
    """
    length, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if not length:
        return None, 0.0
    columns = _columns([row for row in rows if len(row) == length])
    known = [(_confidence(fmt, columns), fmt) for fmt in KNOWN_ORDERS if len(fmt) == length]
    confidence, fmt = max(known, key=lambda pair: pair[0], default=(0.0, ()))
    if not confidence:
        fmt = _guess(columns)
        confidence = _confidence(fmt, columns) * _named_share(fmt, columns) ** 2 * count / (count + 1)
    return (fmt, confidence * count / len(rows)) if confidence else (None, 0.0)


def resembles(fmt: Format, rows: Rows) -> bool:
    """Whether lines (given as words) are meant as `fmt`, though something is wrong with them: most columns fit."""
    same = [row for row in rows if len(row) == len(fmt)]
    if len(same) * 2 < len(rows) or not same:
        return False
    used = [(name, column) for name, column in zip(fmt, _columns(same), strict=True) if column.values]
    fitting = sum(_fits(name, column) for name, column in used)
    return fitting * 10 >= len(used) * 7


# -- columns -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """The words of one column, `-` left in place so that rows can be compared."""

    position: int
    words: tuple[str, ...]

    @cached_property
    def values(self) -> list[str]:
        return [word for word in self.words if word != "-"]

    @cached_property
    def numbers(self) -> list[int]:
        """The values, if they are numbers of a sane size; else empty."""
        sane = [int(value) for value in self.values if _is_number(value)]
        return sane if len(sane) >= _AGREE * len(self.values) else []

    def looks(self, pattern: re.Pattern[str]) -> bool:
        matching = sum(pattern.fullmatch(value) is not None for value in self.values)
        return bool(self.values) and matching >= _AGREE * len(self.values)

    def all_in(self, allowed: Container[int]) -> bool:
        matching = sum(number in allowed for number in self.numbers)
        return bool(self.numbers) and matching >= _AGREE * len(self.numbers)


def _columns(rows: Rows) -> list[_Column]:
    return [_Column(n, words) for n, words in enumerate(zip(*rows, strict=True))]


def _is_number(word: str) -> bool:
    return len(word) <= _MOST_DIGITS and word.isascii() and word.isdigit()


def _pairs(a: _Column, b: _Column) -> list[tuple[int, int]]:
    """Numbers that stand in one row."""
    both = zip(a.words, b.words, strict=True)
    return [(int(x), int(y)) for x, y in both if _is_number(x) and _is_number(y)]


def _mostly(checks: list[bool]) -> bool:
    return sum(checks) >= _AGREE * len(checks)


# -- how well a format fits --------------------------------------------------------------------------------------------

_LOOKS = {name: re.compile(field.looks) for name, field in FIELDS.items() if field.looks}

_ORDERED: tuple[tuple[str, str, Callable[[int, int], bool]], ...] = (
    ("start", "end", lambda start, end: start <= end),
    ("packets", "bytes", lambda packets, octets: packets * _HEADER_BYTES <= octets),
)
"""What must hold between two fields of one record."""


def _fits(name: str, column: _Column) -> bool:
    return not column.values or name not in _LOOKS or column.looks(_LOOKS[name])


def _confidence(fmt: Format, columns: Sequence[_Column]) -> float:
    """0..1, and 0 when any column contradicts the format."""
    if not all(map(_fits, fmt, columns)):
        return 0.0
    strength = sum(_strength(name) for name, column in zip(fmt, columns, strict=True) if column.values)
    return strength / (strength + _DOUBT) * (1.0 if _in_order(fmt, columns) else _OUT_OF_ORDER)


def _strength(name: str) -> float:
    if name not in _LOOKS:
        return 0.0
    return _WEAK if FIELDS[name].kind in NUMERIC - {"time"} else _STRONG


def _in_order(fmt: Format, columns: Sequence[_Column]) -> bool:
    at = dict(zip(fmt, columns, strict=True))
    rules = ((at[a], at[b], rule) for a, b, rule in _ORDERED if a in at and b in at)
    return all(_mostly([rule(x, y) for x, y in _pairs(a, b)]) for a, b, rule in rules)


def _named_share(fmt: Format, columns: Sequence[_Column]) -> float:
    """Share of the columns with values whose field is known."""
    used = [name for name, column in zip(fmt, columns, strict=True) if column.values]
    return sum(name in FIELDS for name in used) / max(1, len(used))


# -- naming columns one by one -----------------------------------------------------------------------------------------

_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("action", ("action",)),
    ("log-status", ("log-status",)),
    ("flow-direction", ("flow-direction",)),
    ("type", ("type",)),
    ("srcaddr", ("srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr")),
    ("interface-id", ("interface-id", "next-hop-interface-id")),
    ("vpc-id", ("vpc-id", "next-hop-vpc-id")),
    ("subnet-id", ("subnet-id", "next-hop-subnet-id")),
    ("instance-id", ("instance-id", "ecs-container-instance-id")),
    ("account-id", ("account-id",)),
    ("region", ("region",)),
    ("az-id", ("az-id", "next-hop-az-id")),
    ("sublocation-type", ("sublocation-type",)),
    ("ecs-cluster-arn", ("ecs-cluster-arn",)),
    ("ecs-container-instance-arn", ("ecs-container-instance-arn",)),
    ("ecs-task-definition-arn", ("ecs-task-definition-arn",)),
    ("ecs-task-arn", ("ecs-task-arn",)),
    ("resource-id", ("resource-id",)),
    ("interface-type", ("interface-type", "next-hop-interface-type")),
    ("reject-reason", ("reject-reason",)),
    ("pkt-src-aws-service", ("pkt-src-aws-service", "pkt-dst-aws-service")),
)
"""Columns that look like the first field get the names beside it, in turn."""

_TGW_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("resource-type", ("resource-type",)),
    ("tgw-id", ("tgw-id",)),
    ("tgw-attachment-id", ("tgw-attachment-id", "tgw-pair-attachment-id")),
    ("log-status", ("log-status",)),
    ("flow-direction", ("flow-direction",)),
    ("type", ("type",)),
    ("srcaddr", ("srcaddr", "dstaddr")),
    ("account-id", ("account-id", "tgw-src-vpc-account-id", "tgw-dst-vpc-account-id")),
    ("vpc-id", ("tgw-src-vpc-id", "tgw-dst-vpc-id")),
    ("subnet-id", ("tgw-src-subnet-id", "tgw-dst-subnet-id")),
    ("interface-id", ("tgw-src-eni", "tgw-dst-eni")),
    ("region", ("region",)),
    ("az-id", ("tgw-src-az-id", "tgw-dst-az-id")),
    ("pkt-src-aws-service", ("pkt-src-aws-service", "pkt-dst-aws-service")),
)

_ALIKE = (
    {"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"},
    {"srcport", "dstport"},
    {"pkt-src-aws-service", "pkt-dst-aws-service"},
)
"""Fields that only their order tells apart."""

_PROTOCOLS = frozenset({1, 2, 4, 6, 17, 41, 47, 50, 51, 58, 89, 103, 112, 132})
_FLAGS = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 18, 19, 22, 23})
"""What OR-ing FIN, SYN, RST and SYN-ACK can give."""
_LARGEST_PORT, _WELL_KNOWN_PORT = 65_535, 1_023
_LARGEST_PACKET = 65_535
_LARGEST_PATH = 8
_TELLING_ROWS = 5
_EARLIEST_SECOND = 10**9


def _guess(columns: Sequence[_Column]) -> Format:
    """A name for each column; `column-N` (from 1) where its values tell nothing."""
    tgw = any(column.looks(_LOOKS["tgw-id"]) or column.looks(_LOOKS["tgw-attachment-id"]) for column in columns)
    names: dict[int, str] = {}
    for model, turns in _TGW_CLASSES if tgw else _CLASSES:
        alike = [c for c in columns if c.position not in names and c.looks(_LOOKS[model])]
        names |= {column.position: name for column, name in zip(alike, turns, strict=False)}
    numeric = [c for c in columns if c.position not in names and c.numbers]
    names |= _name_times(numeric)
    names |= _name_version(numeric, names)
    names |= _name_counters([c for c in numeric if c.position not in names])
    guessed = tuple(names.get(c.position, f"column-{c.position + 1}") for c in columns)
    return _sorted_by_name(guessed, columns)


def _name_times(columns: Sequence[_Column]) -> dict[int, str]:
    times = [
        c for c in columns if min(c.numbers) >= _EARLIEST_SECOND and _LOOKS["start"].fullmatch(str(max(c.numbers)))
    ]
    if len(times) <= 1:
        return {c.position: "start" for c in times}
    a, b = times[:2]
    first, second = (a, b) if _mostly([x <= y for x, y in _pairs(a, b)]) else (b, a)
    return {first.position: "start", second.position: "end"}


def _name_version(columns: Sequence[_Column], names: dict[int, str]) -> dict[int, str]:
    """The version is one small number in all lines; it stands first, or before vpc-id where names are sorted."""
    same = [
        c for c in columns if c.position not in names and len(set(c.numbers)) == 1 and c.all_in(range(2, NEWEST + 1))
    ]
    full = [c for c in same if len(c.values) == len(c.words)]
    placed = [c for c in full if c.position == 0 or names.get(c.position + 1) == "vpc-id"]
    return {c.position: "version" for c in placed[:1]}


def _name_counters(columns: Sequence[_Column]) -> dict[int, str]:
    """Names for protocol, packets, bytes, ports and the small codes: what is surest first, then what is left."""
    names: dict[int, str] = {}
    for name_some in (_name_protocol, _name_volume, _name_ports, _name_codes):
        names |= name_some([c for c in columns if c.position not in names])
    return names


def _name_protocol(columns: Sequence[_Column]) -> dict[int, str]:
    """Mostly TCP and UDP, and nothing that is no protocol."""
    common = {c.position: sum(n in {6, 17} for n in c.numbers) for c in columns if c.all_in(_PROTOCOLS)}
    best = max(common, key=lambda position: common[position], default=None)
    return {best: "protocol"} if best is not None and common[best] else {}


def _name_volume(columns: Sequence[_Column]) -> dict[int, str]:
    """The two columns whose quotient is a packet's size, and varies least."""
    spreads = [(_spread(a, b), a, b) for a, b in permutations(columns, 2)]
    known = [row for row in spreads if row[0] is not None]
    if not known:
        return {}
    _, packets, octets = min(known, key=lambda row: (row[0], abs(row[1].position - row[2].position)))
    return {packets.position: "packets", octets.position: "bytes"}


def _spread(packets: _Column, octets: _Column) -> float | None:
    """How far apart the sizes of packets are, if all are sizes a packet can have; else None.

    A column that never changes is no count: more likely it is the version.
    """
    pairs = _pairs(packets, octets)
    if len(pairs) >= _TELLING_ROWS and len({x for x, _ in pairs}) == 1:
        return None
    sizes = sorted(y / x for x, y in pairs if x and _HEADER_BYTES <= y / x <= _LARGEST_PACKET)
    if not sizes or len(sizes) < _AGREE * len(pairs):
        return None
    return sizes[-1] / sizes[0]


def _name_ports(columns: Sequence[_Column]) -> dict[int, str]:
    """The first two columns that reach into the ports above 1023 and no further than 65535; one alone says nothing."""
    ports = [c for c in columns if _WELL_KNOWN_PORT < max(c.numbers) <= _LARGEST_PORT]
    near = [
        c for c in columns if max(c.numbers) <= _LARGEST_PORT and any(abs(c.position - p.position) == 1 for p in ports)
    ]
    pair = ports if len(ports) > 1 else sorted([*ports, *near[:1]], key=lambda c: c.position)
    return {pair[0].position: "srcport", pair[1].position: "dstport"} if len(pair) > 1 else {}


def _name_codes(columns: Sequence[_Column]) -> dict[int, str]:
    """One column each. Flags have 18 or 0, a path is absent from what comes in."""
    tests: tuple[tuple[str, Callable[[_Column], bool]], ...] = (
        ("tcp-flags", lambda c: c.all_in(_FLAGS) and max(c.numbers) > _LARGEST_PATH),
        ("traffic-path", lambda c: c.all_in(range(1, _LARGEST_PATH + 1)) and len(c.values) < len(c.words)),
        ("encryption-status", lambda c: c.all_in(range(4))),
        ("tcp-flags", lambda c: c.all_in(_FLAGS)),
    )
    names: dict[int, str] = {}
    for name, test in tests:
        fitting = [c for c in columns if c.position not in names and test(c)]
        if fitting and name not in names.values():
            names[fitting[0].position] = name
    return names


def _sorted_by_name(fmt: Format, columns: Sequence[_Column]) -> Format:
    """The same with look-alikes exchanged where that puts all names in the order of the alphabet: some writers sort."""
    turned = list(fmt)
    for alike in _ALIKE:
        at = [n for n, name in enumerate(fmt) if name in alike]
        for n, name in zip(at, sorted(fmt[n] for n in at), strict=True):
            turned[n] = name
    named = [name for name in turned if name in FIELDS]
    return tuple(turned) if named == sorted(named) and _in_order(tuple(turned), columns) else fmt
