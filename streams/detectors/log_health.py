"""Log health: what the log itself lost, and interfaces that it has stopped to speak of.

A quiet interface has a NODATA record in each interval. One that has no record at all is gone, or its flow log is.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, severity
from streams.detectors.examples import ENI, START, fires, quiet
from streams.detectors.memory import kept

_SLOT, _HOUR = 600, 3600
"""The longest interval of a flow log: a healthy interface has a record in each."""
ENIS = {"eni": pl.String, "first": pl.Int64, "slots": pl.Int64, "at": pl.Int64, "skipped": pl.Int64}
"""first, at: the begin of the first slot and of the last one with a record. slots: how many had one. skipped: SKIPDATA
records in the hour of that.
"""


@dataclass(frozen=True)
class Settings:
    """A slot is ten minutes, the longest interval of a flow log."""

    skipped: int = setting(3, "SKIPDATA records of an interface within an hour of the clock")
    silent_seconds: int = setting(1800, "without any record, NODATA included")
    known_seconds: int = setting(7200, "that an interface is known, before its silence is told")
    share: float = setting(0.9, "of an interface's slots that had a record before")
    interfaces: int = setting(100_000, "interfaces known at most")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    slot = minute.start - minute.start % _SLOT
    known, present = memory["enis"], _news(_present(minute), memory["enis"], slot)
    if not present.height:
        return no_hits(), memory
    away = pl.lit(slot, dtype=pl.Int64) - pl.col("at") - _SLOT
    steady = known.filter(_is_steady(settings) & (away >= settings.silent_seconds)).with_columns(
        away.alias("seconds"), (pl.col("at") + _SLOT).alias("first")
    )
    back = steady.join(present, on="eni", how="semi")
    gone = steady.join(present, on="eni", how="anti").filter(pl.col("seconds") < settings.silent_seconds + _SLOT)
    seen = _seen(known, present, slot)
    found = pl.concat(
        [_lost(seen, minute, settings), _silences(back, minute, "again"), _silences(gone, minute, "so far")]
    )
    return found, {"enis": kept(known, seen, ["eni"], slot - 86_400, settings.interfaces)}


def _present(minute: Minute) -> pl.DataFrame:
    """eni, skipdata: of those with any record in the minute."""
    none = pl.lit(0, dtype=pl.Int64).alias("skipdata")
    every = pl.concat([minute.talks.select("eni", none), minute.silent.select("eni", "skipdata")])
    return every.group_by("eni").agg(pl.col("skipdata").sum())


def _news(present: pl.DataFrame, known: pl.DataFrame, slot: int) -> pl.DataFrame:
    """Those that say something new: of an interface that was there in this slot already, only what was lost."""
    there = known.filter(pl.col("at") == slot).select("eni")
    return pl.concat([present.join(there, on="eni", how="anti"), present.filter(pl.col("skipdata") > 0)]).unique()


def _is_steady(settings: Settings) -> pl.Expr:
    span = pl.col("at") - pl.col("first")
    return (span >= settings.known_seconds) & (pl.col("slots") * _SLOT >= settings.share * (span + _SLOT))


def _seen(known: pl.DataFrame, present: pl.DataFrame, slot: int) -> pl.DataFrame:
    before = present.join(known, on="eni", how="left", maintain_order="left")
    same_hour = pl.col("at") // _HOUR == slot // _HOUR
    return before.select(
        "eni",
        pl.col("first").fill_null(slot),
        (pl.col("slots").fill_null(0) + (pl.col("at").fill_null(-1) < slot).cast(pl.Int64)).alias("slots"),
        pl.lit(slot, dtype=pl.Int64).alias("at"),
        (pl.when(same_hour).then("skipped").otherwise(0).fill_null(0) + pl.col("skipdata")).alias("skipped"),
    )


def _lost(seen: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """SKIPDATA: AWS lost records of an interval. One of them now and then is usual."""
    now = minute.silent.filter(pl.col("skipdata") > 0).select("eni", "nodata")
    rows = seen.join(now, on="eni").filter(pl.col("skipped") >= settings.skipped).with_columns(
        severity("low").alias("severity"), pl.col("skipped").alias("count"),
        pl.lit(minute.start, dtype=pl.Int64).alias("first"), pl.lit(minute.end - 1, dtype=pl.Int64).alias("last"),
    )  # fmt: skip
    sentence = pl.format("AWS lost records of {} in {} intervals of this hour: its sums are too low", "eni", "skipped")
    return hits(rows, sentence, "skipped", "nodata")


def _silences(found: pl.DataFrame, minute: Minute, until: str) -> pl.DataFrame:
    rows = found.with_columns(
        severity("informational").alias("severity"), (pl.col("seconds") // _SLOT).alias("count"),
        pl.lit(minute.end - 1, dtype=pl.Int64).alias("last"), (pl.col("seconds") // 60).alias("minutes"),
    )  # fmt: skip
    sentence = pl.format(
        "{} has had no record for {} minutes (" + until + "), NODATA neither; it had one in each ten minutes before",
        "eni", "minutes",
    )  # fmt: skip
    return hits(rows, sentence, "minutes", "slots")


def _nodata(at: int, status: str = "NODATA", eni: str = ENI) -> list[str]:
    return [f"2 123456789012 {eni} - - - - - - - {START + at} {START + at + 59} - {status}"]


def _alive(first: int, last: int, eni: str = ENI) -> list[str]:
    """A record in each ten minutes of so many."""
    return [line for at in range(first * 60, last * 60, 600) for line in _nodata(at, eni=eni)]


_OTHER = "eni-0b"

LOG_HEALTH = Detector(
    name="log-health",
    title="The log lost records, or has stopped to speak of an interface",
    attack=(),
    explanation="AWS says with SKIPDATA that it lost records of an interval. An interface that had a record in each "
    "interval, if only NODATA, has none any more: it is deleted, or its flow log is broken.",
    runbook="See whether the interface still exists. If it does, see the flow log's status and the way that its "
    "records take to here. SKIPDATA passes by itself; what was lost stays lost.",
    settings=Settings(),
    detect=_detect,
    memory={"enis": ENIS},
    cool_down=3600,
    examples=(
        fires("records were lost three times", *(_nodata(600 * n, "SKIPDATA") for n in range(3))),
        quiet("twice", *(_nodata(600 * n, "SKIPDATA") for n in range(2))),
        quiet("three times in three hours", *(_nodata(3600 * n, "SKIPDATA") for n in range(3))),
        fires("an interface falls silent while another goes on", _alive(0, 180), _alive(0, 230, _OTHER)),
        fires("a gap in the whole log", _alive(0, 180), _alive(230, 240)),
        quiet("without traffic", _alive(0, 300)),
        quiet("a gap of twenty minutes", _alive(0, 180), _alive(200, 240)),
        quiet("one that came and went", _alive(0, 60), _alive(0, 240, _OTHER)),
    ),
)
