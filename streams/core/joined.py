"""Raw messages joined: to parse and count them takes milliseconds, however few lines they have.

Joining must not show. A header on top of a message holds for that message, a bad line keeps its number there, a record
its own arrival; messages that can't be told apart any more when they are joined are taken one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate

import polars as pl

from streams.core.fields import Format, parse_format
from streams.core.parse import Parsed, parse, top_header
from streams.core.raw import RawMessage


@dataclass(frozen=True)
class Piece:
    """A raw message and its offset. body: its lines without the header on top, which each object on S3 begins with.

    fmt: of these lines, as the header says it or else the source; None: nobody does.
    """

    offset: int
    message: RawMessage
    fmt: Format | None
    body: bytes
    begins: bool = False

    @classmethod
    def of(cls, offset: int, message: RawMessage, *, begins: bool = False) -> Piece:
        """A message that may be joined to others. begins: a block (core.blocks) begins with it."""
        if message.error is not None:
            return cls(offset, message, None, message.value, begins)
        top, body = top_header(message.value)
        return cls(offset, message, top or named_format(message.format), body, begins)

    @property
    def headers(self) -> int:
        """Header lines before the body."""
        return int(len(self.body) < len(self.message.value))

    def joins(self, other: Piece) -> bool:
        """Whether the two may be parsed together."""
        alike = (self.fmt, self.message.replay) == (other.fmt, other.message.replay)
        return alike and all(one.message.error is None and one.body for one in (self, other))


@dataclass(frozen=True)
class Lines:
    """Pieces that are taken together, one at least: all of them join."""

    pieces: Sequence[Piece]

    @property
    def alone(self) -> bool:
        """Whether this is a single message."""
        return len(self.pieces) == 1

    @property
    def offset(self) -> int:
        """Of the last message."""
        return self.pieces[-1].offset

    @property
    def first(self) -> RawMessage:
        """The first message."""
        return self.pieces[0].message

    def singly(self) -> Iterator[Lines]:
        """The same messages, one by one."""
        return (Lines([one]) for one in self.pieces)

    def parsed(self, default: Format | None) -> Parsed | None:
        """What the lines say; None: joined they can't be told apart. default: the format where none is told.

        Lines of joined messages are numbered from 0, headers on top of them left out.
        """
        if self.alone:
            return parse(_ended(self.first.value), named_format(self.first.format) or default)
        fmt = self.pieces[0].fmt or default
        found = parse(b"".join(_ended(piece.body) for piece in self.pieces), fmt)
        if not _is_plain(found) or (found.rejects.height and fmt is None):
            return None
        headers = sum(piece.headers for piece in self.pieces)
        return replace(found, headers=headers, lines=found.lines + headers)

    def numbers(self, rows: pl.DataFrame) -> pl.Series:
        """Which message each row comes from: UInt32, from 0. rows: with `line`, of joined messages."""
        return pl.Series(self._ends, dtype=pl.UInt32).search_sorted(rows.get_column("line"), side="right")

    def arrivals(self) -> list[int]:
        """Of each message, in epoch seconds."""
        return [piece.message.arrival_ms // 1000 for piece in self.pieces]

    def arrival(self, rows: pl.DataFrame) -> pl.Expr:
        """Of the message of each row, in epoch seconds. Lines are counted only where messages differ in that."""
        arrivals = self.arrivals()
        if min(arrivals) == max(arrivals):
            return pl.lit(arrivals[0], dtype=pl.Int64)
        return pl.lit(pl.Series(arrivals, dtype=pl.Int64).gather(self.numbers(rows)))

    def rejects(self, found: pl.DataFrame) -> Iterator[tuple[Piece, pl.DataFrame]]:
        """`found` (see core.parse) of each message that has any, lines numbered as there."""
        if self.alone:
            yield self.pieces[0], found
            return
        of = self.numbers(found)
        for number in of.unique().sort():
            piece = self.pieces[number]
            shift = piece.headers - (self._ends[number - 1] if number else 0)
            yield piece, found.filter(of == number).with_columns((pl.col("line").cast(pl.Int64) + shift).alias("line"))

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(piece.body.count(b"\n", 0, -1) + 1 for piece in self.pieces))


@lru_cache(maxsize=64)
def named_format(text: str | None) -> Format | None:
    """None: no format is named, or what is named is none."""
    try:
        return parse_format(text) if text else None
    except ValueError:
        return None


def _ended(lines: bytes) -> bytes:
    """Each line with its end: a blank line at the end of a message is a line wherever the message stands."""
    return lines if lines.endswith(b"\n") else lines + b"\n"


def _is_plain(parsed: Parsed) -> bool:
    """Whether no line says anything about others (a header), or nothing of its own time."""
    records = parsed.records
    if parsed.headers or parsed.confidence < 1 or not {"start", "end"} <= set(records.columns):
        return False
    return not (records.get_column("start").null_count() or records.get_column("end").null_count())
