"""Floods: packets in masses that nobody answers. Packets are counted, not records: thousands of flows can be one."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import keyed
from streams.core.contacts import UDP
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_group, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, record
from streams.detectors.memory import Habit

_SMALL_BYTES = 200
_PINGS = (1, 58)
"""ICMP, ICMPv6: a flood of pings is answered."""


@dataclass(frozen=True)
class Settings:
    """Packets, not records."""

    packets: int = setting(3000, "packets in a minute, mere headers")
    answered: float = setting(0.05, "of those, the part that comes back, at most")
    large_packets: int = setting(10_000, "packets in a minute of any size; none of them comes back")
    habit: float = setting(5.0, "times the most of the time that is remembered")
    remembered_seconds: int = setting(86_400, "how long a target's habit is known")
    targets: int = setting(20_000, "targets known at most")


HABITS = {"eni": pl.String, "target": pl.String, "protocol": pl.Int16, "most": pl.Int64, "at": pl.Int64}
_KEY = ["eni", "target", "protocol"]


def _aimed(talks: pl.DataFrame) -> pl.DataFrame:
    """Packets by who gets them: what clients send and nobody answers, and answers that nobody asked for."""
    # nothing tells who began to ping: the other side, as far as it matters to us
    pinged = pl.col("protocol").is_in(_PINGS) & (pl.col("replies") > 0) & is_outbound()
    asked = talks.filter(~is_group("server")).select(
        "eni", pl.when(pinged).then("client").otherwise("server").alias("target"),
        pl.when(pinged).then("server").otherwise("client").alias("source"), "port", "protocol",
        (is_outbound() & ~pinged).alias("outbound"), "packets", "bytes", pl.col("reply_packets").alias("back"),
        "first", "last",
    )  # fmt: skip
    answers = talks.filter((pl.col("packets") == 0) & ~is_group("client")).select(
        "eni", pl.col("client").alias("target"), pl.col("server").alias("source"), "port", "protocol",
        (~is_outbound()).alias("outbound"), pl.col("reply_packets").alias("packets"),
        pl.col("reply_bytes").alias("bytes"), pl.lit(0, dtype=pl.Int64).alias("back"), "first", "last",
    )  # fmt: skip
    return pl.concat([asked, answers])


def _summed(aimed: pl.DataFrame, least: pl.Expr) -> pl.DataFrame:
    """A row of each target of which `least` holds: few, and who sends is looked at for them only."""
    sums = pl.col("packets", "bytes", "back").sum()
    large = keyed.grouped(aimed, _KEY, sums).filter(least)
    mine = keyed.semi(aimed, large, _KEY).sort("packets", "source", "port", descending=[True, False, False])
    return mine.group_by(_KEY, maintain_order=True).agg(
        sums, pl.col("first").min(), pl.col("last").max(), pl.col("outbound").any(),
        pl.col("source").n_unique().alias("sources"), pl.col("source", "port").first(),
    )  # fmt: skip


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    silent = (pl.col("packets") * settings.answered >= pl.col("back")) | pl.col("protocol").is_in(_PINGS)
    large = _summed(_aimed(minute.talks), silent & (pl.col("packets") >= settings.packets))
    habits = memory["habits"]
    if not large.height:
        return no_hits(), memory
    known = large.join(habits, on=_KEY, how="left", maintain_order="left")
    small = pl.col("bytes") < _SMALL_BYTES * pl.col("packets")
    large_ones = (pl.col("packets") >= settings.large_packets) & (pl.col("back") == 0)
    unusual = pl.col("packets") > settings.habit * pl.col("most").fill_null(0)
    found = known.filter((small | large_ones) & unusual)
    habit = Habit("packets", _KEY, settings.remembered_seconds, settings.targets)
    return _hits(found), {"habits": habit.learnt(habits, large, found, minute.start)}


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    one = pl.col("sources") == 1
    rows = found.with_columns(
        pl.when("outbound").then(severity("high")).otherwise(severity("medium")).alias("severity"),
        pl.col("packets").alias("count"),
        pl.when("outbound").then("source").alias("source"),
        pl.when(one).then("source").otherwise(pl.format("{} addresses", "sources")).alias("who"),
        pl.lit(None, dtype=pl.Int32).alias("port"),
        pl.col("port").alias("busiest_port"),
    )
    sentence = pl.format("{} got {} packets in a minute from {}, and sent {} back", "target", "packets", "who", "back")
    return hits(rows, sentence, "packets", "bytes", "back", "sources", "busiest_port")


FLOOD = Detector(
    name="flood",
    title="Packets in masses that nobody answers",
    attack=("T1498", "T1498.001", "T1498.002"),
    explanation="An address gets thousands of packets a minute, far more than on other days, and hardly any come back.",
    runbook="Outbound: the source takes part in an attack; isolate it and see how it was taken over. Inbound: see "
    "whether the service still answers, and have the traffic filtered before it reaches you.",
    settings=Settings(),
    detect=_detect,
    memory={"habits": HABITS},
    cool_down=600,
    examples=(
        fires("3,000 SYNs in a record", [record(0, INSIDE, PUBLIC, (40_001, 80), (3000, 120_000))]),
        quiet("2,999", [record(0, INSIDE, PUBLIC, (40_001, 80), (2999, 119_960))]),
        fires(
            "from 1,000 addresses",
            *([record(0, f"198.18.{n // 250}.{n % 250}", INSIDE, (40_001, 80), (3, 120))] for n in range(1000)),
        ),
        fires(
            "answers of time servers that nobody asked",
            *([record(n, f"198.51.100.{n}", INSIDE, (123, 80), (400, 187_200), protocol=UDP)] for n in range(1, 30)),
        ),
        fires(
            "pings", answered(0, PUBLIC, INSIDE, 0, socket=0, protocol=1, size=(3000, 252_000), reply=(3000, 252_000))
        ),
        quiet("a download", answered(0, INSIDE, PUBLIC, 443, size=(4000, 208_000), reply=(40_000, 60_000_000))),
        quiet("an upload", answered(0, INSIDE, PUBLIC, 443, size=(40_000, 60_000_000), reply=(1000, 52_000))),
    ),
)
