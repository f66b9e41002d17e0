"""Unusual volume: far more goes in or out than this interface has at this hour of the day.

Ten minutes are one value, as interfaces with an aggregation interval of ten minutes have no shorter ones. A value is
held against those of the same hour on the days before: their median, what they stray from it, and the most there was.
The same hour of the same weekday may be like it: a backup on Saturday night is usual on Saturdays, not on Fridays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet
from streams.detectors.memory import kept

_SLOT, _HOUR, _DAY, _WEEK = 600, 3600, 86_400, 7 * 86_400
_MIB = 1024 * 1024
_MAD = 1.4826
"""The standard deviation of what is normally distributed, by its median absolute deviation."""

NOW = {"eni": pl.String, "outbound": pl.Boolean, "slot": pl.Int64, "bytes": pl.Int64, "packets": pl.Int64}
"""The ten minutes that run."""
HOURS = {
    "eni": pl.String, "outbound": pl.Boolean, "hour": pl.Int64, "most": pl.Float64, "before": pl.Float64,
    "at": pl.Int64,
}  # fmt: skip
"""hour: of the week, 0 to 167. most: log2 of the bytes of its largest ten minutes; before: the same, a week earlier.
at: the hour's begin, the last time.
"""
_KEY = ["eni", "outbound"]


@dataclass(frozen=True)
class Settings:
    """Bytes of ten minutes, by interface and direction."""

    bytes: int = setting(50 * _MIB, "in ten minutes, at least")
    days: int = setting(3, "days on which the hour was seen, before anything is said of it")
    deviations: float = setting(5.0, "robust standard deviations of the logarithm, above the median")
    times: float = setting(3.0, "times the most of the same hour on other days")
    hours: int = setting(1_000_000, "hours known at most, of all interfaces")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    slot = minute.start - minute.start % _SLOT
    every = pl.concat([memory["now"], _carried(minute.talks, slot)]).group_by(*_KEY, "slot").agg(
        pl.col("bytes", "packets").sum()
    )  # fmt: skip
    ended = every.filter(pl.col("slot") < slot)
    running = every.filter(pl.col("slot") == slot).select(*NOW)
    if not ended.height:
        return no_hits(), {"now": running, "hours": memory["hours"]}
    found, hours = _judged(cast("int", ended.item(0, "slot")), ended, memory["hours"], settings)
    return found, {"now": running, "hours": hours}


def _carried(talks: pl.DataFrame, slot: int) -> pl.DataFrame:
    """Bytes by interface and direction: what a client sends, and what the server does."""
    ours = is_outbound()
    sent = talks.select("eni", ours.alias("outbound"), "bytes", "packets")
    back = talks.select(
        "eni", (~ours).alias("outbound"), pl.col("reply_bytes").alias("bytes"), pl.col("reply_packets").alias("packets")
    )
    summed = pl.concat([sent, back]).group_by(_KEY).agg(pl.col("bytes", "packets").sum())
    return summed.select(*_KEY, pl.lit(slot, dtype=pl.Int64).alias("slot"), "bytes", "packets")


def _judged(
    start: int, ended: pl.DataFrame, hours: pl.DataFrame, settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    hour, begin = start % _WEEK // _HOUR, start - start % _HOUR
    value = (pl.col("bytes") + 1).cast(pl.Float64).log(2)
    now = ended.with_columns(value.alias("value"))
    found = now.join(_habit(hours, hour, begin), on=_KEY).join(_weekday(hours, hour, begin), on=_KEY, how="left")
    return _hits(found.filter(_is_one(settings)), start), _learnt(hours, now, hour, begin, settings)


def _weekday(hours: pl.DataFrame, hour: int, begin: int) -> pl.DataFrame:
    """Of the same hour of the same weekday, a week ago or two."""
    earlier = pl.when(pl.col("at") < begin).then(pl.max_horizontal("most", "before")).otherwise("before")
    return hours.filter(pl.col("hour") == hour).select(*_KEY, earlier.alias("weekday"))


def _habit(hours: pl.DataFrame, hour: int, begin: int) -> pl.DataFrame:
    """Of the same hour of the day, on the days of the last week."""
    day = hours.filter((pl.col("hour") % 24 == hour % 24) & (pl.col("at") < begin) & (pl.col("at") >= begin - _WEEK))
    away = (pl.col("most") - pl.col("most").median()).abs().median()
    return day.group_by(_KEY).agg(
        pl.len().alias("days"), pl.col("most").median().alias("median"), away.alias("away"),
        pl.col("most").max().alias("top"),
    )  # fmt: skip


def _is_one(settings: Settings) -> pl.Expr:
    spread = pl.max_horizontal(_MAD * pl.col("away"), 0.5)
    times = pl.lit(settings.times).log(2)
    return (
        (pl.col("bytes") >= settings.bytes) & (pl.col("days") >= settings.days)
        & (pl.col("value") > pl.col("median") + settings.deviations * spread)
        & (pl.col("value") > pl.col("top") + times)
        & (pl.col("value") > pl.col("weekday").fill_null(0.0) + times)
    )  # fmt: skip


def _learnt(hours: pl.DataFrame, now: pl.DataFrame, hour: int, begin: int, settings: Settings) -> pl.DataFrame:
    """An incident is one day of many: the median does not follow it, and the most there was is forgotten in a week."""
    mine = now.select(*_KEY, pl.lit(hour, dtype=pl.Int64).alias("hour"), "value").join(
        hours, on=[*_KEY, "hour"], how="left", maintain_order="left"
    )  # fmt: skip
    same = pl.col("at") == begin
    fresh = mine.select(
        *_KEY, "hour",
        pl.when(same).then(pl.max_horizontal("most", "value")).otherwise("value").alias("most"),
        pl.when(same).then("before").otherwise("most").alias("before"),
        pl.lit(begin, dtype=pl.Int64).alias("at"),
    )  # fmt: skip
    return kept(hours, fresh, [*_KEY, "hour"], begin - 2 * _WEEK, settings.hours)


def _hits(found: pl.DataFrame, start: int) -> pl.DataFrame:
    sent = pl.when("outbound").then(pl.lit("sent")).otherwise(pl.lit("got"))
    sentence = pl.format(
        "{} {} {} MiB in ten minutes; at this hour it was {} MiB on the median of {} days, {} MiB at most",
        "eni", sent, (pl.col("bytes") / _MIB).round(1), (2 ** pl.col("median") / _MIB).round(1), "days",
        (2 ** pl.col("top") / _MIB).round(1),
    )  # fmt: skip
    rows = found.with_columns(
        severity("medium").alias("severity"), pl.col("packets").alias("count"),
        pl.lit(start, dtype=pl.Int64).alias("first"), pl.lit(start + _SLOT - 1, dtype=pl.Int64).alias("last"),
    )  # fmt: skip
    return hits(rows, sentence, "bytes", "packets", "outbound", "days", "median", "away", "top")


def _nights(nights: Iterable[int], size: int) -> list[list[str]]:
    """Three in the morning of some days, ten minutes of it."""
    return [
        answered(_DAY * night + 60 * minute, INSIDE, PUBLIC, 443, size=(size // 14_000, size // 10), seconds=50)
        for night in nights for minute in range(10)
    ]  # fmt: skip


_END = answered(_DAY * 30, INSIDE, PUBLIC, 443)
"""Ten minutes are over when later ones begin."""

UNUSUAL_VOLUME = Detector(
    name="unusual-volume",
    title="An interface carries far more than at this hour of other days",
    attack=("T1030", "T1048"),
    explanation="In ten minutes an interface sends or gets many times what it does at the same hour on other days.",
    runbook="See its busiest peers and ports. A backup, a release or an export is the usual case.",
    settings=Settings(),
    detect=_detect,
    memory={"now": NOW, "hours": HOURS},
    cool_down=3600,
    examples=(
        fires("a night unlike the four before", *_nights(range(4), 8 * _MIB), *_nights([4], 200 * _MIB), _END),
        quiet("a night like them", *_nights(range(4), 80 * _MIB), *_nights([4], 200 * _MIB), _END),
        quiet("two nights are no habit", *_nights(range(2), 8 * _MIB), *_nights([2], 200 * _MIB), _END),
        quiet("much for it, but not much", *_nights(range(4), _MIB), *_nights([4], 49 * _MIB), _END),
        quiet("as every night", *_nights(range(5), 200 * _MIB), _END),
    ),
)  # fmt: skip
