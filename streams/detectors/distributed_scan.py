"""Distributed scans: neighbours share the work, so that none of them comes to many doors."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streams.core import keyed
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import counts_as_try, hits, severity
from streams.detectors.examples import INSIDE, answered, fires, quiet, record, refused

_NETWORK = r"^(\d+\.\d+\.\d+)\.|^([0-9a-fA-F]{1,4}:[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}):"
_OF_TARGET, _OF_PORT = ["network", "eni", "target"], ["network", "port", "protocol"]


@dataclass(frozen=True)
class Settings:
    """Neighbours are the addresses of a /24, over IPv6 of a /48."""

    sources: int = setting(3, "neighbours that take part")
    tries: int = setting(20, "ports of one target, or hosts on one port, that they tried in vain together")
    alone: int = setting(10, "who tried so many is a scanner by itself, and not counted here")
    remembered_seconds: int = setting(86_400, "how long a try is known")


def _detect(minute: Minute, memory: Memory, settings: Settings) -> Detected:
    if not minute.contacts.fresh.height:
        return no_hits(), memory
    recent = pl.col("first") >= minute.start - settings.remembered_seconds
    tries = minute.contacts.known.filter(recent & pl.col("inbound") & counts_as_try())
    fresh = minute.contacts.fresh.filter(pl.col("failed") & counts_as_try()).with_columns(_network())
    ports = _shared(_of_same(tries, fresh, _OF_TARGET), _OF_TARGET, "port", settings)
    hosts = _shared(_of_same(tries, fresh, _OF_PORT), _OF_PORT, "target", settings)
    of_port = hosts.with_columns(
        pl.lit(None, dtype=pl.String).alias("eni"), pl.lit(None, dtype=pl.String).alias("target")
    )
    return pl.concat(
        [_hits(ports, "ports of", pl.col("target")), _hits(of_port, "hosts on port", pl.col("port"))]
    ), memory


def _of_same(tries: pl.DataFrame, fresh: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Tries with their network, by which something was tried in this minute; it is told of as few as can be."""
    return keyed.semi(keyed.semi(tries, fresh, by[1:]).with_columns(_network()), fresh, by)


def _network() -> pl.Expr:
    """An address has no neighbours where its text does not tell the network."""
    four = pl.col("source").str.extract(_NETWORK, 1) + ".0/24"
    six = pl.col("source").str.extract(_NETWORK, 2) + "::/48"
    return pl.coalesce(four, six, "source").alias("network")


def _shared(tries: pl.DataFrame, by: list[str], counted: str, settings: Settings) -> pl.DataFrame:
    alone = pl.col(counted).filter("failed").n_unique().over(*by, "source") >= settings.alone
    groups = tries.filter(~alone).group_by(by).agg(
        pl.col(counted).filter("failed").n_unique().alias("tried"),
        pl.col(counted).filter(~pl.col("failed")).n_unique().alias("answered"),
        pl.col("source").filter("failed").n_unique().alias("sources"),
        pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    many = (pl.col("sources") >= settings.sources) & (pl.col("tried") >= settings.tries)
    return groups.filter(many & (pl.col("tried") > pl.col("answered")))


def _hits(found: pl.DataFrame, what: str, whose: pl.Expr) -> pl.DataFrame:
    sentence = pl.format(
        "{} addresses of {} tried {} {} {} in vain, none of them many; {} answered",
        "sources", "network", "tried", pl.lit(what), whose, "answered",
    )  # fmt: skip
    rows = found.with_columns(
        pl.col("network").alias("source"), severity("medium").alias("severity"),
        pl.col("tried").cast(pl.Int64).alias("count"),
    )  # fmt: skip
    return hits(rows, sentence, "sources", "tried", "answered")


DISTRIBUTED_SCAN = Detector(
    name="distributed-scan",
    title="Neighbours share a scan among them",
    attack=("T1046", "T1595.001"),
    explanation="Addresses of one network try many ports of one target, or one port of many, each of them only a few.",
    runbook="Refuse the network in a NACL. See which of the tries were answered.",
    settings=Settings(),
    detect=_detect,
    examples=(
        fires("3 neighbours, 20 ports", *(refused(n, f"198.51.100.{n % 3}", INSIDE, 1000 + n) for n in range(20))),
        quiet("19 ports", *(refused(n, f"198.51.100.{n % 3}", INSIDE, 1000 + n) for n in range(19))),
        fires(
            "4 neighbours, 20 hosts",
            *([record(n, f"198.51.100.{n % 4}", f"10.0.0.{n}", (40_001, 23), eni=f"eni-{n}")] for n in range(20)),
        ),
        fires("over IPv6", *(refused(n, f"2001:db8:1::{n % 3}", "2600:1f18::5", 1000 + n) for n in range(20))),
        quiet("strangers", *(refused(n, f"198.51.{n}.1", INSIDE, 1000 + n) for n in range(60))),
        quiet("one that scans alone", *(refused(n, "198.51.100.1", INSIDE, 1000 + n) for n in range(60))),
        quiet("all of them answered", *(answered(n, f"198.51.100.{n % 3}", INSIDE, 1000 + n) for n in range(20))),
    ),
)
