"""Made-up traffic of a small VPC as flow log lines. A record is a pure function of the seed and its place in time.

No state and no clock: a second of a seed holds the same lines whenever, and in whatever cuts, it is asked for.
Randomness is a hash of (seed, minute, place in the minute), worked out on columns; no Python runs per record, except
for the few records of incidents.

A minute is `records // 6` blocks of six records, spread unevenly over its seconds. A block is one kind of traffic
(LAYOUTS): both directions of a conversation, at each ENI on its way. Some blocks hold the same conversation for
20 minutes: these are the long connections, with SYN in the first record, FIN in the last, 0 between.

Addresses: 10.0.0.0/16 inside; outside only what RFC 5737 and RFC 3849 keep for documentation.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Literal, NamedTuple

import polars as pl

from streams.core.raw import TARGET_BYTES

Version = Literal[2, 5]

_DEFAULT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
FORMATS: dict[int, str] = {
    2: _DEFAULT,
    5: f"{_DEFAULT} "
    "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type sublocation-id "
    "pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path",
}
"""Field names of the lines of each version, in order: what goes into a header line or `RawMessage.format`."""

SMALLEST, LARGEST = 15, 20_000
"""ENIs of a network: one or two a role, up to what the address plan has room for."""


@dataclass(frozen=True)
class Network:
    """A VPC: a seed and a size. The same two values are the same ENIs, addresses and conversations.

    enis: how many network interfaces, 15 to 20,000. Raises ValueError outside of that.
    """

    seed: int = 1
    enis: int = 40

    def __post_init__(self) -> None:
        """Refuse sizes that have no address plan."""
        if not SMALLEST <= self.enis <= LARGEST:
            message = f"enis: expected {SMALLEST} to {LARGEST}, got {self.enis}"
            raise ValueError(message)


@dataclass(frozen=True)
class Incident:
    """What really happened: a line of the truth that detectors are measured against.

    kind: one of `INCIDENTS`. start, end: epoch seconds, end excluded; its records end in that span.
    who: the ENI that it happens to. source, target: addresses, from who started it to who suffers it.
    """

    kind: str
    start: int
    end: int
    who: str
    source: str
    target: str


# --- The network: who is there --------------------------------------------------------------------


class _Role(NamedTuple):
    name: str
    least: int
    share: float  # of the ENIs that are left when each role has its least
    managed: bool = False  # by AWS: instance-id is `-`


ROLES = (
    _Role("alb", 2, 0.01, managed=True),
    _Role("nat", 1, 0.02, managed=True),
    _Role("web", 1, 0.24),
    _Role("app", 2, 0.34),
    _Role("postgres", 2, 0.05),
    _Role("mysql", 1, 0.04),
    _Role("redis", 1, 0.05),
    _Role("kafka", 1, 0.06),
    _Role("dns", 1, 0.03),
    _Role("bastion", 1, 0.0),
    _Role("batch", 1, 0.06),
    _Role("idle", 1, 0.0),
)
"""Tiers of the VPC in order of their addresses. What the shares leave over goes to `idle`."""

_OUTSIDE = (("internet", "203.0.113"), ("clients", "198.51.100"), ("scanners", "192.0.2"))
_OUTSIDE_SIX = 4096
_SIX = int(IPv6Address("2001:db8::"))
_AWS_SERVICES = ((0, 64, "S3"), (64, 96, "DYNAMODB"), (96, 128, "EC2"), (128, 144, "AMAZON"))
"""Parts of `internet` (first, end, name) that belong to AWS."""

_ACCOUNTS = ("012345678901", "123456789010")
_VPC = "vpc-0a1b2c3d4e5f60718"
_ZONES = ("euc1-az1", "euc1-az2", "euc1-az3")
_REGION = "eu-central-1"


class _Plan(NamedTuple):
    """A network written out. Addresses are numbered: ENIs' IPv4, ENIs' IPv6, outside IPv4, outside IPv6."""

    ranges: dict[str, tuple[int, int]]  # name -> (first address number, how many); `alb6` is the IPv6 side of `alb`
    addresses: pl.Series
    types: pl.Series  # IPv4 or IPv6, by address number
    services: pl.Series  # AWS service, by address number
    interfaces: pl.Series  # `eni-...`, by ENI
    heads: dict[int, pl.Series]  # version -> `version account-id interface-id`, by ENI
    homes: pl.Series  # `vpc-id subnet-id instance-id`, by ENI
    zones: pl.Series  # `region az-id sublocation-type sublocation-id`, by ENI


@lru_cache(maxsize=8)
def _plan(network: Network) -> _Plan:
    count = network.enis
    ranges: dict[str, tuple[int, int]] = {}
    first = 0
    for role in ROLES:
        size = role.least + int((count - SMALLEST) * role.share)
        size = count - first if role.name == "idle" else size
        ranges[role.name] = (first, size)
        ranges[f"{role.name}6"] = (first + count, size)
        first += size
    four = [f"10.0.{(i + 10) // 250}.{(i + 10) % 250 + 4}" for i in range(count)]
    six = [str(IPv6Address(_SIX + ((i // 250) << 64) + i % 250 + 16)) for i in range(count)]
    for number, (name, prefix) in enumerate(_OUTSIDE):
        ranges[name] = (2 * count + 254 * number, 254)
        four_outside = [f"{prefix}.{i}" for i in range(1, 255)]
        six = six + four_outside
    addresses = four + six
    ranges["internet6"] = (len(addresses), _OUTSIDE_SIX)
    addresses += [
        str(IPv6Address(_SIX + ((0xF000 + i % 16) << 80) + ((i // 16) << 64) + i * 2654435761 % 65_521 + 1))
        for i in range(_OUTSIDE_SIX)
    ]
    interfaces = [f"eni-0{_digest(network.seed, 'eni', i)}" for i in range(count)]
    return _Plan(
        ranges=ranges,
        addresses=pl.Series(addresses),
        types=pl.Series(["IPv6" if ":" in address else "IPv4" for address in addresses]),
        services=_aws_services(len(addresses), ranges["internet"][0]),
        interfaces=pl.Series(interfaces),
        heads={
            version: pl.Series([f"{version} {_ACCOUNTS[i % 7 // 6]} {eni}" for i, eni in enumerate(interfaces)])
            for version in FORMATS
        },
        homes=pl.Series([_home(network.seed, i, _is_managed(ranges, i)) for i in range(count)]),
        zones=pl.Series([f"{_REGION} {_ZONES[i % len(_ZONES)]} - -" for i in range(count)]),
    )


def _is_managed(ranges: dict[str, tuple[int, int]], eni: int) -> bool:
    return any(ranges[role.name][0] <= eni < sum(ranges[role.name]) for role in ROLES if role.managed)


def _home(seed: int, eni: int, managed: bool) -> str:  # noqa: FBT001 - a private helper with one caller
    instance = "-" if managed else f"i-0{_digest(seed, 'instance', eni)}"
    return f"{_VPC} subnet-0{_digest(seed, 'subnet', eni % len(_ZONES))} {instance}"


def _aws_services(count: int, first: int) -> pl.Series:
    names: list[str | None] = [None] * count
    for low, high, name in _AWS_SERVICES:
        names[first + low : first + high] = [name] * (high - low)
    return pl.Series(names, dtype=pl.String)


def _digest(*parts: object) -> str:
    """16 hexadecimal digits that depend on all parts."""
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _number(*parts: object) -> int:
    return int(_digest(*parts), 16)


# --- The traffic: what is said, by whom -----------------------------------------------------------


class _Service(NamedTuple):
    name: str
    path: str
    weight: float
    client: str  # a role or an outside range; `6` at the end: over IPv6
    server: str
    port: int
    protocol: int = 6
    request: int = 800  # payload bytes of a usual request and response
    response: int = 6000
    least: int = 4  # packets without payload: handshake, end
    header: int = 52  # bytes of headers a packet
    heavy: bool = True  # sizes have a heavy tail
    span: int = 1  # ports from `port` on, Zipf-distributed


_UDP = {"protocol": 17, "least": 1, "header": 28, "heavy": False}
_PING = {"port": 0, "protocol": 1, "request": 0, "response": 0, "least": 5, "header": 84, "heavy": False}
_SYN = {"request": 0, "response": 0, "least": 1, "header": 44, "heavy": False}


def _service(name: str, path: str, weight: float, client: str, server: str, **rest: int | bool) -> _Service:
    return _Service(name, path, weight, client, server, **rest)  # type: ignore[arg-type]  # the tables above are mixed


SERVICES = (
    _service("health", "inner", 8, "alb", "web", port=8080, request=200, response=400, heavy=False),
    _service("web", "inner", 30, "alb", "web", port=80, response=9000),
    _service("api", "inner", 22, "web", "app", port=8080, response=4000),
    _service("dns", "inner", 16, "app", "dns", port=53, request=42, response=170, **_UDP),
    _service("dns-web", "inner", 8, "web", "dns", port=53, request=42, response=170, **_UDP),
    _service("mesh", "inner", 10, "app", "app", port=7000, span=3000, response=2500),
    _service("etl", "inner", 3, "batch", "mysql", port=3306, request=900, response=250_000),
    _service("admin", "inner", 1, "bastion", "app", port=22, request=4000, response=9000),
    _service("ping", "inner", 2, "bastion", "web", **_PING),
    _service("postgres", "lasting", 34, "app", "postgres", port=5432, request=9000, response=60_000, least=12),
    _service("redis", "lasting", 24, "app", "redis", port=6379, request=7000, response=22_000, least=20),
    _service("mysql", "lasting", 16, "app", "mysql", port=3306, request=6000, response=35_000, least=10),
    _service("kafka", "lasting", 14, "app", "kafka", port=9092, request=90_000, response=4000, least=20),
    _service("replica", "lasting", 3, "postgres", "postgres", port=5432, request=300_000, response=2000, least=30),
    _service("https", "edge", 60, "clients", "alb", port=443, request=1800, response=40_000),
    _service("http", "edge", 10, "clients", "alb", port=80, request=500, response=700),
    _service("https6", "edge", 14, "internet6", "alb6", port=443, request=1800, response=40_000, header=72),
    _service("ssh", "edge", 1, "clients", "bastion", port=22, request=5000, response=12_000),
    _service("saas6", "out", 10, "app6", "internet6", port=443, request=2500, response=9000, header=72),
    _service("saas", "nat", 50, "app", "internet", port=443, request=3000, response=14_000),
    _service("partner", "nat", 14, "web", "internet", port=443, request=2000, response=30_000),
    _service("mirror", "nat", 6, "batch", "internet", port=80, request=700, response=220_000),
    _service("backup", "nat", 3, "batch", "internet", port=443, request=260_000, response=3000),
    _service("ntp", "nat", 8, "app", "internet", port=123, request=48, response=48, **_UDP),
    _service("mail", "nat", 1, "app", "internet", port=587, request=30_000, response=1200),
    *(
        _service(f"scan-{port}", "scan", weight, "scanners", server, port=port, span=span, **_SYN)
        for port, weight, server, span in (
            (22, 20, "bastion", 1), (23, 26, "alb", 1), (445, 14, "nat", 1), (3389, 12, "bastion", 1),
            (8080, 9, "alb", 1), (1433, 4, "nat", 1), (5900, 3, "bastion", 1), (6379, 3, "nat", 1),
            (1, 9, "alb", 60_000),
        )
    ),
    _service("probe-udp", "scan", 5, "scanners", "nat", port=161, request=60, response=0, **_UDP),
    _service("probe-ping", "scan", 3, "scanners", "alb", **_PING),
    _service("scan6", "scan", 2, "internet6", "alb6", port=22, request=0, response=0, least=1, header=64, heavy=False),
    _service("nodata", "nodata", 1, "idle", "internet", port=0),
    _service("skipdata", "skipdata", 1, "nat", "internet", port=0),
    _service("refused", "refused", 1, "app", "postgres", **_SYN | {"port": 5432, "least": 3, "header": 60}),
)  # fmt: skip
"""All conversations there are. Weights count within a path; `refused` is what `postgres` becomes while it is broken."""

_PATHS = ("inner", "lasting", "edge", "out", "nat", "scan", "nodata", "skipdata")
_INDEX = {service.name: number for number, service in enumerate(SERVICES)}
_PICKS = 1024

C, S, N = 0, 1, 2
"""Ends of a conversation: client, server, and the NAT gateway between them."""

_ACCEPT, _REJECT, _NODATA, _SKIPDATA = range(4)
_OUTCOMES = pl.Series(["ACCEPT OK", "REJECT OK", "- NODATA", "- SKIPDATA"])


class _Leg(NamedTuple):
    """What one ENI writes about one direction of a conversation."""

    eni: int
    src: int
    dst: int
    pkt_src: int
    pkt_dst: int
    forward: bool = True
    path: int | None = None  # traffic-path; a number also means egress
    translated: bool = False  # the client port is the one that NAT chose
    outcome: int = _ACCEPT


LEGS: dict[str, _Leg] = {
    "client out": _Leg(C, C, S, C, S, path=1),
    "server in": _Leg(S, C, S, C, S),
    "server out": _Leg(S, S, C, S, C, forward=False, path=1),
    "client in": _Leg(C, S, C, S, C, forward=False),
    "server to internet": _Leg(S, S, C, S, C, forward=False, path=8),
    "client to internet": _Leg(C, C, S, C, S, path=8),
    # srcaddr and dstaddr of a NAT gateway's ENI are its own private address; the real ends are in pkt-*.
    # https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html (NAT gateway)
    "client to nat": _Leg(C, C, S, C, S, path=1),
    "nat in": _Leg(N, C, N, C, S),
    "nat to internet": _Leg(N, N, S, N, S, path=8, translated=True),
    "internet to nat": _Leg(N, S, N, S, N, forward=False, translated=True),
    "nat to client": _Leg(N, N, C, S, C, forward=False, path=1),
    "refused": _Leg(S, C, S, C, S, outcome=_REJECT),
    "refused again": _Leg(S, C, S, C, S, outcome=_REJECT, translated=True),
    "client out again": _Leg(C, C, S, C, S, path=1, translated=True),
    "nodata": _Leg(C, C, S, C, S, outcome=_NODATA),
    "skipdata": _Leg(C, C, S, C, S, outcome=_SKIPDATA),
}
_LEG = {name: number for number, name in enumerate(LEGS)}
_INNER: tuple[str, ...] = ("client out", "server in", "server out", "client in")
_EDGE = ("server in", "server to internet")
_OUT = ("client to internet", "client in")
_NAT = ("client to nat", "nat in", "nat to internet", "internet to nat", "nat to client", "client in")
_BROKEN = ("client out", "refused", "client out again", "refused again")
"""Legs of a conversation, in the order in which its packets pass. `_BROKEN` stands in the place of `_INNER`."""


class _Layout(NamedTuple):
    weight: int  # of 1,000 blocks
    talks: tuple[tuple[str, tuple[str, ...]], ...]  # (path, legs) of its conversations: six legs in all


LAYOUTS = (
    _Layout(360, (("nat", _NAT),)),
    _Layout(440, (("inner", _INNER), ("edge", _EDGE))),
    _Layout(90, (("edge", _EDGE),) * 3),
    _Layout(50, (("out", _OUT),) * 3),
    _Layout(49, (("scan", ("refused",)),) * 6),
    _Layout(10, (("nodata", ("nodata",)),) * 6),
    _Layout(1, (("skipdata", ("skipdata",)),) * 6),
)
"""What six records of a block can be."""

BLOCK = 6
_LASTING = 3
"""Of 8 blocks, how many hold the same conversation for `_LIFE` minutes."""
_LIFE = 20

_FIRST, _MIDDLE, _LAST, _SHORT = range(4)
_FLAGS_FORWARD = pl.Series([2, 0, 1, 3, 3, 3, 3, 3, 3, 2, 7], dtype=pl.UInt8)
_FLAGS_BACK = pl.Series([18, 0, 1, 19, 19, 19, 19, 19, 19, 18, 19], dtype=pl.UInt8)
"""tcp-flags by state: first, middle and last record of a long connection, then eight of a short one."""

_QUANTILES = 4096


def _sizes() -> pl.Series:
    """Sixteenths: first `_QUANTILES` factors around 1, then as many with a heavy tail (Pareto, exponent 1.15)."""
    ranks = [(i * 1597 % _QUANTILES + 0.5) / _QUANTILES for i in range(_QUANTILES)]
    light = [int(16 * (0.75 + 0.5 * rank)) for rank in ranks]
    heavy = [int(16 * 0.3 * rank ** (-1 / 1.15)) for rank in ranks]
    return pl.Series(light + heavy, dtype=pl.Int64)


_SIZES = _sizes()
_DURATIONS = pl.Series([58, 59, 60, 61] * 13 + list(range(10, 58, 4)), dtype=pl.Int64)
"""Seconds that a record spans: mostly 58 to 61, some 10 to 54. 64 values."""
_DELAYS = pl.Series([0] * 16 + [int(30 * (i / 45) ** 2) for i in range(46)] + [60, 109], dtype=pl.Int64)
"""How far behind its neighbours a record's `end` is when disorder is wanted: 0 to 30 s, at times 60 and 109 s."""


