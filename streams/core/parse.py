r"""Lines -> columns. Any bytes at all are accounted for: lines == records + rejects + headers + blank lines.

A line ends with "\n" and nothing else; one "\r" before it belongs to the line end. Words are separated by runs of
spaces and tabs; every other character is part of a word.

There are two ways to the same answer. The fast one reads all lines as one table and gives up when it finds anything
odd. The slow one looks at each line, still as columns: what has the plain shape is read as one table too, the rest
is normalised and judged word by word. Tests hold them equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import cast
from urllib.parse import unquote

import polars as pl

from streams.core.fields import (
    FEWEST,
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
from streams.core.infer import SAMPLE, infer, resembles

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
    "unknown_format": "no format was given and none could be guessed",
    "undecodable": "the file or message has none of the known shapes",
    "bad_base64": "the payload is not base64",
    "bad_gzip": "the payload is not gzip, or is cut off",
    "bad_json": "the payload is not JSON, or is cut off",
    "too_large": "the payload is larger than allowed, or would be when decompressed",
    "no_lines": "the file or message holds no flow log line",
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
    else what the types in the columns say. Where all of that fails, lines that `default` does not read are rejected: as
    `unknown_format`, or with the reason of `default` where they have as many fields.
    """
    value = line_ends(value)
    top, body = top_header(value)
    first = top or fmt or default
    frame = fast(body, first) if first else None
    if frame is None:
        return slow(value, fmt, default=default)
    headers = int(top is not None)
    records = frame.insert_column(frame.width, _numbers(frame.height, headers))
    return Parsed(records, _NO_REJECTS, frame.height + headers, headers, 0, first, 1.0)


def line_ends(value: bytes) -> bytes:
    r"""The same lines, each ended by "\n" alone."""
    if b"\r" not in value:
        return value
    ended = value.replace(b"\r\n", b"\n")
    if not ended.endswith(b"\r"):
        return ended
    last = ended.removesuffix(b"\r")
    return last + b"\n" if last.endswith(b"\n") or not last else last  # "\r" alone is an empty line, not nothing


def top_header(value: bytes) -> tuple[Format | None, bytes]:
    """The format that the first line names, if it is a header, and the lines after it."""
    line, _, _ = value[: MAX_LINE + 2].partition(b"\n")
    text = line.removesuffix(b"\r")
    if len(text) > MAX_LINE or not text.isascii():
        return None, value
    top = header_format(text.decode("ascii"))
    return (top, value[len(line) + 1 :]) if top else (None, value)


# -- what a record says of itself --------------------------------------------------------------------------------------


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


# -- for people --------------------------------------------------------------------------------------------------------


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


# -- kinds of fields: how one is read and what is wrong with it --------------------------------------------------------

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

_ADDRESSES = rf"\A(?:{_ADDRESS}(?: {_ADDRESS})*)?\z"

_ARE_ADDRESSES = pl.all_horizontal(pl.all().str.join(" ").str.contains(_ADDRESSES))

_TELLING = NUMERIC | {"address"}
"""Kinds that no header's word fits. Formats without any are read the slow way: there a header would not show."""

_NO_REASONS = pl.DataFrame(schema={"line": pl.UInt32, "reason": pl.String})
_NO_HEADERS = pl.DataFrame(schema={"line": pl.UInt32, "format": pl.UInt32})
_NO_REJECTS = pl.DataFrame(schema={"line": pl.UInt32, "reason": pl.String, "text": pl.Binary})

_memo = lru_cache(maxsize=256)  # by format; bounded, for headers come from outside


def _empty(fmt: Format | None) -> pl.DataFrame:
    return pl.DataFrame(schema={**{name: dtype(name) for name in fmt or ()}, "line": pl.UInt32})


def _numbers(count: int, first: int = 0) -> pl.Series:
    return pl.int_range(first, first + count, dtype=pl.UInt32, eager=True).alias("line")


