"""Contacts: who has tried which service of whom, since when, and whether it ever was answered. Bounded.

Scans are told by first contacts, new neighbours by the lack of older ones: all of that is one memory, kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from streams.core import direction, keyed

TCP, UDP = 6, 17

KEY = ["eni", "source", "target", "port", "protocol"]
CONTACTS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "eni": pl.String, "source": pl.String, "target": pl.String, "port": pl.Int32, "protocol": pl.Int16,
    "outbound": pl.Boolean, "inbound": pl.Boolean, "failed": pl.Boolean, "answered": pl.Boolean,
    "first": pl.Int64, "last": pl.Int64,
}  # fmt: skip
"""TCP and UDP. source, target: the client, the server. outbound, inbound: the interface is the client's, the server's
(neither: that is not known). failed: the first time got nothing. answered: some time got an answer. first, last: epoch
seconds.
"""

ENIS: Mapping[str, pl.DataType | type[pl.DataType]] = {"eni": pl.String, "since": pl.Int64}
"""since: the first minute in which anything was seen of an interface."""


@dataclass(frozen=True)
class Limits:
    """Seconds that a contact is known: after it was last used, if it ever was answered; else after its first time. One
    in vain that comes again after `again_seconds` is a first one once more: who scans twice is told twice.
    Rows at most, of either kind, the ones used last; interfaces, and addresses of theirs, the ones known longest.
    """

    answered_seconds: int = 7 * 86_400
    vain_seconds: int = 86_400
    again_seconds: int = 3600
    answered: int = 200_000
    vain: int = 100_000
    enis: int = 100_000


@dataclass(frozen=True)
class Contacts:
    """known: CONTACTS, those of the last minute too. fresh: the rows that are new with that minute. enis: ENIS.

    owned: String, the interfaces' own addresses.
    """

    known: pl.DataFrame
    fresh: pl.DataFrame
    enis: pl.DataFrame
    owned: pl.Series

    @classmethod
    def none(cls) -> Contacts:
        """Before anything was seen."""
        return cls(_empty(CONTACTS), _empty(CONTACTS), _empty(ENIS), pl.Series(dtype=pl.String))

    def after(self, start: int, talks: pl.DataFrame, limits: Limits) -> Contacts:
        """What is known after a minute. talks: as in core.detection.Minute."""
        known = self.known.filter(_young(start, limits))
        current = pl.col("answered") | (pl.col("last") >= start - limits.again_seconds)
        before = known.filter(current).select(*KEY, was_failed="failed", was_answered="answered", was_first="first")
        now = keyed.joined(_contacted(talks), before, KEY)
        fresh = now.filter(pl.col("was_first").is_null()).select(*CONTACTS)
        used = now.with_columns(
            pl.coalesce("was_failed", "failed").alias("failed"),
            (pl.col("was_answered").fill_null(value=False) | pl.col("answered")).alias("answered"),
            pl.coalesce("was_first", "first").alias("first"),
        ).select(*CONTACTS)
        every = pl.concat([keyed.anti(known, used, KEY), used])
        enis, owned = _met(self.enis, talks, start, limits), _owned(self.owned, talks, limits)
        return Contacts(_remembered(every, limits), fresh, enis, owned)


def failed() -> pl.Expr:
    """Boolean, of conversations: the client got nothing. Refused, without an answer, or the answers only said no."""
    return (
        (pl.col("rejected") >= pl.col("flows"))
        | (pl.col("replies") == pl.col("reply_rejected"))
        | ((pl.col("protocol") == TCP) & (pl.col("refusals") >= pl.col("replies")))
    )


def _contacted(talks: pl.DataFrame) -> pl.DataFrame:
    asked = talks.filter((pl.col("flows") > 0) & pl.col("protocol").is_in([TCP, UDP]))
    found = keyed.grouped(
        asked.rename({"client": "source", "server": "target"}), KEY,
        (pl.col("direction") == direction.EGRESS).any().alias("outbound"),
        (pl.col("direction") == direction.INGRESS).any().alias("inbound"), failed().all().alias("failed"),
        (~failed()).any().alias("answered"), pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return found.select(*CONTACTS)


def _young(start: int, limits: Limits) -> pl.Expr:
    used, tried = pl.col("last") >= start - limits.answered_seconds, pl.col("first") >= start - limits.vain_seconds
    return pl.when("answered").then(used).otherwise(tried)


def _remembered(every: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Those in vain have a limit of their own: a million of them must not push out what is answered every day."""
    answered = pl.col("answered")
    parts = ((every.filter(answered), limits.answered), (every.filter(~answered), limits.vain))
    return pl.concat([_latest(part, most) for part, most in parts])


def _latest(part: pl.DataFrame, most: int) -> pl.DataFrame:
    if part.height <= most:
        return part
    return part.sort("last", *KEY, descending=[True, *[False] * len(KEY)]).head(most)


def _met(enis: pl.DataFrame, talks: pl.DataFrame, start: int, limits: Limits) -> pl.DataFrame:
    seen = talks.select("eni", pl.lit(start, dtype=pl.Int64).alias("since"))
    every = pl.concat([enis, seen]).group_by("eni").agg(pl.col("since").min())
    return every.sort("since", "eni").head(limits.enis)


def _owned(owned: pl.Series, talks: pl.DataFrame, limits: Limits) -> pl.Series:
    side = pl.when(pl.col("direction") == direction.EGRESS).then("client")
    mine = talks.filter(pl.col("relayed") == 0).select(
        side.when(pl.col("direction") == direction.INGRESS).then("server").alias("own")
    )
    new = mine.get_column("own").drop_nulls().unique().sort()
    return pl.concat([owned, new.filter(~new.is_in(owned.implode()))]).head(limits.enis)


def _empty(schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(schema))
