"""Many records -> their lines, in a few passes over all bytes: no Python runs per record.

Nearly all records are a bare line or AWS's `{"message":"<line>"}`. These functions know only that, prove it by
counting, and give back None for anything else: then `decode` looks at each record by itself. Both ways give the same
lines.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson
import polars as pl

_WRAPPED = b'{"message":"'
_NEXT_WRAPPED = b'"}\n{"message":"'
_CLOSED = b'"}'

# In Firehose's base64 the 12 bytes of `{"message":"` are always these 16 characters, and so a whole separator is known.
_FIRST = binascii.b2a_base64(_WRAPPED, newline=False)
_DATA = b'"},{"data":"'
_NEXT = _DATA + _FIRST
_MARK = b"AAAK"
"""Base64 of `\\0\\0\\n`: stands for a separator, so that all records are decoded at once."""

_OPEN = b'"records":['
_FIRST_DATA = b'{"data":"'
_LAST_DATA = b'"}]'

BASE64 = (b"H4sI", b"eJ", b"eN", b"eyJ")
"""First letters of gzip, zlib and `{"` in base64. No flow log line begins with them."""

_PADDING_INSIDE = re.compile(rb'=(?!=?(?:"|\Z))')
"""Padding anywhere but at the end of a text is no base64, and there may be one or two of it."""

_BASE64_BELOW = re.compile(rb"\n(?:H4sI|eJ|eN|eyJ)")

_CHUNK = 512 * 1024
_SMALL = 32 * 1024

_NOT_BARE = (b"{", b"[", b'"', b"\\", b"\r", b"\x01")
"""What JSON begins and escapes with, line ends, zlib's header where it is ASCII. No flow log line has one of them."""


class FirehoseBody(NamedTuple):
    """A request body cut in two. rest: the JSON without its records. data: base64 texts with `"},{"data":"` between."""

    rest: bytes
    data: bytes


def plain_lines(values: Sequence[bytes]) -> bytes | None:
    r"""Lines of values that are each one line, bare or in `{"message": }`; `\n` between them.

    Value n is line n. None: some value is something else, or empty.
    """
    if b"" in values:
        return None
    joined = b"\n".join(values)
    if joined.count(b"\n") != len(values) - 1 or b"\r" in joined:
        values = [value.rstrip(b"\r\n") for value in values]
        joined = b"\n".join(values)
        if joined.count(b"\n") != len(values) - 1 or b"" in values:
            return None
    if joined.startswith(_WRAPPED):
        return unwrapped(joined)
    if joined.startswith(BASE64) or _BASE64_BELOW.search(joined):
        return None
    return joined if _bare(joined) else None


def message_lines(values: Sequence[bytes]) -> bytes | None:
    r"""Lines of values that are each a JSON object with one bare line in `message`; `\n` between them.

    Value n is line n. None: some value is something else.
    """
    try:
        joined = "\n".join([orjson.loads(value)["message"] for value in values])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    lines = joined.encode()
    return plain_lines(lines.split(b"\n")) if lines.count(b"\n") == len(values) - 1 else None


def unwrapped(joined: bytes) -> bytes | None:
    r"""`{"message":"A"}\n{"message":"B"}` -> `A\nB`. None: it is not quite that, on every line.

    Without a quote or a backslash left inside, there is no other way to read such JSON.
    """
    if not (joined.startswith(_WRAPPED) and joined.endswith(_CLOSED)):
        return None
    return _lines(joined[len(_WRAPPED) : -len(_CLOSED)].split(_NEXT_WRAPPED))


def firehose_body(body: bytes) -> FirehoseBody | None:
    """Cut a Firehose request as AWS writes it, without blanks. None: it is written in another way, or is none."""
    start = body.find(_OPEN + _FIRST_DATA)
    end = body.rfind(_LAST_DATA)
    first = start + len(_OPEN) + len(_FIRST_DATA)
    if start < 0 or end < first:
        return None
    return FirehoseBody(body[: start + len(_OPEN)] + body[end + len(_CLOSED) :], body[first:end])


def firehose_chunks(data: bytes) -> Iterator[bytes]:
    """`FirehoseBody.data` in pieces of about 512 KiB that end between records; a piece fits the processor's cache."""
    start = 0
    while start <= len(data):
        end = data.find(_DATA, start + _CHUNK)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + len(_DATA)


def firehose_lines(chunk: bytes) -> bytes | None:
    """The lines of a chunk whose records are all `{"message":"<line>"}`, with a newline behind each or behind none."""
    if not chunk.startswith(_FIRST) or _PADDING_INSIDE.search(chunk):
        return None
    encoded = chunk[len(_FIRST) :].replace(_NEXT, _MARK)
    marks = (len(chunk) - len(_FIRST) - len(encoded)) // (len(_NEXT) - len(_MARK))
    # Padding ends a base64 text; as `A` it decodes to \0 bytes, and the text goes on behind it.
    padding = encoded.count(b"=")
    decoded = _unbase64(encoded.replace(b"=", b"A"))
    text = decoded.replace(b"\0", b"")
    if len(decoded) - len(text) != padding + 2 * marks:
        return None
    closed = b'"}\n' if text.endswith(b'"}\n') else b'"}'
    parts = text[: -len(closed)].split(closed + b"\n")
    return _lines(parts) if text.endswith(closed) and len(parts) == marks + 1 else None


def firehose_values(chunk: bytes) -> list[str] | None:
    """The base64 texts of a chunk, one by one. None: there is more in it than records with `data` alone."""
    try:
        records = orjson.loads(b'[{"data":"' + chunk + _LAST_DATA)
    except orjson.JSONDecodeError:
        return None
    if not all(map(_is_data_alone, records)):
        return None
    return [record["data"] for record in records]


def _is_data_alone(record: object) -> bool:
    return isinstance(record, dict) and record.keys() == {"data"} and isinstance(record["data"], str)


def _lines(parts: list[bytes]) -> bytes | None:
    """The insides of records as lines; None: one has none or several lines, or JSON of its own."""
    lines = b"\n".join(parts)
    return lines if lines.count(b"\n") == len(parts) - 1 and b"" not in parts and _bare(lines) else None


def _bare(lines: bytes) -> bool:
    return lines.isascii() and not any(mark in lines for mark in _NOT_BARE)


def _unbase64(text: bytes) -> bytes:
    """Base64 without padding -> bytes; nothing where it is not base64. Polars takes half the time of binascii."""
    try:
        if len(text) < _SMALL:
            return binascii.a2b_base64(text, strict_mode=True)
        decoded: bytes = pl.Series([text.decode("ascii")]).str.decode("base64").item()
    except (binascii.Error, UnicodeDecodeError, pl.exceptions.ComputeError):
        return b""
    return decoded
