"""Where the records are that a finding rests on: blocks of raw messages, as far as they are still in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

_MOST = 8
_SCHEMA = {"eni": pl.String, "party": pl.String, "origin": pl.String}


@dataclass(frozen=True)
class Places:
    """talks: origin -> conversations (core.conversations.SCHEMA). An origin is raw partition and offset, `0@123`: the
    block of raw messages that begins there.
    """

    talks: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def located(self, hits: pl.DataFrame, start: int) -> pl.DataFrame:
        """Hits (core.findings.HITS) of the minute that begins at `start`, with String `origins`.

        Up to 8 origins, with commas, of conversations in which a party of the hit takes part at its interface; where
        it names no party, of all of the interface's.
        """
        key = pl.coalesce("source", "target")
        asked = hits.select("eni", key.alias("party")).with_row_index("n")
        if not (self.talks and hits.height):
            return hits.with_columns(pl.lit("").alias("origins"))
        there = pl.concat([pl.DataFrame(schema=_SCHEMA), *self._sides(asked, start)])
        named, nameless = asked.filter(pl.col("party").is_not_null()), asked.filter(pl.col("party").is_null())
        at_party = named.rename({"eni": "at"}).join(there, on="party").filter(
            pl.col("at").is_null() | (pl.col("at") == pl.col("eni"))
        )  # fmt: skip
        at_eni = nameless.drop("party").join(there.select("eni", "origin").unique(), on="eni")
        pairs = pl.concat([at_party.select("n", "origin"), at_eni.select("n", "origin")]).unique().sort("n", "origin")
        texts = pairs.group_by("n").agg(pl.col("origin").head(_MOST).str.join(",").alias("origins"))
        told = hits.with_row_index("n").join(texts, on="n", how="left", maintain_order="left")
        return told.with_columns(pl.col("origins").fill_null("")).drop("n")

    def _sides(self, asked: pl.DataFrame, start: int) -> Iterator[pl.DataFrame]:
        """Who takes part where, of those who are asked for: a million others cost nothing."""
        parties, enis = asked.get_column("party"), asked.filter(pl.col("party").is_null()).get_column("eni")
        wanted = pl.col("party").is_in(parties.implode()) | pl.col("eni").is_in(enis.implode())
        mine = self._every.filter(pl.col("pane") == start)
        for side in ("client", "server"):
            yield mine.select("eni", pl.col(side).alias("party"), "origin").filter(wanted).unique()

    @cached_property
    def _every(self) -> pl.DataFrame:
        """Of all origins. Many minutes have no hit, and then nobody asks."""
        return pl.concat(
            talks.select("pane", "eni", "client", "server", pl.lit(origin).alias("origin"))
            for origin, talks in self.talks.items()
        )
