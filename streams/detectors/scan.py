"""Port scans and sweeps: who comes to many doors for the first time, and finds most of them closed.

Sequential hypothesis testing over first contacts (Jung, Paxson, Berger, Balakrishnan: Fast Portscan Detection Using
Sequential Hypothesis Testing, IEEE S&P 2004): a contact that fails speaks for a scanner as much as one that succeeds
speaks against it. It does not matter how fast they come: what was tried is remembered for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import polars as pl

from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import counts_as_try, hits, severity
from streams.detectors.examples import INSIDE, NEIGHBOUR, PUBLIC, answered, fires, quiet, record, refused, silent

_LIKELIHOOD = log(4)
"""Of one contact: 0.8 of a benign host's succeed, 0.2 of a scanner's."""


@dataclass(frozen=True)
class Settings:
    """Both detectors have these."""

    ports: int = setting(10, "ports of one target that were tried in vain, for a scan")
    ports_outside: int = setting(
        20, "the same for an address of the Internet that nothing answered: such come every day"
    )
    hosts: int = setting(10, "hosts that were tried in vain on one port, for a sweep")
    likelihood: float = setting(99.0, "times likelier a scanner than not")
    remembered_seconds: int = setting(86_400, "how long a try is known")


def _moved(minute: Minute, by: list[str], settings: Settings) -> pl.DataFrame:
    """All that is known of those by whom something was tried in vain for the first time in this minute."""
    fresh = minute.contacts.fresh.filter(pl.col("failed") & counts_as_try())
    if not fresh.height:
        return fresh
    recent = pl.col("first") >= minute.start - settings.remembered_seconds
    return minute.contacts.known.join(fresh, on=by, how="semi").filter(recent & counts_as_try())


def _judged(contacts: pl.DataFrame, by: list[str], counted: str, least: pl.Expr, settings: Settings) -> pl.DataFrame:
    """Groups whose failures are of a scanner. counted: the column whose values count, each once; least: so many."""
    found = contacts.group_by(by).agg(
        pl.col(counted).filter("failed").n_unique().alias("tried"),
        pl.col(counted).filter(~pl.col("failed")).n_unique().alias("answered"),
        pl.col("first").min(), pl.col("last").max(),
        pl.col(counted).filter("failed").unique().sort().head(20).alias("some"),
    )  # fmt: skip
    score = (pl.col("tried").cast(pl.Int64) - pl.col("answered").cast(pl.Int64)) * _LIKELIHOOD
    return found.filter((pl.col("tried") >= least) & (score >= log(settings.likelihood)))


def _scan(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    by = ["eni", "source", "target"]
    moved = _moved(minute, by, settings)
    background = minute.outside("source") & (pl.col("answered") == 0)
    least = pl.when(background).then(settings.ports_outside).otherwise(settings.ports)
    return _scans(_judged(moved, by, "port", least, settings)) if moved.height else no_hits(), memory


def _scans(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} tried {} ports of {} that it had not used before and got no answer; {} answered",
        "source", "tried", "target", "answered",
    )  # fmt: skip
    rows = found.with_columns(severity("medium").alias("severity"), pl.col("tried").cast(pl.Int64).alias("count"))
    return hits(rows, sentence, "tried", "answered", "some")


def _sweep(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    by = ["source", "port", "protocol"]
    moved = _moved(minute, by, settings)
    if not moved.height:
        return no_hits(), memory
    found = _judged(moved, by, "target", pl.lit(settings.hosts), settings)
    where = moved.sort("first", "eni").group_by(by, maintain_order=True).agg(pl.col("eni", "outbound").first())
    return _sweeps(found.join(where, on=by)), memory


def _sweeps(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} tried port {} of {} hosts that it had not talked to before and got no answer; {} answered",
        "source", "port", "tried", "answered",
    )  # fmt: skip
    worse = pl.when("outbound").then(severity("high")).otherwise(severity("medium"))
    rows = found.with_columns(worse.alias("severity"), pl.col("tried").cast(pl.Int64).alias("count"))
    return hits(rows, sentence, "tried", "answered", "some")


PORT_SCAN = Detector(
    name="port-scan",
    title="One host tries many ports of another",
    attack=("T1046",),
    explanation="A host comes to many ports of one target for the first time, and most of them are closed or refused.",
    runbook="See whether a scanner of your own is at work. Else find out what runs on the source, and which of the "
    "ports that answered should be open.",
    settings=Settings(),
    detect=_scan,
    examples=(
        fires("10 ports in a minute, refused", *(refused(port, NEIGHBOUR, INSIDE, 1000 + port) for port in range(10))),
        quiet("9 ports", *(refused(port, NEIGHBOUR, INSIDE, 1000 + port) for port in range(9))),
        fires("20 ports from the Internet", *(refused(port, PUBLIC, INSIDE, 1000 + port) for port in range(20))),
        quiet("19 ports from the Internet", *(refused(port, PUBLIC, INSIDE, 1000 + port) for port in range(19))),
        fires(
            "11 ports from the Internet, one of them answered",
            *(refused(port, PUBLIC, INSIDE, 1000 + port) for port in range(11)),
            answered(50, PUBLIC, INSIDE, 2000),
        ),
        fires("a port every half hour", *(silent(1800 * n, PUBLIC, INSIDE, 1000 + n) for n in range(20))),
        fires(
            "accepted and answered with a RST",
            *(answered(n, PUBLIC, INSIDE, 1000 + n, size=(1, 44), reply=(1, 40), seconds=0) for n in range(20)),
        ),
        fires("over IPv6", *(refused(port, "2001:db8::7", "2600:1f18::5", 1000 + port) for port in range(20))),
        quiet("one port again and again", *(refused(n, PUBLIC, INSIDE, 8080, socket=40_000 + n) for n in range(50))),
        quiet("10 ports, all of them answered", *(answered(n, PUBLIC, INSIDE, 1000 + n) for n in range(10))),
        quiet(
            "late answers of a web server, refused",
            *([record(n, PUBLIC, INSIDE, (443, 50_000 + n), action="REJECT")] for n in range(50)),
        ),
    ),
)

PORT_SWEEP = Detector(
    name="port-sweep",
    title="One host tries one port of many others",
    attack=("T1046", "T1018", "T1595.001"),
    explanation="A host comes to the same port of many targets for the first time, and most of them do not answer.",
    runbook="From inside: isolate the source, a worm looks for its next host this way. From outside: see which of the "
    "targets answered.",
    settings=Settings(),
    detect=_sweep,
    examples=(
        fires("10 hosts in a minute", *(silent(n, INSIDE, f"203.0.113.{n}", 23) for n in range(1, 11))),
        quiet("9 hosts", *(silent(n, INSIDE, f"203.0.113.{n}", 23) for n in range(1, 10))),
        fires("a host every half hour", *(silent(1800 * n, INSIDE, f"203.0.113.{n}", 23) for n in range(1, 11))),
        quiet("10 hosts that answer", *(answered(n, INSIDE, f"203.0.113.{n}", 443) for n in range(1, 11))),
        quiet(
            "as many that answer as do not",
            *(answered(n, INSIDE, f"203.0.113.{n}", 443) for n in range(1, 11)),
            *(silent(n, INSIDE, f"203.0.113.{n}", 443) for n in range(11, 21)),
        ),
    ),
)
