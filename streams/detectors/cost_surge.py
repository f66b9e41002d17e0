"""Cost surge: what an interface sends to the Internet costs far more today than on other days.

A cloud bill comes once a month and says what happened weeks ago. What leaves for the Internet is its largest part that
flow logs can see, and it is priced by the byte. A day is held against the median of the days before, so one dear day
does not make the next one usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_inbound, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet
from streams.detectors.memory import kept

_DAY = 86_400
_GIB = 1024**3
DAYS = {"eni": pl.String, "day": pl.Int64, "bytes": pl.Int64, "at": pl.Int64}
"""day: its first second, UTC; bytes: what left for the Internet in it."""
_KEY = ["eni", "day"]


@dataclass(frozen=True)
class Settings:
    """Prices are AWS's list prices; the first ten TB a month to the Internet cost most."""

    dollars_per_gib: float = setting(0.09, "US dollars a GiB that leaves for the Internet")
    dollars: float = setting(25.0, "US dollars in a day, at least")
    times: float = setting(3.0, "times the median of the days before")
    days: int = setting(3, "days before, at least")
    interfaces: int = setting(500_000, "days known at most, of all interfaces")


def _sent(minute: Minute) -> pl.DataFrame:
    """Bytes to the Internet by interface, whoever opened the connection."""
    out = minute.talks.filter(is_outbound() & minute.outside("server")).select("eni", "bytes", "packets")
    served = minute.talks.filter(is_inbound() & minute.outside("client")).select(
        "eni", pl.col("reply_bytes").alias("bytes"), pl.col("reply_packets").alias("packets")
    )
    return pl.concat([out, served]).group_by("eni").agg(pl.col("bytes", "packets").sum())


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    sent = _sent(minute)
    if not sent.height:
        return no_hits(), memory
    day, known = minute.start - minute.start % _DAY, memory["days"]
    mine = sent.with_columns(pl.lit(day, dtype=pl.Int64).alias("day"), pl.lit(minute.start, dtype=pl.Int64).alias("at"))
    before = known.select(*_KEY, pl.col("bytes").alias("before"))
    today = mine.join(before, on=_KEY, how="left", maintain_order="left").with_columns(
        (pl.col("bytes") + pl.col("before").fill_null(0)).alias("bytes")
    )
    dear = today.filter(pl.col("bytes") >= settings.dollars / settings.dollars_per_gib * _GIB)
    found = dear.join(_usual(known, day), on="eni").filter(_is_one(settings)) if dear.height else None
    return no_hits() if found is None else _hits(found, minute, settings), {
        "days": kept(known, today, _KEY, day - 31 * _DAY, settings.interfaces)
    }


def _usual(known: pl.DataFrame, day: int) -> pl.DataFrame:
    """eni, days, usual: how many days came before, and the median of their bytes."""
    return known.filter(pl.col("day") < day).group_by("eni").agg(
        pl.len().cast(pl.Int64).alias("days"), pl.col("bytes").median().alias("usual")
    )  # fmt: skip


def _is_one(settings: Settings) -> pl.Expr:
    return (pl.col("days") >= settings.days) & (pl.col("bytes") >= settings.times * pl.col("usual"))


def _hits(found: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    def dollars(name: str) -> pl.Expr:
        return (pl.col(name) / _GIB * settings.dollars_per_gib).round(2)

    rows = found.with_columns(
        severity("medium").alias("severity"), pl.col("packets").alias("count"), dollars("bytes").alias("dollars"),
        dollars("usual").alias("usual_dollars"), (pl.col("bytes") / _GIB).round(1).alias("gib"),
        pl.lit(minute.start, dtype=pl.Int64).alias("first"), pl.lit(minute.end - 1, dtype=pl.Int64).alias("last"),
    )  # fmt: skip
    sentence = pl.format(
        "{} sent {} GiB to the Internet today, some ${}; on the {} days before it was ${} on the median",
        "eni", "gib", "dollars", "days", "usual_dollars",
    )  # fmt: skip
    return hits(rows, sentence, "bytes", "usual", "days", "dollars", "usual_dollars")


def _day(number: int, gib: int) -> list[str]:
    return answered(_DAY * number, INSIDE, PUBLIC, 443, size=(gib * 100_000, gib * _GIB))


COST_SURGE = Detector(
    name="cost-surge",
    title="What an interface sends to the Internet costs far more than on other days",
    attack=(),
    explanation="An interface has sent so much to the Internet today that it costs several times what it does on the "
    "median of the days before. Prices are a setting: AWS's list price for the Internet, without discounts.",
    runbook="See its busiest peers. A new export, a cache that fails or a bucket read through a NAT gateway are the "
    "usual cases; a gateway endpoint or a CDN makes most of it go away.",
    settings=Settings(),
    detect=_detect,
    memory={"days": DAYS},
    cool_down=6 * 3600,
    examples=(
        fires("four times as much as on three days", *(_day(n, 100) for n in range(3)), _day(3, 400)),
        fires("the second dear day of five", *(_day(n, 100) for n in range(3)), _day(3, 299), _day(4, 320)),
        quiet("less than three times as much", *(_day(n, 100) for n in range(3)), _day(3, 299)),
        quiet("two days are no habit", *(_day(n, 100) for n in range(2)), _day(2, 400)),
        quiet("three times as much, and cheap", *(_day(n, 10) for n in range(3)), _day(3, 270)),
        quiet("within the network", *(
            answered(_DAY * n, INSIDE, "10.0.0.9", 443, size=(10_000_000, size * _GIB))
            for n, size in enumerate((100, 100, 100, 400))
        )),
    ),
)  # fmt: skip
