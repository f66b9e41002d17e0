"""Rejected surges: far more is refused at an interface than usual."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.conversations import PANE_SECONDS
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, refused
from streams.detectors.memory import kept

HABITS = {
    "eni": pl.String, "outbound": pl.Boolean, "mean": pl.Float64, "variance": pl.Float64, "minutes": pl.Int64,
    "began": pl.Int64, "at": pl.Int64,
}  # fmt: skip
_KEY = ["eni", "outbound"]
_FORGOTTEN_SECONDS = 28 * 86_400
_HIGHEST = 3.0
"""Standard deviations above the mean: more than that is learnt as no more, so that a surge is no habit soon."""


@dataclass(frozen=True)
class Settings:
    """What is usual is a mean that fades."""

    rejected: int = setting(30, "refused records in a minute, at least")
    deviations: float = setting(6.0, "standard deviations above the mean")
    times: float = setting(5.0, "times the mean")
    learning_seconds: int = setting(3600, "before anything is said of an interface")
    memory_minutes: float = setting(360.0, "what is older than this counts half")
    interfaces: int = setting(100_000, "interfaces known at most")


def _refused(minute: Minute) -> pl.DataFrame:
    """By interface and direction, those too that had traffic and nothing refused."""
    return minute.talks.group_by("eni", is_outbound().alias("outbound")).agg(
        pl.col("rejected").sum(), pl.col("first").min(), pl.col("last").max()
    )


def _with_busiest(found: pl.DataFrame, minute: Minute) -> pl.DataFrame:
    """With client, server and port of what was refused most, and how many clients were refused."""
    refused_ones = minute.talks.filter(pl.col("rejected") > 0).with_columns(is_outbound().alias("outbound"))
    mine = refused_ones.join(found, on=_KEY, how="semi").sort(
        "rejected", "client", "port", "server", descending=[True, False, False, False]
    )
    busiest = mine.group_by(_KEY, maintain_order=True).agg(
        pl.col("client", "server", "port").first(), pl.col("client").n_unique().alias("clients")
    )
    return found.join(busiest, on=_KEY, how="left", maintain_order="left")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    seen = _refused(minute).join(memory["habits"], on=_KEY, how="left", maintain_order="left")
    gap = ((minute.start - pl.col("at")) // PANE_SECONDS).fill_null(1)
    mean = pl.col("mean").fill_null(0.0) * 0.5 ** ((gap - 1) / settings.memory_minutes)
    known = seen.with_columns(
        mean.alias("mean"), pl.col("variance", "minutes").fill_null(0), pl.col("began").fill_null(minute.start)
    )
    deviation = pl.max_horizontal("variance", "mean", 1.0).sqrt()
    learnt = minute.start - pl.col("began") >= settings.learning_seconds
    judged = known.with_columns(deviation.alias("deviation"), learnt.alias("learnt"))
    found = judged.filter(
        (pl.col("rejected") >= settings.rejected)
        & pl.col("learnt")
        & (pl.col("rejected") > pl.col("mean") + settings.deviations * pl.col("deviation"))
        & (pl.col("rejected") > settings.times * pl.col("mean"))
    )
    told = _hits(_with_busiest(found, minute)) if found.height else no_hits()
    return told, {"habits": _learnt(memory["habits"], judged, minute, settings)}


def _learnt(known: pl.DataFrame, judged: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """A plain mean at first; then one that fades, to which a surge adds no more than an unusual minute."""
    fades = 1 - 0.5 ** (1 / settings.memory_minutes)
    share = pl.max_horizontal(1 / (pl.col("minutes") + 1), fades)
    capped = pl.min_horizontal("rejected", pl.col("mean") + _HIGHEST * pl.col("deviation"))
    away = pl.when("learnt").then(capped).otherwise("rejected") - pl.col("mean")
    mine = judged.with_columns(
        (pl.col("mean") + share * away).alias("mean"),
        ((1 - share) * (pl.col("variance") + share * away * away)).alias("variance"),
        pl.col("minutes") + 1,
        pl.lit(minute.start, dtype=pl.Int64).alias("at"),
    )
    return kept(known, mine, _KEY, minute.start - _FORGOTTEN_SECONDS, settings.interfaces)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} records {} were refused in a minute, {} is usual; most of them from {} to {}, port {}", "rejected",
        pl.when("outbound").then(pl.lit("from this interface")).otherwise(pl.lit("to this interface")),
        pl.col("mean").round(1), "client", "server", "port",
    )  # fmt: skip
    rows = found.with_columns(
        severity("medium").alias("severity"), pl.col("rejected").alias("count"), sentence.alias("told")
    )
    told = rows.drop("port").with_columns(
        pl.when("outbound").then("client").alias("source"), pl.when(~pl.col("outbound")).then("server").alias("target")
    )
    return hits(told, pl.col("told"), "rejected", "mean", "deviation", "clients")


_CALM = [answered(60 * n, PUBLIC, INSIDE, 443) for n in range(61)]

REJECTED_SURGE = Detector(
    name="rejected-surge",
    title="Far more is refused at an interface than usual",
    attack=("T1046",),
    explanation="Security groups or NACLs refuse many times what they usually refuse at this interface.",
    runbook="From outside, from many sources: somebody looks for an open door. From inside: a client was cut off by a "
    "new rule, or looks for what it should not.",
    settings=Settings(),
    detect=_detect,
    memory={"habits": HABITS},
    cool_down=1800,
    examples=(
        fires("30 in a minute after a calm hour", *_CALM, *(refused(3660, PUBLIC, INSIDE, 8080) for _ in range(30))),
        quiet("29", *_CALM, *(refused(3660, PUBLIC, INSIDE, 8080) for _ in range(29))),
        quiet("before there is a habit", *(refused(0, PUBLIC, INSIDE, 8080) for _ in range(500))),
        quiet(
            "as every minute",
            *(refused(60 * n, PUBLIC, INSIDE, 8080) for n in range(70) for _ in range(40)),
        ),
    ),
)  # fmt: skip
