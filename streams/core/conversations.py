"""Conversations: who asked whom for which service, and what came back. Both half-flows of an interface, in one row.

What detectors see. A row counts what the client sent apart from what the server did. The client is told by TCP flags,
else by the ports (core.ports), and between equal ports by the addresses, so that both half-flows agree. Where a format
has the packet's own addresses (`pkt-srcaddr`, `pkt-dstaddr`), those are the parties, not a NAT gateway between them.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from streams.core import direction, keyed, ports, tables

PANE_SECONDS = 60
"""A conversation stands in the minute in which a record of it starts: not a setting, detectors count in minutes."""

KEYS: dict[str, pl.DataType | type[pl.DataType]] = {
    "eni": pl.String,
    "direction": pl.UInt8,
    "client": pl.String,
    "server": pl.String,
    "port": pl.Int32,
    "protocol": pl.Int16,
}
"""direction: core.direction's code of what the client sends: EGRESS where the interface is the client's."""

SUMS = (
    "flows", "rejected", "packets", "bytes", "replies", "reply_rejected", "reply_packets", "reply_bytes", "refusals",
    "relayed",
)  # fmt: skip
"""flows: records of what the client sent; rejected: of those, refused by a security group or NACL. packets, bytes: of
all of them. replies, reply_rejected, reply_packets, reply_bytes: the same of what the server sent. refusals: replies
that only say no (a lone RST, or what is as small as one). relayed: records of an interface on the way, whose own
addresses are not the packet's.
"""

MEASURES: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(SUMS, pl.Int64),
    "first": pl.Int64,
    "last": pl.Int64,
    "smallest": pl.Int64,
    "largest": pl.Int64,
    "seconds": pl.UInt64,
    "sockets": pl.UInt64,
}
"""first, last: epoch seconds. smallest, largest: bytes of the client's records. Where the interface is the
client's, or that is not known: seconds: a bit for each second of the minute in which a record of the client's starts;
sockets: a bit for each of the client's ports, 64 in all (some share). Else 0: to add them up takes as long as all else.
"""

SCHEMA = {**KEYS, "pane": pl.Int64, **MEASURES}

_BITS = pl.Series("bits", [1 << bit for bit in range(64)], dtype=pl.UInt64)
_NO_BITS = pl.lit(0, dtype=pl.UInt64)
_LONE_RESET_BYTES = 60
_SYN, _RST = 2, 4
_TCP = 6
_OPPOSITE = pl.Series(
    [
        direction.UNKNOWN, direction.EGRESS, direction.INGRESS, direction.HIGH4, direction.LOW4, direction.HIGH6,
        direction.LOW6,
    ],
    dtype=pl.UInt8,
)  # fmt: skip
"""Of each code of core.direction."""


def empty() -> pl.DataFrame:
    """A frame with no rows."""
    return pl.DataFrame(schema=SCHEMA)


def parties(flows: pl.DataFrame, rejected: pl.Expr) -> list[pl.Expr]:
    """Columns for `conversing`, of parsed records. rejected: Boolean."""
    src, dst = (_party(flows, *names) for names in (("pkt-srcaddr", "srcaddr"), ("pkt-dstaddr", "dstaddr")))
    flags = pl.col("tcp-flags") if "tcp-flags" in flows.columns else None
    has_ports = {"srcport", "dstport"} <= set(flows.columns)
    srcport, dstport = (pl.col(name) if has_ports else pl.lit(None, dtype=pl.Int64) for name in ("srcport", "dstport"))
    ported = flows.with_columns(srcport.alias("srcport"), dstport.alias("dstport"))
    opens = ports.opens(pl.col("srcport"), pl.col("dstport"), rejected, flags)
    request = pl.lit(_requests(ported, opens, src, dst))
    return [
        pl.when(request).then(src).otherwise(dst).alias("client"),
        pl.when(request).then(dst).otherwise(src).alias("server"),
        pl.when(request).then(dstport).otherwise(srcport).fill_null(ports.UNKNOWN).cast(pl.Int32).alias("service"),
        pl.when(request).then(srcport).otherwise(dstport).fill_null(0).alias("socket"),
        request.alias("request"),
        (pl.lit(None, dtype=pl.Int64) if flags is None else flags).alias("flags"),
        (_differs(flows, "srcaddr") | _differs(flows, "dstaddr")).alias("relayed"),
    ]


def _requests(flows: pl.DataFrame, opens: pl.Expr, src: pl.Expr, dst: pl.Expr) -> pl.Series:
    """Whether the sender is the client. Addresses are looked at only where ports do not tell: few, and it is dear."""
    told = flows.with_columns(opens.alias("_told")).get_column("_told")
    open_ = told.is_null()
    if not open_.any():
        return told
    by_address = flows.filter(open_).with_columns(_by_address(src, dst).alias("_told")).get_column("_told")
    return told.scatter(open_.arg_true(), by_address)


def conversing(facts: pl.DataFrame) -> pl.DataFrame:
    """Facts with `parties` -> conversations by minute (columns: SCHEMA), a row a record: `merged` adds them up.

    Records without both addresses have none.
    """
    known = facts
    if facts.get_column("client").null_count() or facts.get_column("server").null_count():
        known = facts.filter(pl.col("client").is_not_null() & pl.col("server").is_not_null())
    first = pl.col("first").clip(upper_bound=pl.col("last"))
    of = pl.col("request")
    calls = of & (pl.col("direction") != direction.INGRESS)
    return known.select(
        "eni",
        pl.when(of).then("direction").otherwise(pl.lit(_OPPOSITE).gather("direction")).alias("direction"),
        "client", "server", pl.col("service").alias("port"), "protocol",
        (first - first % PANE_SECONDS).alias("pane"),
        *(of.cast(pl.Int64).alias("flows"), (of & _is_rejected()).cast(pl.Int64).alias("rejected")),
        *((pl.col(name) * of).alias(name) for name in ("packets", "bytes")),
        *((~of).cast(pl.Int64).alias("replies"), (~of & _is_rejected()).cast(pl.Int64).alias("reply_rejected")),
        *((pl.col(name) * ~of).alias(f"reply_{name}") for name in ("packets", "bytes")),
        (~of & _says_no()).cast(pl.Int64).alias("refusals"), pl.col("relayed").cast(pl.Int64),
        first.alias("first"), "last",
        *(pl.when(of).then("bytes").alias(name) for name in ("smallest", "largest")),
        pl.when(calls).then(pl.lit(_BITS).gather(first % PANE_SECONDS)).otherwise(_NO_BITS).alias("seconds"),
        pl.when(calls).then(pl.lit(_BITS).gather(pl.col("socket") % 64)).otherwise(_NO_BITS).alias("sockets"),
    )  # fmt: skip


def conversed(facts: pl.DataFrame) -> pl.DataFrame:
    """The same, each key and minute once."""
    return merged([conversing(facts)])


def merged(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Frames of conversations -> one in which each key and minute stands once."""
    parts = [frame for frame in frames if frame.height]
    if not parts:
        return empty()
    every = pl.concat(parts).with_columns(keyed.hashed((*KEYS, "pane")))
    found = every.group_by(keyed.HASH).agg(
        pl.col(*KEYS, "pane").first(), pl.col(SUMS).sum(), pl.col("first").min(), pl.col("last").max(),
        pl.col("smallest").min(), pl.col("largest").max(),
    )  # fmt: skip
    bits = pl.col("seconds", "sockets")
    calls = every.select(keyed.HASH, bits).filter(pl.col("seconds") != 0).group_by(keyed.HASH).agg(bits.bitwise_or())
    return found.join(calls, on=keyed.HASH, how="left").with_columns(bits.fill_null(0)).select(*SCHEMA)