def _seconds(time: pl.Expr) -> pl.Expr:
    """Some writers give milliseconds: a time that is no 32-bit number of seconds is one of those."""
    return pl.when(time > _SECONDS_MAX).then(time // 1000).otherwise(time)


# -- the fast way ------------------------------------------------------------------------------------------------------


def fast(value: bytes, fmt: Format) -> pl.DataFrame | None:
    """The records, a row per line and without `line`; None when any line is not a plain record of `fmt`."""
    if not value or not _is_telling(fmt) or not _is_plain(value):
        return None
    return _table(value, fmt)


_ZLIB = b"x"
"""What zlib's header begins with: Polars would decompress such a value by itself, so a line is put before it."""


def _table(value: bytes, fmt: Format) -> pl.DataFrame | None:
    """`fast` for a value that `_is_plain`."""
    hidden = value[:1] == _ZLIB
    try:
        frame = pl.read_csv(
            b"-\n" + value if hidden else value,
            skip_rows=int(hidden),
            has_header=False,
            separator=" ",
            quote_char=None,
            schema=_read_schema(fmt),
            null_values=_nulls(fmt),
        )
    except pl.exceptions.PolarsError:
        return None
    return _checked(frame, fmt)


def _is_plain(value: bytes) -> bool:
    """Whether there are only single spaces and line feeds between words, no empty line, no sign before a number."""
    odd = b"\t" in value or b"\r" in value or value[:1] in (b" ", b"\n", b"+")
    if odd or not value.isascii() or _may_have_long_line(value):
        return False
    return not pl.Series([value], dtype=pl.Binary).cast(pl.String).str.contains("[ \n][ \n+]").item()


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
    columns = frame.get_columns()
    try:
        columns[-1] = _last_column(columns[-1], fmt)
    except pl.exceptions.PolarsError:
        return None
    rules = [_RULES[kind(name)] for name in fmt]
    if not all(_is_sound(column, rule) for column, rule in zip(columns, rules, strict=True)):
        return None
    addresses = [c for c, rule in zip(columns, rules, strict=True) if rule.reason == "bad_address"]
    if addresses and not pl.DataFrame(addresses).select(_ARE_ADDRESSES).item():
        return None
    return pl.DataFrame([_typed(column) for column in columns])


def _last_column(last: pl.Series, fmt: Format) -> pl.Series:
    """As if it had been read like the others. Raises PolarsError where it cannot be."""
    if last.null_count():
        raise pl.exceptions.ComputeError("a line is too short")
    absent = last == "-"
    values = last.set(absent, None) if absent.any() else last
    return values.cast(_RULES[kind(fmt[-1])].read)


def _is_sound(column: pl.Series, rule: _Rule) -> bool:
    """Whether all values are good, where reading has not checked that. Addresses are looked at later, together."""
    if rule.choices:
        return bool(reduce(or_, (column == choice for choice in rule.choices)).all())
    if rule.read == pl.UInt64:
        return cast("int", column.max() or 0) <= rule.limit
    return True


def _typed(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column
    number = column.cast(pl.Int64)
    late = kind(column.name) == "time" and cast("int", number.max() or 0) > _SECONDS_MAX
    return pl.select(_seconds(pl.lit(number)).alias(column.name)).to_series() if late else number


def _is_one_of(column: pl.Expr, choices: tuple[str, ...]) -> pl.Expr:
    return reduce(or_, (column == choice for choice in choices))


# -- the slow way ------------------------------------------------------------------------------------------------------

_BLANK = r"\A\x{FEFF}?[ \t]*\z"
_WORD = "[A-Za-z][A-Za-z0-9_-]*"
_HEADER_SHAPE = rf"\A\x{{FEFF}}?[ \t]*{_WORD}(?:[ \t]+{_WORD})+[ \t]*\z"


def slow(value: bytes, fmt: Format | None = None, *, default: Format | None = V2_DEFAULT) -> Parsed:
    """What `parse` gives for lines that `line_ends` has ended, found line by line."""
    lines, unread, raw = _split(value)
    first = fmt or default
    lines = _marked(lines, first)
    odd = lines.filter(~pl.col("plain"))  # a header or an empty line is never plain
    blank = odd.filter(pl.col("text").str.contains(_BLANK))
    headers, named = _headers(odd)
    rows = _with_format(lines, headers, blank)
    initial, confidence = _decide(rows.filter(pl.col("format") == 0), fmt, default)
    formats = [initial, *named]
    groups = [(formats[n], rows.filter(pl.col("format") == n)) for n in rows.get_column("format").unique().sort()]
    parts = [
        _by_line(part if one == first else _marked(part, one), one) if one else _by_no_format(part, default)
        for one, part in groups
    ]
    last = formats[headers.item(-1, "format")] if headers.height else initial
    rejects = pl.concat([unread, *(rejected for _, rejected in parts)]).sort("line")
    return Parsed(
        records=_united([records for records, _ in parts], last or default),
        rejects=rejects.with_columns(raw.gather(rejects.get_column("line")).cast(pl.Binary).alias("text")),
        lines=raw.len(),
        headers=headers.height,
        blank=blank.height,
        format=last,
        confidence=confidence,
    )


def _split(value: bytes) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """Lines to look at: line UInt32, text String. Those that cannot be: line, reason. All of them, as they came."""
    ended = value.removesuffix(b"\n")
    decoded = ended.decode("utf-8", "replace")
    text = pl.Series("text", [decoded] if value else [], dtype=pl.String).str.split("\n").explode()
    raw = pl.Series(ended.split(b"\n"), dtype=pl.Binary) if "\ufffd" in decoded else text
    lines = pl.DataFrame([_numbers(text.len()), text])
    if raw is text and not _may_have_long_line(value):
        return lines, _NO_REASONS, raw
    # A line that is not UTF-8 is no longer the same after it was decoded with replacements.
    broken = pl.lit(value=False) if raw is text else pl.col("text").cast(pl.Binary) != raw
    too_long = pl.col("text").str.len_bytes() > MAX_LINE
    reason = pl.when(broken).then(pl.lit("not_utf8")).when(too_long).then(pl.lit("too_long"))
    marked = lines.with_columns(reason.alias("reason"))
    unread = marked.filter(pl.col("reason").is_not_null()).select("line", "reason")
    return marked.filter(pl.col("reason").is_null()).select("line", "text"), unread, raw


def _normal(rows: pl.DataFrame) -> pl.DataFrame:
    """Words separated by single spaces. Editors put a byte order mark before the first."""
    text = pl.col("text").str.strip_prefix("\ufeff").str.replace_all("[ \t]+", " ").str.strip_chars(" ")
    return rows.with_columns(text) if rows.height else rows


def _headers(lines: pl.DataFrame) -> tuple[pl.DataFrame, list[Format]]:
    """The header lines among `lines`: line UInt32, format UInt32 (number, from 1, of the format in the list)."""
    shaped = _normal(lines.filter(lines.get_column("text").str.contains(_HEADER_SHAPE)))
    if not shaped.height:
        return _NO_HEADERS, []
    named = {text: one for text in _likely_headers(shaped) if (one := header_format(text))}
    formats = list(dict.fromkeys(named.values()))
    table = {"text": list(named), "format": [formats.index(one) + 1 for one in named.values()]}
    numbers = pl.DataFrame(table, schema={"text": pl.String, "format": pl.UInt32})
    return shaped.join(numbers, on="text", maintain_order="left").select("line", "format"), formats


def _likely_headers(shaped: pl.DataFrame) -> pl.Series:
    """Distinct lines of which more than half of the words are fields (see `header_format`), MAX_HEADERS at most."""
    texts = shaped.get_column("text").unique(maintain_order=True)
    squashed = texts.str.to_lowercase().str.replace_all("[-_]", "").str.split(" ")
    known = squashed.list.eval(pl.element().is_in(list(SQUASHED))).list.sum()
    return texts.filter((known >= FEWEST) & (known * 2 > squashed.list.len())).head(MAX_HEADERS)


def _with_format(lines: pl.DataFrame, headers: pl.DataFrame, blank: pl.DataFrame) -> pl.DataFrame:
    """The lines that may be records, with the number of the format in force as `format`; 0 before the first header."""
    if not headers.height and not blank.height:
        return lines.with_columns(pl.lit(0, dtype=pl.UInt32).alias("format"))
    numbers = pl.concat([pl.Series([0], dtype=pl.UInt32), headers.get_column("format")])
    before = headers.get_column("line").search_sorted(lines.get_column("line"), side="left")
    others = pl.concat([headers.get_column("line"), blank.get_column("line")]).implode()
    return lines.with_columns(numbers.gather(before).alias("format")).filter(~pl.col("line").is_in(others))


def _decide(rows: pl.DataFrame, fmt: Format | None, default: Format | None) -> tuple[Format | None, float]:
    """The format of `rows` that no header names, and the confidence in it. None: unknown."""
    if fmt or not rows.height:
        return fmt or default, 1.0
    sample = rows.gather_every(-(-rows.height // SAMPLE))
    share = _record_share(sample, default)
    if share >= RECORD_SHARE:
        return default, 1.0
    words = _normal(sample).get_column("text").str.split(" ").to_list()
    if default and resembles(default, words):
        return default, 1.0
    guess, confidence = infer(words)
    if guess and confidence >= CONFIDENT and _record_share(_marked(sample, guess), guess) > share:
        return guess, confidence
    return (default, 1.0) if share else (None, confidence)


def _record_share(rows: pl.DataFrame, fmt: Format | None) -> float:
    return _by_line(rows, fmt)[0].height / rows.height if fmt else 0.0


def _by_no_format(rows: pl.DataFrame, default: Format | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `default` reads. Others with as many fields as `default` get the reason why they are not of that format."""
    unknown = pl.lit("unknown_format").alias("reason")
    if default is None:
        return _empty(None), rows.select("line", unknown)
    records, rejects = _by_line(rows, default)
    by_count = pl.col("reason").is_in(["too_few_fields", "too_many_fields"])
    reason = pl.when(by_count).then(unknown).otherwise("reason").alias("reason")
    return records, rejects.with_columns(reason)


def _marked(rows: pl.DataFrame, fmt: Format | None) -> pl.DataFrame:
    """`rows` (line UInt32, text String) with `plain`: whether they are plain records of `fmt`."""
    if fmt is None or not _is_telling(fmt):
        return rows.with_columns(pl.lit(value=False).alias("plain"))
    return rows.with_columns(pl.col("text").str.contains(_plain_line(fmt)).alias("plain"))


def _by_line(rows: pl.DataFrame, fmt: Format) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records, and rejects as line UInt32, reason String, of `rows` as `_marked` gives them for `fmt`."""
    good, odd = _parted(rows)
    spaced, odd = _parted(_marked(_normal(odd), fmt)) if odd.height else (odd, odd)
    good = good.vstack(spaced)
    table = _table(good.get_column("text").str.join("\n").item().encode(), fmt) if good.height else _empty(fmt)
    if table is None:
        return _judged(_normal(rows), fmt)
    records, rejects = _judged(odd, fmt)
    found = pl.DataFrame([*table.get_columns()[: len(fmt)], good.get_column("line")])
    return (found.vstack(records).sort("line") if spaced.height or records.height else found), rejects


def _parted(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The plain rows, and the others, as line and text."""
    plain = rows.get_column("plain")
    rows = rows.select("line", "text")
    return (rows, rows.clear()) if plain.all() else (rows.filter(plain), rows.filter(~plain))


@_memo
def _plain_line(fmt: Format) -> str:
    return r"\A" + " ".join(f"(?:{_RULES[kind(name)].pattern})" for name in fmt) + r"\z"


def _judged(rows: pl.DataFrame, fmt: Format) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`_by_line` for normalised rows, word by word."""
    if not rows.height:
        return _empty(fmt), _NO_REASONS
    words = rows.select("line", pl.col("text").str.split(" ").alias("words"))
    count = words.get_column("words").list.len()
    too_few, too_many = words.filter(count < len(fmt)), words.filter(count > len(fmt))
    miscounted = [_reasoned(too_few, "too_few_fields"), _reasoned(too_many, "too_many_fields")]
    counted = words.filter(count == len(fmt))
    if not counted.height:
        return _empty(fmt), pl.concat(miscounted)
    reasons = counted.select(_reason(fmt)).to_series()
    faulty = counted.select("line", reasons).filter(reasons.is_not_null())
    found = [*miscounted, faulty]
    if faulty.height == counted.height:
        return _empty(fmt), pl.concat(found)
    return counted.filter(reasons.is_null()).select(*_values(fmt), "line"), pl.concat(found)


@_memo
def _reason(fmt: Format) -> pl.Expr:
    """Of `words`: the reason of the first one that is no value of its field."""
    rules = [(_RULES[kind(name)], pl.col("words").list.get(n)) for n, name in enumerate(fmt)]
    faults = [_fault(rule, word) for rule, word in rules if rule.reason]
    return pl.coalesce(pl.repeat(None, pl.len(), dtype=pl.String), *faults).alias("reason")


@_memo
def _values(fmt: Format) -> list[pl.Expr]:
    """Of `words`: the columns of `fmt`."""
    return [_value(name, pl.col("words").list.get(n)).alias(name) for n, name in enumerate(fmt)]


def _reasoned(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    return rows.select("line", pl.lit(reason).alias("reason"))


def _value(name: str, word: pl.Expr) -> pl.Expr:
    value = pl.when(word != "-").then(word)
    if kind(name) not in NUMERIC:
        return value
    number = value.cast(pl.Int64, strict=False)
    return _seconds(number) if kind(name) == "time" else number


def _fault(rule: _Rule, word: pl.Expr) -> pl.Expr:
    """The reason why a word is no value of its field, null if it is."""
    if rule.reason != "not_a_number":
        good = _is_one_of(word, rule.choices) if rule.choices else word.str.contains(rf"\A{_ADDRESS}\z")
        return pl.when(~good & (word != "-")).then(pl.lit(rule.reason))
    digits = word.str.contains(r"\A[0-9]+\z")
    good = digits & word.cast(pl.Int64, strict=False).is_between(0, rule.limit).fill_null(value=False)
    fault = (
        pl.when(digits | word.str.contains(r"\A-[0-9]+\z")).then(pl.lit("out_of_range")).otherwise(pl.lit(rule.reason))
    )
    return pl.when(~good & (word != "-")).then(fault)


def _united(parts: list[pl.DataFrame], fmt: Format | None) -> pl.DataFrame:
    """All records in the order of their lines; the columns of all, `line` last."""
    if len(parts) <= 1:
        return parts[0] if parts else _empty(fmt)
    frame = pl.concat(parts, how="diagonal").sort("line")
    return frame.select(pl.exclude("line"), "line")
