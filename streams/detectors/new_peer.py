"""New peers: a host that talks to a few others, and always the same, opens a connection to another one."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import counts_as_try, hits, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet


@dataclass(frozen=True)
class Settings:
    """New is what was not seen for a week."""

    peers: int = setting(10, "hosts that an interface opens connections to, at most: with more, a new one is no news")
    learning_seconds: int = setting(86_400, "before anything is said of an interface")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    asked = pl.col("outbound") & counts_as_try()
    learnt = pl.col("since") <= pl.col("first") - settings.learning_seconds
    fresh = minute.contacts.fresh.filter(asked).join(minute.contacts.enis, on="eni").filter(learnt)
    if not fresh.height:
        return no_hits(), memory
    before = minute.contacts.known.filter(asked & (pl.col("first") < minute.start)).join(fresh, on="eni", how="semi")
    few = (
        before.group_by("eni").agg(pl.col("target").n_unique().alias("peers")).filter(pl.col("peers") <= settings.peers)
    )
    new = fresh.join(before, on=["eni", "target"], how="anti").join(few, on="eni")
    found = new.sort("first", "port").group_by("eni", "source", "target", maintain_order=True).agg(
        pl.col("port", "protocol", "peers").first(), pl.col("answered").any(),
        minute.outside("target").any().alias("outside"),
        pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return _hits(found), memory


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} opened a connection to {}, port {}: in a week it had to do with {} others",
        "source",
        "target",
        "port",
        "peers",
    )
    rows = found.with_columns(
        pl.when(pl.col("outside") & pl.col("answered"))
        .then(severity("medium"))
        .otherwise(severity("low"))
        .alias("severity"),
        pl.lit(1, dtype=pl.Int64).alias("count"),
    )
    return hits(rows, sentence, "peers", "answered")


_DAY_BEFORE = answered(0, INSIDE, "10.0.0.9", 5432)

NEW_PEER = Detector(
    name="new-peer",
    title="A host with few peers opens a connection to another one",
    attack=("T1071", "T1018"),
    explanation="An interface that opens connections to a few hosts, always the same, opens one to a host that is new.",
    runbook="Find out which program did so. A database that calls the Internet is no ordinary case.",
    settings=Settings(),
    detect=_detect,
    cool_down=86_400,
    examples=(
        fires("a day after the first record", _DAY_BEFORE, answered(86_460, INSIDE, PUBLIC, 443)),
        quiet("before that", _DAY_BEFORE, answered(86_000, INSIDE, PUBLIC, 443)),
        quiet("another service of the same host", _DAY_BEFORE, answered(86_460, INSIDE, "10.0.0.9", 6379)),
        quiet("somebody calls it", _DAY_BEFORE, answered(86_460, PUBLIC, INSIDE, 22)),
        quiet(
            "a host with many peers",
            *(answered(n, INSIDE, f"203.0.113.{n}", 443) for n in range(11)),
            answered(86_460, INSIDE, PUBLIC, 443),
        ),
    ),
)
