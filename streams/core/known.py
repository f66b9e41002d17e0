"""What a raw partition knows of the keys it counts: which ENIs and ports have a place in the tables, an ENI's own
addresses, its account, VPC and instance. Bounded by the key budget: who came first stays, the rest is `other`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import direction, tables
from streams.core.facts import INFO_FIELDS
from streams.core.tables import TABLES, Frames, Table

INFO_SCHEMA: dict[str, type[pl.DataType]] = {"eni": pl.String, **dict.fromkeys(INFO_FIELDS, pl.String), "seen": pl.Int64}


@dataclass(frozen=True)
class Known:
    """owners: see core.direction. info: INFO_SCHEMA, a row per ENI. admitted: per table, its entities."""

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
    entities = {name: table.empty().select(table.entity) for name, table in TABLES.items()}
    return Known(direction.no_owners(), pl.DataFrame(schema=INFO_SCHEMA), entities)


def admit(known: Known, table: Table, delta: pl.DataFrame, facts: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The entities of `table` that have a place: with the new ones, in the order of `facts`, up to `limit`.

    `delta` is `facts` aggregated. Gives back the very frame it found when nothing is new.
    """
    admitted = known.admitted[table.name]
    room = limit - admitted.height
    entity = list(table.entity)
    if room <= 0 or not delta.select(entity).join(admitted, on=entity, how="anti").height:
        return admitted
    fresh = facts.select(entity).join(admitted, on=entity, how="anti").unique(maintain_order=True, keep="first")
    return pl.concat([admitted, fresh.head(room)])


def within_budget(table: Table, rows: pl.DataFrame, admitted: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """`rows` with the entities that have no place turned into `other`, and how many flows that were."""
    entity = list(table.entity)
    strangers = rows.join(admitted, on=entity, how="anti")
    if not strangers.height:
        return rows, 0
    others = tables.relabel(strangers, table.other)
    return pl.concat([rows.join(admitted, on=entity, how="semi"), others]), int(strangers.get_column("flows").sum())


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


def idle(table: Table, history: pl.DataFrame, before: int) -> pl.DataFrame:
    """Entities in `history` whose latest record ended before `before`; special rows stay."""
    last = history.group_by(*table.entity).agg(pl.col("last").max())
    special = pl.any_horizontal(
        pl.all_horizontal(pl.col(name) == value for name, value in values.items() if name in table.entity)
        for values in (table.other, table.expired)
    )
    return last.filter((pl.col("last") < before) & ~special).select(table.entity)


def forget(known: Known, table: Table, gone: pl.DataFrame) -> Known:
    """`known` without the entities in `gone`."""
    entity = list(table.entity)
    admitted = {**known.admitted, table.name: known.admitted[table.name].join(gone, on=entity, how="anti")}
    if table is not tables.ENI:
        return Known(known.owners, known.info, admitted)
    kept = (frame.join(gone, on="eni", how="anti") for frame in (known.owners, known.info))
    return Known(*kept, admitted)
