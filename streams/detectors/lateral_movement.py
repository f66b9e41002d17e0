"""Lateral movement: a host inside reaches for the administration of others that it never had to do with."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.contacts import TCP
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, silent

ADMIN = (22, 23, 135, 139, 445, 3389, 5900, 5985, 5986)


@dataclass(frozen=True)
class Settings:
    """New is what was not seen for a week."""

    ports: tuple[int, ...] = setting(ADMIN, "TCP ports of administration")
    many: int = setting(3, "new targets of one host, from which it is severe")
    together_seconds: int = setting(3600, "how long they count together")
    learning_seconds: int = setting(86_400, "before anything is said of an interface")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    admin = (pl.col("protocol") == TCP) & pl.col("port").is_in(settings.ports) & pl.col("outbound")
    fresh = minute.contacts.fresh.filter(admin & ~minute.outside("target"))
    if not fresh.height:
        return no_hits(), memory
    learnt = pl.col("since") <= pl.col("first") - settings.learning_seconds
    recent = pl.col("first") >= minute.start - settings.together_seconds
    known = minute.contacts.known.filter(admin & recent & ~minute.outside("target"))
    new = known.join(minute.contacts.enis, on="eni").filter(learnt)
    moved = new.join(fresh, on=["eni", "source", "target", "port"], how="semi")
    found = new.join(moved, on=["eni", "source"], how="semi").group_by("eni", "source").agg(
        pl.col("target").n_unique().alias("targets"), pl.col("target").unique().sort().head(10).alias("some"),
        pl.col("port").unique().sort().alias("ports"), pl.col("answered").sum().cast(pl.Int64).alias("answered"),
        pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return _hits(found, settings), memory


def _hits(found: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    sentence = pl.format(
        "{} reached for the administration of {} hosts that it had nothing to do with for a week: {}; {} answered",
        "source", "targets", pl.col("some").list.join(", "), "answered",
    )  # fmt: skip
    severe = pl.col("targets") >= settings.many
    rows = found.with_columns(
        pl.when(severe).then(severity("high")).otherwise(severity("low")).alias("severity"),
        pl.col("targets").cast(pl.Int64).alias("count"),
    )
    return hits(rows, sentence, "targets", "some", "ports", "answered")


_DAY_BEFORE = answered(0, INSIDE, "10.0.0.9", 22)

LATERAL_MOVEMENT = Detector(
    name="lateral-movement",
    title="A host reaches for the administration of others inside",
    attack=("T1021", "T1021.001", "T1021.002", "T1021.004"),
    explanation="A host inside opens SSH, RDP, SMB or WinRM to others that it had nothing to do with before.",
    runbook="See who works on the source, and whether they did this. If nobody: isolate it, look at its log-ins.",
    settings=Settings(),
    detect=_detect,
    examples=(
        fires("a new target, a day after the first record", _DAY_BEFORE, answered(86_460, INSIDE, "10.0.0.10", 22)),
        fires("without an answer", _DAY_BEFORE, silent(86_460, INSIDE, "10.0.0.10", 3389)),
        quiet("before that", _DAY_BEFORE, answered(86_000, INSIDE, "10.0.0.10", 22)),
        quiet("one that it knows", _DAY_BEFORE, answered(86_460, INSIDE, "10.0.0.9", 22)),
        quiet("a database", _DAY_BEFORE, answered(86_460, INSIDE, "10.0.0.10", 5432)),
        quiet("outside", _DAY_BEFORE, answered(86_460, INSIDE, PUBLIC, 22)),
    ),
)
