"""What a raw partition knows of the keys it counts: which ENIs and ports have a place in the tables, an ENI's own
addresses, its account, VPC and instance. Bounded by the key budget: who came first stays, the rest is `other`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import direction, tables
from streams.core.facts import INFO_FIELDS
from streams.core.tables import TABLES, Frames, Table

INFO_SCHEMA: dict[str, type[pl.DataType]] = {
    "eni": pl.String,
    **dict.fromkeys(INFO_FIELDS, pl.String),
    "seen": pl.Int64,
}


@dataclass(frozen=True)
class Known:
    """owners: see core.direction. info: INFO_SCHEMA, a row per ENI.

    admitted: per table, its entities and `seen` Int64: when the latest record of each ended (epoch s, rounded down).
    """

    owners: pl.DataFrame
    info: pl.DataFrame
    admitted: Frames

    def frames(self) -> Frames:
        """As named frames, for `tables.encode`."""
        return {"owners": self.owners, "info": self.info, **{f"admitted-{k}": v for k, v in self.admitted.items()}}

    @classmethod
    def of_frames(cls, frames: Frames) -> Known:
        """Back from `frames`."""
        return cls(frames["owners"], frames["info"], {name: frames[f"admitted-{name}"] for name in TABLES})


def nothing() -> Known:
    """Before the first record."""
    seen = pl.lit(None, dtype=pl.Int64).alias("seen")
    entities = {name: table.empty().select(*table.entity, seen) for name, table in TABLES.items()}
    return Known(direction.no_owners(), pl.DataFrame(schema=INFO_SCHEMA), entities)


def admit(admitted: pl.DataFrame, delta: pl.DataFrame, facts: pl.DataFrame, limit: int, period: int) -> pl.DataFrame:
    """The entities of a table that have a place: with the new ones, in the order of `facts`, up to `limit`.

    `delta` is `facts` aggregated. `seen` moves on in steps of `period` seconds. Gives back the very frame it found when
    nothing is new.
    """
    entity = admitted.columns[:-1]
    room = limit - admitted.height
    came = delta.group_by(entity).agg((pl.col("last").max() // period * period).alias("_seen"))
    found = came.join(admitted, on=entity, how="left")
    newer = found.filter(pl.col("_seen") > pl.col("seen"))
    fresh = found.filter(pl.col("seen").is_null())
    if fresh.height > room:
        order = facts.group_by(entity).agg(pl.col("line").min())
        fresh = fresh.join(order, on=entity).sort("line").head(max(0, room))
    if not newer.height + fresh.height:
        return admitted
    changed = [frame.select(*entity, pl.col("_seen").alias("seen")) for frame in (newer, fresh)]
    return pl.concat([admitted.join(newer, on=entity, how="anti"), *changed])


def within_budget(table: Table, rows: pl.DataFrame, admitted: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """`rows` with the entities that have no place turned into `other`, and how many flows that were."""
    entity = list(table.entity)
    strangers = rows.join(admitted, on=entity, how="anti")
    if not strangers.height:
        return rows, 0
    others = tables.relabel(strangers, table.other)
    return pl.concat([rows.join(admitted, on=entity, how="semi"), others]), int(strangers.get_column("flows").sum())


def info_columns(facts: pl.DataFrame) -> list[pl.Expr]:
    """What the records of a group say of their ENI, as aggregations: for `tables.aggregate`, and `info_of` its rows.

    In a column without nulls any record will do, and that is faster by far: it says the same of an ENI for its life.
    """
    present = [name for name in INFO_FIELDS if name in facts.columns]
    return [pl.col(name).max() if facts.get_column(name).null_count() else pl.col(name).last() for name in present]


def info_of(delta: pl.DataFrame) -> pl.DataFrame:
    """INFO_SCHEMA, a row per ENI in `delta`: rows of the table of ENIs with `info_columns`."""
    texts = [name if name in delta.columns else pl.lit(None, dtype=pl.String).alias(name) for name in INFO_FIELDS]
    said = delta.select("eni", *texts, pl.col("last").alias("seen"))
    return said.group_by("eni").agg(pl.all().max())


def informed(info: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """`info` with what newer records say; the very frame it was when they say nothing new."""
    joined = fresh.join(info, on="eni", how="left", suffix="_old")
    differs = pl.any_horizontal(
        pl.col(name).is_not_null() & pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in INFO_FIELDS
    )
    newer = joined.filter(pl.col("seen_old").is_null() | (differs & (pl.col("seen") >= pl.col("seen_old"))))
    if not newer.height:
        return info
    rows = newer.select("eni", *(pl.coalesce(name, f"{name}_old").alias(name) for name in INFO_FIELDS), "seen")
    return pl.concat([info.join(rows, on="eni", how="anti"), rows])


def idle(known: Known, table: Table, before: int) -> pl.DataFrame:
    """Entities that have a place and whose latest record ended before `before`, a multiple of admit's `period`."""
    return known.admitted[table.name].filter(pl.col("seen") < before).select(table.entity)


def forget(known: Known, table: Table, gone: pl.DataFrame) -> Known:
    """`known` without the entities in `gone`."""
    entity = list(table.entity)
    admitted = {**known.admitted, table.name: known.admitted[table.name].join(gone, on=entity, how="anti")}
    if table is not tables.ENI:
        return Known(known.owners, known.info, admitted)
    owners, info = (frame.join(gone, on="eni", how="anti") for frame in (known.owners, known.info))
    return Known(owners, info, admitted)
