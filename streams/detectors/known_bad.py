"""Known bad addresses: somebody keeps a list of them, and one of ours has to do with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from streams.core.conversations import PANE_SECONDS
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.core.networks import Networks
from streams.detectors.common import hits, is_inbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, START, answered, fires, quiet, refused

_CONFIDENT = 80
_DAY = 86_400


@dataclass(frozen=True)
class Entry:
    """A line of a list. network: an address or CIDR. source: whose list. confidence: 0 to 100. until: epoch seconds."""

    network: str
    source: str
    confidence: int = 50
    until: int | None = None


@dataclass(frozen=True)
class Lists:
    """The entries of all lists, and their networks. table: address's `label` -> list, confidence, until."""

    networks: Networks
    table: pl.DataFrame

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Lists:
        """Of entries that say the same network the most confident counts. Raises ValueError for what is no network."""
        ranked = sorted(entries, key=lambda one: (one.confidence, one.source))
        rows = [(label, one.source, one.confidence, one.until) for label, one in enumerate(ranked)]
        networks = Networks.of((one.network, label) for label, one in enumerate(ranked))
        return cls(networks, pl.DataFrame(rows, schema=_TABLE, orient="row"))

    def look_up(self, addresses: pl.Series) -> pl.DataFrame:
        """address, list, confidence, until: of those that are listed, the longest prefix of each."""
        return self.networks.look_up(addresses).join(self.table, on="label").drop("label")


_TABLE = {"label": pl.Int64, "list": pl.String, "confidence": pl.Int64, "until": pl.Int64}


@dataclass(frozen=True)
class Settings:
    """Lists are files; who reads them gives their entries to `with_entries`."""

    lists: tuple[str, ...] = setting(
        (), "files: a line is `address[,source[,confidence[,until]]]`, with # or ; a comment"
    )
    least: int = setting(1, "confidence from which an entry counts")


def with_entries(entries: Sequence[Entry]) -> Detector:
    """The detector with the entries of its lists."""
    return Detector(
        name="known-bad",
        title="An address that somebody lists as bad",
        attack=("T1071", "T1090.003"),
        explanation="An interface has to do with an address on one of your lists: command and control, Tor, miners.",
        runbook="Outbound: find out which program calls there, and treat the host as taken over until you know. "
        "Inbound and accepted: see what was asked and answered.",
        settings=Settings(),
        detect=partial(_detect, Lists.of(entries)),
        cool_down=_DAY,
        examples=_EXAMPLES,
    )


def _detect(lists: Lists, minute: Minute, memory: Memory, settings: Settings) -> Detected:
    talks = minute.talks.with_columns(pl.when(is_inbound()).then("client").otherwise("server").alias("address"))
    listed = lists.look_up(talks.get_column("address").unique())
    valid = pl.col("until").is_null() | (pl.col("until") >= minute.start + PANE_SECONDS)
    listed = listed.filter(valid & (pl.col("confidence") >= settings.least))
    if not listed.height:
        return no_hits(), memory
    found = talks.join(listed, on="address").sort("flows", "port", descending=[True, False]).group_by(
        "eni", pl.col("client").alias("source"), pl.col("server").alias("target"), maintain_order=True
    ).agg(
        pl.col("address", "list", "confidence", "port", "protocol").first(), is_inbound().any().alias("inbound"),
        pl.col("flows", "rejected", "bytes", "replies", "reply_bytes").sum(),
        pl.col("first").min(), pl.col("last").max(),
    )  # fmt: skip
    return _hits(found), memory


def _hits(found: pl.DataFrame) -> pl.DataFrame:
    refused_all = pl.col("rejected") >= pl.col("flows")
    outcome = (
        pl.when(refused_all & (pl.col("replies") == 0)).then(pl.lit("all of it refused"))
        .when(pl.col("replies") == 0).then(pl.lit("without an answer"))
        .otherwise(pl.format("{} bytes there, {} back", "bytes", "reply_bytes"))
    )  # fmt: skip
    sentence = pl.format(
        "{} to {}, port {}: {} is on the list {}, confidence {}; {}",
        "source", "target", "busiest_port", "address", "list", "confidence", outcome,
    )  # fmt: skip
    worst = pl.when(pl.col("confidence") >= _CONFIDENT).then(severity("critical")).otherwise(severity("high"))
    rows = found.with_columns(
        pl.when(pl.col("inbound") & refused_all).then(severity("informational"))
        .when("inbound").then(severity("medium")).otherwise(worst).alias("severity"),
        pl.max_horizontal("flows", "replies").alias("count"), pl.lit(None, dtype=pl.Int32).alias("port"),
        pl.col("port").alias("busiest_port"),
    )  # fmt: skip
    return hits(rows, sentence, "list", "confidence", "busiest_port", "flows", "rejected", "bytes", "reply_bytes")


EXAMPLE_ENTRIES = (
    Entry("198.51.100.7", "an example", 90),
    Entry("203.0.113.0/28", "an example"),
    Entry("2001:db8:bad::/48", "an example"),
    Entry("192.0.2.1", "an example", until=START),
)
"""What the examples' list has."""

_EXAMPLES = (
    fires("a call to an address on the list", answered(0, INSIDE, PUBLIC, 443)),
    fires("in a CIDR on the list", answered(0, INSIDE, "203.0.113.15", 443)),
    fires(
        "over IPv6",
        answered(0, "2600:1f18::5", "2001:db8:bad::9", 443),
        answered(1, "2600:1f18::5", "2600:1f19::9", 443),
    ),
    fires("somebody on the list is refused", refused(0, PUBLIC, INSIDE, 22)),
    quiet("next to the CIDR", answered(0, INSIDE, "203.0.113.16", 443)),
    quiet("an entry that has expired", answered(0, INSIDE, "192.0.2.1", 443)),
)

KNOWN_BAD = with_entries(())
