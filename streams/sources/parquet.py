"""Parquet -> lines: the columns of AWS's own files (and of Athena's and Spark's over them) become fields of a format.

Columnar: no Python runs per record, and about a row group is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import polars as pl

from streams.core.fields import RESERVED, canonical
from streams.sources.parsed import ACCOUNT_DIGITS, ENOUGH, TELLING

MAGIC = b"PAR1"

_ROWS = 4096


class NotFlowLogsError(Exception):
    """Parquet, but of something else. str(): which columns it has."""


def lines_of(source: Path | IO[bytes]) -> Iterator[tuple[bytes, str]]:
    """(lines, format) of 4,096 rows at a time. null is `-`, a space in a value is `%20`, a timestamp epoch seconds.

    Raises pl.exceptions.PolarsError for what is broken (rows before that were given), NotFlowLogsError.
    """
    frame = pl.scan_parquet(source, hive_partitioning=False)
    columns = _columns(frame.collect_schema())
    if len(TELLING & columns.keys()) < ENOUGH:
        raise NotFlowLogsError(", ".join(frame.collect_schema().names()[:10]))
    frame = frame.select(_word(pl.col(name), field, dtype).alias(field) for field, (name, dtype) in columns.items())
    for rows in frame.collect_batches(chunk_size=_ROWS):
        text = rows.write_csv(include_header=False, separator=" ", null_value="-", quote_style="never")
        if text:
            yield text.encode().removesuffix(b"\n"), " ".join(columns)


def _columns(schema: pl.Schema) -> dict[str, tuple[str, pl.DataType]]:
    """Field -> its column and type. Nested columns hold no field, and of two for one field the first counts."""
    found: dict[str, tuple[str, pl.DataType]] = {}
    for name, dtype in schema.items():
        if not dtype.is_nested() and canonical(name) != RESERVED:
            found.setdefault("-".join(canonical(name).split()), (name, dtype))
    return found


def _word(column: pl.Expr, field: str, dtype: pl.DataType) -> pl.Expr:
    """A column's values as words of a line."""
    if dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("s")
    if dtype.is_float():
        return column.cast(pl.Int64, strict=False)
    if dtype.is_numeric():
        return column.cast(pl.String).str.zfill(ACCOUNT_DIGITS) if field == "account-id" else column
    text = column.cast(pl.String, strict=False)
    return text.replace("", None).str.replace_all(r"\s", "%20")
