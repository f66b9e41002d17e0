"""Brute force: many short connections to a service that asks for a password."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core.contacts import TCP
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import WEB_PORTS, hits, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, refused
from streams.detectors.memory import kept

SHELLS = (21, 22, 23, 512, 513, 514, 2222, 3389, 5900, 5901, 5985, 5986)
"""Ports of shells, desktops and files: few log in, and not often."""
LOGINS = (110, 139, 143, 389, 445, 636, 993, 995, 1433, 1521, 3306, 5432, 6379, 27017)
"""Ports of mail boxes, directories, shares and databases: they ask who is there too, but programs ask them all day."""

ATTEMPTS = {
    "eni": pl.String, "source": pl.String, "target": pl.String, "port": pl.Int32, "attempts": pl.Float64,
    "total": pl.Int64, "usual": pl.Float64, "began": pl.Int64, "at": pl.Int64,
}  # fmt: skip
_KEY = ["eni", "source", "target", "port"]


@dataclass(frozen=True)
class Settings:
    """Connections fade: half of them in `half_life_seconds`."""

    shells: int = setting(20, "short connections to a port of shells, desktops or files")
    outside: int = setting(40, "short connections from outside to any other port that is no web server's")
    inside: int = setting(200, "short connections inside to a port of mail boxes, directories, shares or databases")
    sources: int = setting(10, "addresses outside that together try a shell, each too seldom to be told alone")
    half_life_seconds: int = setting(300, "what is older than this counts half")
    bytes: int = setting(10_000, "of a short connection, each way, at most")
    habit: float = setting(5.0, "times what is usual between the two")
    learning_seconds: int = setting(3600, "from then on something is usual")
    edges: int = setting(50_000, "pairs of hosts known at most")


def _short(talks: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Conversations of the minute that are short connections."""
    return talks.filter(
        (pl.col("protocol") == TCP) & (pl.col("flows") > 0) & ~pl.col("port").is_in(WEB_PORTS)
        & (pl.col("replies") > pl.col("refusals"))
        & (pl.col("largest") <= settings.bytes) & (pl.col("reply_bytes") <= settings.bytes * pl.col("replies"))
    ).group_by("eni", pl.col("client").alias("source"), pl.col("server").alias("target"), "port").agg(
        pl.col("flows", "replies").sum(), pl.col("first").min(), pl.col("last").max(), pl.col("smallest").min(),
        pl.col("largest").max(), pl.col("bytes").sum(), pl.col("reply_bytes").sum(),
    )  # fmt: skip


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    short = _short(minute.talks, settings)
    if not short.height:
        return no_hits(), memory
    known = short.join(memory["attempts"], on=_KEY, how="left", maintain_order="left")
    age = (minute.start - pl.col("at")) / settings.half_life_seconds
    faded = (pl.col("attempts") * (0.5**age)).fill_null(0.0)
    now = known.with_columns(
        (faded + pl.col("flows")).alias("attempts"),
        (pl.col("total").fill_null(0) + pl.col("flows")).alias("total"),
        pl.col("began").fill_null(pl.col("first")),
        pl.col("usual").fill_null(0.0),
        pl.lit(minute.start, dtype=pl.Int64).alias("at"),
    )
    found = now.filter(_is_one(minute, settings))
    many = _many(minute, short, found, settings).with_columns(pl.format("{} addresses", "sources").alias("who"))
    alone = found.with_columns(pl.col("source").alias("who"), pl.lit(1, dtype=pl.UInt32).alias("sources"))
    every = pl.concat([_hits(alone), _hits(many)])
    return every, {"attempts": _learnt(memory["attempts"], now, minute, settings)}


def _is_one(minute: Minute, settings: Settings) -> pl.Expr:
    shell, login = pl.col("port").is_in(SHELLS), pl.col("port").is_in(LOGINS)
    limit = (
        pl.when(shell).then(settings.shells)
        .when(minute.outside("source")).then(settings.outside)
        .when(login).then(settings.inside)
    )  # fmt: skip
    learnt = minute.start - pl.col("began") >= settings.learning_seconds
    unusual = ~learnt | (pl.col("attempts") > settings.habit * pl.col("usual"))
    return (pl.col("attempts") >= limit) & unusual


