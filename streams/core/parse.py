r"""Lines -> columns. Any bytes at all are accounted for: lines == records + rejects + headers + blank lines.

A line ends with "\n" and nothing else; one "\r" before it belongs to the line end. Words are separated by runs of spaces
and tabs; every other character is part of a word.

There are two ways to the same answer. The fast one reads all lines as one table and gives up when it finds anything odd.
The slow one looks at each line, still as columns: what has the plain shape is read as one table too, the rest is
normalised and judged word by word. Tests hold them equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast
from urllib.parse import unquote

import polars as pl

from streams.core.fields import (
    FIELDS,
    NUMERIC,
    SQUASHED,
    TAG_FIELDS,
    V2_DEFAULT,
    Format,
    Kind,
    dtype,
    header_format,
    kind,
)
from streams.core.infer import SAMPLE, infer

REASONS: dict[str, str] = {
    "too_few_fields": "the line has fewer fields than its format",
    "too_many_fields": "the line has more fields than its format",
    "not_a_number": "a numeric field is neither digits nor `-`",
    "out_of_range": "a number is negative or too large for its field",
    "bad_action": "action is not ACCEPT, REJECT or `-`",
    "bad_log_status": "log-status is not OK, NODATA, SKIPDATA or `-`",
    "bad_direction": "flow-direction is not ingress, egress or `-`",
    "bad_address": "an address field does not look like an IP address",
    "not_utf8": "the line is not UTF-8",
    "too_long": "the line is longer than 32 KiB",
    "unknown_format": "no format was given and none could be inferred; set the format of the source",
    "undecodable": "the message has none of the known shapes",
    "bad_base64": "the payload is not base64",
    "bad_gzip": "the payload is not gzip, or is cut off",
    "bad_json": "the payload is not JSON, or is cut off",
    "too_large": "the payload is larger than allowed, or would be when decompressed",
    "no_lines": "the message holds no line",
    "bad_parquet": "the object is not Parquet, or is cut off",
}
"""Why something was rejected -> the same in plain words. A closed set: the keys are label values."""

MAX_LINE = 32 * 1024
"""Bytes that a line may have, its end not counted."""

MAX_HEADERS = 64
"""Distinct header lines that are looked for in mid-stream; more would be an attack on the parser's time."""

CONFIDENT = 0.6
"""Inferred formats below this confidence are not used."""

RECORD_SHARE = 0.5
"""The default format is kept when it reads at least this share of the lines."""


@dataclass(frozen=True)
class Parsed:
    """What became of the lines.

    records: a row per record line, in order; columns are the fields of the format (Int64 or String, `-` is null; start
    and end in seconds) and `line` UInt32, the line's number from 0. Where headers change the format on the way: the
    fields of all of them, null where a line has them not.
    rejects: line UInt32, reason String (of REASONS), text Binary (without the line end; see `reject_text`).
    lines, headers, blank: counts of lines.
    format: in force after the last line; None when unknown. confidence: 1.0, or that of an inferred format.
    """

    records: pl.DataFrame
    rejects: pl.DataFrame
    lines: int
    headers: int
    blank: int
    format: Format | None
    confidence: float


def parse(value: bytes, fmt: Format | None = None, *, default: Format | None = V2_DEFAULT) -> Parsed:
    """Read lines of flow log records. Never raises for what is in `value`.

    A header line decides the format of the lines after it. Before that: `fmt`; else `default`, if it reads the lines;
    else what the types in the columns say. Lines of an unknown format are rejected, all of them: as `unknown_format`, or
    with the reason of `default` where they have as many fields.
    """
    top, body = _top_header(value)
    given = top or fmt
    first = given or default
    frame = fast(body, first) if first else None
    if frame is None or first is None:
        return slow(value, fmt, default=default)
    headers = int(top is not None)
    return Parsed(_numbered(frame, headers), _NO_REJECTS, frame.height + headers, headers, 0, first, 1.0)


# -- what a record says of itself ---------------------------------------------------------------------------------------


def is_nodata(records: pl.DataFrame) -> pl.Expr:
    """Boolean: no traffic in the interval. By log-status alone, whatever else the record carries."""
    return _has_status(records, "NODATA")


def is_skipdata(records: pl.DataFrame) -> pl.Expr:
    """Boolean: records of the interval were lost. By log-status alone, whatever else the record carries."""
    return _has_status(records, "SKIPDATA")


def is_flow(records: pl.DataFrame) -> pl.Expr:
    """Boolean: neither NODATA nor SKIPDATA. Without log-status every record is a flow."""
    return ~(is_nodata(records) | is_skipdata(records))