def _spread(weights: list[tuple[int, float]]) -> list[int]:
    """`_PICKS` values, each as often as its weight says: a random number below `_PICKS` picks one."""
    total = sum(weight for _, weight in weights)
    picks: list[int] = []
    so_far = 0.0
    for value, weight in weights:
        so_far += weight
        picks += [value] * (round(so_far * _PICKS / total) - len(picks))
    return picks


def _service_picks(path: str) -> list[int]:
    return _spread([(_INDEX[service.name], service.weight) for service in SERVICES if service.path == path])


_LAYOUT_PICKS = pl.Series(_spread([(number, layout.weight) for number, layout in enumerate(LAYOUTS)]), dtype=pl.UInt32)
_SERVICE_PICKS = pl.Series([pick for path in _PATHS for pick in _service_picks(path)], dtype=pl.UInt32)

_SLOTS = [
    (talk, _PATHS.index(path), _LEG[leg])
    for layout in LAYOUTS
    for talk, (path, legs) in enumerate(layout.talks)
    for leg in legs
]
"""(conversation in its block, path, leg) of each record, by layout * BLOCK + position."""
_SLOT_TALK, _SLOT_PATH, _SLOT_LEG = (
    pl.Series(column, dtype=dtype)
    for column, dtype in zip(zip(*_SLOTS, strict=True), (pl.UInt64, pl.UInt32, pl.UInt32), strict=True)
)


