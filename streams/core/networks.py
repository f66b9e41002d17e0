"""Networks: which of many CIDRs an address is in. The longest prefix counts, as in a routing table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

import polars as pl

_BITS4, _BITS6 = 32, 128
_FOUND = {"length": pl.Int64, "address": pl.String, "label": pl.Int64}


@dataclass(frozen=True)
class Networks:
    """Labels (numbers of whoever asks) by length of the prefix: an address is looked up once for each length."""

    four: Mapping[int, pl.DataFrame] = field(default_factory=dict)
    six: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Iterable[tuple[str, int]]) -> Networks:
        """Of (network or address, label); the last one of the same network counts. Raises ValueError: no network."""
        four, six = dict[int, dict[int, int]](), dict[int, dict[int, int]]()
        for text, label in labels:
            network = ip_network(text)
            prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            (six if network.max_prefixlen == _BITS6 else four).setdefault(network.prefixlen, {})[prefix] = label
        return cls({length: _table(found) for length, found in four.items()}, six)

    def look_up(self, addresses: pl.Series) -> pl.DataFrame:
        """address, label (Int64): of those that are in one. addresses: String, each once; what is none is in none."""
        is_six = addresses.str.contains(":", literal=True)
        rows = [row for text in addresses.filter(is_six) for row in self._six(text)] if self.six else []
        found = [pl.DataFrame(rows, schema=_FOUND, orient="row"), *self._four(addresses.filter(~is_six))]
        every = pl.concat(found).sort("length", descending=True)
        return every.unique("address", keep="first", maintain_order=True).drop("length")

    def _four(self, addresses: pl.Series) -> Iterator[pl.DataFrame]:
        parts = addresses.str.split(".")
        octets = [parts.list.get(n, null_on_oob=True).cast(pl.Int64, strict=False) for n in range(4)]
        numbers = ((octets[0] * 256 + octets[1]) * 256 + octets[2]) * 256 + octets[3]
        asked = pl.DataFrame({"address": addresses, "number": numbers})
        for length, table in self.four.items():
            keyed = asked.with_columns((pl.col("number") // (1 << (_BITS4 - length))).alias("prefix"))
            joined = keyed.join(table, on="prefix")
            yield joined.select(pl.lit(length, dtype=pl.Int64).alias("length"), "address", "label")

    def _six(self, text: str) -> Iterator[tuple[int, str, int]]:
        try:
            number = int(IPv6Address(text))
        except ValueError:  # it looks like one, no more was checked before
            return
        for length, table in self.six.items():
            label = table.get(number >> (_BITS6 - length))
            if label is not None:
                yield length, text, label


def _table(found: Mapping[int, int]) -> pl.DataFrame:
    return pl.DataFrame(list(found.items()), schema={"prefix": pl.Int64, "label": pl.Int64}, orient="row")
