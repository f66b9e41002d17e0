"""Beacons: a host inside calls the same host outside again and again, at intervals too even for a human.

Counted are connections, not records: one that lasts has a record a minute, from the same port, and is no beacon. How
even the intervals are is told by what lies between their fifths, so that a missed call or an odd one hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from streams.core import keyed
from streams.core.contacts import TCP, UDP
from streams.core.conversations import PANE_SECONDS
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import NAME_AND_TIME, hits, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet
from streams.detectors.memory import kept

_PAUSE_SECONDS = 900
"""After that a connection is no longer the one that was open."""
_KEY = ["eni", "client", "server", "port", "protocol"]
_EDGE = {"eni": pl.String, "client": pl.String, "server": pl.String, "port": pl.Int32, "protocol": pl.Int16}
EDGES = {**_EDGE, "sockets": pl.UInt64, "began": pl.Int64, "at": pl.Int64}
CALLS = {**_EDGE, "at": pl.Int64}


@dataclass(frozen=True)
class Settings:
    """What is even, and for how long."""

    calls: int = setting(20, "connections at least")
    span_seconds: int = setting(600, "from the first to the last, at least")
    spread: float = setting(
        0.25,
        "half of what lies between the first fifth of the intervals and the last, as a part of the median, at most: "
        "0.18 where they are shared evenly between 0.7 and 1.3 of it, 1.0 where calls come by chance",
    )
    common: float = setting(
        0.3, "part of all interfaces, three at least, that call an address at even intervals: it is nobody's secret"
    )
    busy: int = setting(30, "seconds of a minute with a connection, from which on everything looks even")
    kept: int = setting(64, "calls known of each two hosts")
    remembered_seconds: int = setting(172_800, "how long a call is known")
    edges: int = setting(20_000, "pairs of hosts known at most")
    all_calls: int = setting(400_000, "calls known at most, in all")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    out = minute.talks.filter(
        is_outbound() & (pl.col("flows") > 0) & pl.col("protocol").is_in([TCP, UDP])
        & ~pl.col("port").is_in(NAME_AND_TIME) & minute.outside("server")
    )  # fmt: skip
    if not out.height:
        return no_hits(), memory
    before = memory["edges"].select(*_KEY, pl.col("sockets").alias("before"), "began")
    seen = keyed.joined(out, before, _KEY).with_columns(pl.col("began").fill_null(pl.col("first")))
    open_before = pl.col("before").fill_null(0)
    new = seen.filter(((pl.col("sockets") | open_before) != open_before) & (_count() <= settings.busy))
    edges = _open(memory["edges"], seen, minute, settings)
    if not new.height:
        return no_hits(), {"calls": memory["calls"], "edges": edges}
    calls = _remembered(memory["calls"], _times(new, minute), minute, settings)
    found = _even(keyed.joined(keyed.semi(calls, new, _KEY), new.select(*_KEY, "began"), _KEY), settings)
    if found.height:
        found = found.join(_common(calls, found, minute, settings), on="server", how="anti")
    return _hits(found), {"calls": calls, "edges": edges}


def _common(calls: pl.DataFrame, found: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """Of the servers of `found` those (String) that many interfaces call so: an agent's, or for updates."""
    most = max(3.0, settings.common * minute.contacts.enis.height)
    theirs = calls.join(found.select("server").unique(), on="server", how="semi")
    even = _even(theirs.with_columns(pl.lit(None, dtype=pl.Int64).alias("began")), settings)
    callers = even.group_by("server").agg(pl.col("eni").n_unique().alias("enis"))
    return callers.filter(pl.col("enis") >= most).select("server")


def _count() -> pl.Expr:
    return pl.col("seconds").bitwise_count_ones()


def _times(new: pl.DataFrame, minute: Minute) -> pl.DataFrame:
    """The second of each call (CALLS)."""
    bits = pl.DataFrame(
        {"second": range(PANE_SECONDS), "bit": [1 << second for second in range(PANE_SECONDS)]},
        schema={"second": pl.Int64, "bit": pl.UInt64},
    )
    each = new.select("seconds").with_row_index("n").join(bits, how="cross").filter(
        (pl.col("seconds") & pl.col("bit")) != 0
    )  # fmt: skip
    return new[each.get_column("n")].select(*_KEY, at=each.get_column("second") + minute.start)


