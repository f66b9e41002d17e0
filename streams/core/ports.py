"""Which of a record's two ports is the service's. A pure function of the record: both half-flows give the same port.

1. TCP flags tell, where the format has them: SYN without ACK comes from the client (the service is `dstport`),
   SYN-ACK from the server (`srcport`). Source: AWS "Flow log record examples", TCP flag sequence.
2. Else the port that looks more like a service: a system port (below 1024, RFC 6335) or one of SERVICES;
   then a user port below 32768 (Linux and AWS hand out ephemeral ports from there on); then any. Ties: the lower one.
"""

from __future__ import annotations

import polars as pl

SERVICES = frozenset(
    {
        1433, 1434, 1521, 1723, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3128, 3260, 3268, 3269, 3306, 3389, 4369,
        5000, 5044, 5060, 5061, 5222, 5432, 5439, 5601, 5671, 5672, 5900, 5985, 5986, 6379, 6443, 6667, 7000, 7001,
        7077, 7199, 8000, 8080, 8081, 8088, 8089, 8125, 8443, 8500, 8883, 8888, 9000, 9042, 9090, 9091, 9092, 9093,
        9094, 9096, 9098, 9100, 9160, 9200, 9300, 9418, 10250, 10255, 11211, 11434, 15672, 25565, 26379, 27017,
        27018, 27019, 50000, 50070, 61616,
    }
)  # fmt: skip
"""Ports above 1023 that are services wherever they are seen (IANA names, and what clouds run)."""

UNKNOWN = -3
"""The port of a record whose format has none."""

_FIRST_USER, _FIRST_EPHEMERAL = 1024, 32768
_SYN, _SYN_ACK = 2, 18
_YES = pl.lit(value=True)


def _rank(port: int) -> int:
    if port < _FIRST_USER or port in SERVICES:
        return 0
    return 1 if port < _FIRST_EPHEMERAL else 2


_RANKED = pl.Series("ranked", [(_rank(port) << 16) | port for port in range(1 << 16)], dtype=pl.Int32)


def service_port(srcport: pl.Expr, dstport: pl.Expr, tcp_flags: pl.Expr | None = None) -> pl.Expr:
    """Int32: the service's port, UNKNOWN where there is none.

    Shapes: three integer columns of one length; ports 0..65535 or null, flags null for other protocols than TCP.
    """
    src, dst = (pl.lit(_RANKED).gather(port.cast(pl.UInt32)) for port in (srcport, dstport))
    likely = (pl.min_horizontal(src, dst) & 0xFFFF).cast(pl.Int32)
    if tcp_flags is None:
        return likely.fill_null(UNKNOWN)
    opening = tcp_flags & _SYN_ACK
    told = pl.when(opening == _SYN).then(dstport).when(opening == _SYN_ACK).then(srcport).cast(pl.Int32)
    return pl.coalesce(told, likely).fill_null(UNKNOWN)


def opens(srcport: pl.Expr, dstport: pl.Expr, rejected: pl.Expr, tcp_flags: pl.Expr | None = None) -> pl.Expr:
    """Boolean: whether the sender is the client; null where nothing tells (both ports are the same, or there are none).

    As `service_port` tells it, but for what was refused (rejected: Boolean): nobody answers that, so it need not agree
    with another half-flow, and a probe of a high port is one. Only what comes from a service's port to one that is none
    is taken for an answer that came too late: a security group refuses those every day.
    """
    src, dst = (pl.lit(_RANKED).gather(port.cast(pl.UInt32)) for port in (srcport, dstport))
    likely = pl.when(src != dst).then(dst < src)
    probes = pl.when(rejected & (src // (1 << 16) >= dst // (1 << 16))).then(_YES).otherwise(likely)
    if tcp_flags is None:
        return probes
    opening = tcp_flags & _SYN_ACK
    return pl.when(opening == _SYN).then(_YES).when(opening == _SYN_ACK).then(~_YES).otherwise(probes)
