"""Fuzz target: any lines are accounted for, in order and to the byte, and the fast way reads as the slow one does."""

from __future__ import annotations

from streams.core.fields import TGW_DEFAULT, V2_DEFAULT, Format, cumulative
from streams.core.parse import REASONS, Parsed, line_ends, parse, reject_text, slow, status, to_ndjson

FORMATS: tuple[tuple[Format | None, Format | None], ...] = (
    (None, V2_DEFAULT),
    (V2_DEFAULT, V2_DEFAULT),
    (cumulative(5), V2_DEFAULT),
    (cumulative(11), V2_DEFAULT),
    (TGW_DEFAULT, V2_DEFAULT),
    (None, None),
    (("interface-id", "srcaddr"), V2_DEFAULT),
    (("bytes",), V2_DEFAULT),
    (("note",), V2_DEFAULT),
    (("note", "end", "flow-direction"), None),
    (("dstport", "action"), None),
)
"""Format and default that the first byte of the input picks."""


def target(data: bytes) -> None:
    """One input."""
    fmt, default = FORMATS[data[0] % len(FORMATS)] if data else FORMATS[0]
    value = data[1:]
    parsed = parse(value, fmt, default=default)
    _accounted(value, parsed)
    other = slow(line_ends(value), fmt, default=default)
    assert parsed.records.equals(other.records), "the two ways read other records"
    assert parsed.records.schema == other.records.schema, "the two ways read other columns"
    assert parsed.rejects.equals(other.rejects), "the two ways reject other lines"
    counts = [(one.lines, one.headers, one.blank, one.format, one.confidence) for one in (parsed, other)]
    assert counts[0] == counts[1], "the two ways count other lines"


def _accounted(value: bytes, parsed: Parsed) -> None:
    lines = value.count(b"\n") + (value != b"" and not value.endswith(b"\n"))
    assert parsed.lines == lines, "lines are missing"
    told = parsed.records.height + parsed.rejects.height + parsed.headers + parsed.blank
    assert told == lines, "an outcome is missing"
    assert sum(status(parsed.records).values()) == parsed.records.height
    assert set(parsed.rejects.get_column("reason")) <= REASONS.keys()
    numbers = [*parsed.records.get_column("line"), *parsed.rejects.get_column("line")]
    assert len(set(numbers)) == len(numbers), "a line has two outcomes"
    texts = [line.removesuffix(b"\r") for line in value.split(b"\n")]
    for number, _, text in parsed.rejects.iter_rows():
        assert text == texts[number], "a rejected line is not what came"
    assert reject_text(parsed.rejects).len() == parsed.rejects.height
    assert to_ndjson(parsed.records).count(b"\n") == parsed.records.height
