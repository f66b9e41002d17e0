"""Records that a shipper has parsed already -> lines again, each with the format that its keys make.

The core reads one thing: lines with a format. So Vector's, Beats' and anybody's objects become that, whatever they
call the fields (`pkt-srcaddr`, `pkt_srcaddr`, `pktSrcAddr`), and what a shipper left out as null or altogether is `-`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from streams.core.fields import FIELDS, RESERVED, TGW_DEFAULT, TGW_VERSION, canonical, cumulative

Json = Mapping[str, object]

TELLING = {
    "interface-id", "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "log-status", "flow-direction",
    "tgw-attachment-id", "tgw-src-eni",
}  # fmt: skip
"""Names that nothing but a flow log record has: an object with two of them is one."""

ENOUGH = 2
STRANGE = 16
"""Keys that AWS does not have are kept up to so many; an object that has more is full of a shipper's own."""

_SHIPPERS = {
    "bucket", "host", "hostname", "level", "logger", "object", "path", "source", "source-type", "stream", "tags",
    "time", "timestamp", "topic",
}  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_UNSAFE = re.compile(r"[\s\x00-\x20\x7f]")
_NOTHING = "-"
ACCOUNT_DIGITS = 12

ECS = {
    "account-id": ("cloud", "account", "id"),
    "region": ("cloud", "region"),
    "az-id": ("cloud", "availability_zone"),
    "instance-id": ("cloud", "instance", "id"),
    "srcaddr": ("source", "address"),
    "srcport": ("source", "port"),
    "dstaddr": ("destination", "address"),
    "dstport": ("destination", "port"),
    "protocol": ("network", "iana_number"),
    "packets": ("network", "packets"),
    "bytes": ("network", "bytes"),
    "flow-direction": ("network", "direction"),
    "start": ("event", "start"),
    "end": ("event", "end"),
    "action": ("event", "action"),
}
"""Where Filebeat's mode `ecs` puts what it takes out of `aws.vpcflow`."""


class Line(NamedTuple):
    """A record as text, and its format: field names with spaces between."""

    text: str
    format: str


@dataclass(frozen=True)
class _Plan:
    """format: of the line. keys: of the object, in the format's order, None where it has none."""

    format: str
    keys: tuple[tuple[str | None, Callable[[object], str]], ...]


def line(value: Json) -> Line | None:
    """The line of an object whose own keys are the fields of a record; None: it is something else."""
    plan = _plan(tuple(value))
    if plan is None:
        return None
    return Line(" ".join([_NOTHING if key is None else show(value[key]) for key, show in plan.keys]), plan.format)


def filebeat_line(value: Json) -> Line | None:
    """The line of an object as Filebeat's parse_aws_vpc_flow_log makes it: in `aws.vpcflow`, and in ECS fields."""
    inner = _at(value, ("aws", "vpcflow"))
    return line({**_ecs(value), **inner}) if isinstance(inner, dict) else None


@lru_cache(maxsize=1024)
def _plan(keys: tuple[str, ...]) -> _Plan | None:
    """How objects with these keys are written; worked out once, since a shipper's objects are alike."""
    named: dict[str, str] = {}
    for key in keys:
        named.setdefault(canonical(key), key)
    if len(TELLING & named.keys()) < ENOUGH:
        return None
    known = [name for name in FIELDS if name in named]
    strange = sorted(name for name in named if name not in FIELDS and _is_kept(name))
    order = [*_with_all_of_its_version(known), *(strange if len(strange) <= STRANGE else ())]
    return _Plan(" ".join(order), tuple((named.get(name), _SHOW.get(name, _text)) for name in order))


def _is_kept(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name != RESERVED and name not in _SHIPPERS


def _with_all_of_its_version(known: Iterable[str]) -> list[str]:
    """Fields that a shipper left out get their column: else objects in a row would each have a format of their own."""
    versions = [FIELDS[name].version for name in known]
    newest = max((version for version in versions if version != TGW_VERSION), default=2)
    base = TGW_DEFAULT if TGW_VERSION in versions else cumulative(newest)
    return [*base, *(name for name in known if name not in base)]


def _ecs(value: Json) -> dict[str, object]:
    found = {name: _at(value, path) for name, path in ECS.items()}
    return {name: one for name, one in found.items() if one is not None}


def _at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """A JSON value as one word."""
    if isinstance(value, str):
        if value.isprintable() and " " not in value:
            return value or _NOTHING
        return _UNSAFE.sub(lambda match: quote(match[0]), value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return _NOTHING


def _account(value: object) -> str:
    """Account ids have 12 digits; Vector makes a number of them, and the zeros in front are gone."""
    text = _text(value)
    return text.zfill(ACCOUNT_DIGITS) if isinstance(value, int | float) else text


def _time(value: object) -> str:
    """Epoch seconds; Filebeat writes `2021-03-26T03:28:12Z`."""
    text = _text(value)
    if "T" not in text:
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return str(int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()))


def _upper(value: object) -> str:
    return _text(value).upper()


_SHOW: Mapping[str, Callable[[object], str]] = {
    "account-id": _account,
    "start": _time,
    "end": _time,
    "action": _upper,
    "log-status": _upper,
}
"""Fields that are not simply written as they came."""