class _Choices(NamedTuple):
    """Where a service's ends are in this network, by service."""

    client_first: pl.Series
    client_log: pl.Series  # log(how many + 1): see _zipf
    server_first: pl.Series
    server_count: pl.Series
    server_log: pl.Series
    shared: pl.Series  # 1 when both ends are of one role: then the server is another one than the client


@lru_cache(maxsize=8)
def _choices(network: Network) -> _Choices:
    ranges = _plan(network).ranges
    clients = [ranges[service.client] for service in SERVICES]
    servers = [ranges[service.server] for service in SERVICES]
    shared = [service.client == service.server for service in SERVICES]
    others = [max(1, count - same) for (_, count), same in zip(servers, shared, strict=True)]
    return _Choices(
        client_first=pl.Series([first for first, _ in clients], dtype=pl.UInt32),
        client_log=pl.Series([math.log(count + 1) for _, count in clients]),
        server_first=pl.Series([first for first, _ in servers], dtype=pl.UInt32),
        server_count=pl.Series([count for _, count in servers], dtype=pl.UInt32),
        server_log=pl.Series([math.log(count + 1) for count in others]),
        shared=pl.Series(shared).cast(pl.UInt32),
    )


def _column(values: list[int] | list[bool], dtype: type[pl.DataType] = pl.Int64) -> pl.Series:
    return pl.Series(values, dtype=dtype)