def records(talks: pl.DataFrame) -> int:
    """How many flow records are in conversations."""
    return int(talks.select(pl.col("flows", "replies").sum()).sum_horizontal().item())


def _party(flows: pl.DataFrame, *names: str) -> pl.Expr:
    present = [pl.col(name) for name in names if name in flows.columns]
    return pl.coalesce(present) if present else pl.lit(None, dtype=pl.String)


def _differs(flows: pl.DataFrame, name: str) -> pl.Expr:
    packets = f"pkt-{name}"
    if not {name, packets} <= set(flows.columns):
        return pl.lit(value=False)
    return (pl.col(name) != pl.col(packets)).fill_null(value=False)


def _by_address(src: pl.Expr, dst: pl.Expr) -> pl.Expr:
    """Between equals, a private address asks a public one; else the lower one asks."""
    private = (side.str.contains(direction.PRIVATE) for side in (src, dst))
    src_private, dst_private = private
    told = pl.when(src_private != dst_private).then(src_private).otherwise(src <= dst)
    return told.fill_null(value=True)


def _is_rejected() -> pl.Expr:
    return pl.col("action") == tables.ACTIONS.index("REJECT")


def _says_no() -> pl.Expr:
    """By its flags, else by its size: a RST has 40 bytes, with the options that some systems add up to 60."""
    flags, lone = pl.col("flags"), (pl.col("packets") <= 1) & (pl.col("bytes") <= _LONE_RESET_BYTES)
    told = (flags & _RST != 0) & (flags & _SYN == 0)
    return (pl.col("protocol") == _TCP) & pl.when(flags.is_null()).then(lone).otherwise(told)