def _many(minute: Minute, short: pl.DataFrame, found: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Shells that many addresses try in one minute, none of them often."""
    few = short.filter(pl.col("port").is_in(SHELLS) & minute.outside("source")).join(found, on=_KEY, how="anti")
    return few.group_by("eni", "target", "port").agg(
        pl.col("source").n_unique().alias("sources"), pl.col("flows", "replies", "bytes", "reply_bytes").sum(),
        pl.col("first").min(), pl.col("last").max(), pl.col("smallest").min(), pl.col("largest").max(),
    ).filter((pl.col("sources") >= settings.sources) & (pl.col("flows") >= settings.shells))  # fmt: skip


def _learnt(before: pl.DataFrame, now: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """What is usual is the most that there was before the last hour's end, slowly forgotten."""
    slower = pl.max_horizontal(pl.col("usual") * 0.999, pl.min_horizontal("attempts", pl.col("usual") + 1))
    mine = now.with_columns(slower.alias("usual"))
    return kept(before, mine, _KEY, minute.start - 24 * settings.learning_seconds, settings.edges)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} opened {} short connections to port {} of {}, {} to {} bytes each", "who", "flows", "port", "target",
        "smallest", "largest",
    )  # fmt: skip
    worse = pl.when(pl.col("reply_bytes") > 0).then(severity("high")).otherwise(severity("medium"))
    rows = found.with_columns(
        worse.alias("severity"), pl.col("flows").alias("count"), pl.lit(TCP, dtype=pl.Int16).alias("protocol")
    )
    return hits(rows, sentence, "flows", "sources", "smallest", "largest")


BRUTE_FORCE = Detector(
    name="brute-force",
    title="One host tries to log in again and again",
    attack=("T1110", "T1110.001"),
    explanation="A host opens many short connections of the same size to a service that asks for a password.",
    runbook="See the service's own log for failed logins and for one that succeeded. Refuse the source; let nobody "
    "but a bastion reach such a port.",
    settings=Settings(),
    detect=_detect,
    memory={"attempts": ATTEMPTS},
    examples=(
        fires("20 logins in a minute", *(answered(n, PUBLIC, INSIDE, 22, socket=40_000 + n) for n in range(20))),
        quiet("19", *(answered(n, PUBLIC, INSIDE, 22, socket=40_000 + n) for n in range(19))),
        fires("one every 10 seconds", *(answered(10 * n, PUBLIC, INSIDE, 22, socket=40_000 + n) for n in range(30))),
        fires(
            "20 addresses, one login each",
            *(answered(n, f"198.51.100.{n}", INSIDE, 22, socket=40_000 + n) for n in range(20)),
        ),
        quiet(
            "a mail client inside",
            *(answered(n, "10.0.0.9", INSIDE, 993, socket=40_000 + n) for n in range(60)),
        ),
        fires("inside, a shell", *(answered(n, "10.0.0.9", INSIDE, 22, socket=40_000 + n) for n in range(20))),
        fires("on an odd port, 40", *(answered(n, PUBLIC, INSIDE, 902, socket=40_000 + n) for n in range(40))),
        quiet("on an odd port, 39", *(answered(n, PUBLIC, INSIDE, 902, socket=40_000 + n) for n in range(39))),
        quiet("a busy web client", *(answered(n % 60, PUBLIC, INSIDE, 443, socket=40_000 + n) for n in range(500))),
        quiet("refused: nobody asks for a password", *(refused(n, PUBLIC, INSIDE, 22) for n in range(60))),
        quiet(
            "sessions of work",
            *(answered(n, PUBLIC, INSIDE, 22, socket=40_000 + n, size=(900, 90_000)) for n in range(60)),
        ),
    ),
)
