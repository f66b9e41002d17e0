"""Which way a record went, seen from its ENI.

`flow-direction` says it, where the format has it (v5). Else it is learnt: AWS writes the ENI's own primary address as
`srcaddr` of what leaves and as `dstaddr` of what arrives, so the address that all of an ENI's records share is its own.
While an ENI has only ever talked to one peer, both addresses are shared and its rows carry the codes LOW and HIGH
(which of the pair was the sender); `resolved` turns them into directions as soon as anything tells, in whatever order
the records came. Rows are never guessed at when they are counted, so no order and no cut of the input changes them.
"""

from __future__ import annotations

import polars as pl

UNKNOWN, INGRESS, EGRESS, LOW4, HIGH4, LOW6, HIGH6 = range(7)
"""Codes of the column `direction`. LOWn: sent by the lower address of the ENI's only pair so far, in IP version n."""
NAMES = ("unknown", "ingress", "egress")

OWNERS_SCHEMA: dict[str, type[pl.DataType]] = {
    "eni": pl.String,
    "six": pl.Boolean,
    "low": pl.String,
    "high": pl.String,
    "own": pl.String,
}
"""What is learnt, a row per ENI and IP version. own: null = not yet; "" = records contradict each other."""

_KEYS = ["eni", "six"]
PRIVATE = r"^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd]|fe80)"
"""What an address looks like that no router of the Internet passes on: RFC 1918, 6598, 4193, 4291."""
NOBODYS = r"^(?:22[4-9]\.|23\d\.|24\d\.|25[0-5]\.|0\.|127\.|169\.254\.|[fF][fF]|::1?$)"
"""What an address looks like that is no host's own: multicast, broadcast, loopback, link-local, unspecified."""


def no_owners() -> pl.DataFrame:
    """Nothing learnt yet."""
    return pl.DataFrame(schema=OWNERS_SCHEMA)


