"""Known bad addresses: somebody keeps a list of them, and one of ours has to do with one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_network

import polars as pl

from streams.core.conversations import PANE_SECONDS
from streams.core.detection import Detected, Detector, Memory, Minute, setting
from streams.core.findings import no_hits
from streams.detectors.common import hits, is_inbound, severity
from streams.detectors.examples import INSIDE, PUBLIC, START, answered, fires, quiet, refused

_BITS4, _BITS6 = 32, 128
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
    """Entries by the length of their prefix: an address is looked up once for each length."""

    four: Mapping[int, pl.DataFrame] = field(default_factory=dict)
    six: Mapping[int, Mapping[int, Entry]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Lists:
        """Of entries that say the same network the most confident counts. Raises ValueError for what is no network."""
        four, six = dict[int, dict[int, Entry]](), dict[int, dict[int, Entry]]()
        for entry in sorted(entries, key=lambda one: (one.confidence, one.source)):
            network = ip_network(entry.network)
            prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            (four if network.version == 4 else six).setdefault(network.prefixlen, {})[prefix] = entry  # noqa: PLR2004
        return cls({length: _table(found) for length, found in four.items()}, six)

    def look_up(self, addresses: pl.Series) -> pl.DataFrame:
        """address, list, confidence, until: of those that are listed, the longest prefix of each."""
        found = [*self._four(addresses.filter(~addresses.str.contains(":", literal=True)))]
        six = [row for text in addresses if ":" in text for row in self._six(text)]
        found.append(pl.DataFrame(six, schema=_FOUND, orient="row"))
        every = pl.concat(found).sort("length", descending=True)
        return every.unique("address", keep="first", maintain_order=True).drop("length")

    def _four(self, addresses: pl.Series) -> Iterator[pl.DataFrame]:
        parts = addresses.str.split(".")
        octets = [parts.list.get(n, null_on_oob=True).cast(pl.Int64, strict=False) for n in range(4)]
        numbers = ((octets[0] * 256 + octets[1]) * 256 + octets[2]) * 256 + octets[3]
        asked = pl.DataFrame({"address": addresses, "number": numbers})
        for length, table in self.four.items():
            keyed = asked.with_columns((pl.col("number") // (1 << (_BITS4 - length))).alias("prefix"))
            yield keyed.join(table, on="prefix").select(
                pl.lit(length, dtype=pl.Int64).alias("length"), "address", *_TOLD
            )

    def _six(self, text: str) -> Iterator[tuple[object, ...]]:
        try:
            number = int(IPv6Address(text))
        except ValueError:  # it looks like one, no more is checked before
            return
        for length, table in self.six.items():
            entry = table.get(number >> (_BITS6 - length))
            if entry is not None:
                yield length, text, entry.source, entry.confidence, entry.until


_TOLD = ("list", "confidence", "until")
_FOUND = {"length": pl.Int64, "address": pl.String, "list": pl.String, "confidence": pl.Int64, "until": pl.Int64}


def _table(found: Mapping[int, Entry]) -> pl.DataFrame:
    rows = [(prefix, one.source, one.confidence, one.until) for prefix, one in found.items()]
    return pl.DataFrame(rows, schema={"prefix": pl.Int64, **{name: _FOUND[name] for name in _TOLD}}, orient="row")


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