def status(records: pl.DataFrame) -> dict[str, int]:
    """How many records are `flow`, `nodata` and `skipdata`; the sum is their number."""
    if "log-status" not in records.columns:
        return {"flow": records.height, "nodata": 0, "skipdata": 0}
    nodata, skipdata = records.select(is_nodata(records).sum().alias("n"), is_skipdata(records).sum().alias("s")).row(0)
    return {"flow": records.height - nodata - skipdata, "nodata": nodata, "skipdata": skipdata}


def _has_status(records: pl.DataFrame, name: str) -> pl.Expr:
    if "log-status" not in records.columns:
        return pl.repeat(value=False, n=pl.len(), dtype=pl.Boolean)
    return pl.col("log-status").eq_missing(pl.lit(name))


# -- for people ---------------------------------------------------------------------------------------------------------


def to_ndjson(records: pl.DataFrame) -> bytes:
    """A JSON object a record and line: AWS's names, numbers as integers, null for `-`. `line` is left out."""
    return records.drop("line", strict=False).write_ndjson().encode()


def decode_tags(records: pl.DataFrame) -> pl.DataFrame:
    """The same records with the percent-encoded tag values (v11) decoded."""
    present = [name for name in TAG_FIELDS if name in records.columns]
    return records.with_columns(_unquoted(records.get_column(name)) for name in present)


def _unquoted(tags: pl.Series) -> pl.Series:
    encoded = tags.unique().drop_nulls()
    encoded = encoded.filter(encoded.str.contains("%", literal=True))
    return tags.replace(encoded, pl.Series([unquote(tag) for tag in encoded], dtype=pl.String))


def reject_text(rejects: pl.DataFrame) -> pl.Series:
    """String: the text of each reject, null where it is not UTF-8."""
    if not rejects.height:
        return pl.Series("text", [], dtype=pl.String)
    text = b"\n".join(rejects.get_column("text").to_list()).decode("utf-8", "replace")
    texts = pl.Series("text", [text]).str.split("\n").explode()
    return texts.set(rejects.get_column("reason") == "not_utf8", None)


# -- kinds of fields: how one is read and what is wrong with it ---------------------------------------------------------

_MAX_INT = 2**63 - 1
_SECONDS_MAX = 2**31 - 1
_MILLISECONDS_MAX = 253_402_300_799_999  # the end of the year 9999: later than that is no date

_GRAPHIC = "[!-~]+"
_ADDRESS = r"[0-9A-Fa-f]{0,4}[.:][0-9A-Fa-f.:]*"
_DIGITS = "[0-9]{1,18}"


@dataclass(frozen=True)
class _Rule:
    """pattern: plain values (regex), a subset of the good ones. read: the type to read them as in one go.

    limit: the largest number. choices: the words allowed. reason: of a bad value that is no number.
    """

    pattern: str
    read: type[pl.DataType] = pl.String
    limit: int = 0
    choices: tuple[str, ...] = ()
    reason: str = ""


_RULES: dict[Kind, _Rule] = {
    "text": _Rule(_GRAPHIC),
    "number": _Rule(f"{_DIGITS}|-", pl.UInt64, limit=_MAX_INT, reason="not_a_number"),
    "time": _Rule("[0-9]{1,14}|-", pl.UInt64, limit=_MILLISECONDS_MAX, reason="not_a_number"),
    "port": _Rule(
        "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]|-",
        pl.UInt16, limit=65_535, reason="not_a_number",
    ),
    "octet": _Rule("[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5]|-", pl.UInt8, limit=255, reason="not_a_number"),
    "address": _Rule(f"{_ADDRESS}|-", reason="bad_address"),
    "action": _Rule("ACCEPT|REJECT|-", choices=("ACCEPT", "REJECT"), reason="bad_action"),
    "log-status": _Rule("OK|NODATA|SKIPDATA|-", choices=("OK", "NODATA", "SKIPDATA"), reason="bad_log_status"),
    "direction": _Rule("ingress|egress|-", choices=("ingress", "egress"), reason="bad_direction"),
}  # fmt: skip

_TELLING = NUMERIC | {"address"}
"""Kinds that no header's word fits. A format without any is read the slow way: a header among its lines would not show."""


def _no_rejects() -> pl.DataFrame:
    return pl.DataFrame(schema={"line": pl.UInt32, "reason": pl.String, "text": pl.Binary})


_NO_REJECTS = _no_rejects()


def _empty(fmt: Format | None) -> pl.DataFrame:
    return pl.DataFrame(schema={**{name: dtype(name) for name in fmt or ()}, "line": pl.UInt32})


def _numbered(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.UInt32).alias("line"))


