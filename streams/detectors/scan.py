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
from streams.detectors.common import NAME_AND_TIME, TCP, UDP, failed, hits, is_group, is_outbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, answered, fires, quiet, record, refused, silent

_LIKELIHOOD = log(4)
"""Of one contact: 0.8 of a benign host's succeed, 0.2 of a scanner's."""
_TRACEROUTE = (33434, 33625)

CONTACTS = {
    "eni": pl.String, "outbound": pl.Boolean, "source": pl.String, "target": pl.String, "port": pl.Int32,
    "protocol": pl.Int16, "failed": pl.Boolean, "first": pl.Int64, "last": pl.Int64,
}  # fmt: skip
_KEY = ["eni", "source", "target", "port", "protocol"]


@dataclass(frozen=True)
class Settings:
    """Both detectors have these."""

    ports: int = setting(10, "ports of one target that were tried in vain, for a scan")
    hosts: int = setting(10, "hosts that were tried in vain on one port, for a sweep")
    likelihood: float = setting(99.0, "times likelier a scanner than not")
    remembered_seconds: int = setting(86_400, "how long a contact is known")
    contacts: int = setting(200_000, "contacts known at most, in all")


def first_contacts(minute: Minute, known: pl.DataFrame) -> pl.DataFrame:
    """Contacts (CONTACTS) of this minute that are not known."""
    asked = minute.talks.filter(
        (pl.col("flows") > 0)
        & pl.col("protocol").is_in([TCP, UDP])
        & ~pl.col("port").is_in(NAME_AND_TIME)
        & ~((pl.col("protocol") == UDP) & pl.col("port").is_between(*_TRACEROUTE))
        & ~is_group("server")
    ).rename({"client": "source", "server": "target"})
    found = asked.group_by(_KEY).agg(
        is_outbound().any().alias("outbound"),
        failed().all().alias("failed"),
        pl.col("first").min(),
        pl.col("last").max(),
    )
    return found.select(*CONTACTS).join(known, on=_KEY, how="anti")


def remembered(known: pl.DataFrame, fresh: pl.DataFrame, minute: Minute, settings: Settings) -> pl.DataFrame:
    """All that are known from now on: the oldest go first."""
    young = known.filter(pl.col("first") >= minute.start - settings.remembered_seconds)
    every = pl.concat([young, fresh])
    if every.height <= settings.contacts:
        return every
    return every.sort("first", *_KEY, descending=[True, *[False] * len(_KEY)]).head(settings.contacts)


def _judged(contacts: pl.DataFrame, by: list[str], counted: str, least: int, settings: Settings) -> pl.DataFrame:
    """Groups whose failures are of a scanner. counted: the column whose values count, each once."""
    found = contacts.group_by(by).agg(
        pl.col(counted).filter("failed").n_unique().alias("tried"),
        pl.col(counted).filter(~pl.col("failed")).n_unique().alias("answered"),
        pl.col("first").min(), pl.col("last").max(),
        pl.col(counted).filter("failed").unique().sort().head(20).alias("some"),
    )  # fmt: skip
    score = (pl.col("tried").cast(pl.Int64) - pl.col("answered").cast(pl.Int64)) * _LIKELIHOOD
    return found.filter((pl.col("tried") >= least) & (score >= log(settings.likelihood)))


def _scan(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    fresh = first_contacts(minute, memory["contacts"])
    known = remembered(memory["contacts"], fresh, minute, settings)
    moved = fresh.filter("failed")
    mine = known.join(moved, on=["eni", "source", "target"], how="semi")
    found = _judged(mine, ["eni", "source", "target"], "port", settings.ports, settings) if moved.height else None
    return (no_hits() if found is None else _scans(found)), {"contacts": known}


def _scans(found: pl.DataFrame) -> pl.DataFrame:
    sentence = pl.format(
        "{} tried {} ports of {} that it had not used before and got no answer; {} answered",
        "source", "tried", "target", "answered",
    )  # fmt: skip
    rows = found.with_columns(severity("medium").alias("severity"), pl.col("tried").cast(pl.Int64).alias("count"))
    return hits(rows, sentence, "tried", "answered", "some")


def _sweep(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    fresh = first_contacts(minute, memory["contacts"])
    known = remembered(memory["contacts"], fresh, minute, settings)
    moved = fresh.filter("failed")
    if not moved.height:
        return no_hits(), {"contacts": known}
    mine = known.join(moved, on=["source", "port", "protocol"], how="semi")
    found = _judged(mine, ["source", "port", "protocol"], "target", settings.hosts, settings)
    where = mine.sort("first", "eni").group_by("source", "port", "protocol").agg(pl.col("eni", "outbound").first())
    return _sweeps(found.join(where, on=["source", "port", "protocol"])), {"contacts": known}


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
    memory={"contacts": CONTACTS},
    examples=(
        fires("10 ports in a minute, refused", *(refused(port, PUBLIC, INSIDE, 1000 + port) for port in range(10))),
        quiet("9 ports", *(refused(port, PUBLIC, INSIDE, 1000 + port) for port in range(9))),
        fires("a port every half hour", *(silent(1800 * n, PUBLIC, INSIDE, 1000 + n) for n in range(10))),
        fires(
            "accepted and answered with a RST",
            *(answered(n, PUBLIC, INSIDE, 1000 + n, size=(1, 44), reply=(1, 40), seconds=0) for n in range(10)),
        ),
        fires("over IPv6", *(refused(port, "2001:db8::7", "2600:1f18::5", 1000 + port) for port in range(10))),
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
    memory={"contacts": CONTACTS},
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
