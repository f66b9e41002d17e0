"""Dead letters: what could not be read, with its reason and where it came from, so that it can be found and replayed.

One Kafka message holds the dead letters of one raw message, a JSON object a line. `id` is made of the raw position: the
same line rejected twice is one dead letter. Letters go back in groups that no choice of letters cuts, each with an
origin made of their ids and lines: put back again, a group is a repeat. What was put back is marked on the same topic.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import orjson
import polars as pl

from streams.core.parse import reject_text
from streams.core.raw import SOURCES, Origin, RawMessage, digest

SOURCE = "deadletter"
"""Source of lines that were dead letters."""

UNKNOWN = "unknown"
"""Stands for a source that is none of SOURCES."""

_ROWS_A_MESSAGE = 2_000
_MARK = "replayed"
_KEY_HEX = 32


@dataclass(frozen=True)
class DeadLetter:
    """A message for the dead-letter topic. value: JSON objects, one a line."""

    key: bytes
    value: bytes


def of_message(partition: int, offset: int, message: RawMessage, reason: str) -> DeadLetter:
    """A whole message that could not be decoded. `payload` is base64 of what came."""
    row = {**_where(partition, offset, message), "id": f"{partition}/{offset}", "reason": reason, "line": None}
    payload = base64.b64encode(message.value).decode()
    return DeadLetter(_key(partition, offset, 0), orjson.dumps({**row, "payload": payload}))


def of_lines(partition: int, offset: int, message: RawMessage, rejects: pl.DataFrame) -> list[DeadLetter]:
    """Bad lines of one message. `rejects`: line UInt32 (from 0), reason String, text Binary (see core.parse).

    `line` in the letter is the number in the message as it stands on the topic.
    Each object has `text`, or `text_base64` where the line is not UTF-8.
    """
    where = _where(partition, offset, message)
    text, line = pl.col("utf8"), pl.col("line") + message.skipped
    rows = rejects.with_columns(reject_text(rejects).alias("utf8")).select(
        pl.format(f"{partition}/{offset}/{{}}", line).alias("id"),
        "reason",
        *(pl.lit(value).alias(name) for name, value in where.items()),
        line.alias("line"),
        text.alias("text"),
        pl.when(text.is_null()).then(pl.col("text").bin.encode("base64")).alias("text_base64"),
    )
    return [
        DeadLetter(_key(partition, offset, n), part.write_ndjson().encode().removesuffix(b"\n"))
        for n, part in enumerate(rows.iter_slices(_ROWS_A_MESSAGE))
    ]


def _key(partition: int, offset: int, part: int) -> bytes:
    return f"{partition}/{offset}/{part}".encode()


def _where(partition: int, offset: int, message: RawMessage) -> dict[str, str | int | bool | None]:
    origin = message.origin
    return {
        "partition": partition,
        "offset": offset,
        "source": origin.source,
        "origin": origin.name,
        "part": origin.part,
        "arrival": message.arrival_ms,
        "format": message.format,
        "replay": message.replay,
    }


# -- read back --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Letter:
    """A dead letter that was read back.

    partition, offset: of its raw message. line: its number there; None: it is the whole message. source, origin, part,
    arrival_ms, format, replay: as of that message (see core.raw). content: the line or payload, as it came.
    """

    id: str
    reason: str
    partition: int
    offset: int
    line: int | None
    source: str
    origin: str
    part: str
    arrival_ms: int
    format: str | None
    replay: bool
    content: bytes

    def row(self) -> dict[str, object]:
        """The object, as it stands on the topic."""
        shared = {
            "id": self.id, "reason": self.reason, "partition": self.partition, "offset": self.offset,
            "source": self.source, "origin": self.origin, "part": self.part, "arrival": self.arrival_ms,
            "format": self.format, "replay": self.replay, "line": self.line,
        }  # fmt: skip
        encoded = base64.b64encode(self.content).decode()
        if self.line is None:
            return {**shared, "payload": encoded}
        try:
            return {**shared, "text": self.content.decode(), "text_base64": None}
        except UnicodeDecodeError:
            return {**shared, "text": None, "text_base64": encoded}


@dataclass(frozen=True)
class Mark:
    """A group of letters that was put back. key: Group.key; id: of its first letter; the rest as of its letters."""

    key: bytes
    id: str
    reason: str
    source: str
    arrival_ms: int
    letters: int

    def encode(self) -> bytes:
        """A JSON object; `read` gives it back."""
        row = {
            _MARK: self.key.hex(), "id": self.id, "reason": self.reason, "source": self.source,
            "arrival": self.arrival_ms, "letters": self.letters,
        }  # fmt: skip
        return orjson.dumps(row)


@dataclass(frozen=True)
class Page:
    """What one message on the topic holds. strange: rows that are none of ours."""

    letters: tuple[Letter, ...] = ()
    marks: tuple[Mark, ...] = ()
    strange: int = 0


def read(value: bytes) -> Page:
    """Read a message back, of this release or an earlier one. Never raises: rows that are none of ours are counted."""
    found = [_read_row(row) for row in value.split(b"\n")]
    return Page(
        tuple(one for one in found if isinstance(one, Letter)),
        tuple(one for one in found if isinstance(one, Mark)),
        found.count(None),
    )


def holds_marks(value: bytes) -> bool:
    """Whether a message holds marks. They stand in messages of their own."""
    return value.startswith(b'{"%s":' % _MARK.encode())


def _read_row(text: bytes) -> Letter | Mark | None:
    try:
        row = orjson.loads(text)
        if not isinstance(row, dict):
            return None
        return _read_mark(row) if _MARK in row else _read_letter(row)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def _read_letter(row: Mapping[str, object]) -> Letter:
    """Raises KeyError, TypeError, ValueError. Letters of old have no `replay`: then files are history."""
    source, line, fmt, replay = _text(row["source"]), row["line"], row["format"], row.get("replay")
    return Letter(
        id=_text(row["id"]), reason=_text(row["reason"]), partition=_number(row["partition"]),
        offset=_number(row["offset"]), line=None if line is None else _number(line), source=source,
        origin=_text(row["origin"]), part=_text(row["part"]), arrival_ms=_number(row["arrival"]),
        format=None if fmt is None else _text(fmt), replay=source == "file" if replay is None else replay is True,
        content=_content(row, whole=line is None),
    )  # fmt: skip


def _content(row: Mapping[str, object], *, whole: bool) -> bytes:
    encoded = row["payload"] if whole else row["text_base64"]
    if encoded is None:
        return _text(row["text"]).encode("utf-8", "surrogatepass")
    return base64.b64decode(_text(encoded), validate=True)


def _read_mark(row: Mapping[str, object]) -> Mark:
    key = _text(row[_MARK])
    if len(key) != _KEY_HEX:
        raise ValueError(key)
    return Mark(
        bytes.fromhex(key), _text(row["id"]), _text(row["reason"]), _text(row["source"]),
        _number(row["arrival"]), _number(row["letters"]),
    )  # fmt: skip


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


# -- choosing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which letters are meant: those of all that is said. Empty and None: whatever it is.

    sources: of SOURCES, and UNKNOWN. Times are of arrival, in milliseconds; since_ms is included, until_ms is not.
    """

    reasons: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, one: Letter | Mark) -> bool:
        """Whether it is meant. The letters of a group are so together."""
        return (
            (not self.reasons or one.reason in self.reasons)
            and (not self.sources or known_source(one.source) in self.sources)
            and (self.since_ms is None or one.arrival_ms >= self.since_ms)
            and (self.until_ms is None or one.arrival_ms < self.until_ms)
        )


