"""A format from the types in the columns, with its confidence told. Never from `version` or the count of words alone.

Known orders come first: AWS's own, sorted by name, as AWS's examples print them. Then the columns are named one by one:
an id tells its field by its prefix; addresses, ports, counters and times need the convention (source before
destination) and what must hold between them (start <= end, a packet has 20 bytes). All on a small sample of lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
"""Confidence is s / (s + _DOUBT): s sums _STRONG for each column that only one kind of field looks like, _WEAK for numbers."""

_OUT_OF_ORDER = 0.75
"""Factor where two columns of a format look exchanged: anonymised records can look so."""

_HEADER_BYTES = 20
"""No packet is shorter: an IPv4 header."""

_PUBLISHED = (
    """version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport pkt-srcaddr
    pkt-dstaddr protocol bytes packets start end action tcp-flags log-status""",
    """version interface-id account-id vpc-id subnet-id instance-id srcaddr dstaddr srcport dstport protocol tcp-flags type
    pkt-srcaddr pkt-dstaddr action log-status""",
    """version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id vpc-id subnet-id instance-id
    interface-id region az-id sublocation-type sublocation-id action tcp-flags pkt-srcaddr pkt-dstaddr pkt-src-aws-service
    pkt-dst-aws-service traffic-path flow-direction log-status""",
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
        confidence = _confidence(fmt, columns) * _named_share(fmt, columns) * count / (count + 1)
    return (fmt, confidence * count / len(rows)) if confidence else (None, 0.0)


def resembles(fmt: Format, rows: Rows) -> bool:
    """Whether lines (given as words) are meant as `fmt`, though something is wrong with them: most columns fit."""
    same = [row for row in rows if len(row) == len(fmt)]
    if len(same) * 2 < len(rows) or not same:
        return False
    used = [(name, column) for name, column in zip(fmt, _columns(same), strict=True) if column.values]
    fitting = sum(_fits(name, column) for name, column in used)
    return fitting * 10 >= len(used) * 7


# -- columns ------------------------------------------------------------------------------------------------------------


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
        sane = all(len(value) < 19 and value.isascii() and value.isdigit() for value in self.values)
        return [int(value) for value in self.values] if sane else []

    def looks(self, pattern: re.Pattern[str]) -> bool:
        matching = sum(pattern.fullmatch(value) is not None for value in self.values)
        return bool(self.values) and matching >= _AGREE * len(self.values)

    def all_in(self, allowed: Iterable[int]) -> bool:
        return bool(self.numbers) and set(self.numbers) <= set(allowed)


def _columns(rows: Rows) -> list[_Column]:
    return [_Column(n, words) for n, words in enumerate(zip(*rows, strict=True))]


def _pairs(a: _Column, b: _Column) -> list[tuple[int, int]]:
    """Numbers that stand in one row."""
    both = zip(a.words, b.words, strict=True)
    return [(int(x), int(y)) for x, y in both if x.isdecimal() and y.isdecimal()]


def _mostly(checks: list[bool]) -> bool:
    return sum(checks) >= _AGREE * len(checks)


# -- how well a format fits ---------------------------------------------------------------------------------------------

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


# -- naming columns one by one ------------------------------------------------------------------------------------------

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
_LARGEST_PORT = 65_535
_LATEST_SECOND = 2**31 - 1
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
    times = [c for c in columns if min(c.numbers) >= _EARLIEST_SECOND and _LOOKS["start"].fullmatch(str(max(c.numbers)))]
    if len(times) < 2:
        return {c.position: "start" for c in times}
    a, b = times[:2]
    first, second = (a, b) if _mostly([x <= y for x, y in _pairs(a, b)]) else (b, a)
    return {first.position: "start", second.position: "end"}


def _name_version(columns: Sequence[_Column], names: dict[int, str]) -> dict[int, str]:
    """The version is one small number in all lines; it stands first, or before vpc-id where names are sorted."""
    same = [c for c in columns if c.position not in names and len(set(c.numbers)) == 1 and c.all_in(range(2, NEWEST + 1))]
    full = [c for c in same if len(c.values) == len(c.words)]
    placed = [c for c in full if c.position == 0 or names.get(c.position + 1) == "vpc-id"]
    return {c.position: "version" for c in placed[:1]}


def _name_counters(columns: Sequence[_Column]) -> dict[int, str]:
    """Names for ports, protocol, packets, bytes and the small codes: the pairs that fit best, then what is left."""
    names = _best_pair(columns, ("srcport", "dstport"), _port_pair)
    rest = [c for c in columns if c.position not in names]
    codes = _first_in(rest, "protocol", _PROTOCOLS)
    names |= codes
    rest = [c for c in rest if c.position not in names]
    names |= _best_pair(rest, ("packets", "bytes"), _volume_pair)
    for name, allowed in (("tcp-flags", _FLAGS), ("encryption-status", range(4)), ("traffic-path", range(1, 9))):
        names |= _first_in([c for c in rest if c.position not in names], name, allowed)
    return names


def _first_in(columns: Iterable[_Column], name: str, allowed: Iterable[int]) -> dict[int, str]:
    allowed = frozenset(allowed)
    return next(({c.position: name} for c in columns if c.all_in(allowed)), {})


def _best_pair(
    columns: Sequence[_Column], names: tuple[str, str], score: Callable[[_Column, _Column], float]
) -> dict[int, str]:
    scored = [(score(a, b), -a.position, a, b) for a, b in permutations(columns, 2)]
    best = max(scored, key=lambda row: row[:2], default=None)
    if best is None or best[0] <= 0:
        return {}
    return {best[2].position: names[0], best[3].position: names[1]}


def _port_pair(a: _Column, b: _Column) -> float:
    """Neighbours, in order, that reach into the ports above 1023 and no further than 65535."""
    top = max(a.numbers + b.numbers)
    if b.position < a.position or top > _LARGEST_PORT:
        return 0.0
    spread = len(set(a.numbers + b.numbers)) / len(a.numbers + b.numbers)
    return (b.position == a.position + 1) + (top > 1023) + spread - (a.all_in(_PROTOCOLS) + b.all_in(_PROTOCOLS)) / 2


def _volume_pair(packets: _Column, octets: _Column) -> float:
    """Neighbours, whichever comes first, of which one is at least twenty times the other in every row."""
    pairs = _pairs(packets, octets)
    if not pairs or not _mostly([x * _HEADER_BYTES <= y for x, y in pairs]):
        return 0.0
    return 1.0 + (abs(packets.position - octets.position) == 1)


def _sorted_by_name(fmt: Format, columns: Sequence[_Column]) -> Format:
    """The same with look-alikes exchanged where that puts all names in the order of the alphabet: some writers sort."""
    turned = list(fmt)
    for alike in _ALIKE:
        at = [n for n, name in enumerate(fmt) if name in alike]
        for n, name in zip(at, sorted(fmt[n] for n in at), strict=True):
            turned[n] = name
    named = [name for name in turned if name in FIELDS]
    return tuple(turned) if named == sorted(named) and _in_order(tuple(turned), columns) else fmt
