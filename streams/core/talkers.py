"""Who moved most in a minute. No table holds addresses: this is taken of the conversations when their minute closes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

MOST = 20
_LOOKED_AT = 5000
"""Rows, those with most bytes: to add up all of a minute by addresses takes as long as a detector does."""
_WHO = ("client", "server", "port", "protocol")


@dataclass(frozen=True)
class Talker:
    """A conversation, both ways together. flows: records; rejected: those of them that were refused."""

    client: str
    server: str
    port: int
    protocol: int
    bytes: int
    flows: int
    rejected: int


@dataclass(frozen=True)
class Talkers:
    """minute: when it began, epoch seconds; None: none has closed. rows: those with most bytes first."""

    minute: int | None = None
    rows: tuple[Talker, ...] = ()


def of_last_minute(talks: pl.DataFrame) -> Talkers:
    """Of the last minute in `talks` (columns: core.conversations.SCHEMA).

    Interfaces at both ends log the same conversation: it counts as the one of them has it that saw most.
    """
    if not talks.height:
        return Talkers()
    last = talks.filter(pl.col("pane") == pl.col("pane").max())
    both_ways = pl.col("bytes") + pl.col("reply_bytes")
    sums = (
        both_ways.sum().alias("bytes"),
        (pl.col("flows") + pl.col("replies")).sum(),
        (pl.col("rejected") + pl.col("reply_rejected")).sum(),
    )
    seen = last.top_k(_LOOKED_AT, by=both_ways).group_by("eni", *_WHO).agg(sums)
    most = seen.sort("bytes", "flows", "eni", descending=[True, True, False]).unique(_WHO, keep="first")
    rows = most.sort("bytes", "flows", *_WHO, descending=[True, True, *[False] * len(_WHO)]).head(MOST).drop("eni")
    return Talkers(int(last.item(0, "pane")), tuple(Talker(**row) for row in rows.iter_rows(named=True)))
