"""Snapshots of a worker with figures that a test gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import polars as pl

from streams.core import tables
from streams.core.combine import Meta
from streams.core.findings import Finding
from streams.core.talkers import Talker, Talkers
from streams.core.watching import Figures
from streams.metrics import Snapshot

ACCEPT, REJECT = 1, 2
K = TypeVar("K")
Sums = tuple[int, int, int]
"""Bytes, flow records, and of those the refused ones."""


def snapshot(
    enis: Mapping[str, Sums] | None = None,
    ports: Mapping[tuple[int, int], Sums] | None = None,
    lines: int = 0,
    partitions: Sequence[int] = (0,),
    watched: Figures | None = None,
) -> Snapshot:
    """Totals since the beginning. ports: (port, protocol) -> sums. lines: of each partition."""
    meta = Meta(
        watermark=1000, lines=Counter(flow=lines), rejects=Counter(few_fields=2),
        totals=Counter(late=3, flows=lines, future=1),
    )  # fmt: skip
    return Snapshot(
        metas=dict.fromkeys(partitions, meta),
        totals={
            "eni": _rows(tables.ENI, [{"eni": name, "direction": 0, **row} for name, row in _split(enis or {})]),
            "port": _rows(
                tables.PORT, [{"port": key[0], "protocol": key[1], **row} for key, row in _split(ports or {})]
            ),
        },
        lag={("raw", one): 5 for one in partitions},
        tabled=dict.fromkeys(partitions, lines),
        watched={0: watched} if watched else {},
        ready=True,
    )


def _split(given: Mapping[K, Sums]) -> list[tuple[K, dict[str, int]]]:
    """A row each for what was accepted, with all bytes, and for what was refused."""
    return [
        (key, {"action": action, "flows": flows, "bytes": size})
        for key, (size, every, refused) in given.items()
        for action, flows, size in ((ACCEPT, every - refused, size), (REJECT, refused, 0))
    ]


def _rows(table: tables.Table, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    rest = {"replay": False, "packets": 0, "first": 0, "last": 0}
    return pl.DataFrame([{**rest, **row} for row in rows], schema=table.schema)


def finding(name: str = "f", severity: int = 2, last: int = 100, eni: str = "eni-1", evidence: str = "{}") -> Finding:
    """An open one of a port scan."""
    return Finding(
        id=name, detector="port-scan", eni=eni, source="192.0.2.1", target="10.0.0.1", port=22, protocol=6,
        severity=severity, first=40, last=last, detected=120, count=7, updates=1, sentence=f"{eni} was scanned",
        evidence=evidence,
    )  # fmt: skip


def talked(minute: int | None, *rows: tuple[str, int]) -> Talkers:
    """rows: client and bytes."""
    return Talkers(minute, tuple(Talker(client, "10.0.0.1", 443, 6, size, 2, 1) for client, size in rows))
