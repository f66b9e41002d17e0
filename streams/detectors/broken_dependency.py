"""Broken dependencies: a client that used to be answered by a service, and now is refused or gets no answer."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import keyed
from streams.core.contacts import TCP, UDP, failed
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_outbound, severity
from streams.detectors.examples import ENI, INSIDE, PUBLIC, answered, fires, quiet, refused, silent
from streams.detectors.memory import kept

EDGES = {
    "eni": pl.String, "source": pl.String, "target": pl.String, "port": pl.Int32, "protocol": pl.Int16,
    "good": pl.Int64, "answered": pl.Int64, "failed": pl.Int64, "bad": pl.Int64, "attempts": pl.Int64,
    "since": pl.Int64, "at": pl.Int64,
}  # fmt: skip
"""good: minutes with an answer. answered, failed: attempts before. bad, attempts: minutes and attempts without an
answer, in a row up to now, since `since`.
"""
_NTP = 123
"""Public time servers come and go, and hosts ask several."""
_KEY = ["eni", "source", "target", "port", "protocol"]
_ALL = "*"
"""All clients of a service together: each may ask too seldom to tell alone."""


@dataclass(frozen=True)
class Settings:
    """When something is a dependency, and when it is broken."""

    good: int = setting(5, "minutes with an answer that make a dependency inside")
    good_outside: int = setting(30, "minutes with an answer that make a dependency on a service of the Internet")
    refused: int = setting(2, "minutes without one, in a row, where attempts are REJECTed")
    bad: int = setting(3, "minutes without one, in a row, where nothing comes back")
    attempts: int = setting(4, "attempts in them")
    chance: float = setting(1e-5, "of so many failures in a row, by how often one failed before; at most")
    remembered_seconds: int = setting(604_800, "how long a dependency is known after its last attempt")
    edges: int = setting(50_000, "dependencies known at most")


def _edges(minute: Minute) -> pl.DataFrame:
    """What clients asked, but for those of the Internet: who is kept out there is no dependency."""
    talks = minute.talks.filter(
        (pl.col("flows") > 0) & pl.col("protocol").is_in([TCP, UDP]) & (pl.col("port") != _NTP)
        & (is_outbound() | ~minute.outside("client"))
    )  # fmt: skip
    return talks.select(
        "eni", pl.col("client").alias("source"), pl.col("server").alias("target"), "port", "protocol",
        failed().alias("silent"), "flows", "rejected", "replies", "reply_rejected", "first", "last",
        minute.outside("server").alias("outside"),
    )  # fmt: skip


def _asked(edges: pl.DataFrame) -> pl.DataFrame:
    """By client, and of all clients."""
    return pl.concat(
        keyed.grouped(
            some, _KEY, pl.col("silent").all(), pl.col("flows", "rejected", "replies", "reply_rejected").sum(),
            pl.col("first").min(), pl.col("last").max(), pl.col("outside").first(),
        )
        for some in (edges, edges.with_columns(pl.lit(_ALL).alias("source")))
    )  # fmt: skip


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    edges = _edges(minute)
    now = keyed.joined(_asked(edges), memory["edges"], _KEY)
    counts = [pl.col(name).fill_null(0) for name in ("good", "answered", "failed", "bad", "attempts")]
    now = now.with_columns(counts).with_columns(
        pl.when("silent").then("good").otherwise(pl.col("good") + 1).alias("good"),
        pl.when("silent").then("answered").otherwise(pl.col("answered") + pl.col("flows")).alias("answered"),
        pl.when("silent").then("failed").otherwise(pl.col("failed") + pl.col("attempts")).alias("failed"),
        pl.when("silent").then(pl.col("bad") + 1).otherwise(0).alias("bad"),
        pl.when("silent").then(pl.col("attempts") + pl.col("flows")).otherwise(0).alias("attempts"),
        pl.when("silent").then(pl.when(pl.col("bad") > 0).then("since").otherwise("first")).alias("since"),
        pl.lit(minute.start, dtype=pl.Int64).alias("at"),
    )
    often = (pl.col("failed") + 1) / (pl.col("answered") + pl.col("failed") + 2)
    good = pl.when("outside").then(settings.good_outside).otherwise(settings.good)
    least = pl.when(pl.col("rejected") > 0).then(settings.refused).otherwise(settings.bad)
    found = now.filter(
        (pl.col("good") >= good) & (pl.col("bad") >= least) & (pl.col("attempts") >= settings.attempts)
        & (often ** pl.col("attempts") <= settings.chance)
    )  # fmt: skip
    told = _hits(_widest(_where_refused(_with_clients(found, edges), now))) if found.height else no_hits()
    return told, {"edges": _remembered(memory["edges"], now, minute, settings)}


def _with_clients(found: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """With `who`, up to 10 clients, and `clients`, how many: of a service all that asked it."""
    of_service = ["eni", "target", "port", "protocol"]
    asked = edges.select(*of_service, pl.col("source").alias("who"))
    clients = asked.join(found.select(*_KEY), on=of_service).filter(
        (pl.col("source") == _ALL) | (pl.col("source") == pl.col("who"))
    )  # fmt: skip
    each = clients.group_by(_KEY).agg(pl.col("who").unique().sort().head(10), pl.col("who").n_unique().alias("clients"))
    return found.join(each, on=_KEY, how="left", maintain_order="left")


def _where_refused(found: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """What one interface refuses gets no answer at the others on the way: it is told where it is refused."""
    of_edge = ["source", "target", "port", "protocol"]
    refused_ones = now.filter(pl.col("rejected") > 0)
    elsewhere = found.filter(pl.col("rejected") == 0).join(refused_ones, on=of_edge, how="anti")
    return pl.concat([found.filter(pl.col("rejected") > 0), elsewhere])


def _widest(found: pl.DataFrame) -> pl.DataFrame:
    """A service that fails several clients is one finding; one client that fails is its own."""
    of_service = ["eni", "target", "port", "protocol"]
    services = found.filter((pl.col("source") == _ALL) & (pl.col("clients") > 1))
    edges = found.filter(pl.col("source") != _ALL).join(services, on=of_service, how="anti")
    return pl.concat([services, edges])


def _remembered(known: pl.DataFrame, now: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """What never was answered is not remembered."""
    mine = now.filter(pl.col("good") > 0)
    return kept(known, mine, _KEY, minute.start - settings.remembered_seconds, settings.edges)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    how = (
        pl.when(pl.col("rejected") > 0).then(pl.lit("REJECT: a security group or NACL refuses it at this interface"))
        .when(pl.col("reply_rejected") > 0).then(pl.lit("its answers are REJECTed: a NACL refuses them"))
        .when(pl.col("replies") == 0).then(pl.lit("no answer comes: the way is blocked elsewhere, or the host is down"))
        .otherwise(pl.lit("the host answers that nothing listens there"))
    )  # fmt: skip
    several = pl.col("source") == _ALL
    rows = found.with_columns(
        how.alias("how"), severity("high").alias("severity"), pl.col("flows").alias("count"),
        pl.col("since").alias("first"),
        pl.when(several).then(pl.format("{} clients", "clients")).otherwise("source").alias("client"),
        pl.when(several).then(None).otherwise("source").alias("source"),
    )  # fmt: skip
    sentence = pl.format(
        "{} got answers from {} on port {} in {} minutes before, and none to the last {} attempts ({})",
        "client", "target", "port", "good", "attempts", "how",
    )  # fmt: skip
    return hits(rows, sentence, "good", "bad", "attempts", "rejected", "reply_rejected", "replies", "who")


_APP = "10.0.0.9"
_GOOD = [answered(60 * n, _APP, INSIDE, 5432, socket=40_000 + n) for n in range(20)]

BROKEN_DEPENDENCY = Detector(
    name="broken-dependency",
    title="A service that used to answer a client does no longer",
    attack=(),
    explanation="For some minutes all attempts of a client fail to reach a service that had answered it before.",
    runbook="REJECT: compare the rules of the security group and the NACL of this interface with what they were. No "
    "answer: look at the other side's interface in the same way, then whether the service runs.",
    settings=Settings(),
    detect=_detect,
    memory={"edges": EDGES},
    cool_down=600,
    examples=(
        fires("refused for two minutes", *_GOOD, *(refused(60 * n, _APP, INSIDE, 5432) * 2 for n in range(20, 22))),
        fires(
            "refused at the service's interface, no answer at the client's",
            *_GOOD,
            *([line.replace(ENI, "eni-0b") for line in lines] for lines in _GOOD),
            *(refused(60 * n, _APP, INSIDE, 5432) * 2 for n in range(20, 24)),
            *([line.replace(ENI, "eni-0b") for line in silent(60 * n, _APP, INSIDE, 5432) * 2] for n in range(20, 24)),
        ),
        fires("no answer for three", *_GOOD, *(silent(60 * n, _APP, INSIDE, 5432) * 2 for n in range(20, 23))),
        quiet("no answer for two", *_GOOD, *(silent(60 * n, _APP, INSIDE, 5432) * 9 for n in range(20, 22))),
        quiet("for one minute", *_GOOD, *(refused(1200 + n, _APP, INSIDE, 5432) for n in range(9))),
        quiet("it never was answered", *(refused(60 * n, _APP, INSIDE, 5432) * 2 for n in range(30))),
        quiet(
            "it often is not",
            *(answered(120 * n, _APP, INSIDE, 5432) for n in range(30)),
            *(silent(120 * n + 60, _APP, INSIDE, 5432) for n in range(33)),
        ),
        quiet(
            "somebody outside who is kept out now",
            *(answered(60 * n, PUBLIC, INSIDE, 22) for n in range(20)),
            *(refused(60 * n, PUBLIC, INSIDE, 22) * 2 for n in range(20, 25)),
        ),
    ),
)