_PORT = _column([service.port for service in SERVICES])
_SPAN_LOG = pl.Series([math.log(service.span + 1) if service.span > 1 else 0.0 for service in SERVICES])
_PROTOCOL = _column([service.protocol for service in SERVICES])
_REQUEST = _column([service.request for service in SERVICES])
_RESPONSE = _column([service.response for service in SERVICES])
_LEAST = _column([service.least for service in SERVICES])
_HEADER = _column([service.header for service in SERVICES])
_HEAVY = _column([service.heavy * _QUANTILES for service in SERVICES], pl.UInt64)
_ACKS = _column([int(service.protocol == 6) for service in SERVICES])  # noqa: PLR2004 - TCP

_LEG_ENDS = {
    column: _column([getattr(leg, column) for leg in LEGS.values()], pl.UInt8)
    for column in ("eni", "src", "dst", "pkt_src", "pkt_dst", "outcome")
}
_FORWARD = pl.Series([leg.forward for leg in LEGS.values()])
_TRANSLATED = pl.Series([leg.translated for leg in LEGS.values()])


def _way(leg: _Leg) -> str:
    if leg.outcome >= _NODATA:
        return "- -"
    return "ingress -" if leg.path is None else f"egress {leg.path}"


_WAYS = pl.Series([_way(leg) for leg in LEGS.values()])
"""`flow-direction traffic-path`, by leg."""


# --- Randomness: hashes of columns ----------------------------------------------------------------

_MASK = (1 << 64) - 1


def _u64(number: int) -> pl.Expr:
    return pl.lit(number & _MASK, dtype=pl.UInt64)


