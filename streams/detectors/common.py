"""Words that several detectors share."""

from __future__ import annotations

import polars as pl

from streams.core import direction
from streams.core.contacts import UDP
from streams.core.findings import ABOUT, HITS, SEVERITIES

WEB_PORTS = (80, 443, 8080, 8443)
NAME_AND_TIME = (53, 123, 5353)
"""Services that every host asks all day, and that may well not answer."""


_TRACEROUTE = (33434, 33625)


def severity(name: str) -> pl.Expr:
    """UInt8, as in core.findings.HITS."""
    return pl.lit(SEVERITIES.index(name), dtype=pl.UInt8)


def is_group(address: str) -> pl.Expr:
    """Boolean: whether the addresses of that column are no host's own."""
    return pl.col(address).str.contains(direction.NOBODYS)


def is_outbound() -> pl.Expr:
    """Boolean: the interface is the client's."""
    return pl.col("direction") == direction.EGRESS


def is_inbound() -> pl.Expr:
    """Boolean: the interface is the server's."""
    return pl.col("direction") == direction.INGRESS


def counts_as_try() -> pl.Expr:
    """Boolean, of contacts: what everybody asks of everybody says nothing, nor does who asks for the way."""
    traceroute = (pl.col("protocol") == UDP) & pl.col("port").is_between(*_TRACEROUTE)
    return ~pl.col("port").is_in(NAME_AND_TIME) & ~traceroute & ~is_group("target")


def hits(found: pl.DataFrame, sentence: pl.Expr, *numbers: str) -> pl.DataFrame:
    """Rows with some of core.findings' columns -> hits. numbers: columns that are the evidence."""
    if not found.height:
        return pl.DataFrame(schema=HITS)
    evidence = pl.struct(*numbers).struct.json_encode()
    told = found.with_columns(sentence.alias("sentence"), evidence.alias("evidence"))
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ABOUT.items() if name not in told.columns]
    return told.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in HITS.items())
