"""New services: a host answers on a port on which it never did."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, refused

_KEY = ["eni", "target", "port", "protocol"]


@dataclass(frozen=True)
class Settings:
    """New is what was not seen for a week."""

    highest_port: int = setting(32_767, "above it are the ports that clients get, and services that change theirs")
    learning_seconds: int = setting(86_400, "before anything is said of an interface")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    learnt = pl.col("since") <= pl.col("first") - settings.learning_seconds
    served = pl.col("answered") & pl.col("inbound") & pl.col("port").is_between(0, settings.highest_port)
    fresh = minute.contacts.fresh.filter(served).join(minute.contacts.enis, on="eni").filter(learnt)
    if not fresh.height:
        return no_hits(), memory
    before = minute.contacts.known.filter(served & (pl.col("first") < minute.start))
    found = fresh.join(before, on=_KEY, how="anti").sort("first", "source").group_by(_KEY, maintain_order=True).agg(
        pl.col("source").first().alias("client"), minute.outside("source").any().alias("public"),
        pl.col("source").n_unique().alias("clients"), pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return _hits(found), memory


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} answers on port {}, where it did not for a week; {} asked first", "target", "port", "client"
    )
    rows = found.with_columns(
        pl.when("public").then(severity("medium")).otherwise(severity("low")).alias("severity"),
        pl.col("clients").cast(pl.Int64).alias("count"),
    )
    return hits(rows, sentence, "client", "clients", "public")


_DAY_BEFORE = answered(0, PUBLIC, INSIDE, 443)

NEW_SERVICE = Detector(
    name="new-service",
    title="A host answers on a port that is new",
    attack=("T1571",),
    explanation="Somebody gets an answer from a port on which this host did not answer for a week.",
    runbook="A release or a new agent is the usual case. Else find out which program listens there.",
    settings=Settings(),
    detect=_detect,
    cool_down=86_400,
    examples=(
        fires("a day after the first record", _DAY_BEFORE, answered(86_460, "10.0.0.9", INSIDE, 8080)),
        quiet("before that", _DAY_BEFORE, answered(86_000, "10.0.0.9", INSIDE, 8080)),
        quiet("a new client of an old one", _DAY_BEFORE, answered(86_460, "10.0.0.9", INSIDE, 443)),
        quiet("refused", _DAY_BEFORE, refused(86_460, "10.0.0.9", INSIDE, 8080)),
        quiet("as a client", _DAY_BEFORE, answered(86_460, INSIDE, "10.0.0.9", 8080)),
    ),
)
