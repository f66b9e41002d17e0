"""The service port is one of the record's two, and both half-flows name the same one."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.ports import SERVICES, UNKNOWN, service_port
from tests.core.traffic import examples

EDGES = (0, 1, 1023, 1024, 32767, 32768, 65535)
PORT = st.one_of(st.sampled_from((*EDGES, *sorted(SERVICES))), st.integers(0, 65535))
SYN, ACK, SYN_ACK, FIN, RST = 2, 16, 18, 1, 4


def _service(rows: list[tuple[int | None, int | None]], flags: list[int | None] | None = None) -> list[int]:
    src, dst = zip(*rows, strict=True) if rows else ((), ())
    columns = {"src": pl.Series(src, dtype=pl.Int64), "dst": pl.Series(dst, dtype=pl.Int64)}
    if flags is None:
        return pl.DataFrame(columns).select(service_port(pl.col("src"), pl.col("dst"))).to_series().to_list()
    frame = pl.DataFrame({**columns, "flags": pl.Series(flags, dtype=pl.Int64)})
    return frame.select(service_port(pl.col("src"), pl.col("dst"), pl.col("flags"))).to_series().to_list()


@examples(60)
@given(st.lists(st.tuples(PORT, PORT), max_size=30))
def test_without_flags_both_half_flows_give_the_same_port(pairs: list[tuple[int | None, int | None]]) -> None:
    there, back = _service(pairs), _service([(b, a) for a, b in pairs])

    assert there == back
    assert all(port in pair for port, pair in zip(there, pairs, strict=True))


@examples(40)
@given(st.lists(st.tuples(PORT, PORT), min_size=1, max_size=20))
def test_flags_tell_the_server_in_both_half_flows(pairs: list[tuple[int | None, int | None]]) -> None:
    client = _service(pairs, [SYN] * len(pairs))
    server = _service([(b, a) for a, b in pairs], [SYN_ACK] * len(pairs))

    assert client == server == [port for _, port in pairs]


@pytest.mark.parametrize(
    ("src", "dst", "flags", "port"),
    [
        (44321, 443, None, 443),
        (443, 44321, None, 443),
        (8080, 80, None, 80),  # both look like services: the lower one
        (3306, 2000, None, 3306),  # a known service before a user port
        (31999, 40000, None, 31999),  # a user port before an ephemeral one
        (50000, 40000, None, 50000),  # a service wherever it is seen
        (1024, 1023, None, 1023),
        (443, 44321, SYN, 44321),  # the client of 44321 happens to send from 443
        (443, 44321, SYN | FIN, 44321),
        (44321, 443, SYN_ACK, 44321),
        (44321, 443, SYN_ACK | FIN | RST, 44321),
        (44321, 443, FIN, 443),
        (44321, 443, RST, 443),
        (44321, 443, 0, 443),
        (44321, 443, ACK, 443),
        (0, 0, None, 0),  # ICMP
        (None, 443, None, 443),
        (443, None, SYN, 443),
        (None, None, None, UNKNOWN),
        (None, None, SYN, UNKNOWN),
    ],
)
def test_the_service_port_of(src: int | None, dst: int | None, flags: int | None, port: int) -> None:
    assert _service([(src, dst)], [flags]) == [port]
    if flags is None:
        assert _service([(src, dst)]) == [port]


def test_no_records_no_ports() -> None:
    assert _service([]) == []