def known_source(source: str) -> str:
    """The source, from a closed set."""
    return source if source in SOURCES else UNKNOWN


class Recent:
    """Keys that came, the last `limit` of them."""

    def __init__(self, limit: int) -> None:
        """None came yet."""
        self._limit = limit
        self._keys: dict[bytes, None] = {}

    def is_new(self, key: bytes) -> bool:
        """Whether `key` did not come before; it has come now."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]
        return True


# -- back -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Letters that go back together: lines of one raw message that have the same reason, or one whole message."""

    letters: tuple[Letter, ...]

    @property
    def first(self) -> Letter:
        """Its first letter: all of them have the same reason, source, arrival, format and replay."""
        return self.letters[0]

    @cached_property
    def value(self) -> bytes:
        r"""The lines, `\n` between them; or the payload."""
        return b"\n".join(letter.content for letter in self.letters)

    @cached_property
    def origin(self) -> Origin:
        """The same whenever it is put back, whatever the format. Made of what the letters' ids are made of."""
        first = self.first
        part = "whole" if first.line is None else str(first.line)
        return Origin(SOURCE, f"{first.partition}/{first.offset}", part, digest(self.value))

    @cached_property
    def key(self) -> bytes:
        """16 bytes that stand for this group."""
        return self.origin.key()

    def lines_again(self, fmt: str | None) -> RawMessage:
        """The lines as a raw message. fmt: field names with spaces between; None: the format that they came with."""
        first = self.first
        return RawMessage(self.value, self.origin, first.arrival_ms, fmt or first.format, first.replay)

    def whole_again(self, decoded: Iterable[tuple[bytes, str | None]], fmt: str | None) -> list[RawMessage]:
        """A payload that was decoded after all, as raw messages. decoded: lines, and the format that they tell."""
        first, origin = self.first, self.origin
        return [
            RawMessage(
                lines, Origin(SOURCE, origin.name, f"{origin.part}/{n}", origin.digest), first.arrival_ms,
                told or fmt or first.format, first.replay,
            )
            for n, (lines, told) in enumerate(decoded)
        ]  # fmt: skip

    def mark(self) -> Mark:
        """To be written once the group is stored."""
        first = self.first
        return Mark(self.key, first.id, first.reason, first.source, first.arrival_ms, len(self.letters))


def groups(page: Page) -> Iterator[Group]:
    """The groups of a message, in the order of their first letters."""
    found: dict[tuple[int, int, str, bool], list[Letter]] = {}
    for letter in page.letters:
        found.setdefault((letter.partition, letter.offset, letter.reason, letter.line is None), []).append(letter)
    return (Group(tuple(letters)) for letters in found.values())