def _remembered(known: pl.DataFrame, fresh: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    young = known.filter(pl.col("at") >= minute.start - settings.remembered_seconds)
    touched = pl.concat([keyed.semi(young, fresh, _KEY), fresh]).with_columns(keyed.hashed(_KEY)).sort("at")
    latest = touched.group_by(keyed.HASH, maintain_order=True).tail(settings.kept).select(*CALLS)
    every = pl.concat([keyed.anti(young, fresh, _KEY), latest])
    return every if every.height <= settings.all_calls else every.sort("at", *_KEY).tail(settings.all_calls)


def _even(calls: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    of_each = keyed.grouped(
        calls, _KEY, pl.len().alias("calls"), pl.col("at").max().alias("last"),
        pl.min_horizontal(pl.col("began").first(), pl.col("at").min()).alias("first"),
    )  # fmt: skip
    many = of_each.filter(
        (pl.col("calls") >= settings.calls) & (pl.col("last") - pl.col("first") >= settings.span_seconds)
    )
    times = keyed.grouped(keyed.semi(calls, many, _KEY), _KEY, pl.col("at").sort())
    gaps = keyed.joined(many, times, _KEY).with_columns(pl.col("at").list.diff(null_behavior="drop").alias("gaps"))
    fifths = [pl.element().quantile(part, "nearest").alias(f"{part}") for part in (0.2, 0.8)]
    low, high = (pl.col("gaps").list.eval(fifth).list.first() for fifth in fifths)
    judged = gaps.with_columns(pl.col("gaps").list.median().alias("period"), ((high - low) / 2).alias("away"))
    # times are whole seconds: what is called every 2.3 s has gaps of 2 and of 3
    spread = (pl.col("away") - 0.25).clip(lower_bound=0) / pl.col("period")
    return judged.filter(spread < settings.spread)


def _open(known: pl.DataFrame, seen: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    now = seen.select(*_KEY, "sockets", "began", pl.lit(minute.start, dtype=pl.Int64).alias("at"))
    return kept(known, now, _KEY, minute.start - _PAUSE_SECONDS, settings.edges)


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} has called {} on port {} every {} s, {} times in a row, most of them within {} s of that",
        "source", "target", "port", "period", "calls", "away",
    )  # fmt: skip
    rows = found.rename({"client": "source", "server": "target"}).with_columns(
        severity("medium").alias("severity"), pl.col("calls").cast(pl.Int64).alias("count")
    )
    return hits(rows, sentence, "period", "away", "calls")


def _calls(times: Iterable[int]) -> list[list[str]]:
    return [answered(at, INSIDE, PUBLIC, 443, socket=40_000 + n) for n, at in enumerate(times)]


def _agents(*minutes: Iterable[int]) -> list[list[str]]:
    """Calls of several interfaces to one address."""
    return [
        answered(60 * n, f"10.0.0.{host}", PUBLIC, 443, socket=40_000 + n, eni=f"eni-0{host}")
        for host, some in enumerate(minutes)
        for n in some
    ]


_WAITS = (1, 1, 3, 1, 2, 5, 1)
"""Seconds between calls that come by chance, two on average."""

BEACON = Detector(
    name="beacon",
    title="A host calls the same address at even intervals",
    attack=("T1071", "T1071.001"),
    explanation="Software that waits for orders asks for them at even intervals. So do agents and updaters that you "
    "know: what it says is that no human does this.",
    runbook="Find out which program on the source calls the target, and who owns the target.",
    settings=Settings(),
    detect=_detect,
    memory={"calls": CALLS, "edges": EDGES},
    cool_down=86_400,
    examples=(
        fires("20 calls, one a minute", *_calls(range(0, 20 * 60, 60))),
        quiet("19", *_calls(range(0, 19 * 60, 60))),
        fires("with a tenth of jitter", *_calls(300 * n + n * 7919 % 30 for n in range(30))),
        fires("every 10 seconds for 10 minutes", *_calls(range(0, 620, 10))),
        quiet("every 10 seconds for 5 minutes", *_calls(range(0, 300, 10))),
        fires("once an hour", *_calls(range(0, 20 * 3600, 3600))),
        fires("every 2 or 3 seconds", *_calls(accumulate(2 + (n % 4 == 0) for n in range(300)))),
        quiet("a crowd that calls 30 times a minute", *_calls(accumulate(_WAITS[n % 7] for n in range(600)))),
        quiet("at times as a crowd calls", *_calls(accumulate(n * n * 7919 % 400 for n in range(60)))),
        quiet(
            "one connection that lasts: a record a minute",
            *(answered(60 * n, INSIDE, PUBLIC, 443, seconds=59) for n in range(60)),
        ),
        quiet("an address that three interfaces call so", *_agents(range(30), range(30), range(30))),
        fires("one that two others call by chance", *_agents(range(30), (1, 2, 17), (5, 11, 12, 29))),
        quiet("a host inside", *(answered(60 * n, INSIDE, "10.0.0.9", 443, socket=40_000 + n) for n in range(30))),
    ),
)
