"""What the feeder sends: messages whose lines are made and compressed once, and of which each copy is a new one. Pure.

The worker drops a message whose origin it has seen, and counts a record in the minute in which it ends. So each copy
carries an origin of its own, and the lines move on with the clock. To compress 2 million lines a second would take more
than a core: a Kafka record is put together here from two frames of zstd, of which only the second, small one (the
headers) is made anew. A frame follows on another as one text: RFC 8878, section 3.1.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import zstandard
from aiokafka.record.util import calc_crc32c, encode_varint

from streams.core.raw import Origin, RawMessage
from streams.generate import FORMATS, bulk
from tests.kafka.oracle import Oracle, Sums, added

ENIS = 1000
KINDS = 16
"""Messages with lines of their own; all others are copies."""
LINES = 4500
"""Of each message: about 500 KB, as the sources cut them (streams.core.raw)."""

_MINUTE = 60
_BASE_MINUTE = 28_333_334
_TIMES = re.compile(rb" (\d{10}) (\d{10})(?= [A-Z-]+ [A-Z]+$)", re.MULTILINE)
_COMPRESS = zstandard.ZstdCompressor(level=3)
_ZSTD = 4
_FORMAT = FORMATS[2]
_HEAD = struct.Struct(">qiib")
_BODY = struct.Struct(">hiqqqhii")


def kinds(seed: int = 1) -> list[bytes]:
    """The lines of each kind, of the same minutes: what copies are made from."""
    made = bulk(KINDS * (LINES + LINES // 10), enis=ENIS, seed=seed, start_epoch=_BASE_MINUTE * _MINUTE, minutes=2)
    lines = (line for chunk in made for line in chunk.split(b"\n"))
    return [b"\n".join(islice(lines, LINES)) for _ in range(KINDS)]


def moved(lines: bytes, minute: int) -> bytes:
    """The same lines. They end in `minute` (since the epoch) or in the one before."""
    later = (minute - _BASE_MINUTE - 1) * _MINUTE
    return _TIMES.sub(lambda found: b" %d %d" % (int(found[1]) + later, int(found[2]) + later), lines)


@dataclass
class Mould:
    """Gives copies of one kind as Kafka takes them: a record batch with one message."""

    lines: bytes
    _minute: int = -1
    _frame: bytes = b""

    def copy(self, minute: int, origin: Origin, arrival_ms: int) -> bytes:
        """A record batch. The headers of all copies must be of one length: that stands before the lines."""
        tail = _headers(RawMessage(b"", origin, arrival_ms, _FORMAT))
        if minute != self._minute:
            self._minute = minute
            self._frame = _COMPRESS.compress(_record_head(moved(self.lines, minute), len(tail)))
        return _batch(self._frame + _COMPRESS.compress(tail), arrival_ms)


def _record_head(lines: bytes, tail: int) -> bytes:
    """All of a record but its headers: attributes, time and offset are those of the batch; there is no key."""
    fields = b"\x00\x00\x00" + _varint(-1) + _varint(len(lines)) + lines
    return _varint(len(fields) + tail) + fields


def _headers(message: RawMessage) -> bytes:
    pairs = [(name.encode(), value) for name, value in message.headers()]
    return _varint(len(pairs)) + b"".join(_varint(len(part)) + part for pair in pairs for part in pair)


def _batch(records: bytes, at_ms: int) -> bytes:
    """Version 2 of Kafka's format; nobody but its producer says where it stands, so that is 0."""
    no_producer = (-1, -1, -1)
    checked = _BODY.pack(_ZSTD, 0, at_ms, at_ms, *no_producer, 1) + records
    return _HEAD.pack(0, len(checked) + 9, 0, 2) + struct.pack(">I", calc_crc32c(checked)) + checked


def _varint(number: int) -> bytes:
    found = bytearray()
    encode_varint(number, found.append)
    return bytes(found)


# -- what must come of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """DuckDB's totals of each kind. The message at offset n of any partition is of kind n modulo KINDS."""

    tables: Mapping[str, Sequence[Sums]] = field(repr=False)

    def after(self, offsets: Mapping[int, int], table: str) -> Sums:
        """What `table` holds once so many messages of each partition are counted."""
        copies = Counter[int]()
        for messages in offsets.values():
            copies.update({kind: len(range(kind, messages, KINDS)) for kind in range(KINDS)})
        return added(*(times(self.tables[table][kind], count) for kind, count in copies.items() if count))


def truth(made: Sequence[bytes]) -> Truth:
    """Count each kind once."""
    oracles = [Oracle(lines.split(b"\n")) for lines in made]
    return Truth({"eni": [one.enis() for one in oracles], "port": [one.ports() for one in oracles]})


def times(table: Sums, count: int) -> Sums:
    """The table of `count` copies."""
    return {key: (count * flows, count * packets, count * octets) for key, (flows, packets, octets) in table.items()}


def differences(expected: Sums, found: Mapping[tuple[str, ...], tuple[int, ...]]) -> Iterator[str]:
    """Each key whose sums are not as expected."""
    for key in sorted({*expected, *found}):
        if expected.get(key) != found.get(key):
            yield f"{'/'.join(key)}: expected {expected.get(key)}, found {found.get(key)}"


def between(low: Sums, high: Sums, found: Mapping[tuple[str, ...], tuple[int, ...]]) -> Iterator[str]:
    """Each key whose sums are not from `low` to `high`."""
    none = (0, 0, 0)
    for key in sorted({*low, *high, *found}):
        least, most, value = low.get(key, none), high.get(key, none), found.get(key, none)
        if not all(a <= b <= c for a, b, c in zip(least, value, most, strict=True)):
            yield f"{'/'.join(key)}: expected {least} to {most}, found {value}"
