"""The rolling tables: their keys and measures, how they merge, and their form on the wire.

Rows of a table are additive: two frames of one table, merged, are the frame of both inputs together. Measures are
integers, so any order and any grouping of merges gives the same rows, to the unit.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import orjson
import polars as pl

from streams.core import ports

OTHER, EXPIRED, UNKNOWN_ENI = "other", "expired", "-"
"""ENI keys that are no ENI: over the key budget; not seen for so long that it was folded away; a record without one."""
OTHER_PORT, EXPIRED_PORT, UNKNOWN_PORT = -1, -2, ports.UNKNOWN

ACTIONS = ("unknown", "ACCEPT", "REJECT")
"""Names of the codes in column `action`."""

COUNTS = ("flows", "packets", "bytes")
MEASURES: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(COUNTS, pl.Int64),
    "first": pl.Int64,
    "last": pl.Int64,
}
"""Sums of records, packets and bytes; earliest `start` and latest `end` (epoch seconds)."""


@dataclass(frozen=True)
class Table:
    """One rolling table. keys: column -> dtype; entity: the key columns that the budget counts; special: key values."""

    name: str
    keys: Mapping[str, pl.DataType | type[pl.DataType]]
    entity: tuple[str, ...]
    other: Mapping[str, object]
    expired: Mapping[str, object]

    @property
    def schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """All columns with their dtypes."""
        return {**self.keys, **MEASURES}

    def empty(self) -> pl.DataFrame:
        """A frame with no rows."""
        return pl.DataFrame(schema=self.schema)


_COMMON = {"action": pl.UInt8, "replay": pl.Boolean}

ENI = Table(
    name="eni",
    keys={"eni": pl.String, "direction": pl.UInt8, **_COMMON},
    entity=("eni",),
    other={"eni": OTHER, "direction": 0},
    expired={"eni": EXPIRED, "direction": 0},
)
PORT = Table(
    name="port",
    keys={"port": pl.Int32, "protocol": pl.Int16, **_COMMON},
    entity=("port", "protocol"),
    other={"port": OTHER_PORT, "protocol": OTHER_PORT},
    expired={"port": EXPIRED_PORT, "protocol": EXPIRED_PORT},
)
TABLES = {table.name: table for table in (ENI, PORT)}

Frames = dict[str, pl.DataFrame]
"""A frame for each table, by the table's name."""


def empty_frames() -> Frames:
    """A frame with no rows for each table."""
    return {name: table.empty() for name, table in TABLES.items()}


def aggregate(
    facts: pl.DataFrame, table: Table, extra: Iterable[str] = (), also: Iterable[pl.Expr] = ()
) -> pl.DataFrame:
    """Facts (see core.facts) -> rows of `table`, with the columns in `extra` as further keys and `also` as measures."""
    return facts.group_by(*table.keys, *extra).agg(
        pl.len().cast(pl.Int64).alias("flows") if "flows" not in facts.columns else pl.col("flows").sum(),
        pl.col("packets", "bytes").sum(),
        pl.col("first").min(),
        pl.col("last").max(),
        *also,
    )


def merge(table: Table, frames: Iterable[pl.DataFrame], extra: Iterable[str] = ()) -> pl.DataFrame:
    """Frames of one table, each with its columns and those in `extra` -> one frame in which each key stands once."""
    parts = [frame for frame in frames if frame.height]
    if not parts:
        return table.empty()
    return (
        pl.concat(parts)
        .group_by(*table.keys, *extra)
        .agg(pl.col(COUNTS).sum(), pl.col("first").min(), pl.col("last").max())
        .select(parts[0].columns)
    )


def negated(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with their sums below zero: merged, they take away what was added."""
    return frame.with_columns(-pl.col(COUNTS))


def relabel(frame: pl.DataFrame, values: Mapping[str, object]) -> pl.DataFrame:
    """All rows get the key `values` of a special row (OTHER, EXPIRED); merge afterwards."""
    return frame.with_columns(pl.lit(value, dtype=frame.schema[name]).alias(name) for name, value in values.items())


def destination(table: Table, partitions: int) -> pl.Expr:
    """UInt32: which of the summary partitions a row belongs to.

    From the key's own characters, not from a library's hash: it must not change with a version. ENI ids end in random
    hexadecimal digits.
    """
    if table is PORT:
        return ((pl.col("port") + 3) % partitions).cast(pl.UInt32)
    tail = pl.col("eni").str.slice(-4).str.to_integer(base=16, strict=False, dtype=pl.Int64)
    return (tail.fill_null(pl.col("eni").str.len_bytes().cast(pl.Int64)).abs() % partitions).cast(pl.UInt32)


def encode(head: Mapping[str, object], frames: Mapping[str, pl.DataFrame]) -> bytes:
    """A JSON line that says what follows, then each frame as an Arrow IPC stream compressed with zstd. Version 1.

    `crc` is that of the frames and their sizes: Polars must not see bytes that it did not write.
    """
    blobs = {name: _frame_bytes(frame) for name, frame in frames.items()}
    sizes = [[name, len(blob)] for name, blob in blobs.items()]
    body = b"".join(blobs.values())
    return orjson.dumps({"v": 1, **head, "crc": _crc(sizes, body), "frames": sizes}) + b"\n" + body


def head(value: bytes) -> dict[str, object]:
    """The JSON line of `encode`. Raises ValueError when `value` is not one of ours."""
    line, newline, _ = value.partition(b"\n")
    found = orjson.loads(line) if newline else None
    if not isinstance(found, dict) or found.get("v") != 1 or not isinstance(found.get("frames"), list):
        raise ValueError("not a table row of version 1: written by a newer release, or not by vpcflow")
    return found


def decode(value: bytes) -> tuple[dict[str, object], Frames]:
    """What `encode` was given. Raises ValueError as `head` does."""
    found = head(value)
    at = value.index(b"\n") + 1
    sizes = found.pop("frames")
    if found.pop("crc", None) != _crc(sizes, memoryview(value)[at:]):
        raise ValueError("a table row that was cut off or changed on its way")
    frames = {}
    for name, size in cast("list[tuple[str, int]]", sizes):
        frames[name] = _frame(value[at : at + size])
        at += size
    return found, frames


def _crc(sizes: object, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(orjson.dumps(sizes)))


def _frame_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="zstd")
    return buffer.getvalue()


def _frame(blob: bytes) -> pl.DataFrame:
    """Through a reader: for each BytesIO that Polars 2.1 is given, and for bytes, it leaks an object of 48 bytes."""
    return pl.read_ipc_stream(io.BufferedReader(io.BytesIO(blob)), use_pyarrow=False)