def _mixed(column: pl.Expr) -> pl.Expr:
    """A hash of each UInt64: every bit of the input sways every bit of the output. Multiplication wraps around."""
    once = (column ^ (column // _u64(1 << 32))) * _u64(0x9E3779B97F4A7C15)
    twice = (once ^ (once // _u64(1 << 29))) * _u64(0xBF58476D1CE4E5B9)
    return twice ^ (twice // _u64(1 << 32))


def _bits(column: str, first: int, count: int) -> pl.Expr:
    """Some bits of a hash, as a number."""
    return (pl.col(column) // _u64(1 << first)) & _u64((1 << count) - 1)


def _zipf(number: pl.Expr, bits: int, log: pl.Expr) -> pl.Expr:
    """0, 1, 2 ... as often as 1, 1/2, 1/3 ...; `log` is that of one more than how many there are. UInt32."""
    return (number.cast(pl.Float64) * (log / (1 << bits))).exp().cast(pl.UInt32) - 1


def _at(table: pl.Series, index: pl.Expr) -> pl.Expr:
    return pl.lit(table).gather(index)


# --- Records: from places in time to columns ------------------------------------------------------

_MINUTE = 60
_WAVES = ((1, 0.12, 0.0), (3, 0.10, 1.0), (7, 0.12, 2.0), (13, 0.10, 3.0))
"""(waves a minute, height, phase): how the rate moves within a minute. Heights sum to less than 1."""


@lru_cache(maxsize=64)
def _bounds(blocks: int) -> list[int]:
    """How many blocks end before each second of a minute: 61 numbers, from 0 to `blocks`."""

    def share(part: float) -> float:
        turn = 2 * math.pi
        return part + sum(
            height * (math.sin(turn * waves * part + phase) - math.sin(phase)) / (turn * waves)
            for waves, height, phase in _WAVES
        )

    return [round(blocks * share(second / _MINUTE)) for second in range(_MINUTE + 1)]


def _blocks(seed: int, minute: int, part: tuple[int, int], blocks: int) -> pl.DataFrame:
    """A part of the blocks of a minute: hash (UInt64), layout, state (UInt32), end (Int64, epoch seconds)."""
    place = pl.int_range(*part, dtype=pl.UInt64, eager=True).alias("place")
    second = pl.Series(_bounds(blocks)[1:], dtype=pl.UInt64).search_sorted(place, side="right")
    lasting, age = _bits("home", 0, 3) < _LASTING, _u64(minute) + _bits("home", 8, 16) % _LIFE
    phase = age % _LIFE
    state = pl.when(~lasting).then(_SHORT).when(phase == 0).then(_FIRST).when(phase == _LIFE - 1).then(_LAST)
    return (
        pl.DataFrame({"place": place, "end": second.cast(pl.Int64) + minute * _MINUTE})
        .with_columns(_mixed(pl.col("place") * 2 + _u64(_number(seed, "blocks"))).alias("home"))
        .with_columns(
            _mixed(pl.col("home") ^ pl.when(lasting).then(age // _LIFE + _u64(1 << 40)).otherwise(_u64(minute))).alias(
                "hash"
            ),
            state.otherwise(_MIDDLE).cast(pl.UInt32).alias("state"),
        )
        .select("hash", _at(_LAYOUT_PICKS, _bits("hash", 0, 10)).alias("layout"), "state", "end")
    )


def _ordinary(network: Network, minute: int, blocks: pl.DataFrame, broken: Sequence[Incident]) -> pl.DataFrame:
    """The six records of each block, with the columns of `_TALK`, and `dice` (UInt64) for whoever needs more."""
    count = blocks.height
    index = pl.int_range(count * BLOCK, dtype=pl.UInt32, eager=True)
    frame = blocks[index // BLOCK].with_columns((index % BLOCK).alias("position"))
    slot = pl.col("layout") * BLOCK + pl.col("position")
    frame = frame.with_columns(
        _mixed(pl.col("hash") + (_at(_SLOT_TALK, slot) + 1) * _u64(0xD6E8FEB86659FD93)).alias("hash"),
        _at(_SLOT_PATH, slot).alias("path"),
        _at(_SLOT_LEG, slot).alias("leg"),
    )
    # `lasting` stands after `inner` in _PATHS: a lasting block takes its services from there
    path = pl.col("path") + ((pl.col("path") == 0) & (pl.col("state") < _SHORT))
    frame = frame.select(
        "hash",
        "leg",
        "state",
        "end",
        "position",
        _mixed(pl.col("hash") ^ _u64(minute * 0xA24BAED4963EE407)).alias("dice"),
        _at(_SERVICE_PICKS, path * _PICKS + _bits("hash", 0, 10)).alias("service"),
    )
    frame = _with_ends(frame, network)
    for incident in broken:
        frame = _broken(frame, incident, _plan(network).ranges["postgres"][0])
    return _with_sizes(frame)


def _with_ends(frame: pl.DataFrame, network: Network) -> pl.DataFrame:
    table, service = _choices(network), pl.col("service")
    nat_first, nats = _plan(network).ranges["nat"]
    offset = _zipf(_bits("hash", 10, 19), 19, _at(table.client_log, service))
    other = _zipf(_bits("hash", 29, 19), 19, _at(table.server_log, service))
    return frame.with_columns(offset.alias("offset")).with_columns(
        (_at(table.client_first, service) + pl.col("offset")).alias("client"),
        (
            _at(table.server_first, service)
            + (other + _at(table.shared, service) * (pl.col("offset") + 1)) % _at(table.server_count, service)
        ).alias("server"),
        (nat_first + _zipf(_bits("hash", 48, 8), 8, pl.lit(math.log(nats + 1)))).alias("nat"),
    )


def _broken(frame: pl.DataFrame, incident: Incident, database: int) -> pl.DataFrame:
    """What the database's clients were told by its ENI becomes two tries that nobody answers."""
    hit = (
        (pl.col("service") == _INDEX["postgres"])
        & (pl.col("server") == database)
        & pl.col("end").is_between(incident.start, incident.end, closed="left")
    )
    tries = pl.Series([_LEG[leg] for leg in _BROKEN] * 2, dtype=pl.UInt32)
    return frame.with_columns(
        pl.when(hit).then(_INDEX["refused"]).otherwise("service").cast(pl.UInt32).alias("service"),
        pl.when(hit).then(_at(tries, pl.col("position"))).otherwise("leg").alias("leg"),
        pl.when(hit).then(_FIRST).otherwise("state").cast(pl.UInt32).alias("state"),
    )


_SEGMENT = 1448
"""Payload bytes of a full packet."""

_TALK = (
    "leg", "state", "client", "server", "nat",
    "client_port", "server_port", "protocol", "packets", "bytes", "start", "end",
)  # fmt: skip
"""A record with its ends as address numbers, and its sizes. From `client_port` on Int64, before it UInt32."""


def _with_sizes(frame: pl.DataFrame) -> pl.DataFrame:
    service, heavy = pl.col("service"), _at(_HEAVY, pl.col("service"))
    protocol = _at(_PROTOCOL, service)
    frame = frame.with_columns(
        (_at(_REQUEST, service) * _at(_SIZES, heavy + _bits("dice", 0, 12)) // 16).alias("request"),
        (_at(_RESPONSE, service) * _at(_SIZES, heavy + _bits("dice", 12, 12)) // 16).alias("response"),
        _at(_LEAST, service).alias("least"),
        _at(_FORWARD, pl.col("leg")).alias("forward"),
        (pl.col("end") - _at(_DURATIONS, _bits("dice", 24, 6))).alias("start"),
        (pl.col("state") + pl.when(pl.col("state") == _SHORT).then(_bits("dice", 30, 3)).otherwise(0))
        .cast(pl.UInt32)
        .alias("state"),
        pl.when(protocol == 1)
        .then(0)
        .otherwise(32_768 + (_bits("hash", 49, 15) % 28_232))
        .cast(pl.Int64)
        .alias("client_port"),
        (_at(_PORT, service) + _zipf(_bits("hash", 49, 15), 15, _at(_SPAN_LOG, service)).cast(pl.Int64)).alias(
            "server_port"
        ),
        protocol.alias("protocol"),
    )
    answered = pl.col("least") + pl.col("response") // _SEGMENT
    asked = pl.col("least") + pl.col("request") // _SEGMENT + answered * _at(_ACKS, service) // 2
    frame = frame.with_columns(
        pl.when("forward").then(asked).otherwise(answered).alias("packets"),
        pl.when("forward").then("request").otherwise("response").alias("payload"),
    )
    return frame.select(
        *(column for column in _TALK if column != "bytes"),
        "dice",
        (pl.col("payload") + pl.col("packets") * _at(_HEADER, service)).alias("bytes"),
    )


# --- Lines: from columns to text ------------------------------------------------------------------


def _end(column: str) -> pl.Expr:
    """Address number of one end of a leg; null where the record has no addresses."""
    end = _at(_LEG_ENDS[column], pl.col("leg"))
    number = pl.when(end == C).then("client").when(end == S).then("server").otherwise("nat")
    return number if column == "eni" else pl.when("told").then(number)


def _lines(network: Network, talk: pl.DataFrame, version: Version) -> bytes:
    """The records of `talk` as text, in their order, with no line end after the last."""
    if not talk.height:
        return b""
    plan = _plan(network)
    leg, told, forward = pl.col("leg"), pl.col("told"), pl.col("forward")
    client_port = pl.when(_at(_TRANSLATED, leg) & (pl.col("client_port") > 0)).then(
        1024 + pl.col("client_port") * 7919 % 64_512
    ).otherwise("client_port")  # fmt: skip
    ends = talk.with_columns(
        _at(_LEG_ENDS["outcome"], leg).alias("outcome"),
        (_at(_LEG_ENDS["outcome"], leg) < _NODATA).alias("told"),
        _at(_FORWARD, leg).alias("forward"),
        client_port.alias("client_port"),
    ).with_columns(
        _end("eni").alias("eni") % network.enis,  # an ENI's IPv6 address is one more number of the same ENI
        *(_end(column).alias(column) for column in ("src", "dst")),
        *(_end(column).alias(column) for column in ("pkt_src", "pkt_dst") if version > 2),  # noqa: PLR2004 - v2 has none
    )
    port, other = pl.col("client_port"), pl.col("server_port")
    columns: list[pl.Expr | str] = [
        _at(plan.heads[version], pl.col("eni")).alias("head"),
        *(_at(plan.addresses, pl.col(end)).alias(end) for end in ("src", "dst")),
        pl.when(told).then(pl.when(forward).then(port).otherwise(other)).alias("srcport"),
        pl.when(told).then(pl.when(forward).then(other).otherwise(port)).alias("dstport"),
        *(pl.when(told).then(name).alias(name) for name in ("protocol", "packets", "bytes")),
        "start",
        "end",
        _at(_OUTCOMES, pl.col("outcome")).alias("tail"),
    ]
    more = _later_fields(plan) if version > 2 else []  # noqa: PLR2004
    text = io.BytesIO()
    ends.select(*columns, *more).write_csv(
        text, include_header=False, separator=" ", quote_style="never", null_value="-", line_terminator="\n"
    )
    return text.getvalue()[:-1]


def _later_fields(plan: _Plan) -> list[pl.Expr]:
    """The fields that versions 3 to 5 add to version 2."""
    leg, state = pl.col("leg"), pl.col("state")
    state = pl.when(pl.col("outcome") == _REJECT).then(_FIRST).otherwise(state)
    flags = pl.when("forward").then(_at(_FLAGS_FORWARD, state)).otherwise(_at(_FLAGS_BACK, state))
    return [
        _at(plan.homes, pl.col("eni")).alias("home"),
        pl.when(pl.col("told") & (pl.col("protocol") == 6)).then(flags).alias("tcp-flags"),  # noqa: PLR2004 - TCP
        _at(plan.types, pl.col("src")).alias("type"),
        *(_at(plan.addresses, pl.col(end)).alias(end) for end in ("pkt_src", "pkt_dst")),
        _at(plan.zones, pl.col("eni")).alias("zone"),
        *(_at(plan.services, pl.col(end)).alias(f"{end}_service") for end in ("pkt_src", "pkt_dst")),
        _at(_WAYS, leg).alias("way"),
    ]


# --- Incidents: the few records that are made one by one ------------------------------------------


class _Plot(NamedTuple):
    every: int  # seconds: once in each such span, at a place that depends on the seed
    seconds: int  # how long


INCIDENTS: dict[str, _Plot] = {
    "port_scan": _Plot(900, 150),
    "ssh_brute_force": _Plot(1200, 240),
    "exfiltration": _Plot(1800, 240),
    "broken_dependency": _Plot(1800, 180),
    "beacon": _Plot(3600, 2400),
}
"""What goes wrong, how often and for how long."""

_Row = tuple[int, ...]
"""A record in the order of `_TALK`."""


class _Cast(NamedTuple):
    """Address numbers of those who take part."""

    client: int
    server: int
    nat: int


def _cast(network: Network, kind: str, cycle: int) -> _Cast:
    ranges = _plan(network).ranges

    def one_of(name: str) -> int:
        first, count = ranges[name]
        return first + _number(network.seed, kind, cycle, name) % count

    ends = {
        "port_scan": ("scanners", "bastion"),
        "ssh_brute_force": ("scanners", "bastion"),
        "exfiltration": ("app", "internet"),
        "broken_dependency": ("app", "postgres"),
        "beacon": ("batch", "internet"),
    }
    client, server = ends[kind]
    # the busiest database is the one that breaks, so that it shows
    database = ranges["postgres"][0]
    return _Cast(one_of(client), database if kind == "broken_dependency" else one_of(server), one_of("nat"))


def _scheduled(network: Network, start: int, end: int) -> Iterator[tuple[Incident, _Cast]]:
    plan = _plan(network)
    for kind, plot in INCIDENTS.items():
        for cycle in range(start // plot.every, (end - 1) // plot.every + 1):
            begin = cycle * plot.every + _number(network.seed, kind, cycle) % (plot.every - plot.seconds)
            if begin >= end or begin + plot.seconds <= start:
                continue
            cast = _cast(network, kind, cycle)
            inside = cast.server if cast.server < network.enis else cast.client
            source = "*" if kind == "broken_dependency" else plan.addresses[cast.client]
            who = plan.interfaces[inside]
            yield Incident(kind, begin, begin + plot.seconds, who, source, plan.addresses[cast.server]), cast


def incidents(network: Network, start: int, end: int) -> list[Incident]:
    """Incidents that touch [start, end), epoch seconds, by start. `source` is `*` where many are hit at once."""
    found = [incident for incident, _ in _scheduled(network, start, end)]
    return sorted(found, key=lambda incident: (incident.start, incident.kind))


def _talk(
    legs: tuple[str, ...], cast: _Cast, ports: tuple[int, int], sizes: tuple[int, int, int, int], span: tuple[int, int]
) -> list[_Row]:
    """A TCP conversation at each leg. sizes: packets and bytes there, packets and bytes back; span: start and end."""
    there, back = sizes[:2], sizes[2:]
    return [(_LEG[leg], _SHORT, *cast, *ports, 6, *(there if LEGS[leg].forward else back), *span) for leg in legs]


_OPEN_PORTS = (22, 443, 873)


def _scan_second(cast: _Cast, age: int, second: int) -> list[_Row]:
    """Seven ports a second, upwards; the open ones answer."""
    rows: list[_Row] = []
    for port in range(age * 7 + 1, age * 7 + 8):
        client_port = 40_000 + port % 8
        open_port = port in _OPEN_PORTS
        legs, sizes = (_EDGE, (3, 128, 2, 84)) if open_port else (("refused",), (1, 44, 0, 0))
        rows += _talk(legs, cast, (client_port, port), sizes, (second - 12, second))
    return rows


def _ssh_second(cast: _Cast, age: int, second: int) -> list[_Row]:
    """Two log-ins a second, each refused by the service, not by the network."""
    rows: list[_Row] = []
    for attempt in (age * 2, age * 2 + 1):
        sizes = (16 + attempt % 5, 2900 + attempt % 300, 14 + attempt % 3, 3300 + attempt % 200)
        rows += _talk(_EDGE, cast, (33_000 + attempt % 27_000, 22), sizes, (second - 11, second))
    return rows


def _exfiltration_second(cast: _Cast, age: int, second: int) -> list[_Row]:
    """Three uploads, a record each every 20 seconds: some 20 MB a second together."""
    if age % 20:
        return []
    packets = 92_000 + age * 37
    sizes = (packets, packets * 1480, packets // 2, packets * 26)
    return [
        row for port in (51_001, 51_002, 51_003) for row in _talk(_NAT, cast, (port, 443), sizes, (second - 20, second))
    ]


def _beacon_second(cast: _Cast, age: int, second: int) -> list[_Row]:
    """The same few bytes once a minute."""
    if age % 60:
        return []
    return _talk(_NAT, cast, (35_000 + age // 60 % 20_000, 443), (9, 1126, 8, 3382), (second - 1, second))


_ACTORS: dict[str, Callable[[_Cast, int, int], list[_Row]]] = {
    "port_scan": _scan_second,
    "ssh_brute_force": _ssh_second,
    "exfiltration": _exfiltration_second,
    "beacon": _beacon_second,
}
"""What an incident adds in a second: (cast, seconds since its start, epoch second) -> records. `broken_dependency` adds
nothing, it changes the ordinary records: see `_broken`."""


def _staged(network: Network, start: int, end: int) -> pl.DataFrame:
    rows = [
        row
        for incident, cast in _scheduled(network, start, end)
        if incident.kind in _ACTORS
        for second in range(max(start, incident.start), min(end, incident.end))
        for row in _ACTORS[incident.kind](cast, second - incident.start, second)
    ]
    return pl.DataFrame(rows, schema=_TALK_SCHEMA, orient="row")


_TALK_SCHEMA = dict.fromkeys(_TALK, pl.UInt32) | dict.fromkeys(_TALK[5:], pl.Int64)


# --- What is asked for ----------------------------------------------------------------------------


def minute(network: Network, start_epoch: int, records: int, *, version: Version = 2) -> bytes:
    """Lines whose `end` lies in [start_epoch, start_epoch + 60): `records` ordinary ones, and those of incidents."""
    return slice_lines(network, start_epoch, start_epoch + _MINUTE, records / _MINUTE, version=version)


def slice_lines(network: Network, second_from: int, second_to: int, rate: float, *, version: Version = 2) -> bytes:
    """Lines whose `end` lies in [second_from, second_to), by `end`, separated by line feeds.

    rate: ordinary records a second, on the average of a minute; incidents come on top. Slices that join give the lines
    of one slice over both, so a live feed asks for each second once and misses nothing.
    """
    records = round(rate * _MINUTE)
    broken = [one for one in incidents(network, second_from, second_to) if one.kind == "broken_dependency"]
    parts = []
    for number in range(second_from // _MINUTE, (second_to - 1) // _MINUTE + 1):
        bounds = _bounds(_block_count(records))
        first, last = max(0, second_from - number * _MINUTE), min(_MINUTE, second_to - number * _MINUTE)
        parts.append(_records(network, number, (bounds[first], bounds[last]), records, broken).select(*_TALK_SCHEMA))
    parts.append(_staged(network, second_from, second_to))
    talk = pl.concat(parts)
    talk = talk.sort("end", maintain_order=True) if parts[-1].height else talk
    return _lines(network, talk, version)


def _block_count(records: int) -> int:
    return -(-records // BLOCK)


def _records(
    network: Network, number: int, part: tuple[int, int], records: int, broken: Sequence[Incident] = ()
) -> pl.DataFrame:
    """A part (first block, last block + 1) of a minute of `records` records: its last block gives what is missing."""
    blocks = _blocks(network.seed, number, part, _block_count(records))
    return _ordinary(network, number, blocks, broken)[: max(0, records - part[0] * BLOCK)]


_BLOCKS_AT_ONCE = 8192


def bulk(  # noqa: PLR0913 - what a benchmark varies
    lines: int,
    *,
    enis: int = 1000,
    seed: int = 1,
    version: Version = 2,
    start_epoch: int = 1_700_000_040,
    minutes: int = 5,
) -> Iterator[bytes]:
    """Exactly `lines` lines over `minutes` minutes, for benchmarks: no incidents, in chunks of about 512 KiB.

    About 5 % REJECT, 1 % NODATA and SKIPDATA. In disorder: shuffled over some 50,000 neighbours, and `end` up to 109 s
    behind them (never before `start_epoch`, which is rounded down to the minute). Chunks end between lines.
    """
    network, first = Network(seed=seed, enis=enis), start_epoch // _MINUTE
    text = b""
    for number in range(minutes):
        records = lines * (number + 1) // minutes - lines * number // minutes
        for talk in _shuffled(network, first + number, records, first * _MINUTE):
            part = _lines(network, talk, version)
            text = text + b"\n" + part if text else part
            *whole, text = _cut(text)
            yield from whole
    if text:
        yield text


def _shuffled(network: Network, number: int, records: int, floor: int) -> Iterator[pl.DataFrame]:
    """A minute's records in disorder, some 50,000 at a time."""
    blocks = _block_count(records)
    for low in range(0, blocks, _BLOCKS_AT_ONCE):
        talk = _records(network, number, (low, min(blocks, low + _BLOCKS_AT_ONCE)), records)
        # `dice` is one a conversation: the row's number keeps its legs apart
        order = _mixed(pl.col("dice") + pl.int_range(pl.len(), dtype=pl.UInt64))
        late = _at(_DELAYS, _bits("order", 0, 6)).clip(upper_bound=pl.col("end") - floor)
        talk = talk.with_columns(order.alias("order")).with_columns(
            (pl.col("start") - late).alias("start"), (pl.col("end") - late).alias("end")
        )
        yield talk.sort("order")


def _cut(text: bytes) -> list[bytes]:
    """Parts of about TARGET_BYTES and a rest, which may be empty."""
    parts = []
    start = 0
    while len(text) - start > TARGET_BYTES:
        end = text.find(b"\n", start + TARGET_BYTES)
        if end < 0:
            break
        parts.append(text[start:end])
        start = end + 1
    return [*parts, text[start:]]