def _seconds(time: pl.Expr) -> pl.Expr:
    """Some writers give milliseconds: a time that is no 32-bit number of seconds is one of those."""
    return pl.when(time > _SECONDS_MAX).then(time // 1000).otherwise(time)


# -- the fast way -------------------------------------------------------------------------------------------------------


def fast(value: bytes, fmt: Format) -> pl.DataFrame | None:
    """The records, a row per line and without `line`; None when any line is not a plain record of `fmt`."""
    if not value or not _is_telling(fmt) or not _is_plain(value):
        return None
    try:
        frame = pl.read_csv(
            value, has_header=False, separator=" ", quote_char=None, schema=_read_schema(fmt), null_values=_nulls(fmt)
        )
    except pl.exceptions.PolarsError:
        return None
    return _checked(frame, fmt)


def _is_plain(value: bytes) -> bool:
    """Whether there are only single spaces and line feeds between words, no empty line, no sign before a number."""
    odd = b"\t" in value or b"\r" in value or value[:1] in (b" ", b"\n", b"+") or not value.isascii()
    if odd or _may_have_long_line(value):
        return False
    return not pl.Series([value.decode("ascii")]).str.contains("[ \n][ \n+]").item()


def _may_have_long_line(value: bytes) -> bool:
    """False only if no line is over MAX_LINE: a line that long covers a block of half its size, wherever it begins."""
    block = MAX_LINE // 2
    return any(value.find(b"\n", at, at + block) < 0 for at in range(0, len(value) - block + 1, block))


@_memo
def _is_telling(fmt: Format) -> bool:
    return any(kind(name) in _TELLING for name in fmt)


@_memo
def _read_schema(fmt: Format) -> dict[str, type[pl.DataType]]:
    """The last column is read as text: null there is a line that is too short, which Polars does not tell otherwise."""
    return {name: _RULES[kind(name)].read for name in fmt[:-1]} | {fmt[-1]: pl.String}


@_memo
def _nulls(fmt: Format) -> dict[str, str]:
    return dict.fromkeys(fmt[:-1], "-")


def _checked(frame: pl.DataFrame, fmt: Format) -> pl.DataFrame | None:
    """`frame`, read with `_read_schema`, in the types of `fmt`; None when a line is too short or a value bad."""
    if frame.get_column(fmt[-1]).null_count():
        return None
    last = pl.col(fmt[-1])
    try:
        frame = frame.with_columns(pl.when(last != "-").then(last).cast(_RULES[kind(fmt[-1])].read))
        frame = frame.with_columns(_as_int64(fmt))
    except pl.exceptions.PolarsError:
        return None
    times = [name for name in fmt if kind(name) == "time"]
    latest = frame.select(pl.max_horizontal(pl.col(times).max())).item() if times else None
    if (latest or 0) > _MILLISECONDS_MAX or not frame.select(pl.all_horizontal(_sound(fmt))).item():
        return None
    return frame.with_columns(_seconds(pl.col(times))) if (latest or 0) > _SECONDS_MAX else frame


@_memo
def _as_int64(fmt: Format) -> list[pl.Expr]:
    return [pl.col(name).cast(pl.Int64) for name in fmt if kind(name) in NUMERIC]


@_memo
def _sound(fmt: Format) -> list[pl.Expr]:
    """One Boolean a column: all of its values are good. The kinds that reading has checked are left out."""
    columns = [(pl.col(name), _RULES[kind(name)]) for name in fmt]
    words = [_is_one_of(column, rule.choices).all() for column, rule in columns if rule.choices]
    addresses = [column.str.join(" ").str.contains(_ADDRESSES) for column, rule in columns if rule.reason == "bad_address"]
    return [pl.lit(value=True), *words, *addresses]


def _is_one_of(column: pl.Expr, choices: tuple[str, ...]) -> pl.Expr:
    return reduce(or_, (column == choice for choice in choices))


# -- the slow way -------------------------------------------------------------------------------------------------------


def slow(value: bytes, fmt: Format | None = None, *, default: Format | None = V2_DEFAULT) -> Parsed:
    """What `parse` gives, found line by line."""
    lines = _split(value)
    unread = lines.filter(pl.col("reason").is_not_null())
    read = lines.filter(pl.col("reason").is_null()).select("line", "text")
    blank = read.get_column("text").str.contains(_BLANK)
    headers = _headers(read)
    is_record = ~(blank | read.get_column("line").is_in(headers.lines.implode()))
    rows = read.filter(is_record)
    initial, confidence = _decide(rows.filter(pl.col("line") < headers.first), fmt, default)
    parts = [_by_line(part, one) for one, part in headers.split(rows, initial or default)]
    ...


