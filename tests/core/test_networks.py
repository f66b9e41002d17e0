"""Which of many networks an address is in."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.networks import Networks
from tests.core.traffic import examples


def labels(networks: list[tuple[str, int]], *addresses: str) -> dict[str, int]:
    found = Networks.of(networks).look_up(pl.Series(addresses, dtype=pl.String))
    return dict(found.rows())


def test_the_longest_prefix_counts_whatever_the_order() -> None:
    networks = [("192.0.2.0/24", 1), ("192.0.2.7", 2), ("0.0.0.0/0", 3), ("2001:db8::/32", 4), ("2001:db8:1::/48", 5)]
    asked = ("192.0.2.7", "192.0.2.8", "192.0.3.7", "2001:db8:1::9", "2001:db8:2::9", "2001:db9::")
    expected = {"192.0.2.7": 2, "192.0.2.8": 1, "192.0.3.7": 3, "2001:db8:1::9": 5, "2001:db8:2::9": 4}

    assert labels(networks, *asked) == labels(networks[::-1], *asked) == expected


def test_the_last_of_the_same_network_counts() -> None:
    assert labels([("192.0.2.7", 1), ("192.0.2.7/32", 2)], "192.0.2.7") == {"192.0.2.7": 2}


def test_what_is_no_address_is_in_no_network() -> None:
    assert labels([("0.0.0.0/0", 1), ("::/0", 2)], "oops", "1.2.3", "a:b:c", "", "::1") == {"::1": 2}
    assert labels([], "192.0.2.7") == {}


@pytest.mark.parametrize("text", ["192.0.2.1/24", "evil.example", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|does not appear"):
        Networks.of([(text, 1)])


@examples(60)
@given(
    networks=st.lists(st.ip_addresses(v=4), min_size=1, max_size=8),
    lengths=st.lists(st.integers(0, 32), min_size=8, max_size=8),
    asked=st.lists(st.ip_addresses(v=4), min_size=1, max_size=8, unique=True),
)
def test_it_is_what_ipaddress_says(networks: list[IPv4Address], lengths: list[int], asked: list[IPv4Address]) -> None:
    given_ = {ip_network(f"{one}/{length}", strict=False) for one, length in zip(networks, lengths, strict=False)}
    numbered = list(enumerate(sorted(given_, key=str)))
    for address in [*asked, *networks]:
        inside = [(network.prefixlen, number) for number, network in numbered if address in network]
        expected = {str(address): max(inside)[1]} if inside else {}
        assert labels([(str(network), number) for number, network in numbered], str(address)) == expected
