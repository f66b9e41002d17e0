"""Connection floods: a service is opened so often, or held open so often for nothing, that it has no time for others.

Unlike a flood of packets these are answered: what is unusual is how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.contacts import TCP
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet
from streams.detectors.memory import Habit

HABITS = {"eni": pl.String, "target": pl.String, "port": pl.Int32, "most": pl.Int64, "at": pl.Int64}
_KEY = ["eni", "target", "port"]


@dataclass(frozen=True)
class Settings:
    """Connections of a minute to one service, from outside or to the outside."""

    connections: int = setting(500, "in a minute, once it is known what is usual")
    unlearnt: int = setting(2000, "in a minute, before that")
    habit: float = setting(5.0, "times the most of the time that is remembered")
    held: int = setting(150, "of one client in a minute, that get hardly anything and stay")
    held_bytes: int = setting(300, "of an answer, on average: what only keeps a connection open")
    learning_seconds: int = setting(3600, "an interface is watched, before it is known what is usual")
    remembered_seconds: int = setting(86_400, "how long a habit is known")
    services: int = setting(20_000, "services known at most")


def _opened(minute: Minute) -> pl.DataFrame:
    """By service. held: the most connections of one client that gets hardly anything."""
    across = pl.when(is_outbound()).then(minute.outside("server")).otherwise(minute.outside("client"))
    answered_ones = (pl.col("replies") > pl.col("refusals")) & (pl.col("flows") > 0)
    talks = minute.talks.filter((pl.col("protocol") == TCP) & answered_ones & across)
    return talks.sort("flows", "client", descending=[True, False]).group_by(
        "eni", pl.col("server").alias("target"), "port", maintain_order=True
    ).agg(
        pl.col("flows").sum(), pl.col("client").n_unique().alias("clients"), pl.col("client").first().alias("busiest"),
        pl.col("flows").first().alias("of_busiest"), pl.col("reply_bytes").first().alias("got"),
        pl.col("first").min(), pl.col("last").max(), is_outbound().any().alias("outbound"),
    )  # fmt: skip


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    opened = _opened(minute).filter(pl.col("of_busiest") >= settings.held)
    if not opened.height:
        return no_hits(), memory
    known = opened.join(memory["habits"], on=_KEY, how="left", maintain_order="left").join(
        minute.contacts.enis, on="eni", how="left", maintain_order="left"
    )
    learnt = minute.start - pl.col("since") >= settings.learning_seconds
    most = pl.col("most").fill_null(0)
    many = pl.col("flows") >= pl.when(learnt).then(settings.connections).otherwise(settings.unlearnt)
    held = pl.col("got") < settings.held_bytes * pl.col("of_busiest")
    found = known.filter((many | held) & (pl.col("flows") > settings.habit * most))
    habit = Habit("flows", _KEY, settings.remembered_seconds, settings.services)
    return _hits(found), {"habits": habit.learnt(memory["habits"], opened, found, minute.start)}


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "port {} of {} was opened {} times in a minute by {} addresses, {} times by {}; {} times was the most before",
        "port", "target", "flows", "clients", "of_busiest", "busiest", pl.col("most").fill_null(0),
    )  # fmt: skip
    rows = found.with_columns(
        severity("medium").alias("severity"), pl.col("flows").alias("count"),
        pl.lit(TCP, dtype=pl.Int16).alias("protocol"),
        pl.when("outbound").then("busiest").alias("source"),
    )  # fmt: skip
    return hits(rows, sentence, "flows", "clients", "busiest", "of_busiest", "got")


def _opens(minute: int, count: int, *, reply: int = 2400) -> list[list[str]]:
    return [
        answered(60 * minute + n % 60, PUBLIC, INSIDE, 443, socket=1024 + n, reply=(8, reply)) for n in range(count)
    ]


CONNECTION_FLOOD = Detector(
    name="connection-flood",
    title="A service is opened far more often than usual",
    attack=("T1499", "T1499.002"),
    explanation="One address opens a service hundreds of times in a minute, or holds connections open for nothing.",
    runbook="See whether the service still answers others. Refuse the busiest addresses, or put a limit before it.",
    settings=Settings(),
    detect=_detect,
    memory={"habits": HABITS},
    cool_down=600,
    examples=(
        fires("500 in a minute, after an hour of few", *_opens(0, 10), *_opens(61, 500)),
        quiet("499", *_opens(0, 10), *_opens(61, 499)),
        fires("2,000 in a minute of the first hour", *_opens(0, 2000)),
        quiet("1,999", *_opens(0, 1999)),
        fires("150 that get nothing and stay", *_opens(0, 150, reply=100)),
        quiet("a few times the most before", *_opens(0, 200), *_opens(61, 900)),
    ),
)