def follow(records: pl.DataFrame, owners: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The code of each of `records` (eni, srcaddr, dstaddr: String) in their order, and `owners` with what they add.

    Records with a missing address teach nothing. `owners` is the very frame it was when nothing was learnt.
    """
    sided = records.with_columns(_is_six(records).alias("six"))
    joined = _with_owner(sided, owners)
    news = _news(joined, owners)
    if news.height:
        owners = _learnt(owners, news)
        joined = _with_owner(sided, owners)
    return _codes(joined), owners


def _is_six(records: pl.DataFrame) -> pl.Expr:
    """Whether a record is of IP version 6. Asked of all addresses at once first: most batches hold none."""
    sides = pl.col("srcaddr", "dstaddr")
    if not records.select(pl.any_horizontal(sides.str.join("").str.contains(":", literal=True))).item():
        return pl.lit(value=False)
    return pl.coalesce(sides, pl.lit("")).str.contains(":", literal=True)


def _with_owner(sided: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """`sided` (eni, srcaddr, dstaddr, six), in its order, with the ENI's `own`."""
    if sided.get_column("six").any():
        return sided.join(owners.select(*_KEYS, "own"), on=_KEYS, how="left", maintain_order="left")
    four = owners.filter(~pl.col("six")).select("eni", "own")  # one key is found in half the time of two
    return sided.join(four, on="eni", how="left", maintain_order="left")


def _news(joined: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """Records of ENIs whose own address is open, with another pair than is known: an ENI with one peer has none."""
    if not joined.get_column("own").null_count():
        return joined.clear()
    both = pl.all_horizontal(pl.col("srcaddr", "dstaddr").is_not_null())
    pairs = joined.filter(pl.col("own").is_null() & both).select(
        *_KEYS,
        pl.min_horizontal("srcaddr", "dstaddr").alias("_low"),
        pl.max_horizontal("srcaddr", "dstaddr").alias("_high"),
    )
    known = pairs.join(owners.drop("own"), on=_KEYS, how="left", maintain_order="left")
    return known.filter(pl.col("_low").ne_missing(pl.col("low")) | pl.col("_high").ne_missing(pl.col("high")))


def _learnt(owners: pl.DataFrame, news: pl.DataFrame) -> pl.DataFrame:
    """The first record with another pair than the first one decides; what comes later, in this batch or another, can't.

    So where the batches are cut does not show, even for records that contradict each other.
    """
    pairs = news.with_columns(
        pl.coalesce("low", pl.col("_low").first().over(_KEYS)).alias("low"),
        pl.coalesce("high", pl.col("_high").first().over(_KEYS)).alias("high"),
    )
    other = (pl.col("_low") != pl.col("low")) | (pl.col("_high") != pl.col("high"))
    fresh = pairs.group_by(_KEYS).agg(
        pl.col("low", "high").first(), *(pl.col(side).filter(other).first() for side in ("_low", "_high"))
    )
    return pl.concat([owners.join(fresh, on=_KEYS, how="anti"), fresh.select(*_KEYS, "low", "high", _own())])


def _codes(joined: pl.DataFrame) -> pl.Series:
    src, dst, own = pl.col("srcaddr"), pl.col("dstaddr"), pl.col("own")
    told = pl.when(src == own).then(EGRESS).when(dst == own).then(INGRESS).otherwise(UNKNOWN)
    if any(joined.get_column(name).null_count() for name in ("srcaddr", "dstaddr", "own")):
        lower = src <= dst
        pending = (
            pl.when("six")
            .then(pl.when(lower).then(LOW6).otherwise(HIGH6))
            .otherwise(pl.when(lower).then(LOW4).otherwise(HIGH4))
        )
        # with one address, whether it is the own one may not be known yet
        told = pl.when(lower.is_null()).then(UNKNOWN).when(own.is_null()).then(pending).otherwise(told)
    return joined.select(told.cast(pl.UInt8).alias("direction")).to_series()


def combined(owners: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """What several raw partitions learnt of the same ENIs: each one's frame again, `own` told by all of them together.

    The address that every partition still holds for possible is the ENI's; several: open (null); none: "".
    """
    if not owners:
        return []
    every = pl.concat(frame.with_columns(pl.lit(n).alias("_source")) for n, frame in enumerate(owners))
    possible = pl.when(pl.col("own").is_null()).then(pl.concat_list("low", "high")).otherwise(pl.concat_list("own"))
    votes = every.select(*_KEYS, "_source", possible.alias("_addr")).explode("_addr").unique()
    sources = every.group_by(_KEYS).agg(pl.len().alias("_sources"))
    shared = votes.group_by(*_KEYS, "_addr").agg(pl.len().alias("_votes")).join(sources, on=_KEYS)
    own = shared.group_by(_KEYS).agg(pl.col("_addr").filter(pl.col("_votes") == pl.col("_sources")).alias("_all"))
    told = own.select(
        *_KEYS,
        pl.when(pl.col("_all").list.len() == 0).then(pl.lit(""))
        .when(pl.col("_all").list.len() == 1).then(pl.col("_all").list.first()).alias("own"),
    )  # fmt: skip
    return [frame.drop("own").join(told, on=_KEYS, how="left") for frame in owners]


def resolved(rows: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """`rows` (eni, direction, ...) with every code turned into UNKNOWN, INGRESS or EGRESS. Merge afterwards.

    `owners` are those of the raw partition that the rows come from, as `follow` or `combined` give them back.
    An open pair of a private and a public address is the private one's: VPC addresses are private. Else UNKNOWN.
    """
    open_rows = pl.col("direction") >= LOW4
    if not rows.select(open_rows.any()).item():
        return rows
    six = pl.col("direction") >= LOW6
    low_sent = (pl.col("direction") == LOW4) | (pl.col("direction") == LOW6)
    low_private, high_private = (pl.col(side).str.contains(PRIVATE) for side in ("low", "high"))
    own = (
        pl.when(pl.col("own").is_not_null())
        .then("own")
        .when(low_private & ~high_private)
        .then("low")
        .when(high_private & ~low_private)
        .then("high")
    )
    sent = pl.when(own == pl.col("low")).then(low_sent).when(own == pl.col("high")).then(~low_sent)
    told = pl.when(sent.is_null()).then(UNKNOWN).when(sent).then(EGRESS).otherwise(INGRESS)
    joined = rows.with_columns(six.alias("six")).join(owners, on=_KEYS, how="left", maintain_order="left")
    return joined.with_columns(
        pl.when(open_rows).then(told).otherwise("direction").cast(pl.UInt8).alias("direction")
    ).select(rows.columns)


def _own() -> pl.Expr:
    """The address that both pairs share; null while there is no second pair, "" when they share none."""
    low, high = pl.col("low"), pl.col("high")
    return (
        pl.when(low == high).then(low)
        .when(pl.col("_low").is_null()).then(None)
        .when((low == pl.col("_low")) | (low == pl.col("_high"))).then(low)
        .when((high == pl.col("_low")) | (high == pl.col("_high"))).then(high)
        .otherwise(pl.lit("")).alias("own")
    )  # fmt: skip
